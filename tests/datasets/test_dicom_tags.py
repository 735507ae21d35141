"""Tags of many files are read once, and again where a file changed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from made_dicom import dicom

from datasets import dicom as reader
from datasets.dicom_tags import read_tags

PIXELS = np.zeros((20, 20), np.uint8)
NAMES = ("PatientSex", "PatientAge")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for i, sex in enumerate("MFO"):
        (folder / f"{i}.dicom").write_bytes(dicom(PIXELS, PatientSex=sex, PatientAge=f"{i:03d}Y"))
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read."""
    done: list[str] = []
    read = reader.tags

    def counting(file: str, names: tuple[str, ...]) -> tuple[str, ...]:
        done.append(Path(file).name)
        return read(file, names)

    monkeypatch.setattr(reader, "tags", counting)
    return done


def test_texts_stand_in_the_order_asked_for(root: Path, tmp_path: Path) -> None:
    found = read_tags(root, ["2.dicom", "0.dicom"], NAMES, cache=tmp_path)
    assert found.to_numpy().tolist() == [["O", "002Y"], ["M", "000Y"]]
    assert [*found.columns] == [*NAMES]


def test_files_are_read_once(root: Path, tmp_path: Path, opened: list[str]) -> None:
    paths = [f"{i}.dicom" for i in range(3)]
    first = read_tags(root, paths, NAMES, cache=tmp_path)
    assert sorted(opened) == paths
    assert read_tags(root, paths, NAMES, cache=tmp_path).equals(first)
    assert len(opened) == 3


def test_changed_file_alone_is_read_again(root: Path, tmp_path: Path, opened: list[str]) -> None:
    paths = [f"{i}.dicom" for i in range(3)]
    read_tags(root, paths, NAMES, cache=tmp_path)
    (root / "1.dicom").write_bytes(dicom(PIXELS, PatientSex="M", PatientAge="055Y"))
    os.utime(root / "1.dicom", ns=(1, 1))
    assert read_tags(root, paths, NAMES, cache=tmp_path)["PatientAge"][1] == "055Y"
    assert opened[3:] == ["1.dicom"]


def test_other_tags_are_kept_apart(root: Path, tmp_path: Path) -> None:
    read_tags(root, ["0.dicom"], NAMES, cache=tmp_path)
    assert read_tags(root, ["0.dicom"], ("Modality",), cache=tmp_path)["Modality"][0] == "DX"


def test_files_that_cannot_be_read_have_no_texts(root: Path, tmp_path: Path) -> None:
    (root / "bad.dicom").write_bytes(b"no dicom")
    (tmp_path / "secret.dicom").write_bytes(dicom(PIXELS, PatientSex="F"))
    (root / "link.dicom").symlink_to(tmp_path / "secret.dicom")
    paths = ["bad.dicom", "missing.dicom", "link.dicom", "../secret.dicom"]
    assert (read_tags(root, paths, NAMES, cache=tmp_path) == "").all(axis=None)


def test_what_was_read_before_a_kill_is_kept(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]
) -> None:
    monkeypatch.setattr("datasets.dicom_tags.KEPT_EVERY", 2)
    counting = reader.tags

    def interrupted(file: str, names: tuple[str, ...]) -> tuple[str, ...]:
        if file.endswith("2.dicom"):
            raise KeyboardInterrupt
        return counting(file, names)

    paths = [f"{i}.dicom" for i in range(3)]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(reader, "tags", interrupted)
        read_tags(root, paths, NAMES, cache=tmp_path)
    read_tags(root, paths, NAMES, cache=tmp_path)
    assert sorted(opened[:2]) == ["0.dicom", "1.dicom"] and opened[2:] == ["2.dicom"]
