"""The files of CheXpert v1.0, v1.0-small and re-packs: lists of images, and where they lie."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from datasets import tabular
from datasets.chexpert_labels import SPELLINGS, mentions

LISTS = {"train": ("train.csv",), "valid": ("valid.csv",), "test": ("test.csv", "test_labels.csv")}
"""Which lists a release may have; that of the test set came years after the others."""
PLACE = re.compile(
    r"(?:^|/)(?:(?P<folder>train|valid|test)/)?(?P<patient>patient\d+)/(?P<study>study\d+)/"
    r"(?P<picture>view(?P<number>\d+)_(?P<side>frontal|lateral))\.(?P<ending>jpg|png)$"
)
"""What of a path is used; the release's own folder before it is replaced by the user's."""
OURS = re.compile(r".*chexpert.*", re.IGNORECASE)
BATCH = re.compile(r".*chexpert.*\bbatch\b.*", re.IGNORECASE)
"""Folders of the re-pack "CheXpert-v1.0 batch N (...)", each with a part of the patients."""
SIDES = {"frontal": "Frontal", "lateral": "Lateral"}
HOW_TO_GET = (
    "get CheXpert from https://aimi.stanford.edu/datasets/chexpert-chest-x-rays (account and "
    "agreement) and name the unpacked folder, or the one it lies in, as --data-root"
)


@dataclass(frozen=True)
class Release:
    """The images that a release lists, whatever its version.

    Columns of `frame`, in the order of the lists: `list` (train, valid, test), `patient`, `study`,
    `number` (of the view; int), `side` (Frontal, Lateral), `projection`, `sex` and `age` (text as
    recorded, "" where not), `path` (below `root`), and parts of the path as listed; with CheXpert
    Plus also `race`, `ethnicity`, `insurance` and `order` (of the reports in time).
    """

    name: str
    frame: pd.DataFrame
    labels: pd.DataFrame
    """Mentions of the fourteen findings in {1, 0, -1, NaN}, one row per row of `frame`."""
    unread: np.ndarray
    """Rows `(n,)` that were never labelled: their blanks do not mean absence."""
    root: Path
    around: tuple[Path, ...]
    """Folders in which a file that belongs to the release may lie."""
    notes: tuple[str, ...] = ()


def find(root: Path) -> Path | None:
    """The folder with train.csv: `root` or one of its folders that are called CheXpert; or None.

    Raises:
        ValueError: there are several.
    """
    inside = sorted(p for p in root.iterdir() if OURS.fullmatch(p.name) and p.is_dir())
    found = [p for p in (root, *inside) if _table_of(p, "train")]
    if len(found) > 1 and found[0] != root:
        raise ValueError(
            f"--data-root must hold one release of CheXpert, but {root} holds "
            f"{', '.join(p.name for p in found)}; name one of them as --data-root"
        )
    return found[0] if found else None


def load(root: Path, folder: Path) -> Release:
    """The release whose lists lie in `folder`, which is `root` or lies in it.

    Raises:
        ValueError: a list breaks a rule; the message names file, row and value.
    """
    frames, labels = [], []
    # The folders of a re-pack lie beside each other.
    base = folder.parent if folder == root and BATCH.fullmatch(folder.name) else root
    for name in LISTS:
        if path := _table_of(folder, name):
            listed, said = _listed(path, name)
            listed["path"] = _places(base, folder, name, listed)
            frames.append(listed)
            labels.append(said)
    return Release(
        name="CheXpert v1.0",
        frame=pd.concat(frames, ignore_index=True),
        labels=pd.concat(labels, ignore_index=True),
        unread=np.zeros(sum(map(len, frames)), dtype=bool),
        root=base,
        around=(root, folder, folder.parent),
    )


def parsed(path: Path, listed: pd.Series, name: str = "") -> pd.DataFrame:
    """What paths say: folder (else `name`), patient, study, picture, number, side and ending.

    Raises:
        ValueError: one is no path of CheXpert; the message names `path`, row and value.
    """
    parts = listed.str.extract(PLACE)
    bad = parts["patient"].isna().to_numpy()
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"{path} must list images as …/patient00001/study1/view1_frontal.jpg, but row "
            f"{row + 1} (line {row + 2}) holds {listed.iloc[row]!r} ({int(bad.sum())} such rows); "
            "restore the file"
        )
    parts["folder"] = parts["folder"].fillna(name)
    parts["number"] = parts["number"].astype(np.int64)
    return parts


def images(parts: pd.DataFrame) -> pd.Series:
    """The path of each image below its release's folder, without ending: also its id."""
    top = (parts["folder"] + "/").where(parts["folder"] != "", "")
    return top + parts["patient"] + "/" + parts["study"] + "/" + parts["picture"]


def split_of_rows(path: Path, rows: int) -> np.ndarray:
    """The fold of each of the `rows` of train.csv, "" where the file `path` does not list it.

    The file has the columns `index` (row of train.csv, from 0) and `split` (train, validate, test).
    Source: biomedia-mira/chexploration, `datafiles/chexpert/chexpert_split_2021_08_20.csv`.

    Raises:
        FileNotFoundError, ValueError: it is not there, or a row breaks a rule.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"split_file must name a csv file with the columns index and split, but {path} does "
            "not exist; give its path from the data root"
        )
    listed = tabular.read(path, {"index": ("index",), "split": ("split",)})
    number = tabular.numbers(path, listed["index"])
    names = {"train": "train", "validate": "val", "valid": "val", "val": "val", "test": "test"}
    fold = listed["split"].map(names)
    outside = ~number.between(0, rows - 1) | (number % 1 != 0)
    for bad, column, must in (
        (outside, "index", f"whole numbers from 0 to {rows - 1}, the rows of train.csv"),
        (number.duplicated(), "index", "each row of train.csv once"),
        (fold.isna(), "split", "train, validate or test"),
    ):
        if bad.any():
            row = int(np.flatnonzero(bad.to_numpy())[0])
            raise ValueError(
                f"column {column!r} of {path} must hold {must}, but row {row + 1} (line {row + 2}) "
                f"holds {listed[column].iloc[row]!r} ({int(bad.sum())} such rows); use the file "
                "that was made for this release"
            )
    result = np.full(rows, "", dtype=object)
    result[number.to_numpy(dtype=np.int64)] = fold
    return result


def _table_of(folder: Path, name: str) -> Path | None:
    """The list `name` (train, valid, test) in `folder`, or None."""
    files = (folder / f"{n}{ending}" for n in LISTS[name] for ending in tabular.ENDINGS)
    return next((path for path in files if path.is_file()), None)


def _listed(path: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows and mentions of one list.

    The radiologists' list of the test set has neither sex nor age, nor a view beside the path's.
    """
    columns = {"path": ("Path",), "sex": ("Sex",), "age": ("Age",), "side": ("Frontal/Lateral",),
               "projection": ("AP/PA",)}  # fmt: skip
    optional = () if name == "train" else ("sex", "age", "side", "projection")
    held = tabular.read(path, {**columns, **SPELLINGS}, optional=optional)
    frame = parsed(path, held["path"], name)
    side = frame["side"].map(SIDES)
    told = held.get("side", side)
    strange = ~told.isin(["", *SIDES.values()]).to_numpy()
    if strange.any():
        row = int(np.flatnonzero(strange)[0])
        raise ValueError(
            f"column 'Frontal/Lateral' of {path} must hold Frontal or Lateral, but row {row + 1} "
            f"(line {row + 2}) holds {told.iloc[row]!r} ({int(strange.sum())} such rows); restore "
            "the file"
        )
    frame["side"] = told.where(told != "", side)
    for column in ("projection", "sex", "age"):
        frame[column] = held.get(column, "")
    frame["list"] = name
    return frame, mentions(path, held)


def _places(base: Path, folder: Path, name: str, listed: pd.DataFrame) -> pd.Series:
    """Where the images of a list lie, from `base`."""
    whole = images(listed) + "." + listed["ending"]
    before = "" if folder == base else f"{folder.relative_to(base)}/"
    if (folder / name).is_dir() or not (home := _homes(base, name)):
        return before + whole
    found = listed["patient"].map(home)
    below = found + "/" + whole.str.partition("/")[2]
    return below.where(found.notna(), before + whole)


def _homes(base: Path, name: str) -> dict[str, str]:
    """Which folder of a re-pack holds each patient; none where there is no re-pack."""
    home: dict[str, str] = {}
    batches = sorted(p for p in base.iterdir() if BATCH.fullmatch(p.name) and p.is_dir())
    for folder in (f for batch in batches for f in (batch, batch / name) if f.is_dir()):
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("patient"):
                    home[entry.name] = str(folder.relative_to(base))
    return home
