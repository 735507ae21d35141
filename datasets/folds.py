"""From one table to four folds with disjoint patients."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from datasets.base import FOLD
from datasets.split import Folds, Split

SHARES = {"train": 0.60, "val": 0.15, "audit": 0.10, "test": 0.15}
"""Shares of patients where the data set assigns no folds itself."""
SOURCE = "source"
"""Optional column of a table: the data set that a row of a union comes from."""
SMALLEST_AUDIT = 100
"""Patients; below this an attacker learns next to nothing, so `audit` reuses `train`."""


def assign(table: Split, *, seed: int = 0) -> Folds:
    """Folds as the data set assigns them, or else by a seeded shuffle of patients.

    With fewer than 100 audit patients these join `train`, and `audit` reuses all of it.

    Raises:
        ValueError: patients overlap, a fold is empty, or a fold name is unknown.
    """
    source = table.frame[SOURCE].astype(str) if SOURCE in table.frame else np.full(len(table), "")
    fold = np.full(len(table), "", dtype=object)
    for name in np.unique(source):
        rows = np.asarray(source == name)
        fold[rows] = _assigned(table.where(rows), seed)
    by_name = {name: table.where(fold == name, name) for name in SHARES}
    if len(by_name["audit"].patients) < SMALLEST_AUDIT:
        # No patient is lost: those who were meant for the audit train the classifier too.
        by_name["train"] = table.where(np.isin(fold, ("train", "audit")), "train")
        by_name["audit"] = by_name["train"].with_frame(by_name["train"].frame, "audit")
    return Folds(**by_name)


def _assigned(table: Split, seed: int) -> np.ndarray:
    """The fold of each row `(n,)` of one data set."""
    if FOLD in table.frame and (given := table.frame[FOLD].astype(str).to_numpy()).any():
        if strange := sorted(set(given) - set(SHARES)):
            raise ValueError(f"folds must be named {', '.join(SHARES)}, but got {strange[0]!r}")
        return given
    patients = table.patients
    order = np.random.default_rng([seed, 0x5EED]).permutation(len(patients))
    edges = np.round(np.cumsum([*SHARES.values()]) * len(patients)).astype(int)
    drawn = np.searchsorted(edges, np.arange(len(patients)), side="right")
    share = dict(zip(patients[order], np.array([*SHARES])[drawn], strict=True))
    return table.frame["patient_id"].astype(str).map(share).to_numpy()


def kfold(table: Split, k: int, *, seed: int = 0) -> list[Folds]:
    """k folds by patient: each patient is tested once; `audit` reuses `train`.

    Of the patients not tested, one in five is for validation.

    Raises:
        ValueError: k is below 2 or above the number of patients.
    """
    patients = table.patients
    if not 2 <= k <= len(patients):
        raise ValueError(
            f"--folds must lie between 2 and the number of patients ({len(patients)}), but got {k}"
        )
    order = np.random.default_rng([seed, 0xF01D]).permutation(len(patients))
    part = dict(zip(patients[order], np.arange(len(patients)) % k, strict=True))
    part_of_row = table.frame["patient_id"].astype(str).map(part).to_numpy()
    result = []
    for i in range(k):
        rest = np.array([p for p in patients[order] if part[p] != i])
        val = set(rest[i % 5 :: 5]) if len(rest) >= 5 else set(rest[:1])
        is_val = table.frame["patient_id"].astype(str).isin(val).to_numpy()
        train = table.where((part_of_row != i) & ~is_val, "train")
        result.append(
            Folds(
                train=train,
                val=table.where((part_of_row != i) & is_val, "val"),
                audit=train.with_frame(train.frame, "audit"),
                test=table.where(part_of_row == i, "test"),
            )
        )
    return result


def manifest(folds: Folds) -> pd.DataFrame:
    """Which patient and image is in which fold: columns `fold, patient_id, image_id`."""
    parts = [fold.frame[["patient_id", "image_id"]].assign(fold=fold.name) for fold in folds.all()]
    return pd.concat(parts, ignore_index=True)[["fold", "patient_id", "image_id"]]


def digest(frame: pd.DataFrame) -> str:
    """A short content hash of a table: values, column names and order of rows."""
    text = frame.to_csv(index=False, lineterminator="\n", float_format="%.9g")
    return hashlib.sha256(text.encode()).hexdigest()[:16]
