"""Where image files lie below a folder, by their base names: found once, without opening any."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

DEEPEST = 3
"""Levels of folders below the root; releases are unpacked no deeper than `a/a/images`."""


def folder_of_images(root: Path, named: str) -> Path:
    """The folder `named` by the field `image_folder`, below the root or anywhere; "" is the root.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    folder = root / Path(named).expanduser() if named else root
    if not folder.is_dir():
        raise FileNotFoundError(
            f"image_folder must name the folder of the images, but {folder} does not exist"
        )
    return folder


def by_base_name(
    root: Path, starts: Sequence[str], endings: Sequence[str], *, deepest: int = DEEPEST
) -> dict[str, str]:
    """Path relative to `root` of every image file, by its base name; the first by folder name.

    Looks into the folders of `root` whose names begin with one of `starts`, and into all folders
    below them. Upper and lower case are the same in `starts` and `endings`. A file of the same name
    in a later folder is a copy of the same release, and is not looked at.
    """
    found: dict[str, str] = {}
    ends = tuple(endings) + tuple(ending.upper() for ending in endings)
    for folder in sorted(_folders(root)):
        if folder.casefold().startswith(tuple(starts)):
            _collect(root, folder, ends, deepest - 1, found)
    return found


def _folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_dir()]
    except OSError:
        return []


def _collect(
    root: Path, folder: str, ends: tuple[str, ...], deeper: int, found: dict[str, str]
) -> None:
    below = []
    with os.scandir(root / folder) as entries:
        for entry in entries:
            # By name first: asking each of 10^5 entries what it is costs more than listing them.
            if entry.name.endswith(ends):
                found.setdefault(entry.name, f"{folder}/{entry.name}")
            elif deeper and entry.is_dir():
                below.append(f"{folder}/{entry.name}")
    for name in sorted(below):
        _collect(root, name, ends, deeper - 1, found)
