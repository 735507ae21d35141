"""Where images lie below a folder: the same answer in whatever order the disk lists it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from datasets.image_folders import by_base_name


@contextmanager
def backwards(folder: Path) -> Iterator[list[os.DirEntry[str]]]:
    """As `os.scandir`, in the other order."""
    with scandir(folder) as entries:
        yield sorted(entries, key=lambda entry: entry.name, reverse=True)


scandir = os.scandir


def test_copies_are_told_apart_by_folder_in_any_order_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("images_002/b", "images_001/b", "images_002/a", "images_001", "other"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "1.png").touch()
    (tmp_path / "images_002" / "a" / "2.PNG").touch()
    found = by_base_name(tmp_path, ("images",), (".png",))
    assert found == {"1.png": "images_001/1.png", "2.PNG": "images_002/a/2.PNG"}
    monkeypatch.setattr(os, "scandir", backwards)
    assert by_base_name(tmp_path, ("images",), (".png",)) == found


def test_a_folder_within_itself_comes_to_an_end(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").touch()
    (tmp_path / "images" / "again").symlink_to(tmp_path / "images")
    assert by_base_name(tmp_path, ("images",), (".png",)) == {"1.png": "images/1.png"}
