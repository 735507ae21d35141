"""Checks for persons and pictures that stand in two folds, or under two patients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from datasets.overlap import NEAR, PERSON, SAME, Copies, Leak, between_folds, copies
from datasets.people import PAIRS_FILE, pairs_of
from datasets.split import Folds, Split
from inspection.checking.problems import ERROR, WARNING, Problem, problem

REMEDY = "give each person one patient_id and list each picture once"


def check_persons(table: Split, folds: Folds | None) -> Iterator[Problem]:
    """Ids that `same_person.csv` says are one person, and that stand in two folds."""
    try:
        pairs = pairs_of(table)
    except ValueError as error:
        yield problem(
            ERROR, "list of persons", f"{PAIRS_FILE} cannot be read.", "mend it", reason=error
        )
        return
    known = set(table.frame["patient_id"].astype(str))
    if pairs and not any(a in known or b in known for a, b in pairs):
        yield problem(
            WARNING,
            "list of persons",
            f"None of the {len(pairs):,} pairs in {PAIRS_FILE} names a patient of the table.",
            "write the ids as the table does",
        )
    if pairs and folds is not None:
        alone = Copies(np.arange(len(table)), np.empty((0, 2), np.int64), np.empty(0))
        found = between_folds([folds], table, alone, pairs)
        yield from _told([k for k in found.leaks if k.kind == PERSON])


def check_pictures(seen: Split, folds: Folds | None, size: int, *, of: str) -> Iterator[Problem]:
    """Pictures among `seen` that stand in two folds, or under two patients."""
    if len(seen) < 2:
        return
    found = copies(seen, size=size)
    leaks: Sequence[Leak] = between_folds([folds], seen, found).leaks if folds else ()
    yield from _told([k for k in leaks if k.kind in (SAME, NEAR)], of)
    crossing = {image for k in leaks for image in (k.image_a, k.image_b)}
    frame = pd.DataFrame(
        {
            "picture": found.picture,
            "patient": seen.frame["patient_id"],
            "image": seen.frame["image_id"].astype(str),
        }
    )
    people = frame.groupby("picture")["patient"].transform("nunique")
    shared = frame[(people > 1) & ~frame["image"].isin(crossing)]
    if len(shared):
        yield problem(
            WARNING,
            "picture of two patients",
            f"{shared['picture'].nunique():,} pictures {of} stand under two patients of one fold.",
            REMEDY,
            of=list(shared["image"]),
        )


def _told(leaks: Sequence[Leak], of: str = "") -> Iterator[Problem]:
    for kind, severity, what in (
        (PERSON, ERROR, f"pairs of ids that {PAIRS_FILE} says are one person"),
        (SAME, ERROR, f"pictures {of}"),
        (NEAR, WARNING, f"pairs of nearly equal pictures {of}"),
    ):
        mine = [leak for leak in leaks if leak.kind == kind]
        if mine:
            told = [f"{k.image_a} ({k.fold_a}) and {k.image_b} ({k.fold_b})" for k in mine]
            text = f"{len(mine):,} {what.strip()} stand in two folds."
            yield problem(severity, kind, text, REMEDY, of=told)
