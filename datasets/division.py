"""How a table is divided into folds: what `--split` says, and what comes of it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from datasets.folds import as_folds, by_patient, has_folds, kfold, limited, official, one_of
from datasets.manifests import SHOWN, Manifest
from datasets.split import Folds, Split

OFFICIAL, PATIENT, PART = "official", "patient", "fold"
SPLITS = "official, patient, fold:i/k or a csv file"
UNUSED = "the folds that the data set assigns are not used; --split official does"
NOT_LISTED = "not in the manifest"
OVER_LIMIT = "beyond --limit-patients"
MOST_PARTS = 1000


@dataclass(frozen=True)
class Division:
    """Official folds, folds dealt by patient, one part of k, or those of a manifest."""

    kind: str
    part: int = 0
    """Which part is tested, from 1."""
    parts: int = 0
    manifest: Manifest | None = None

    @classmethod
    def named(cls, text: str) -> Division:
        """The division that `official`, `patient`, `fold:i/k` or the name of a csv file means.

        Raises:
            ValueError: it means none, or the file has another content than the name's pin says.
            FileNotFoundError: there is no such file.
        """
        if text in (OFFICIAL, PATIENT):
            return cls(text)
        if text.startswith(f"{PART}:"):
            return cls(PART, *_part(text))
        if not text.strip() or not re.search(r"\.csv(\.gz)?(#|$)", text, re.IGNORECASE):
            raise ValueError(f"--split must be {SPLITS}, but got {text!r}")
        return cls("manifest", manifest=Manifest.named(text))

    def __str__(self) -> str:
        if self.kind == PART:
            return f"{PART}:{self.part}/{self.parts}"
        return str(self.manifest) if self.manifest else self.kind

    @property
    def identity(self) -> str:
        """What of it can change a number: a manifest counts by its content, wherever it lies."""
        return f"manifest:{self.manifest.digest}" if self.manifest else str(self)

    @property
    def short(self) -> str:
        """The identity, short enough to stand in a table."""
        return f"manifest:{self.manifest.digest[:SHOWN]}" if self.manifest else str(self)


@dataclass(frozen=True)
class Divided:
    """A table and its folds."""

    table: Split
    """The rows that are in a fold; `dropped` counts the others."""
    folds: tuple[Folds, ...]
    """One set, or k of them."""
    names: np.ndarray
    """The fold of each row `(n,)`, before an audit fold that is too small joins train; "all" where
    there are k sets."""
    notes: tuple[str, ...] = ()


def divide(table: Split, division: Division, *, limit: int = 0, seed: int = 0) -> Divided:
    """The folds of a table by a division, the same for the same `seed`.

    With `limit` only that many patients are left, chosen by strata, and every fold keeps its share.

    Raises:
        ValueError: the table has no such division, a patient stands in two folds, or a fold would
            be empty.
    """
    note = ""
    if division.manifest:
        names, note = division.manifest.folds(table, seed=seed)
    elif division.kind == PART:
        names = one_of(table, division.part, division.parts, seed=seed)
    else:
        names = (official if division.kind == OFFICIAL else by_patient)(table, seed=seed)
        note = UNUSED if division.kind == PATIENT and has_folds(table) else ""
    kept, names, told = _limit(table, names, limit, seed)
    return Divided(kept, (as_folds(kept, names),), names, tuple(n for n in (note, told) if n))


def divide_in(table: Split, k: int, *, limit: int = 0, seed: int = 0) -> Divided:
    """k folds of a table, each patient tested once, the same for the same `seed`; see `divide`.

    Raises:
        ValueError: k is below 2 or above the number of patients.
    """
    kept, names, told = _limit(table, np.full(len(table), "all", dtype=object), limit, seed)
    return Divided(kept, tuple(kfold(kept, k, seed=seed)), names, (told,) if told else ())


def _limit(
    table: Split, names: np.ndarray, patients: int, seed: int
) -> tuple[Split, np.ndarray, str]:
    """The rows in a fold, with at most that many patients; their folds; and what is to be noted."""
    left = limited(table, names, patients, seed=seed) if patients else names
    inside = left != ""
    dropped = Counter(table.dropped)
    dropped[NOT_LISTED] += int((names == "").sum())
    dropped[OVER_LIMIT] += int((~inside & (names != "")).sum())
    kept = table if inside.all() else table.where(inside)
    whole, rest = len(table.where(names != "").patients), len(kept.patients)
    told = f"a trial on {rest} of {whole} patients (--limit-patients)" if patients else ""
    return replace(kept, dropped=dict(+dropped)), left[inside], told


def _part(text: str) -> tuple[int, int]:
    found = re.fullmatch(rf"{PART}:([0-9]{{1,9}})/([0-9]{{1,9}})", text)
    part, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (1 <= part <= parts and 2 <= parts <= MOST_PARTS):
        raise ValueError(
            f"--split fold:i/k must have k from 2 to {MOST_PARTS} and i from 1 to k, but got "
            f"{text!r}"
        )
    return part, parts
