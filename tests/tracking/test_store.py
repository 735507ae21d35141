"""The MLflow store, on a real SQLite file."""

from __future__ import annotations

import math
import multiprocessing
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from metrics.score import Score
from tracking.store import (
    MAX_METRICS,
    Store,
    StoreError,
    metric_keys,
    sqlite_file,
    without_password,
)


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, made once: creating the tables takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    Store(f"sqlite:///{path}", "default")
    return path


@pytest.fixture
def store(fresh_store: Path, tmp_path: Path) -> Store:
    """A store of the test's own."""
    for file in fresh_store.parent.glob("mlflow.db*"):
        shutil.copy(file, tmp_path / file.name)
    return Store(f"sqlite:///{tmp_path}/mlflow.db", "mine")


def start(store: Store, **changes: Any) -> str:
    given: dict[str, Any] = {
        "tags": {"key": "k"}, "params": {"lr": 0.1}, "lineage": ("phantom", "d", "phantom"),
        **changes,
    }  # fmt: skip
    return store.start("erm phantom", **given)


def run_of(store: Store, run_id: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(store.uri).get_run(run_id)


def test_a_run_holds_params_tags_metrics_files_and_lineage(store: Store, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    run_id = start(store)
    store.epoch(run_id, {"epoch": 0, "train_loss": 0.5})
    store.epoch(run_id, {"epoch": 1, "train_loss": 0.4})
    (tmp_path / "files" / "figures").mkdir(parents=True)
    files = [tmp_path / "files" / "a.txt", tmp_path / "files" / "figures" / "b.txt"]
    for file in files:
        file.write_text("x")
    store.finish(run_id, {"auc/macro": 0.8}, files, tmp_path / "files")
    run = run_of(store, run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"lr": "0.1"}
    assert run.data.metrics["auc/macro"] == 0.8
    assert run.inputs.dataset_inputs[0].dataset.name == "phantom"
    client = MlflowClient(store.uri)
    assert [m.value for m in client.get_metric_history(run_id, "train/train_loss")] == [0.5, 0.4]
    assert {a.path for a in client.list_artifacts(run_id)} == {"a.txt", "figures"}


def test_an_interrupted_run_is_continued_under_its_id(store: Store) -> None:
    run_id = start(store)
    store.fail(run_id, "cut")
    assert run_of(store, run_id).info.status == "FAILED"
    assert start(store, run_id=run_id, tags={"key": "k2"}) == run_id
    run = run_of(store, run_id)
    assert run.info.status == "RUNNING" and run.data.tags["key"] == "k2"


def test_a_finished_run_no_longer_holds_its_error(store: Store) -> None:
    run_id = start(store)
    store.fail(run_id, "cut")
    start(store, run_id=run_id)
    assert "error" not in run_of(store, run_id).data.tags


def test_a_run_cut_off_before_its_id_was_written_down_is_found_by_its_key(store: Store) -> None:
    run_id = start(store)
    assert start(store) == run_id
    assert start(store, tags={"key": "other"}) != run_id


def test_a_run_that_was_deleted_is_begun_anew(store: Store) -> None:
    from mlflow import MlflowClient

    run_id = start(store)
    MlflowClient(store.uri).delete_run(run_id)
    assert start(store, run_id=run_id) != run_id


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"--tracking-uri .*file/mlflow\.db"):
        Store(f"sqlite:///{tmp_path}/file/mlflow.db", "default")


def test_files_that_go_elsewhere_make_a_store_remote(store: Store) -> None:
    from mlflow import MlflowClient

    assert not store.remote
    MlflowClient(store.uri).create_experiment("cloud", artifact_location="s3://bucket/x")
    assert Store(store.uri, "cloud").remote


def test_a_password_is_not_repeated() -> None:
    assert without_password("http://me:secret@host:5000/x") == "http://host:5000/x"


def test_a_run_of_another_store_is_not_continued(store: Store) -> None:
    assert start(store, run_id="0" * 32) != "0" * 32


def test_a_failed_run_holds_its_error(store: Store) -> None:
    run_id = start(store)
    store.fail(run_id, "the loss became nan")
    assert run_of(store, run_id).data.tags["error"] == "the loss became nan"


def test_the_store_writes_ahead(store: Store) -> None:
    file = sqlite_file(store.uri)
    assert file is not None
    with sqlite3.connect(file) as connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)


def _open(uri: str) -> str:
    return start(Store(uri, "together"))


@pytest.mark.parametrize("together", [3])
def test_runners_that_start_together_on_a_fresh_store_all_succeed(
    tmp_path: Path, together: int
) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    with multiprocessing.get_context("spawn").Pool(together) as pool:
        runs = pool.map(_open, [uri] * together)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("together")
    assert experiment is not None
    assert {r.info.run_id for r in client.search_runs([experiment.experiment_id])} == set(runs)


def test_an_address_that_is_no_store_is_named() -> None:
    with pytest.raises(StoreError, match=r"--tracking-uri .*'nonsense://x'"):
        Store("nonsense://x", "default")


def test_a_deleted_experiment_is_named(store: Store) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(store.uri)
    client.delete_experiment(client.get_experiment_by_name("mine").experiment_id)
    with pytest.raises(StoreError, match="deleted"):
        Store(store.uri, "mine")


def test_metric_keys_name_finding_group_and_labels() -> None:
    keys = metric_keys(
        [
            Score("auc", 0.8, low=0.7, high=0.9),
            Score("fnr_contrast", 0.1, attribute="age", group="80+ - 40-59", labels="true"),
            Score("fnr", math.nan, finding="Edema", note="too few"),
        ]
    )
    assert list(keys) == [
        "auc/macro", "auc/macro/low", "auc/macro/high",
        "fnr_contrast/macro/age/80_ - 40-59/true", "fnr/Edema",
    ]  # fmt: skip
    assert math.isnan(keys["fnr/Edema"])


def test_bounds_are_logged_for_what_is_compared_only() -> None:
    bounded = {"low": 0.1, "high": 0.3}
    keys = metric_keys(
        [
            Score("fnr", 0.2, **bounded),
            Score("auc", 0.2, attribute="race", group="A", **bounded),
            Score("fnr_contrast", 0.2, attribute="race", group="B - A", **bounded),
            Score("image_reid_auc", 0.2, **bounded),
        ]
    )
    assert [k for k in keys if k.endswith("/low")] == [
        "fnr_contrast/macro/race/B - A/low", "image_reid_auc/macro/low",
    ]  # fmt: skip


def test_there_are_never_more_metrics_than_documented() -> None:
    many = [Score("auc", 0.5, finding=f"f{i}") for i in range(500)]
    assert len(metric_keys(many)) == MAX_METRICS
