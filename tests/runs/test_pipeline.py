"""One run in this process: what is stored, what leaves the machine, what a failure tells."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest

from datasets.phantom import Phantom
from methods.fit import quiet_logger
from runs.pipeline import execute
from runs.plan import Plan, resolve
from runs.preparation import prepare_run
from runs.request import Request
from tracking.store import Store, StoreError

SMALL: dict[str, Any] = {
    "method": "erm", "dataset": "phantom", "set": {"image_size": 32, "epochs": 1},
    "data": {"train_patients": 12, "val_patients": 12, "audit_patients": 8, "test_patients": 12},
    "device": "cpu",
}  # fmt: skip


class Restricted(Phantom):
    """The phantom under terms that keep its images at home, and without linkage audits."""

    terms: ClassVar[str] = "restricted"
    reidentification_allowed: ClassVar[bool] = False


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store made once."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    Store(f"sqlite:///{path}", "default")
    return path


@pytest.fixture
def plan(tmp_path: Path, empty_store: Path) -> Plan:
    """A small plan without attackers, in a place of its own."""
    for file in empty_store.parent.glob("mlflow.db*"):
        shutil.copy(file, tmp_path / file.name)
    request = Request(
        **SMALL, output=str(tmp_path / "output"), tracking_uri=f"sqlite:///{tmp_path}/mlflow.db"
    )
    plan = resolve(request)
    people = Restricted(**SMALL["data"])
    return replace(plan, dataset=people)


def run_of(plan: Plan, run_id: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(plan.tracking_uri).get_run(run_id)


def logged_files(plan: Plan, run_id: str) -> set[str]:
    from mlflow import MlflowClient

    return {a.path for a in MlflowClient(plan.tracking_uri).list_artifacts(run_id)}


def test_only_aggregates_of_restricted_data_reach_a_remote_store(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "remote", True)
    record = execute(prepare_run(plan), quiet_logger())
    assert logged_files(plan, record.mlflow_run_id) == {
        "scores.parquet", "scores.json", "history.csv", "thresholds.csv", "figures",
    }  # fmt: skip


def test_a_local_store_gets_every_file(plan: Plan) -> None:
    record = execute(prepare_run(plan), quiet_logger())
    assert {"predictions.parquet", "split.csv", "weights.safetensors"} <= logged_files(
        plan, record.mlflow_run_id
    )


def test_a_data_set_that_forbids_it_is_not_attacked(plan: Plan) -> None:
    prepared = prepare_run(plan)
    execute(prepared, quiet_logger())
    metrics = {s.metric for s in prepared.directory.scores()}
    assert not any("reid" in m for m in metrics) and "auc" in metrics


def test_ids_in_an_error_are_told_but_not_stored(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("logits must be finite, but image 'p000031-v1' has nan")

    monkeypatch.setattr("runs.pipeline.evaluate", fail)
    prepared = prepare_run(plan)
    with pytest.raises(ValueError, match="p000031-v1"):
        execute(prepared, quiet_logger())
    record = prepared.directory.record()
    assert record.status == "FAILED" and "logits must be finite" in record.error
    raw = re.compile(rb"p0000\d\d-v\d")
    for file in (f for f in plan.output.parent.rglob("*") if f.is_file()):
        assert not raw.search(file.read_bytes()), file
    assert run_of(plan, record.mlflow_run_id).info.status == "FAILED"


def test_results_outlive_a_store_that_is_lost(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object, **__: object) -> None:
        raise StoreError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(Store, "epoch", lost)
        broken.setattr(Store, "finish", lost)
        record = execute(prepare_run(plan), quiet_logger())
    assert record.status == "FINISHED" and not record.logged
    again = execute(prepare_run(plan), quiet_logger())
    assert again.logged and again.mlflow_run_id == record.mlflow_run_id
    assert run_of(plan, record.mlflow_run_id).info.status == "FINISHED"


@pytest.mark.parametrize("change", ["threads", "seed"])
def test_what_can_change_a_bit_is_part_of_the_key(plan: Plan, change: str) -> None:
    other = replace(plan, **{change: 3})
    assert prepare_run(other).key != prepare_run(plan).key


def test_weights_are_identified_by_content(plan: Plan, tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    keys = []
    for content in (b"one", b"two"):
        file.write_bytes(content)
        started = replace(plan, method=replace(plan.method, weights=str(file)))
        keys.append(json.dumps(started.identity(), sort_keys=True))
    assert keys[0] != keys[1]


def test_stored_weights_are_not_tested_on_their_training_patients(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    parted = replace(plan, folds=2)
    prepared = prepare_run(parted)
    execute(prepared, quiet_logger())
    prepare_run(replace(parted, from_run=prepared.directory))
    with pytest.raises(ValueError, match="patients that the run did not train on"):
        prepare_run(replace(parted, from_run=prepared.directory, seed=1))


def test_the_split_is_listed_by_pseudonym(plan: Plan) -> None:
    prepared = prepare_run(plan)
    execute(prepared, quiet_logger())
    listed = pd.read_csv(prepared.directory.path / "split.csv")
    assert set(listed["fold"]) == {"train", "val", "audit", "test"}
    assert listed["patient_id"].str.fullmatch("[0-9a-f]{16}").all()
