"""Raw ids of patients, studies and images leave a run by `--write-ids` and by nothing else."""

from __future__ import annotations

import logging
import re
import sqlite3
import stat
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import registry
import runner
from leaderboard.__main__ import main as leaderboard
from tracking.store import Store

PLUGIN = '''
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from datasets.base import ChestXrayDataset
from datasets.split import Split
from registry import DATASETS


@DATASETS.register("guarded")
@dataclass(frozen=True)
class Guarded(ChestXrayDataset):
    """Made images of a restricted set.

    License: none. Access: none.
    """

    terms = "restricted"
    reidentification_allowed = False

    def table(self, root: Path) -> Split:
        frame = pd.read_csv(root / "list.csv", dtype={"patient_id": str, "study_id": str})
        return Split(self.registered_name, frame, root, ("Edema",), ("sex",))
'''
RAW = re.compile(r"subj4711\d{3}|stud0815\d{3}|dicom-ab\d{3}|4711\d{3}|0815\d{3}", re.IGNORECASE)
"""What must stand nowhere: ids, also as parts of longer words."""
PATIENTS = 24


@pytest.fixture(scope="session")
def started_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A tracking store with its tables, made once."""
    path = tmp_path_factory.mktemp("started") / "mlflow.db"
    Store(f"sqlite:///{path}", "other")
    with sqlite3.connect(path) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    return path.read_bytes()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started_store: bytes) -> Path:
    """A made data set in `data`, and everything that a run keeps in `kept`."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mlflow.db").write_bytes(started_store)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRILEMMA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TRILEMMA_OUTPUT", str(tmp_path / "kept" / "output"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/kept/mlflow.db")
    (tmp_path / "guarded.py").write_text(PLUGIN)
    rng, rows = np.random.default_rng(0), []
    for patient in range(PATIENTS):
        for visit in range(2):
            image = 2 * patient + visit
            folder = f"files/subj4711{patient:03}/stud0815{image:03}"
            rows.append({
                "image_id": f"dicom-ab{image:03}", "patient_id": f"4711{patient:03}",
                "study_id": f"0815{image:03}", "path": f"{folder}/dicom-ab{image:03}.png",
                "origin": "real", "sex": ("Female", "Male")[patient % 2],
                "Edema": float(rng.random() < 0.5),
            })  # fmt: skip
            (tmp_path / "data" / folder).mkdir(parents=True)
            pixels = rng.integers(0, 255, (40, 40), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / rows[-1]["path"])
    pd.DataFrame(rows).to_csv(tmp_path / "data" / "list.csv", index=False)
    return tmp_path


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Copies, so that no other test meets the data set of this one."""
    datasets = registry.DATASETS
    monkeypatch.setattr(datasets, "_entries", dict(datasets.entries()))
    monkeypatch.setattr(datasets, "_loaded", dict(datasets._loaded))
    yield
    sys.modules.pop("trilemma_plugin_guarded", None)


def run(place: Path, *more: str) -> int:
    return runner.main(
        ["--method", "erm", "--dataset", "guarded", "--data-root", str(place / "data"),
         "--plugin", str(place / "guarded.py"), "--set", "image_size=32", "--set", "epochs=1",
         "--device", "cpu", *more]
    )  # fmt: skip


def fail_with(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next run fail in the middle with this message."""

    def failing(*_: object, **__: object) -> None:
        raise ValueError(text)

    monkeypatch.setattr("runs.pipeline.evaluate", failing)


def found(place: Path) -> dict[str, str]:
    """Raw ids in all that is kept: names of files, tables unpacked, all else byte by byte."""
    held = {}
    for path in (p for p in (place / "kept").rglob("*") if p.is_file()):
        text = path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            text += pd.read_parquet(path).to_csv()
        if match := RAW.search(f"{path.relative_to(place)}\n{text}"):
            held[path.relative_to(place / "kept").as_posix()] = match[0]
    return held


def stored(place: Path, name: str) -> Path:
    (path,) = (place / "kept" / "output").glob(f"guarded/erm/*/{name}")
    return path


def test_a_finished_run_and_its_leaderboard_hold_no_ids(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(place) == runner.DONE
    assert leaderboard(["--output", str(place / "kept" / "output")]) == 0
    told = capsys.readouterr()
    assert found(place) == {}
    assert not RAW.search(told.out + told.err)
    assert len(pd.read_parquet(stored(place, "predictions.parquet"))) > 0


@pytest.mark.parametrize(
    "text",
    [
        "image 'dicom-ab003' of patient 4711001 has no logit",
        "cannot open {data}/files/subj4711001/stud0815003/dicom-ab003.png",
        "study 0815003 (subj4711001_stud0815003.h5) is empty",
    ],
)
def test_a_run_that_fails_with_an_id_keeps_none(
    place: Path, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(text.format(data=place / "data"), monkeypatch)
    assert run(place) == runner.FAILED
    assert found(place) == {}
    # What is told may be kept as well: a suite writes it to the log of the run.
    told = capsys.readouterr().err
    assert "failed: " in told and not RAW.search(told)
    assert "Traceback" in stored(place, "run.log").read_text()


def test_a_line_of_a_log_loses_its_ids(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from methods.fit import fit

    def talking(*arguments: object, **options: object) -> object:
        logging.getLogger("trilemma").info("looking at %s", "files/subj4711001/stud0815003/x.png")
        return fit(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("runs.pipeline.fit", talking)
    assert run(place) == runner.DONE
    assert found(place) == {}
    assert "looking at files/" in stored(place, "run.log").read_text()


def test_bad_images_that_are_dropped_are_counted_by_reason_alone(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = sorted((place / "data").rglob("*.png"))
    images[4].unlink()
    images[9].write_bytes(images[9].read_bytes()[:60])
    assert run(place, "--on-bad-image", "drop") == runner.DONE
    assert found(place) == {}
    told = capsys.readouterr()
    assert not RAW.search(told.out + told.err)
    assert "left out: 1 rows" in told.err


@pytest.mark.parametrize("fault", ["a copy", "a missing image", "a manifest"])
def test_a_refusal_is_told_and_kept_nowhere(
    place: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = []
    images = sorted((place / "data").rglob("*.png"))
    if fault == "a copy":
        for image in images[2:]:
            image.write_bytes(images[0].read_bytes())
    elif fault == "a missing image":
        images[4].unlink()
    else:
        (place / "m.csv").write_text("patient_id,fold\n4711001,train\n4711001,test\n")
        more = ["--split", str(place / "m.csv")]
    assert run(place, *more) == runner.WRONG_USAGE
    assert RAW.search(capsys.readouterr().err), "the user's own screen says which"
    assert found(place) == {} and not (place / "kept" / "output").exists()


def test_ids_are_written_where_they_are_asked_for_and_nowhere_else(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(place, "--write-ids") == runner.DONE
    ids = stored(place, "ids.csv")
    assert [*found(place)] == [ids.relative_to(place / "kept").as_posix()]
    assert stat.S_IMODE(ids.stat().st_mode) == 0o600
    told = capsys.readouterr()
    assert "warning: ids.csv" in told.err and not RAW.search(told.out + told.err)
    first, table = ids.read_text().split("\n", 1)
    assert first.startswith("# ") and "terms of use" in first
    listed = pd.read_csv(StringIO(table), dtype=str)
    assert (listed["kind"] == "patient").sum() == PATIENTS
    shown = pd.read_parquet(stored(place, "predictions.parquet"))
    assert set(shown["image"]) <= set(listed["pseudonym"])


def test_ids_can_be_had_of_a_run_that_is_done(place: Path) -> None:
    assert run(place) == run(place, "--write-ids") == runner.DONE
    assert stored(place, "ids.csv").is_file()
    assert len(found(place)) == 1


def test_a_remote_store_gets_nothing_per_image_and_no_error_of_a_restricted_set(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "remote", True)
    assert run(place, "--write-ids") == runner.DONE
    logged = {p.name for p in (place / "kept" / "mlruns").rglob("*") if p.is_file()}
    assert {"scores.parquet", "history.csv"} <= logged
    assert not logged & {"predictions.parquet", "split.csv", "run.log", "ids.csv", "run.json"}
    fail_with("patient 4711001 is odd", monkeypatch)
    assert run(place, "--seed", "1") == runner.FAILED
    text = (place / "kept" / "mlflow.db").read_bytes().decode("latin-1")
    text += (place / "kept" / "mlflow.db-wal").read_bytes().decode("latin-1")
    assert "is odd" not in text and "see the run's directory" in text
