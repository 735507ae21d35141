"""From one table to folds with disjoint patients: as a data set assigns them, or dealt by strata.

A fold is named row by row first, and `as_folds` makes four tables of it. Rows of a union, told
apart by the column `source`, are dealt source by source: each keeps the folds it has alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd

from datasets.base import FOLD
from datasets.sources import hexdigest
from datasets.split import Folds, Split
from datasets.stratify import apportioned, dealt, strata_of

SHARES = {"train": 0.60, "val": 0.15, "audit": 0.10, "test": 0.15}
"""Shares of patients where the data set assigns no folds itself."""
SMALLEST_AUDIT = 100
"""Patients; below this an attacker learns next to nothing, so `audit` reuses `train`."""
SOURCE = "source"
"""Optional column of a table: the data set that a row of a union comes from."""
VALIDATION = 0.2
"""Share of validation among the patients of `kfold` that are not tested."""
NAMED = 5
"""Patients that a refusal names."""


def assign(table: Split, *, seed: int = 0) -> Folds:
    """Folds as the data set assigns them where it does, else dealt by patient.

    Raises:
        ValueError: as `official`, `by_patient` and `as_folds`.
    """
    name = official if has_folds(table) else by_patient
    return as_folds(table, name(table, seed=seed))


def has_folds(table: Split) -> bool:
    """Whether the data set assigns a fold to anybody."""
    return FOLD in table.frame and bool((_texts(table.frame[FOLD]) != "").any())


def by_patient(table: Split, *, seed: int = 0) -> np.ndarray:
    """The fold of each row `(n,)`: patients dealt to four folds by `SHARES`, stratified."""
    return _dealt(table, SHARES, seed)


def one_of(table: Split, part: int, parts: int, *, seed: int = 0) -> np.ndarray:
    """The fold of each row `(n,)`: part number `part` of `parts`, from 1, is the test fold.

    The other patients are dealt to train, val and audit. Part i is what `kfold` tests i-th.

    Raises:
        ValueError: there are not that many patients.
    """
    rest = {name: SHARES[name] for name in ("train", "val", "audit")}
    tested = partition(table, parts, seed=seed) == part - 1
    names = np.full(len(table), "test", dtype=object)
    names[~tested] = _dealt(table.where(~tested), rest, seed)
    return names


def official(table: Split, *, seed: int = 0) -> np.ndarray:
    """The fold of each row `(n,)` by the column `fold`.

    Where only train and test are given, val and audit are carved out of train by patient. Patients
    without a fold are dealt to all four, or stand for train where there is none but a test fold.

    Raises:
        ValueError: there is no such column or nothing in it, a name is unknown, a patient stands in
            two folds, or there is no test fold.
    """
    if not has_folds(table):
        raise ValueError(
            f"--split official must be given by the data set, but {table.name!r} assigns no folds "
            "with these options; use --split patient"
        )
    given = _texts(table.frame[FOLD])
    names = completed(table, given, seed=seed, whose=f"the official split of {table.name!r}")
    if not (names == "test").any():
        raise ValueError(
            f"the official split of {table.name!r} must have a test fold, but has only "
            f"{', '.join(sorted(set(given) - {''}))}; use --split patient"
        )
    return names


def completed(table: Split, given: np.ndarray, *, seed: int = 0, whose: str) -> np.ndarray:
    """`given` folds of rows `(n,)` with a fold for every patient; see `official`.

    Raises:
        ValueError: a name is unknown, or a patient stands in two folds.
    """
    strange = sorted(set(given) - {"", *SHARES})
    if strange:
        raise ValueError(
            f"folds must be named {', '.join(SHARES)}, but {whose} has {strange[0]!r}; rename them"
        )
    names = _of_patients(table, given, whose)
    numbered = table.with_frame(table.frame.assign(**{FOLD: names}))
    return _by_source(numbered, lambda part: _completed(part, seed))


def as_folds(table: Split, names: np.ndarray) -> Folds:
    """Four tables by the fold of each row; rows named "" are in none.

    With fewer than 100 audit patients these join `train`, and `audit` reuses all of it.

    Raises:
        ValueError: a fold is empty, or patients overlap.
    """
    by_name = {name: table.where(names == name, name) for name in SHARES}
    if len(by_name["audit"].patients) < SMALLEST_AUDIT:
        # No patient is lost: those who were meant for the audit train the classifier too.
        by_name["train"] = table.where(np.isin(names, ("train", "audit")), "train")
        by_name["audit"] = by_name["train"].with_frame(by_name["train"].frame, "audit")
    return Folds(**by_name)


def partition(table: Split, parts: int, *, seed: int = 0) -> np.ndarray:
    """Which of `parts` equal, stratified parts the patient of each row is in: int64 `(n,)`.

    Raises:
        ValueError: there are fewer than 2 parts, or more than patients.
    """
    patients = len(table.patients)
    if not 2 <= parts <= patients:
        raise ValueError(
            f"--folds must lie between 2 and the number of patients ({patients}), but got {parts}"
        )
    equal = {str(number): 1 / parts for number in range(parts)}
    return _dealt(table, equal, seed).astype(np.int64)


def kfold(table: Split, k: int, *, seed: int = 0) -> list[Folds]:
    """k folds by patient: each patient is tested once; `audit` reuses `train`.

    Of the patients not tested, one in five is for validation.

    Raises:
        ValueError: k is below 2 or above the number of patients.
    """
    part = partition(table, k, seed=seed)
    result = []
    for i in range(k):
        rest = table.where(part != i, "train")
        # Two patients are one for each.
        val = VALIDATION if len(rest.patients) > 2 else 0.5
        shares = {"train": 1 - val, "val": val}
        names = _dealt(rest, shares, seed)
        train = rest.where(names == "train", "train")
        result.append(
            Folds(
                train=train,
                val=rest.where(names == "val", "val"),
                audit=train.with_frame(train.frame, "audit"),
                test=table.where(part == i, "test"),
            )
        )
    return result


def limited(table: Split, names: np.ndarray, patients: int, *, seed: int = 0) -> np.ndarray:
    """`names` `(n,)` with "" for all but that many patients, chosen by strata.

    Every fold of every source keeps its share, so the folds are parts of the whole ones.
    """
    cells = pd.MultiIndex.from_arrays([_sources(table), names]).factorize()[0]
    used = np.unique(cells[names != ""])
    sizes = np.array([len(table.where(cells == cell).patients) for cell in used])
    if patients >= sizes.sum():
        return names
    result = names.copy()
    quotas = apportioned(patients, sizes / sizes.sum())
    for cell, size, quota in zip(used, sizes, quotas, strict=True):
        rows = np.flatnonzero(cells == cell)
        shares = {"in": quota / size, "out": 1 - quota / size}
        result[rows[_dealt(table.where(cells == cell), shares, seed) == "out"]] = ""
    return result


def manifest(folds: Folds) -> pd.DataFrame:
    """Which patient and image is in which fold: columns `fold, patient_id, image_id`."""
    parts = [fold.frame[["patient_id", "image_id"]].assign(fold=fold.name) for fold in folds.all()]
    return pd.concat(parts, ignore_index=True)[["fold", "patient_id", "image_id"]]


def split_digest(folds: Iterable[Folds]) -> str:
    """A short content hash of who is in which fold, over one set of folds or all k."""
    return hexdigest(*(digest(manifest(part)) for part in folds))[:16]


def digest(frame: pd.DataFrame) -> str:
    """A short content hash of a table: values, column names and order of rows."""
    text = frame.to_csv(index=False, lineterminator="\n", float_format="%.9g")
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _dealt(table: Split, shares: Mapping[str, float], seed: int) -> np.ndarray:
    """The name that the patient of each row is dealt `(n,)`, in relative `shares`, by source."""
    whole = sum(shares.values())
    exact, names = [share / whole for share in shares.values()], np.array([*shares], dtype=object)

    def deal(part: Split) -> np.ndarray:
        strata = strata_of(part)
        place = np.searchsorted(strata.patients, part.frame["patient_id"].to_numpy(dtype=str))
        return names[dealt(strata, exact, seed=seed)[place]]

    return _by_source(table, deal)


def _by_source(table: Split, deal: Callable[[Split], np.ndarray]) -> np.ndarray:
    """What `deal` makes of the rows of each source, in the order of the table."""
    source = _sources(table)
    result = np.empty(len(table), dtype=object)
    for one in np.unique(source):
        here = source == one
        result[here] = deal(table.where(here))
    return result


def _sources(table: Split) -> np.ndarray:
    if SOURCE in table.frame:
        return table.frame[SOURCE].to_numpy(dtype=str)
    return np.full(len(table), table.name)


def _completed(table: Split, seed: int) -> np.ndarray:
    """Folds of the rows of one source, by a column `fold` that is equal within a patient."""
    names = table.frame[FOLD].to_numpy(dtype=object, copy=True)
    free, held = names == "", set(names)
    if "train" in held or "test" not in held:
        names[free] = by_patient(table.where(free), seed=seed)
    else:
        names[free] = "train"
    lacking = [name for name in ("val", "audit") if name not in held]
    carved = (names == "train") & (~free | ("train" not in held))
    if lacking and carved.any() and held - {""}:
        shares = {name: SHARES[name] for name in SHARES if name in ("train", *lacking)}
        names[carved] = _dealt(table.where(carved), shares, seed)
    return names


def _of_patients(table: Split, given: np.ndarray, whose: str) -> np.ndarray:
    """The fold of the patient of each row `(n,)`, "" where no row of the patient has one."""
    patient = table.frame["patient_id"].astype(str).to_numpy()
    pairs = pd.DataFrame({"patient": patient, "fold": given})
    pairs = pairs[pairs["fold"] != ""].drop_duplicates()
    twice = pairs[pairs["patient"].duplicated(keep=False)].sort_values(["patient", "fold"])
    if len(twice):
        told = [f"{p} ({' and '.join(map(repr, f))})" for p, f in twice.groupby("patient")["fold"]]
        raise ValueError(
            f"a patient must be in one fold, but {whose} has {len(told)} in two: "
            f"{', '.join(told[:NAMED])}{', …' if len(told) > NAMED else ''}; assign each to one, "
            "or use --split patient"
        )
    fold = dict(zip(pairs["patient"], pairs["fold"], strict=True))
    return np.array([fold.get(p, "") for p in patient], dtype=object)


def _texts(column: pd.Series) -> np.ndarray:
    return column.astype(object).fillna("").astype(str).str.strip().to_numpy(dtype=object)
