"""Which trial of a study is run again, where a strategy of selection chooses it."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.__main__ import main as benchmarks
from benchmarks.study import Asked
from benchmarks.study_report import Report, page
from methods.fit import quiet_logger
from registry import SELECTION
from runs.goals import read_goals
from runs.plan import resolve
from runs.preparation import prepare_run
from runs.provenance import primary_contrasts
from runs.request import Request
from runs.search import search
from runs.study import Found, Study, Trial, choose_by, search_space
from tracking.store import Store

DATA = {"train_patients": 60, "val_patients": 250, "audit_patients": 30, "test_patients": 60}


def trial(number: int, **selection: float) -> Trial:
    return Trial(number, {}, (0.5,), selection=selection)


def chosen(name: str, *trials: Trial) -> int:
    (choice,) = choose_by(name, trials)
    return choice.trial.number


def test_the_best_by_the_strategy_is_chosen_in_its_direction() -> None:
    trials = [trial(0, loss=0.4, worst_group=0.6), trial(1, loss=0.5, worst_group=0.7)]
    assert chosen("worst_group", *trials) == 1
    assert chosen("loss", *trials) == 0


def test_the_floor_is_below_the_best_of_all_trials() -> None:
    trials = [
        trial(0, macro_auc=0.80, minimum_contrast=0.01),
        trial(1, macro_auc=0.895, minimum_contrast=0.10),
        trial(2, macro_auc=0.90, minimum_contrast=0.20),
    ]
    assert chosen("minimum_contrast", *trials) == 1


def test_a_strategy_without_a_value_falls_back_and_says_so() -> None:
    undefined = {"worst_group": "too few patients"}
    trials = [
        replace(trial(n, macro_auc=auc, loss=0.5), undefined=undefined)
        for n, auc in enumerate((0.7, 0.8))
    ]
    (choice,) = choose_by("worst_group", trials)
    assert choice.trial.number == 1
    assert choice.why == "best by macro_auc, since worst_group has no value: too few patients"


def test_a_strategy_that_came_after_the_trials_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'newer' came later than they did; give .* --seed"):
        choose_by("newer", [trial(0, macro_auc=0.7)])


def test_nothing_is_chosen_of_nothing() -> None:
    assert choose_by("loss", []) == ()


def test_the_command_repeats_the_strategy() -> None:
    asked = Asked(Request(method="erm", dataset="phantom"), ("auc",), 3, 3, "worst_group")
    assert asked.command().endswith("--select worst_group")
    assert asked.of_reference().select == "worst_group"


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """A study of ERM with two trials, chosen by the validation loss."""
    place = tmp_path_factory.mktemp("studied")
    uri = f"sqlite:///{place}/mlflow.db"
    request = Request(
        method="erm", dataset="phantom", data=DATA, device="cpu",
        set={"image_size": 32, "epochs": 1}, output=str(place / "output"), tracking_uri=uri,
    )  # fmt: skip
    prepared = prepare_run(resolve(request))
    plan, folds = prepared.plan, prepared.folds
    contrasts = primary_contrasts(plan.dataset, prepared.task, folds)
    goals = read_goals(["auc"], folds[0].val, prepared.task, contrasts, "specificity:0.80")
    space = search_space(type(plan.method), request.set)
    study = Study(prepared, request.set, space, goals, select="loss")
    with study.locked():
        return search(study, 2, Store(uri, "default"), quiet_logger())


def test_every_strategy_but_an_oracle_judges_every_trial(studied: Found) -> None:
    facts = {name: e.facts for name, e in SELECTION.entries().items()}
    for one in studied.complete:
        told = {*one.selection, *one.undefined}
        assert told == {name for name, f in facts.items() if not f.get("oracle")}
        assert all(map(math.isfinite, one.selection.values()))
        assert one.selection["macro_auc"] == pytest.approx(one.values[0], abs=0.2)


def test_the_strategy_is_no_part_of_the_key_and_the_trials_stay(studied: Found) -> None:
    losses = [t.selection["loss"] for t in studied.complete]
    assert [c.trial.number for c in studied.chosen] == [losses.index(min(losses))]
    other = replace(studied.study, select="worst_class")
    assert other.key == studied.study.key
    plan = studied.study.prepared.plan
    again = search(other, 2, Store(plan.tracking_uri, "default"), quiet_logger())
    assert again.trials == studied.trials
    worst = [t.selection["worst_class"] for t in again.complete]
    assert [c.why for c in again.chosen] == ["best by worst_class"]
    assert again.chosen[0].trial.number == worst.index(max(worst))


def test_the_page_and_the_table_say_how_it_was_chosen(studied: Found) -> None:
    report = Report(studied, (), None, "python -m benchmarks study")
    report.write()
    text = page(report)
    assert "Chosen is the best trial by the strategy loss" in text
    assert "| best by loss |" in text
    table = pd.read_csv(report.path / "trials.csv")
    assert table["select:loss"].tolist() == [t.selection["loss"] for t in studied.trials]
    shutil.rmtree(report.path / "leaderboard", ignore_errors=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--select", "worst_grup"], "unknown selection strategy 'worst_grup'; did you mean"),
        (["--select", "oracle"], "--select must choose by what a study can know"),
        (["--set", "selection=oracle"], "--set selection must choose by what a study can know"),
    ],
)
def test_wrong_strategies_are_one_sentence_and_store_nothing(
    changes: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TRILEMMA_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    usual = ["--method", "upsample", "--dataset", "phantom", "--objectives", "auc"]
    code = benchmarks(["study", *usual, *changes])
    error = capsys.readouterr().err
    assert code == 2 and said in error and len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
