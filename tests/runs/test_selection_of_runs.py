"""What a run says of how its epoch was chosen, and that no test label had a part in it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest

from datasets.phantom import Phantom
from datasets.split import TRUE, Split
from leaderboard.collect import read_store
from methods.fit import quiet_logger
from runs.pipeline import execute
from runs.plan import resolve
from runs.preparation import Prepared, prepare_run
from runs.request import Request
from tracking.store import Store

DATA = {"train_patients": 12, "val_patients": 12, "audit_patients": 8, "test_patients": 12}


class Unattacked(Phantom):
    """The phantom without linkage audits, which take their time."""

    reidentification_allowed: ClassVar[bool] = False


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store made once."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    Store(f"sqlite:///{path}", "default")
    return path


@pytest.fixture
def place(tmp_path: Path, empty_store: Path) -> Path:
    """A directory with an empty store."""
    for file in empty_store.parent.glob("mlflow.db*"):
        shutil.copy(file, tmp_path / file.name)
    return tmp_path


def prepared(place: Path, selection: str, folder: str = "output") -> Prepared:
    request = Request(
        method="erm", dataset="phantom", data=DATA, device="cpu",
        set={"image_size": 32, "epochs": 2, "selection": selection},
        output=str(place / folder), tracking_uri=f"sqlite:///{place}/mlflow.db",
    )  # fmt: skip
    return prepare_run(replace(resolve(request), dataset=Unattacked(**DATA)))


def tag(place: Path, run_id: str, name: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{place}/mlflow.db").get_run(run_id).data.tags.get(name)


def test_a_choice_that_fell_back_is_a_warning_of_the_run(place: Path) -> None:
    record = execute(prepared(place, "worst_group"), quiet_logger())
    (warning,) = record.warnings
    assert warning.startswith("2 of 2 epochs have no value of worst_group (no attribute has two")
    assert warning.endswith("the macro AUC decides, or the loss where there is none")
    assert record.oracle == "" and tag(place, record.mlflow_run_id, "oracle") is None


def test_a_run_chosen_by_an_oracle_says_so_and_is_not_compared(place: Path) -> None:
    run = prepared(place, "oracle")
    record = execute(run, quiet_logger())
    assert record.oracle == "epoch chosen by an oracle (oracle)" and not record.warnings
    assert tag(place, record.mlflow_run_id, "oracle") == record.oracle
    store = read_store(run.plan.output)
    assert store.finished == () and [r.oracle for r in store.unfinished] == [record.oracle]


def turned(run: Prepared) -> Prepared:
    """The same run whose test and audit labels are the other way round."""

    def other(split: Split) -> Split:
        columns = [c for f in split.findings for c in (f, TRUE + f)]
        return split.with_frame(split.frame.assign(**{c: 1 - split.frame[c] for c in columns}))

    (folds,) = run.folds
    return replace(run, folds=(replace(folds, test=other(folds.test), audit=other(folds.audit)),))


def test_test_labels_change_no_history_and_no_threshold(place: Path) -> None:
    runs = [prepared(place, "loss", "a"), turned(prepared(place, "loss", "b"))]
    for run in runs:
        execute(run, quiet_logger())
    thresholds, histories = (
        [pd.read_csv(r.directory.path / name) for r in runs]
        for name in ("thresholds.csv", "history.csv")
    )
    assert thresholds[0].equals(thresholds[1])
    clock = ["seconds", "images_per_second"]
    assert histories[0].drop(columns=clock).equals(histories[1].drop(columns=clock))
    assert histories[0]["selection"].equals(histories[0]["val_loss"])
    labels = [
        pd.read_parquet(r.directory.path / "predictions.parquet").query("fold == 'test'")
        for r in runs
    ]
    finding = f"y:{runs[0].task.findings[0]}"
    assert (labels[0][finding] != labels[1][finding]).all(), "the labels were turned"
