"""A pool of images that were generated elsewhere: a CSV file that names them with their labels."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.images import Images, find_faults, open_images
from datasets.sources import hexdigest
from datasets.split import Folds, Split
from methods.base import Task

LABELS = {"": np.nan, "0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0}
"""What a label may be written as; blank is not known."""
UNKNOWN = "Unknown"
"""The group of a row whose attribute is blank, where the task has it."""


def read_pool(path: Path, task: Task, size: int) -> Split:
    """The rows of the CSV file, all of whose images can be read at `size` pixels.

    Columns: `path`, relative to the file's folder, one per finding (1, 0 or blank), and one per
    attribute (a group of the task). Others are left alone. Every row is a patient of its own.

    Raises:
        ValueError: a column is missing, a value is not allowed, or an image cannot be read.
    """
    table = _table(path)
    _check_columns(path, table, ["path", *task.findings, *task.attributes])
    images = _images_of(path)
    columns: dict[str, object] = {
        a: _groups(path, table, a, task.groups[a]) for a in task.attributes
    }
    columns |= {f: _labels(path, table, f) for f in task.findings}
    split = Split(
        "synthetic",
        pd.concat([images.frame, pd.DataFrame(columns)], axis=1),
        images.root,
        task.findings,
        task.attributes,
    )
    if faults := find_faults(split, size):
        told = "; ".join(f"{f.path}: {f.reason} ({f.detail})" for f in faults[:5])
        raise ValueError(
            f"every image of a pool must be readable, but {len(faults)} of {path} are not: {told}; "
            "mend these files or leave the rows out"
        )
    return split


def synthetic_ids(rows: int) -> list[str]:
    """Names of images and patients that are nobody: synthetic-000000 and so on."""
    return [f"synthetic-{row:06d}" for row in range(rows)]


def pool_digest(path: Path, size: int) -> str:
    """A digest of the table and of the content of its images.

    Raises:
        ValueError: the table has no paths, or an image cannot be read.
    """
    images = open_images(_images_of(path), size)
    return hexdigest(path.read_bytes().hex(), images.digest())


def refuse_known(path: Path, folds: Folds, size: int) -> None:
    """Refuse a pool that holds images of patients on whom nothing may be trained.

    Raises:
        ValueError: an image equals, pixel by pixel, one of validation, audit or test patients.
    """
    pool = _images_of(path)
    ours = _hashes(open_images(pool, size))
    for fold in (folds.val, folds.test, *(() if folds.audit_reuses_train else (folds.audit,))):
        theirs = set(_hashes(open_images(fold, size)))
        if shared := [row for row, value in enumerate(ours) if value in theirs]:
            raise ValueError(
                f"a pool must hold no image of {fold.name} patients, but {len(shared)} rows show "
                f"one (first: {pool.frame['path'].iloc[shared[0]]}); leave them out"
            )


def _images_of(path: Path) -> Split:
    """The images of a pool without what is said of them."""
    table = _table(path)
    _check_columns(path, table, ["path"])
    names = synthetic_ids(len(table))
    frame = pd.DataFrame(
        {"image_id": names, "patient_id": names, "path": table["path"], "origin": "synthetic"}
    )
    return Split("synthetic", frame, path.resolve().parent, (), ())


def _hashes(images: Images) -> list[int]:
    return [hash(images.take(np.array([row])).tobytes()) for row in range(len(images))]


def _table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ValueError(f"pool must be a CSV file, but {str(path)!r} is not a file")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"pool must be a CSV file, but {path} is not: {reason}") from error
    if not len(table):
        raise ValueError(f"a pool must have rows, but {path} has none")
    return table


def _check_columns(path: Path, table: pd.DataFrame, needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in table]
    if not missing:
        return
    close = [near for m in missing for near in difflib.get_close_matches(m, table.columns, n=1)]
    hint = f"; near: {', '.join(map(repr, close))}" if close else ""
    raise ValueError(
        f"a pool must have the columns {', '.join(map(repr, missing))}, but {path} has only: "
        f"{', '.join(map(repr, table.columns))}{hint}"
    )


def _labels(path: Path, table: pd.DataFrame, finding: str) -> np.ndarray:
    return _translated(path, table, finding, LABELS, "a label must be 0, 1 or blank")


def _groups(
    path: Path, table: pd.DataFrame, attribute: str, groups: tuple[str, ...]
) -> pd.Categorical:
    known = {group: group for group in groups}
    if UNKNOWN in known:
        known[""] = UNKNOWN
    rule = f"{attribute!r} must be one of {', '.join(groups)}"
    return pd.Categorical(_translated(path, table, attribute, known, rule), categories=groups)


def _translated(
    path: Path, table: pd.DataFrame, column: str, known: Mapping[str, object], rule: str
) -> np.ndarray:
    values = table[column].str.strip()
    strange = ~values.isin(list(known))
    if strange.any():
        # The first row stands in line 2 of the file.
        first = int(np.flatnonzero(strange)[0])
        raise ValueError(
            f"{rule}, but got {values.iloc[first]!r} (column {column!r}, line {first + 2} of "
            f"{path}; {int(strange.sum())} rows in all)"
        )
    return np.array([known[value] for value in values])
