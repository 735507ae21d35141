"""Suites as their user runs them: real processes, real kills, real stores."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from benchmarks.__main__ import Terminal
from benchmarks.expand import Choice, Planned, expand
from benchmarks.launch import Estimate, Launcher, Outcome
from benchmarks.suite_report import summary
from benchmarks.suites.base import Arm, Budget, Data, Suite
from registry import ROOT

PLUGIN = '''
"""Methods that end badly, and people whom nobody attacks."""

import os
import signal
from dataclasses import dataclass
from typing import ClassVar

from datasets.phantom import Phantom
from methods.base import Method
from registry import DATASETS, METHODS


@METHODS.register("broken")
@dataclass(frozen=True)
class Broken(Method):
    """Raises, or is killed, when it meets its data.

    Source: this test.
    """

    how: str = "raises"

    def data(self, train, ctx):
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError("these rows\\nare not for me")


@DATASETS.register("left-alone")
@dataclass(frozen=True, kw_only=True)
class LeftAlone(Phantom):
    """The phantom without linkage audits, which take most of the time of a tiny run.

    License: Apache-2.0. Access: none needed.
    """

    reidentification_allowed: ClassVar[bool] = False
'''
PEOPLE = {"train_patients": 60, "val_patients": 30, "audit_patients": 20, "test_patients": 30}


class Place:
    """A directory with a suite file, its own results and its own store."""

    def __init__(self, path: Path, cache: Path) -> None:
        self.path, self.output = path, path / "output"
        self.folder = self.output / "suites" / "mine"
        self.started: list[subprocess.Popen[str]] = []
        (path / "plugin.py").write_text(PLUGIN)
        self.environment = {
            **os.environ,
            "TRILEMMA_CACHE": str(cache),
            "MLFLOW_TRACKING_URI": f"sqlite:///{path}/mlflow.db",
            # Most of the time of a tiny run is importing: not without bytecode, each time anew.
            "PYTHONPYCACHEPREFIX": str(cache / "bytecode"),
        }
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def suite(self, **content: Any) -> None:
        """Write the suite's file."""
        whole = {
            "datasets": [{"name": "left-alone", "set": PEOPLE}],
            "budgets": {"quick": {"set": {"image_size": 32, "epochs": 1}}},
            "plugins": [str(self.path / "plugin.py")],
        } | content
        (self.path / "mine.yaml").write_text(yaml.safe_dump(whole))

    def start(self, *words: str) -> subprocess.Popen[str]:
        """The suite, being run."""
        command = [sys.executable, "-m", "benchmarks", "run", str(self.path / "mine.yaml")]
        process = subprocess.Popen(
            [*command, "--output", str(self.output), *words], cwd=ROOT, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, *words: str, code: int = 0) -> str:
        """What the suite says when it is run to its end."""
        process = self.start(*words)
        said = process.communicate(timeout=600)[0]
        assert process.returncode == code, said
        assert "Traceback" not in said
        return said

    def rows(self) -> dict[str, dict[str, str]]:
        """The stored table of runs by arm."""
        with (self.folder / "runs.csv").open(newline="") as file:
            return {row["arm"]: row for row in csv.DictReader(file)}


@pytest.fixture
def place(tmp_path: Path, session_cache: Path) -> Iterator[Place]:
    """A place whose suites are told to end, with their runs, when a test fails."""
    made = Place(tmp_path, session_cache)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate()


def test_a_failing_run_is_written_down_and_the_others_go_on(place: Place) -> None:
    place.suite(
        arms=[
            {"method": "broken", "cost": 3},
            {"method": "broken", "set": {"how": "killed"}, "cost": 2},
            {"method": "upsample+dpsgd"},
            {"method": "erm"},
        ]
    )
    said = place.run("--workers", "2", code=1)
    rows = place.rows()
    assert {arm: row["state"] for arm, row in rows.items()} == {
        "broken": "failed", "broken how=killed": "failed", "upsample+dpsgd": "skipped",
        "erm": "done",
    }  # fmt: skip
    assert rows["broken"]["told"] == "exit code 1: failed: these rows are not for me"
    assert rows["broken how=killed"]["told"].startswith("ended by SIGKILL")
    assert "cannot account for upsample" in rows["upsample+dpsgd"]["told"]
    assert "failed: these rows" in Path(rows["broken"]["log"]).read_text()
    assert "FINISHED" in (Path(rows["erm"]["directory"]) / "run.json").read_text()
    assert [f"[{n} of 4]" in said for n in (2, 3, 4)] == [True] * 3
    assert "failed: broken on left-alone: exit code 1: failed: these rows" in said
    assert "python -m leaderboard --output" in said

    # Once more: what is done is not started, what failed is.
    done = Path(rows["erm"]["log"])
    done.unlink()
    again = place.run("--only", "[eb]r*", code=1)
    assert "1 already done, 0 cannot run, 2 to do" in again
    assert not done.exists()
    # The table still knows the run that was not asked for.
    states = {arm: row["state"] for arm, row in place.rows().items()}
    assert states["upsample+dpsgd"] == "skipped" and states["erm"] == "already done"


def test_an_interrupted_suite_stops_its_runs_and_continues(place: Place) -> None:
    place.suite(
        arms=[{"method": "erm"}],
        seeds=[0, 1, 2],
        budgets={"long": {"set": {"image_size": 32, "epochs": 80, "patience": 80}}},
    )
    process = place.start("--workers", "2")
    deadline = time.monotonic() + 300
    while len(list(place.output.rglob("checkpoint.pt"))) < 2:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "the same command continues where it stopped" in said
    assert "Traceback" not in said
    # Nobody is left who works on the runs, and the third was never started.
    for lock in place.output.glob("left-alone/erm/.locks/*.lock"):
        with FileLock(lock, timeout=0):
            pass
    logs = sorted((place.folder / "logs").iterdir())
    assert [log.name[-5] for log in logs] == ["0", "1"]
    assert all("interrupted" in log.read_text() for log in logs)

    # Shorter by the same fields would be other runs, so one seed alone goes on to its end.
    continued = place.run("--seeds", "0")
    assert "[1 of 1] done" in continued
    text = logs[0].read_text()
    assert int(re.findall(r"continuing at epoch (\d+)", text)[0]) > 1


@pytest.mark.parametrize(("before", "asked"), [(signal.SIG_IGN, 0), (signal.SIG_DFL, 1)])
def test_a_closed_terminal_ends_a_suite_unless_it_runs_under_nohup(
    before: signal.Handlers, asked: int, tmp_path: Path
) -> None:
    launcher = Launcher([], folder=tmp_path, budget="quick", workers=1, terminal=Terminal())
    ours = signal.signal(signal.SIGHUP, before)
    try:
        with launcher._told_to_end():
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            assert launcher._requests == asked + 1
        assert signal.getsignal(signal.SIGHUP) is before
    finally:
        signal.signal(signal.SIGHUP, ours)


def test_a_suite_is_run_by_one_process_at_a_time(place: Place) -> None:
    place.suite(arms=[{"method": "erm"}])
    place.folder.mkdir(parents=True)
    with FileLock(place.folder / ".lock"):
        said = place.run(code=2)
    assert "a suite must be run by one process at a time" in said
    assert not place.output.joinpath("left-alone").exists()


def test_a_dry_run_starts_nothing(place: Place) -> None:
    place.suite(arms=[{"method": "erm"}, {"method": "upsample+dpsgd"}])
    said = place.run("--dry-run")
    assert "to do         python runner.py --method erm" in said
    assert "cannot run    upsample+dpsgd" in said
    assert not place.output.exists()


@pytest.fixture
def planned(place: Place) -> list[Planned]:
    """Five runs: two seeds of a costly arm that shares what it fits, and three of ERM."""
    suite = Suite(
        "mine", "", (Data("phantom", PEOPLE),),
        (Arm("upsample", cost=2, shared_cost=4), Arm("erm")), (0, 1),
        {"quick": Budget(set={"image_size": 32})},
    )  # fmt: skip
    return expand(suite, Choice(output=str(place.output)))


def test_remaining_time_is_unknown_before_anything_finished(planned: list[Planned]) -> None:
    assert Estimate().remaining([], planned, 2) is None


def test_remaining_time_follows_cost_and_what_was_measured(planned: list[Planned]) -> None:
    first, erm, second, erm_1 = planned
    assert [(r.arm.method, r.plan.seed) for r in planned] == [
        ("upsample", 0), ("erm", 0), ("upsample", 1), ("erm", 1),
    ]  # fmt: skip
    estimate = Estimate()
    estimate.learn(erm, 10.0)
    # By cost: 6 x 10 s with what is shared, 2 x 10 s without; an ERM as it was measured.
    assert [estimate.of(run) for run in (first, second, erm_1)] == [60.0, 20.0, 10.0]
    # 45 of 60 s have passed; the other worker takes second (20 s), then this one erm_1 (15 + 10).
    assert estimate.remaining([(first, 45.0)], [second, erm_1], 2) == 25.0
    assert estimate.remaining([(first, 45.0)], [second, erm_1], 1) == 45.0
    # A run that takes longer than expected is expected to end at once, not before.
    assert estimate.remaining([(erm_1, 99.0)], [], 2) == 0.0
    estimate.learn(first, 100.0)
    assert estimate.of(first) == 100.0
    # 110 s were spent on a cost of 7.
    assert estimate.of(second) == pytest.approx(2 * 110 / 7)


def test_the_summary_counts_by_arm_and_gives_reasons() -> None:
    def outcome(arm: str, seed: int, state: str, seconds: float, told: str = "") -> Outcome:
        return Outcome("quick", "phantom", arm, seed, state, seconds, 0, told, "", "", "")

    said = summary([
        outcome("erm", 0, "done", 60), outcome("b", 0, "failed", 30, "exit code 1: no"),
        outcome("erm", 1, "done", 120), outcome("b", 1, "skipped", 0, "cannot"),
        outcome("erm", 2, "already done", 0),
    ])  # fmt: skip
    rows = [line.split() for line in said.splitlines()]
    assert rows[1] == ["erm", "2", "1", "-", "-", "3.0"]
    assert rows[2] == ["b", "-", "-", "1", "1", "0.5"]
    assert said.splitlines()[3:] == [
        "failed: b on phantom: exit code 1: no", "skipped: b on phantom: cannot",
    ]  # fmt: skip


def test_bytecode_is_kept_in_the_cache_where_it_may_not_lie_beside_the_sources(
    planned: list[Planned], monkeypatch: pytest.MonkeyPatch, session_cache: Path
) -> None:
    from benchmarks.launch import _environment

    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    given = _environment(planned[0])
    assert "PYTHONDONTWRITEBYTECODE" not in given
    assert given["PYTHONPYCACHEPREFIX"] == str(session_cache.resolve() / "bytecode")
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert "PYTHONPYCACHEPREFIX" not in _environment(planned[0])
