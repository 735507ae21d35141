"""Studies: real searches, a real store, a real kill."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import runs.trial
from benchmarks.__main__ import main as benchmarks
from benchmarks.study import _alone
from datasets.phantom_cohort import FINDINGS
from datasets.split import TRUE, Folds, Split
from methods.base import Method, tunable
from methods.fit import quiet_logger
from metrics.score import Score
from registry import METHODS, ROOT, UnknownName, load_plugins
from runs.goals import Goal, available, read_goals
from runs.plan import resolve
from runs.preparation import Prepared, prepare_run
from runs.provenance import primary_contrasts
from runs.request import Request
from runs.search import FAILURES_IN_A_ROW, StudyFailed, search
from runs.study import Found, Range, Study, Trial, choose, front, search_space
from runs.trial import blind
from tracking.store import Store

DATA = {"train_patients": 60, "val_patients": 250, "audit_patients": 30, "test_patients": 60}
SMALL: dict[str, Any] = {
    "dataset": "phantom", "data": DATA, "device": "cpu",
    "set": {"image_size": 32, "epochs": 1},
}  # fmt: skip
FLAGS = [
    "--dataset", "phantom", "--objectives", "auc,fnr_contrast:race", "--device", "cpu",
    "--set", "image_size=32", "--set", "epochs=2", "--final-seeds", "1", "--trials", "3",
    *[word for k, v in DATA.items() for word in ("--data", f"{k}={v}")],
]  # fmt: skip
AUC = Goal("auc", "", "all", "higher")
CONTRAST = Goal("fnr_contrast", "race", "B - A", "zero")
PLUGIN = '''
"""Methods that misbehave, for the tests of studies."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from methods.base import Method, tunable
from registry import METHODS


@METHODS.register("leaky")
@dataclass(frozen=True)
class Leaky(Method):
    """Draws its first weights from the labels of test patients. Source: this test."""

    def network(self, task, folds, ctx):
        labels = np.nan_to_num(folds.test.labels())
        torch.manual_seed(int((labels * np.arange(len(labels))[:, None]).sum()))
        return super().network(task, folds, ctx)


@METHODS.register("fragile")
@dataclass(frozen=True)
class Fragile(Method):
    """Works with one of three choices. Source: this test."""

    mode: str = tunable("good", choices=("good", "undecided", "broken"))

    def data(self, train, ctx):
        if self.mode == "broken":
            raise ValueError("no row may be used, but " + str(train.frame["patient_id"].iloc[0]))
        return train

    def decide(self, val):
        rule = super().decide(val)
        if self.mode == "good":
            return rule
        nothing = [replace(t, value=math.nan, note="planted") for t in rule.thresholds]
        return replace(rule, thresholds=tuple(nothing))
'''


# The front and the choice, by hand.


def test_the_front_holds_what_nothing_betters() -> None:
    costs = np.array([[1, 5], [2, 2], [2, 3], [5, 1], [5, 1], [6, 6.0]])
    # Row 2 is bettered by row 1; row 4 equals row 3, which stands for both; row 5 by all.
    assert front(costs) == [0, 1, 3]


def test_with_one_objective_the_front_is_the_best_trial() -> None:
    assert front(np.array([[3.0], [1.0], [2.0], [1.0]])) == [1]


def trial(number: int, auc: float, contrast: float) -> Trial:
    return Trial(number, {"lr": float(number)}, (auc, contrast))


def test_the_knee_and_the_best_of_each_objective_are_chosen() -> None:
    # Costs over the front, scaled: 0 -> (0, 1), 1 -> (1/4, 1/4), 2 -> (1/2, 1/8), 3 -> (1, 0).
    trials = [trial(0, 0.90, -0.80), trial(1, 0.85, 0.20), trial(2, 0.80, -0.10), trial(3, 0.7, 0)]
    chosen = {c.trial.number: c.why for c in choose(trials, (AUC, CONTRAST))}
    assert chosen == {0: "best auc", 1: "knee", 3: "best fnr_contrast:race"}


def test_of_two_on_the_front_none_is_a_knee() -> None:
    chosen = choose([trial(0, 0.9, 0.3), trial(1, 0.8, 0.1)], (AUC, CONTRAST))
    assert [c.why for c in chosen] == ["best auc", "best fnr_contrast:race"]


def test_a_trial_that_is_best_in_everything_is_chosen_once() -> None:
    (only,) = choose([trial(0, 0.8, 0.1), trial(1, 0.9, -0.05)], (AUC, CONTRAST))
    assert only.trial.number == 1 and only.why == "best auc, best fnr_contrast:race"


def test_at_most_three_are_chosen_of_four_objectives() -> None:
    goals = (AUC, *(dataclasses.replace(CONTRAST, attribute=a) for a in ("race", "sex", "age")))
    trials = [Trial(i, {}, tuple(1.0 - (j == i) * (j > 0) for j in range(4))) for i in range(4)]
    trials.append(Trial(4, {}, (1.1, 0.9, 0.9, 0.9)))
    assert len(choose(trials, goals)) == 3


def test_nothing_is_chosen_of_nothing() -> None:
    assert choose([], (AUC, CONTRAST)) == ()


# The search space.


def test_fixed_fields_are_not_searched() -> None:
    assert set(search_space(Method, {"lr": "0.1"})) == {"weight_decay", "epochs", "batch_size"}


def test_a_drawn_number_is_rounded_and_stays_in_its_range() -> None:
    number = Range(default=0.02, low=0.0010004, high=0.2)
    assert number.value(0.0123456) == 0.0123
    assert number.value(0.00100041) == 0.0010004
    assert number.value(0.02) == 0.02


def test_choices_keep_their_type() -> None:
    several = Range(default=(1, 2), choices=((1, 2), (3,), 16, True))
    for choice in several.choices:
        assert several.value(str(choice)) == choice
    assert several.parameter() == "(1, 2)"


def test_the_size_of_images_must_be_fixed() -> None:
    @dataclass(frozen=True)
    class Sized(Method):
        image_size: int = tunable(64, choices=(32, 64))

    with pytest.raises(ValueError, match="--set image_size=64"):
        search_space(Sized, {})


# Objectives.


def test_costs_follow_the_direction_of_the_metric() -> None:
    assert [Goal("m", "", "all", d).cost(-0.2) for d in ("higher", "lower", "zero")] == [
        0.2, -0.2, 0.2,
    ]  # fmt: skip


def test_a_contrast_is_that_of_the_registered_pair() -> None:
    pairs = [
        Score("fnr_contrast", 0.1, attribute="race", group=group)
        for group in ("B - A", "C - A", "C - B")
    ]
    assert available(pairs, {"race": "C - A"})["fnr_contrast:race"].group == "C - A"


@pytest.fixture(scope="module")
def store_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, made once."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    Store(f"sqlite:///{path}", "default")
    return path


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The methods that misbehave, registered while the tests of this file run."""
    path = tmp_path_factory.mktemp("plugin") / "misbehaving.py"
    path.write_text(PLUGIN)
    load_plugins([str(path)])
    yield
    for name in ("leaky", "fragile"):
        del METHODS._entries[name], METHODS._loaded[name]


@pytest.fixture
def prepared(tmp_path: Path, store_file: Path) -> Prepared:
    """A small ERM plan on the phantom, in a place of its own."""
    for file in store_file.parent.glob("mlflow.db*"):
        shutil.copy(file, tmp_path / file.name)
    request = Request(
        method="erm", **SMALL, output=str(tmp_path / "output"),
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
    )  # fmt: skip
    return prepare_run(resolve(request))


def goals_of(prepared: Prepared, *names: str) -> tuple[Goal, ...]:
    plan, task = prepared.plan, prepared.task
    contrasts = primary_contrasts(plan.dataset, task, prepared.folds)
    return read_goals(names, prepared.folds[0].val, task, contrasts, plan.method.operating_point)


def test_an_objective_is_named_as_metric_and_attribute(prepared: Prepared) -> None:
    assert goals_of(prepared, "auc", "fnr_contrast:race") == (AUC, CONTRAST)
    assert goals_of(prepared, "worst_group_auc:sex")[0].direction == "higher"


@pytest.mark.parametrize("name", ["acu", "auc:race", "fnr_contrast", "fnr_contrast:height",
                                  "image_reid_auc", "epsilon"])  # fmt: skip
def test_what_is_no_objective_is_told_with_the_list(prepared: Prepared, name: str) -> None:
    with pytest.raises(
        UnknownName, match=r"known: accuracy, .*\bfnr_contrast:ATTRIBUTE, .* age_band\|"
    ):
        goals_of(prepared, name)


def test_an_objective_without_enough_patients_is_refused_beforehand(prepared: Prepared) -> None:
    few = prepared.folds[0].val
    few = few.where(np.arange(len(few)) < 100)
    with pytest.raises(ValueError, match=r"fnr_contrast:race has none \(none of 9 findings"):
        read_goals(["fnr_contrast:race"], few, prepared.task, {"race": "B - A"}, "youden")


# The search, with a real sampler, journal and store.


def study_of(
    prepared: Prepared, method: str = "erm", folder: str = "output", **fixed: Any
) -> Study:
    plan = prepared.plan
    output = plan.output.parent / folder
    request = Request(
        method=method, dataset="phantom", data=DATA, device="cpu",
        set={**SMALL["set"], **fixed}, output=str(output), tracking_uri=plan.tracking_uri,
    )  # fmt: skip
    planned = resolve(request)
    space = search_space(type(planned.method), request.set)
    goals = goals_of(prepared, "auc", "fnr_contrast:race")
    return Study(replace(prepared, plan=planned), request.set, space, goals)


def searched(study: Study, trials: int, log: logging.Logger | None = None) -> Found:
    store = Store(study.prepared.plan.tracking_uri, "default")
    with study.locked():
        return search(study, trials, store, log or quiet_logger())


def told(found: Found) -> list[Trial]:
    """Trials without what a clock says."""
    return [replace(t, seconds=0.0) for t in found.trials]


def test_the_first_trial_takes_the_defaults_and_the_others_differ(prepared: Prepared) -> None:
    study = study_of(prepared)
    found = searched(study, 3)
    assert found.trials[0].fields == {name: r.default for name, r in study.space.items()}
    assert len({tuple(t.fields.items()) for t in found.trials}) == 3
    for t in found.trials:
        assert len(t.values) == 2 and all(map(math.isfinite, t.values))
        assert study.space["lr"].low <= t.fields["lr"] <= study.space["lr"].high


def test_trials_are_added_later_and_asking_again_makes_none(prepared: Prepared) -> None:
    study = study_of(prepared)
    first, more = searched(study, 2), searched(study, 4)
    assert len(more.trials) == 4 and told(more)[:2] == told(first)
    # A study of two is its first two, however many there are: budgets stay equal.
    assert told(searched(study, 2)) == told(first)
    straight = searched(study_of(prepared, folder="elsewhere"), 4)
    assert told(straight) == told(more)


def test_beyond_the_random_trials_the_sampler_learns_the_same(prepared: Prepared) -> None:
    one = searched(study_of(prepared), 8)
    two = study_of(prepared, folder="elsewhere")
    searched(two, 7)
    assert told(searched(two, 8)) == told(one)


def test_other_objectives_or_seeds_are_another_study(prepared: Prepared) -> None:
    study = study_of(prepared)
    assert study.key == study_of(prepared, folder="elsewhere").key
    other = [
        replace(study, goals=study.goals[:1]),
        study_of(prepared, lr=0.01),
        replace(study, prepared=replace(prepared, plan=replace(prepared.plan, seed=1))),
        replace(study, prepared=replace(prepared, data_digest="other")),
    ]
    assert len({study.key, *(s.key for s in other)}) == 5


def test_a_single_objective_is_searched_too(prepared: Prepared) -> None:
    found = searched(replace(study_of(prepared), goals=(AUC,)), 3)
    (choice,) = found.chosen
    assert choice.trial.values[0] == max(t.values[0] for t in found.trials)


def test_where_everything_is_fixed_one_trial_is_enough(prepared: Prepared) -> None:
    study = study_of(prepared, lr=0.01, weight_decay=0.01, batch_size=32)
    assert not study.space
    (only,) = searched(study, 5).trials
    assert only.fields == {}


def test_trials_without_values_are_recorded_as_failed(prepared: Prepared, plugin: None) -> None:
    study = study_of(prepared, "fragile", lr=0.01, weight_decay=0.01, batch_size=32)
    found = searched(study, 3)
    by_mode = {t.fields["mode"]: t for t in found.trials}
    assert len(found.complete) == 3 and {t.fields["mode"] for t in found.complete} == {"good"}
    failed = [t for t in found.trials if t.failed]
    assert failed, "the seed draws no bad choice any more: take another"
    assert all(t.values == () for t in failed)
    assert {c.trial.fields["mode"] for c in found.chosen} == {"good"}
    if "undecided" in by_mode:
        assert "fnr_contrast:race is undefined: none of 9" in by_mode["undecided"].note
    if "broken" in by_mode:
        assert re.search(r"but [0-9a-f]{16}$", by_mode["broken"].note), "the id is a pseudonym"
    with sqlite3.connect(str(prepared.plan.tracking_uri).removeprefix("sqlite:///")) as base:
        states = [s for (s,) in base.execute("select status from runs where name like '%trial%'")]
    assert states.count("FAILED") == len(failed) and states.count("FINISHED") == 3


def test_a_study_whose_trials_all_fail_stops(prepared: Prepared, plugin: None) -> None:
    study = study_of(prepared, "fragile", mode="undecided", epochs=1)
    with pytest.raises(StudyFailed, match=f"{FAILURES_IN_A_ROW} in a row failed.*is undefined"):
        searched(study, 2)


def test_what_a_kill_leaves_in_the_journal_is_put_right(prepared: Prepared) -> None:
    study = study_of(prepared)
    before = searched(study, 2)
    journal = study.path / "journal.log"
    (study.path / "journal.log.lock").symlink_to(journal)
    with journal.open("ab") as file:
        file.write(b'{"op_code": 5, "worker_id": "x", "study')
    started = time.monotonic()
    after = searched(study, 3)
    assert told(after)[:2] == told(before) and len(after.trials) == 3
    # Optuna itself would wait 30 s for the lock of a process that is gone.
    assert time.monotonic() - started < 25


def test_a_second_process_waits_for_the_first(
    prepared: Prepared, caplog: pytest.LogCaptureFixture
) -> None:
    study, entered = study_of(prepared), threading.Event()
    log = logging.getLogger("test.waiting")

    def second() -> None:
        with _alone(study, log):
            entered.set()

    with caplog.at_level(logging.INFO, "test.waiting"):
        with study.locked():
            waiting = threading.Thread(target=second)
            waiting.start()
            assert not entered.wait(0.5)
        waiting.join(30)
    assert entered.is_set() and "waiting for it" in caplog.text


# Test labels.


def flipped(prepared: Prepared) -> Prepared:
    """The same data with every label of test and audit patients the other way round."""

    def turned(split: Split) -> Split:
        columns = [c for f in split.findings for c in (f, TRUE + f)]
        return split.with_frame(split.frame.assign(**{c: 1 - split.frame[c] for c in columns}))

    (folds,) = prepared.folds
    turned_folds = replace(folds, audit=turned(folds.audit), test=turned(folds.test))
    return replace(prepared, folds=(turned_folds,))


def outcome(prepared: Prepared, folder: str) -> tuple[Any, ...]:
    found = searched(study_of(prepared, "leaky", folder), 3)
    chosen = [(c.trial.number, c.why) for c in found.chosen]
    return told(found), [t.number for t in found.front], chosen


def test_test_labels_change_no_trial_front_or_choice(prepared: Prepared, plugin: None) -> None:
    assert outcome(prepared, "a") == outcome(flipped(prepared), "b")


def test_a_planted_leak_of_test_labels_is_found(
    prepared: Prepared, plugin: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same comparison, with a method that uses test labels and trials that hand them over.
    monkeypatch.setattr(runs.trial, "blind", lambda folds: folds)
    assert outcome(prepared, "a") != outcome(flipped(prepared), "b")


class Guarded(pd.DataFrame):
    """A table that says so when a label is read."""

    read: tuple[str, ...] = ()

    def __getitem__(self, key: Any) -> Any:
        wanted = [key] if isinstance(key, str) else list(key) if isinstance(key, list) else []
        for name in wanted:
            if name in FINDINGS or str(name).startswith(TRUE):
                raise PermissionError(f"the label {name!r} was read")
        return super().__getitem__(key)


def guarded(prepared: Prepared) -> Prepared:
    """The same data whose test and audit labels cannot be read."""

    def behind(split: Split) -> Split:
        held = replace(split)
        object.__setattr__(held, "frame", Guarded(split.frame))
        return held

    (folds,) = prepared.folds
    shut = object.__new__(Folds)
    for fold in ("train", "val"):
        object.__setattr__(shut, fold, getattr(folds, fold))
    for fold in ("audit", "test"):
        object.__setattr__(shut, fold, behind(getattr(folds, fold)))
    return replace(prepared, folds=(shut,))


def test_a_study_reads_no_test_label(
    prepared: Prepared, plugin: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(prepared.task.findings) == set(FINDINGS)
    kept = searched(study_of(guarded(prepared), "leaky"), 2)
    assert len(kept.complete) == len(kept.trials) == 2
    monkeypatch.setattr(runs.trial, "blind", lambda folds: folds)
    with pytest.raises(StudyFailed, match=r"the label '.*' was read"):
        searched(study_of(guarded(prepared), "leaky", folder="unblinded"), 2)


def test_blind_folds_hold_no_column_that_tells_a_label(prepared: Prepared) -> None:
    folds = blind(prepared.folds[0])
    for fold in (folds.audit, folds.test):
        assert np.isnan(fold.labels()).all() and not fold.has_truth
        known = {"image_id", "patient_id", "path", "origin", *fold.attributes, *fold.findings}
        assert set(fold.frame) == known
    assert not np.isnan(folds.train.labels()).all() and not np.isnan(folds.val.labels()).all()


# The command.


class Place:
    """A directory with its own results and store, and studies run in it."""

    def __init__(self, path: Path, cache: Path, store_file: Path) -> None:
        self.output, self.db = path / "output", path / "mlflow.db"
        for file in store_file.parent.glob("mlflow.db*"):
            shutil.copy(file, path / file.name)
        self.environment = {
            **os.environ,
            "TRILEMMA_CACHE": str(cache),
            "TRILEMMA_OUTPUT": str(self.output),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.db}",
            "PYTHONUNBUFFERED": "1",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks", "study", *arguments], cwd=ROOT,
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *arguments: str, code: int = 0) -> str:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=900)
        assert process.returncode == code, f"{out}\n{err}"
        assert "Traceback" not in out + err
        return out + err

    def studies(self, method: str) -> list[Path]:
        found = [p.parent for p in self.output.glob("studies/*/study.json")]
        return [p for p in found if json.loads((p / "study.json").read_text())["request"]["method"]
                == method]  # fmt: skip

    def trials(self, method: str) -> pd.DataFrame:
        (path,) = self.studies(method)
        table = pd.read_csv(path / "trials.csv")
        return table[table["method"] == method].drop(columns="seconds").reset_index(drop=True)

    def mlflow(self, query: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.db) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, session_cache: Path, store_file: Path
) -> tuple[Place, str]:
    """A place with a finished study of up-sampling, and what it said; tests leave it as it is."""
    place = Place(tmp_path_factory.mktemp("studied"), session_cache, store_file)
    return place, place.run("--method", "upsample", *FLAGS)


@pytest.fixture
def place(tmp_path: Path, session_cache: Path, store_file: Path) -> Place:
    """A place of the test's own."""
    return Place(tmp_path, session_cache, store_file)


def test_a_study_gives_erm_the_same_budget(shared: tuple[Place, str]) -> None:
    place, _ = shared
    for method in ("erm", "upsample"):
        table = place.trials(method)
        assert len(table) == 3 and table["note"].isna().all()
        assert table["front"].any() and table["chosen"].notna().any()


def test_a_study_leaves_a_page_and_a_picture(shared: tuple[Place, str]) -> None:
    place, said = shared
    (path,) = place.studies("upsample")
    page = (path / "study.md").read_text()
    assert page.startswith("# Study of upsample on phantom\n\n**SIMULATED data")
    rows = re.findall(r"^\| (upsample|erm) \d+ \|", page, re.MULTILINE)
    assert {"upsample", "erm"} == set(rows)
    assert "image_size=32" in page and "--trials 6" in page
    assert (path / "front.png").read_bytes()[:4] == b"\x89PNG"
    assert str(path / "study.md") in said and "SIMULATED" in said
    assert not list(path.rglob("*.partial")) and not list((path / "work").iterdir())


def test_the_page_holds_the_test_values_of_the_new_seeds(shared: tuple[Place, str]) -> None:
    place, _ = shared
    (path,) = place.studies("upsample")
    page = (path / "study.md").read_text().partition("## On test patients")[2]
    chosen = place.trials("upsample").query("chosen == chosen")
    found = sorted(p.parent for p in place.output.glob("phantom/upsample/*/run.json"))
    assert len(found) == len(chosen)
    for directory in found:
        assert json.loads((directory / "run.json").read_text())["seed"] == 1
        scores = pd.read_parquet(directory / "scores.parquet")
        auc = scores.query("metric == 'auc' and finding == 'macro' and group == 'all' "
                           "and labels == 'recorded'")["value"].item()  # fmt: skip
        assert f"{auc:.3f} [" in page


def test_best_trials_are_on_the_leaderboard_as_variants(shared: tuple[Place, str]) -> None:
    place, _ = shared
    out = place.output / "leaderboard"
    subprocess.run(
        [sys.executable, "-m", "leaderboard", "--output", str(place.output), "--out", str(out)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    board = pd.read_csv(out / "leaderboard.csv")
    chosen = place.trials("upsample").query("chosen == chosen")
    assert board[board["method"] == "upsample"]["method_variant"].nunique() == len(chosen)


def test_trials_are_children_of_their_study_in_mlflow(shared: tuple[Place, str]) -> None:
    place, _ = shared
    runs_of = "select r.name, r.status, t.value from runs r join tags t using (run_uuid)"
    every = place.mlflow("select run_uuid, name from runs")
    parents = {identity: name for identity, name in every if name.startswith("study of")}
    children = place.mlflow(f"{runs_of} where t.key = 'mlflow.parentRunId'")
    assert sorted(parents.values()) == [
        "study of erm phantom seed 0", "study of upsample phantom seed 0",
    ]  # fmt: skip
    assert len(children) == 6 and {status for _, status, _ in children} == {"FINISHED"}
    for name, _, parent in children:
        assert parents[parent].split()[2] == name.split()[0]
    measured = place.mlflow("select distinct key from metrics m join runs r using (run_uuid) "
                            "where r.name = 'upsample trial 1'")  # fmt: skip
    keys = {key for (key,) in measured}
    assert {"val/auc/macro", "val/fnr_contrast/macro/race/B - A", "train/val_auc"} <= keys
    assert not any(key.startswith(("auc/", "fnr_")) or "true" in key for key in keys)


def test_the_same_study_again_makes_no_run(shared: tuple[Place, str]) -> None:
    place, _ = shared
    before = place.mlflow("select count(*) from runs")
    said = place.run("--method", "upsample", *FLAGS)
    assert said.count("all 3 trials are there already") == 2 and "epoch 1/" not in said
    assert place.mlflow("select count(*) from runs") == before


def test_a_killed_study_ends_as_one_that_was_not(shared: tuple[Place, str], place: Place) -> None:
    process = place.start("--method", "erm", *FLAGS)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("erm trial 1: lr="):
            break
    deadline = time.monotonic() + 120
    while not list(place.output.glob("studies/*/work/*/checkpoint.pt")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert sorted(s for (s,) in place.mlflow("select status from runs")) == [
        "FINISHED", "RUNNING", "RUNNING",
    ]  # fmt: skip
    said = place.run("--method", "erm", *FLAGS)
    assert "a trial was cut off and is tried again" in said
    assert re.search(r"erm trial 1: .*\n(?:only .*\n)?continuing at epoch 2/2", said)
    pd.testing.assert_frame_equal(place.trials("erm"), shared[0].trials("erm"))
    (path,) = place.studies("erm")
    assert "1 cut off and made again" in (path / "study.md").read_text()
    names = [n for (n,) in place.mlflow("select name from runs where name like '%trial%'")]
    assert sorted(names) == ["erm trial 0", "erm trial 1", "erm trial 2"]
    assert {s for (s,) in place.mlflow("select status from runs")} == {"FINISHED"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--objectives", "fnr_contrats:race"],
         "did you mean 'fnr_contrast:race'? known: accuracy"),
        (["--method", "upsmaple"], "did you mean 'upsample'?"),
        (["--trials", "0"], "--trials must be a whole number from 1"),
        (["--final-seeds", "two"], "--final-seeds must be a whole number"),
        (["--seed", "-1"], "--seed must be a whole number"),
        (["--set", "lr=fast"], "lr must be a number"),
        (["--set", "cells=nothing"], "cells"),
        (["--objectives", ""], "--objectives must name at least one"),
        (["--objectives", "auc,auc"], "each once"),
        (["--set", "lr=0.1", "--set", "weight_decay=0.1", "--set", "epochs=1",
          "--set", "batch_size=8"], "a study needs a tunable field"),
        (["--objectives", "fnr_contrast:race", "--data", "val_patients=30"],
         "must have a value on the 30 validation patients"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_sentence_and_stores_nothing(
    changes: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TRILEMMA_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    usual = ["--method", "upsample", "--dataset", "phantom", "--objectives", "auc",
             "--set", "image_size=32"]  # fmt: skip
    code = benchmarks(["study", *usual, *changes])
    error = capsys.readouterr().err
    assert code == 2 and said in error and len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
