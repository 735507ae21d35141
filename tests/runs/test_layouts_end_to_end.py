"""Data as somebody has it, through the runner: a working run, or one sentence of what to do."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import runner

HEADER = (
    "patientid", "offset", "sex", "age", "finding", "survival", "temperature", "pO2 saturation",
    "view", "modality", "imagename", "artifacts/distortion", "notes",
)  # fmt: skip
FIGURE1 = tuple("originalfile" if name == "imagename" else name for name in HEADER)
MAPPING = """\
folder: images
columns: {path: filename, patient: patientid, visit: offset}
findings: {COVID-19: finding}
attributes: [sex, view]
values:
  COVID-19: {COVID-19: 1, "COVID-19, ARDS": 1, "*": 0}
"""


def folder(root: Path, header: Sequence[str], *, files: int = 16, **same: str) -> Path:
    """Sixteen people with an image each, of which `files` are there."""
    (root / "images").mkdir(parents=True)
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, header, extrasaction="ignore")
        writer.writeheader()
        for i in range(16):
            row = {
                "patientid": f"ANON{i}", "sex": "MF"[i // 2 % 2],
                "age": ("50+", "early 40s")[i % 2],
                "finding": ("COVID-19", "No finding")[i % 2], "view": "AP erect",
                "modality": "X-ray", "imagename": f"ANON{i}.jpg",
            }  # fmt: skip
            writer.writerow(row | same)
            noise = np.random.default_rng(i).integers(0, 255, (48, 48), np.uint8)
            if i < files:
                Image.fromarray(noise).save(root / "images" / f"ANON{i}.jpg")
    return root


def run(dataset: str, root: Path, place: Path, *more: str) -> int:
    """The exit code of a short run."""
    return runner.main(
        [
            *("--method", "erm", "--dataset", dataset, "--data-root", str(root), "--folds", "2"),
            *("--set", "epochs=2", "--set", "image_size=32", "--output", str(place / "output")),
            *("--tracking-uri", f"sqlite:///{place}/mlflow.db", *more),
        ]
    )


@pytest.mark.parametrize("header", [FIGURE1, HEADER], ids=["figure1", "actualmed"])
def test_sets_of_the_same_layout_are_divided_into_folds(
    header: Sequence[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(tmp_path / "set", header)
    assert run("covid-chestxray", root, tmp_path, "--dry-run") == runner.DONE
    assert "test 8 images of 8 patients" in capsys.readouterr().out


def test_most_files_absent_is_refused_with_the_first_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(tmp_path / "set", HEADER, files=1)
    assert run("covid-chestxray", root, tmp_path) == runner.WRONG_USAGE
    told = capsys.readouterr().err.splitlines()[-1]
    assert "15 of 16 rows" in told and "ANON1.jpg" in told and "--on-bad-image drop" in told


def test_too_few_files_for_folds_names_the_empty_fold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(tmp_path / "set", HEADER, files=1)
    assert run("covid-chestxray", root, tmp_path, "--on-bad-image", "drop") == runner.WRONG_USAGE
    told = capsys.readouterr().err.splitlines()[-1]
    assert "every fold must hold at least one image, but" in told and "is empty" in told


def test_table_without_patients_is_refused_before_anything_is_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(tmp_path / "set", [name for name in HEADER if name != "patientid"])
    given = ("--data", "path=imagename", "--data", "findings=finding")
    assert run("csv", root, tmp_path, *given) == runner.WRONG_USAGE
    assert "must have a column of patients" in capsys.readouterr().err
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
def test_set_with_blank_attributes_runs_to_its_end(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", HEADER, sex="", age="")
    assert run("covid-chestxray", root, tmp_path) == runner.DONE


@pytest.mark.slow
def test_real_set_runs_to_its_end(real_data: Path, tmp_path: Path) -> None:
    root = real_data / "covid-chestxray"
    assert run("covid-chestxray", root, tmp_path, "--on-bad-image", "drop") == runner.DONE


@pytest.mark.slow
def test_real_set_as_anybodys_table_runs_to_its_end(real_data: Path, tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    root, mapping = real_data / "covid-chestxray", f"mapping={tmp_path}/mapping.yaml"
    given = ("--data", mapping, "--on-bad-image", "drop")
    assert run("csv", root, tmp_path, *given) == runner.DONE
