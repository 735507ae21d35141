"""A run on folds that share persons or pictures is refused, or goes on under a visible reason."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import registry
import runner
from tracking.store import Store

PLUGIN = '''
from dataclasses import dataclass
from pathlib import Path

from datasets.phantom import Phantom
from datasets.split import Split
from registry import DATASETS


@DATASETS.register("leaking")
@dataclass(frozen=True, kw_only=True)
class Leaking(Phantom):
    """A phantom of which a test image is shown in train as well.

    License: none. Access: none.
    """

    reidentification_allowed = False
    train_patients: int = 12
    val_patients: int = 12
    audit_patients: int = 8
    test_patients: int = 12
    copied: bool = True

    def table(self, root: Path) -> Split:
        table = super().table(root)
        frame = table.frame.copy()
        if self.copied:
            train, test = (frame.index[frame["fold"] == fold][0] for fold in ("train", "test"))
            frame.loc[test, "path"] = frame.loc[train, "path"]
        return table.with_frame(frame)
'''
REASON = "the copy is known, and one of many"


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store made once."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    Store(f"sqlite:///{path}", "default")
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRILEMMA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TRILEMMA_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "leaking.py").write_text(PLUGIN)
    return tmp_path


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Copies, so that no other test meets the data set of this one."""
    datasets = registry.DATASETS
    monkeypatch.setattr(datasets, "_entries", dict(datasets.entries()))
    monkeypatch.setattr(datasets, "_loaded", dict(datasets._loaded))
    yield
    sys.modules.pop("trilemma_plugin_leaking", None)


def run(place: Path, *more: str) -> int:
    return runner.main(
        ["--method", "erm", "--dataset", "leaking", "--plugin", str(place / "leaking.py"),
         "--set", "image_size=32", "--set", "epochs=1", "--device", "cpu", *more]
    )  # fmt: skip


def stored(place: Path) -> list[Path]:
    return [*(place / "output").glob("*/*/*/run.json")]


def pairs(place: Path, *rows: str) -> str:
    (place / "pairs.csv").write_text("\n".join(["patientid_a,patientid_b", *rows]) + "\n")
    return str(place / "pairs.csv")


def test_leakage_stops_a_run_before_anything_is_stored(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(place) == runner.WRONG_USAGE
    message = capsys.readouterr().err
    assert "1 pair (same image)" in message and "(train) and" in message and "(test)" in message
    assert message.count("error: ") == 1
    assert not (place / "output").exists() and not (place / "mlflow.db").exists()


def test_a_listed_person_in_two_folds_stops_a_run(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from datasets.phantom import Phantom

    sizes = {"train_patients": 12, "val_patients": 12, "audit_patients": 8, "test_patients": 12}
    (place / "recipes").mkdir()
    frame = Phantom(**sizes).table(place / "recipes").frame
    one, other = (
        frame.loc[frame["fold"] == fold, "patient_id"].iloc[0] for fold in ("val", "test")
    )
    listed = pairs(place, f"{one},{other}")
    assert run(place, "--data", "copied=false", "--same-person", listed) == runner.WRONG_USAGE
    message = capsys.readouterr().err
    assert "same person under two ids" in message and repr(one) in message


@pytest.mark.parametrize(
    ("rows", "told"),
    [(["nobody,noone"], "must list ids of"), (["nobody,"], "two ids, but row 1 (line 2)")],
)
def test_a_list_for_other_data_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], rows: list[str], told: str
) -> None:
    listed = pairs(place, *rows)
    assert run(place, "--data", "copied=false", "--same-person", listed) == runner.WRONG_USAGE
    assert told in capsys.readouterr().err and not stored(place)


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_a_reason_must_be_given(
    place: Path, capsys: pytest.CaptureFixture[str], reason: str
) -> None:
    assert run(place, "--allow-leakage", reason) == runner.WRONG_USAGE
    assert "--allow-leakage must give a reason" in capsys.readouterr().err


def test_a_list_that_is_not_there_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "--same-person", "nowhere.csv") == runner.WRONG_USAGE
    assert "nowhere.csv" in capsys.readouterr().err


def test_allowed_leakage_stays_visible(
    place: Path, empty_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in empty_store.parent.glob("mlflow.db*"):
        shutil.copy(file, place / file.name)
    assert run(place, "--allow-leakage", REASON) == runner.DONE
    assert f"LEAKAGE ALLOWED: 1 pair (same image); reason: {REASON}" in capsys.readouterr().out

    (file,) = stored(place)
    record = json.loads(file.read_text())
    assert record["leakage"] == {"same image": 1} and record["allowed_leakage"] == REASON
    assert record["data_variant"] == "leakage=allowed" and REASON in record["notes"][-1]
    assert f"--allow-leakage '{REASON}'" in record["command"]
    config = yaml.safe_load((file.parent / "config.yaml").read_text())
    assert config["allow_leakage"] == REASON

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place}/mlflow.db")
    assert client.get_run(record["mlflow_run_id"]).data.tags["allowed_leakage"] == REASON


def test_a_run_with_allowed_leakage_has_a_key_of_its_own(place: Path) -> None:
    from runs.plan import resolve
    from runs.preparation import prepare_run
    from runs.request import Request

    def key(copied: bool, reason: str | None) -> str:
        request = Request(
            method="erm", dataset="leaking", set={"image_size": 32}, data={"copied": copied},
            plugins=(str(place / "leaking.py"),), device="cpu", allow_leakage=reason,
        )  # fmt: skip
        return prepare_run(resolve(request)).key

    assert key(True, "one reason") != key(True, "another reason")
    # A permission that was not needed changes nothing.
    assert key(False, "one reason") == key(False, None)
