"""The suite as its user runs it: real commands, real stores, real kills."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent
SMALL = [
    "--dataset", "phantom", "--set", "image_size=32", "--set", "epochs=3",
    "--data", "train_patients=60", "--data", "val_patients=60", "--data", "audit_patients=30",
    "--data", "test_patients=60",
]  # fmt: skip
METHOD = '''
"""Sharpness-aware nothing: ERM under another name, from one file."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method
from registry import METHODS


@METHODS.register("outsider")
@dataclass(frozen=True)
class Outsider(Method):
    """ERM with label smoothing of zero.

    Source: this test.
    """

    smoothing: float = 0.0
'''


class Place:
    """A directory with its own results, store and cache, and commands run in it."""

    def __init__(self, path: Path, cache: Path) -> None:
        self.path, self.output, self.db = path, path / "output", path / "mlflow.db"
        self.environment = {
            **os.environ,
            "TRILEMMA_CACHE": str(cache),
            "TRILEMMA_OUTPUT": str(self.output),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.db}",
            "PYTHONUNBUFFERED": "1",
        }

    def start(self, *arguments: str, program: str = "runner.py") -> subprocess.Popen[str]:
        command = [sys.executable, *([str(ROOT / program)] if program.endswith(".py") else
                                     ["-m", program]), *arguments]  # fmt: skip
        return subprocess.Popen(
            command, cwd=self.path if program.endswith(".py") else ROOT, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *arguments: str, program: str = "runner.py", code: int = 0) -> str:
        process = self.start(*arguments, program=program)
        out, err = process.communicate(timeout=600)
        assert process.returncode == code, f"{out}\n{err}"
        assert "Traceback" not in out + err
        return out + err

    def directories(self, method: str = "erm", dataset: str = "phantom") -> list[Path]:
        return sorted(p.parent for p in self.output.glob(f"{dataset}/{method}/*/run.json"))

    def record(self, method: str = "erm") -> dict[str, object]:
        (directory,) = self.directories(method)
        held: dict[str, object] = json.loads((directory / "run.json").read_text())
        return held

    def mlflow_runs(self) -> list[tuple[str, str]]:
        with sqlite3.connect(self.db) as connection:
            return connection.execute("select run_uuid, status from runs").fetchall()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Place:
    """A place with one finished ERM run; tests that use it leave that run as it is."""
    place = Place(tmp_path_factory.mktemp("shared"), session_cache)
    place.run("--method", "erm", *SMALL)
    return place


@pytest.fixture
def place(tmp_path: Path, shared: Place, session_cache: Path) -> Iterator[Place]:
    """A place of the test's own whose empty store is made already."""
    fresh = Place(tmp_path, session_cache)
    for file in shared.path.glob("mlflow.db*"):
        shutil.copy(file, tmp_path / file.name)
    with sqlite3.connect(fresh.db) as connection:
        for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
            connection.execute(f"delete from {table}")
    yield fresh


def test_a_run_leaves_its_files_scores_and_mlflow_run(shared: Place) -> None:
    record = shared.record()
    (directory,) = shared.directories()
    names = {p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file()}
    assert {"config.yaml", "run.json", "scores.json", "scores.parquet", "predictions.parquet",
            "split.csv", "weights.safetensors", "history.csv", "thresholds.csv", "run.log",
            "figures/training.png", "figures/auc_by_group.png"} <= names  # fmt: skip
    assert record["status"] == "FINISHED" and record["kind"] == "simulated"
    assert shared.mlflow_runs() == [(record["mlflow_run_id"], "FINISHED")]


def test_a_run_is_tagged_simulated_and_has_few_metrics(shared: Place) -> None:
    with sqlite3.connect(shared.db) as connection:
        tags = dict(connection.execute("select key, value from tags").fetchall())
        metrics = connection.execute("select distinct key from metrics").fetchall()
    assert tags["kind"] == "simulated"
    assert 20 < len(metrics) <= 200


def test_no_patient_id_leaves_the_process(shared: Place) -> None:
    (directory,) = shared.directories()
    stored = list((shared.path / "mlruns").rglob("*")) + list(directory.rglob("*")) + [shared.db]
    raw = re.compile(rb"\bp0000\d\d(-v\d)?\b")
    for file in (f for f in stored if f.is_file()):
        found = raw.search(file.read_bytes())
        assert not found, f"{file}: {found}"
    table = pd.read_parquet(directory / "predictions.parquet")
    text = table.select_dtypes(exclude="number").astype(str)
    assert not text.apply(lambda c: c.str.contains(r"^p0000\d\d", regex=True).any()).any()
    assert table["patient"].str.fullmatch(r"[0-9a-f]{16}").all()


def test_stored_predictions_give_the_stored_scores_again(shared: Place) -> None:
    from sklearn.metrics import roc_auc_score

    (directory,) = shared.directories()
    table = pd.read_parquet(directory / "predictions.parquet")
    scores = pd.read_parquet(directory / "scores.parquet")
    test = table[table["fold"] == "test"]
    overall = scores[(scores["metric"] == "auc") & (scores["group"] == "all")
                     & (scores["labels"] == "true")].set_index("finding")  # fmt: skip
    compared = 0
    for finding in ("Pleural Effusion", "No Finding", "Lung Opacity"):
        expected = roc_auc_score(test[f"true:{finding}"], test[f"logit:{finding}"])
        value = overall.loc[finding, "value"]
        if not pd.isna(value):
            assert value == pytest.approx(expected, abs=1e-9)
            compared += 1
    assert compared
    decided = test["logit:No Finding"] >= pd.read_csv(directory / "thresholds.csv").set_index(
        "finding")["value"]["No Finding"]  # fmt: skip
    assert (decided == (test["decision:No Finding"] == 1)).all()


def test_the_same_command_again_is_recognised_as_done(shared: Place) -> None:
    said = shared.run("--method", "erm", *SMALL)
    assert "already done" in said and "epoch 1/" not in said
    assert len(shared.directories()) == 1 and len(shared.mlflow_runs()) == 1


def test_two_runners_started_at_once_on_a_fresh_store_both_finish(
    tmp_path: Path, session_cache: Path, shared: Place
) -> None:
    place = Place(tmp_path, session_cache)
    commands = [place.start("--method", "erm", *SMALL, "--seed", seed) for seed in ("1", "2")]
    for process in commands:
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, out + err
    assert [status for _, status in place.mlflow_runs()] == ["FINISHED"] * 2
    assert len(place.directories()) == 2


def test_a_killed_run_continues_to_identical_predictions(shared: Place, place: Place) -> None:
    process = place.start("--method", "erm", *SMALL)
    assert process.stderr is not None
    for line in process.stderr:
        if "epoch 1/3" in line:
            break
    deadline = time.monotonic() + 60
    while not list(place.output.rglob("checkpoint.pt")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [status for _, status in place.mlflow_runs()] == ["RUNNING"]
    said = place.run("--method", "erm", *SMALL)
    continued = re.search(r"continuing at epoch (\d)/3", said)
    assert continued and int(continued[1]) > 1
    assert place.mlflow_runs() == [(place.record()["mlflow_run_id"], "FINISHED")]
    columns = [c for c in _predictions(place) if c.startswith(("logit:", "decision:"))]
    assert _predictions(place)[columns].equals(_predictions(shared)[columns])


def _predictions(place: Place) -> pd.DataFrame:
    return pd.read_parquet(place.directories()[0] / "predictions.parquet")


def test_a_config_repeats_a_run_bit_for_bit(shared: Place) -> None:
    (directory,) = shared.directories()
    before = (directory / "predictions.parquet").read_bytes()
    said = shared.run("--config", str(directory / "config.yaml"), "--again")
    assert "identical to those of the earlier run: yes" in said
    assert shared.directories() == [directory]
    assert (directory / "predictions.parquet").read_bytes() == before
    assert {status for _, status in shared.mlflow_runs()} == {"FINISHED"}


def test_stored_weights_are_scored_without_training(shared: Place, place: Place) -> None:
    (directory,) = shared.directories()
    said = place.run("--from-run", str(directory))
    assert "epoch 1/" not in said
    columns = [c for c in _predictions(place) if c.startswith("logit:")]
    assert _predictions(place)[columns].equals(_predictions(shared)[columns])


def test_a_loss_that_diverges_is_recorded_as_failed(place: Place) -> None:
    plugin = str(_exploding(place.path))
    said = place.run("--method", "exploding", *SMALL, "--plugin", plugin, code=1)
    assert "failed: the loss must stay finite" in said
    record = place.record("exploding")
    assert record["status"] == "FAILED" and "finite" in str(record["error"])
    assert [status for _, status in place.mlflow_runs()] == ["FAILED"]


def _exploding(folder: Path) -> Path:
    path = folder / "exploding.py"
    path.write_text(
        METHOD.replace("outsider", "exploding").replace("Outsider", "Exploding")
        + "\n    def objective(self, task):\n"
        "        from methods.objective import MaskedCrossEntropy\n\n"
        "        class Broken(MaskedCrossEntropy):\n"
        "            def forward(self, net, batch):\n"
        "                return super().forward(net, batch) * float('nan')\n\n"
        "        return Broken()\n"
    )
    return path


def test_a_method_from_one_file_outside_runs_and_is_ranked(place: Place) -> None:
    plugin = place.path / "outsider.py"
    plugin.write_text(METHOD)
    assert "outsider" in place.run("--list", "methods", "--plugin", str(plugin))
    place.run("--method", "outsider", *SMALL, "--plugin", str(plugin))
    place.run("--out", str(place.path / "board"), program="leaderboard")
    assert "outsider" in (place.path / "board" / "leaderboard.md").read_text()


def test_k_folds_are_pooled(place: Place) -> None:
    place.run("--method", "erm", *SMALL, "--folds", "2")
    table = _predictions(place)
    test = table[table["fold"] == "test"]
    assert test["image"].is_unique and set(test["part"]) == {0, 1}
    assert test["patient"].nunique() == 60 + 60 + 30 + 60
    names = {p.name for p in place.directories()[0].iterdir()}
    assert {"weights-0.safetensors", "weights-1.safetensors"} <= names


def test_a_dry_run_stores_nothing(place: Place) -> None:
    said = place.run("--method", "upsample", *SMALL, "--dry-run")
    assert "cells = group" in said and "train" in said
    assert not place.output.exists() and not place.mlflow_runs()
