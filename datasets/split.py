"""The tables that flow through the suite: one `Split` per fold, four folds per run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

ORIGINS = ("real", "simulated", "synthetic", "anonymised")
KEY_COLUMNS = ("image_id", "patient_id", "path", "origin")
TRUE = "true:"
"""Prefix of a column with the simulated true label of a finding."""
IMAGE_ROOT = "image_root"
"""Column that names another folder than `Split.root` for the rows whose images lie there; blank
for the others. Methods that add images write it, and unions; other data sets do not have it."""


@dataclass(frozen=True)
class Split:
    """A table of images: one row each, paths instead of pixels.

    Columns of `frame`: `image_id`, `patient_id` (str), `path` (relative to `root`; a row of a stack
    or of a recipe is written `file#row`), `origin`, one column per attribute (group names, str; a
    missing value is the group "Unknown"), one per finding (float, 1 present, 0 absent, NaN not
    known), and, where the truth is simulated, one `true:<finding>` per finding.

    Raises:
        ValueError: a column is missing or holds a value that it must not hold.
    """

    name: str
    frame: pd.DataFrame
    root: Path
    findings: tuple[str, ...]
    attributes: tuple[str, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Rows of the source that are not here, counted by reason."""
    all_findings: tuple[str, ...] = ()
    """All that the data set has, where `findings` are those that were asked for: patients are dealt
    to folds by all, so that a choice of findings moves nobody to another fold."""
    all_attributes: tuple[str, ...] = ()
    """The same for `attributes`."""

    def __post_init__(self) -> None:
        _check_columns(self)
        _check_labels(self)
        _check_values(self)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def patients(self) -> np.ndarray:
        """Distinct patient ids `(patients,)`, sorted."""
        return np.unique(self.frame["patient_id"].to_numpy(dtype=str))

    @property
    def has_truth(self) -> bool:
        """Whether simulated true labels stand beside the recorded ones."""
        return all(TRUE + finding in self.frame for finding in self.findings)

    def labels(self, *, true: bool = False) -> np.ndarray:
        """Labels `(n, findings)` float32 in {0, 1, NaN}; recorded ones unless `true`."""
        columns = [TRUE + f for f in self.findings] if true else list(self.findings)
        return self.frame[columns].to_numpy(dtype=np.float32, copy=True)

    def where(self, mask: np.ndarray, name: str | None = None) -> Split:
        """The rows where `mask` `(n,)` is true, in order."""
        return self.with_frame(self.frame[np.asarray(mask)], name)

    def with_frame(self, frame: pd.DataFrame, name: str | None = None) -> Split:
        """The same split over another table."""
        return replace(self, frame=frame.reset_index(drop=True), name=name or self.name)

    def groups_of(self, attribute: str) -> tuple[str, ...]:
        """Group names of `attribute` in their frozen order: as the data set orders them."""
        column = self.frame[attribute]
        if isinstance(column.dtype, pd.CategoricalDtype):
            return tuple(str(g) for g in column.cat.categories)
        return tuple(sorted(column.astype(str).unique()))


@dataclass(frozen=True)
class Folds:
    """Four folds with disjoint patients.

    `train` fits, `val` chooses models and sets thresholds, `audit` trains attackers and judges and
    nothing else, `test` is read once. A small data set may reuse `train` as `audit`.

    Raises:
        ValueError: a fold is empty, patients overlap, or an image stands twice outside train.
    """

    train: Split
    val: Split
    audit: Split
    test: Split

    def __post_init__(self) -> None:
        for fold in self.all():
            if not len(fold):
                raise ValueError(
                    f"every fold must hold at least one image, but {fold.name!r} is empty; "
                    "use fewer folds or more patients"
                )
        pairs = [("train", "val"), ("train", "test"), ("val", "test")]
        pairs += [("audit", "val"), ("audit", "test")]
        if not self.audit_reuses_train:
            pairs.append(("train", "audit"))
        for a, b in pairs:
            _check_disjoint(getattr(self, a), getattr(self, b), a, b)
        for fold in (self.val, self.audit, self.test):
            _check_unique_images(fold)

    @property
    def audit_reuses_train(self) -> bool:
        """Whether attackers are trained on the classifier's own training patients."""
        return np.array_equal(self.audit.patients, self.train.patients)

    def all(self) -> tuple[Split, Split, Split, Split]:
        """Train, val, audit, test."""
        return self.train, self.val, self.audit, self.test


def _first(values: pd.Series | np.ndarray | list[str]) -> str:
    listed = [str(v) for v in list(values)[:5]]
    return ", ".join(listed) + (", …" if len(values) > 5 else "")


def _check_columns(split: Split) -> None:
    needed = [*KEY_COLUMNS, *split.attributes, *split.findings]
    missing = [c for c in needed if c not in split.frame]
    if missing:
        raise ValueError(
            f"split {split.name!r} must have the columns {', '.join(map(repr, missing))}, "
            f"but its table has only: {', '.join(map(repr, split.frame.columns))}"
        )


def _check_labels(split: Split) -> None:
    columns = list(split.findings) + ([TRUE + f for f in split.findings] if split.has_truth else [])
    for column in columns:
        values = split.frame[column]
        if not pd.api.types.is_numeric_dtype(values):
            bad = values[pd.to_numeric(values, errors="coerce").isna() & values.notna()]
            raise ValueError(
                f"labels must be 0, 1 or blank, but column {column!r} of split {split.name!r} "
                f"holds {_first(bad)} (first at row {bad.index[0] if len(bad) else 0}); "
                "map these values to 0, 1 or blank"
            )
        bad = values[~(values.isna() | values.isin((0, 1)))]
        if len(bad):
            raise ValueError(
                f"labels must be 0, 1 or blank, but column {column!r} of split {split.name!r} "
                f"holds {_first(bad)} (first at row {bad.index[0]}); choose a policy for them"
            )


def _check_values(split: Split) -> None:
    frame = split.frame
    for column in ("image_id", "patient_id", "path"):
        empty = frame[column].isna() | (frame[column].astype(str).str.strip() == "")
        if empty.any():
            raise ValueError(
                f"{column!r} must be given on every row, but split {split.name!r} has it blank at "
                f"row {frame.index[empty][0]}; drop these {int(empty.sum())} rows or fill them"
            )
    for attribute in split.attributes:
        blank = frame[attribute].isna()
        if blank.any():
            raise ValueError(
                f"attribute {attribute!r} must name a group on every row, but split "
                f"{split.name!r} has it blank at row {frame.index[blank][0]} "
                f"({int(blank.sum())} rows); write the group 'Unknown' instead"
            )
    strange = sorted(set(frame["origin"].astype(str)) - set(ORIGINS))
    if strange:
        raise ValueError(f"origin must be one of {', '.join(ORIGINS)}, but got {_first(strange)}")
    for path in frame["path"].astype(str):
        if path.startswith("/") or ".." in PurePosixPath(path).parts:
            raise ValueError(
                f"image paths must lie below {split.root}, but split {split.name!r} has {path!r}"
            )


def _check_disjoint(a: Split, b: Split, a_name: str, b_name: str) -> None:
    shared = np.intersect1d(a.patients, b.patients)
    if len(shared):
        raise ValueError(
            f"patients must be disjoint across folds, but {a_name!r} and {b_name!r} share "
            f"{len(shared)}: {_first(shared)}; assign each patient to one fold"
        )


def _check_unique_images(split: Split) -> None:
    ids = split.frame["image_id"]
    repeated = ids[ids.duplicated()]
    if len(repeated):
        raise ValueError(
            f"an image must stand once in fold {split.name!r}, but {len(repeated)} are repeated: "
            f"{_first(repeated)}; only training rows may repeat"
        )
