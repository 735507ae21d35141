"""Checks of the table that a loader makes: labels, groups, ages, persons, folds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from datasets.ages import OLDEST
from datasets.attributes import UNKNOWN
from datasets.base import FOLD
from datasets.split import Folds, Split
from inspection.checking.problems import ERROR, NOTE, WARNING, Problem, problem
from metrics.audit import words
from metrics.cells import MINIMUM_PATIENTS

LARGE = 0.2
"""Share of all images above which one patient has too many to be one."""
MANY = 10
"""Images below which the share of one patient says nothing."""


def check_table(table: Split, *, real: bool) -> Iterator[Problem]:
    """What is wrong with labels, attributes, names and persons."""
    frame = table.frame
    out = sum(table.dropped.values())
    if out > len(table):
        told = [f"{reason}: {n:,}" for reason, n in table.dropped.items()]
        yield problem(
            WARNING,
            "rows left out",
            f"{out:,} of {out + len(table):,} rows were left out.",
            "choose other options with --data where that is not meant",
            of=told,
        )
    yield from _labels(table)
    for attribute in table.attributes:
        groups = frame[attribute].astype(str)
        if (groups == UNKNOWN).all():
            yield problem(
                WARNING,
                "attribute blank",
                f"No {attribute} is recorded on any image.",
                f"leave it out with --attributes, or find the table with {attribute}",
            )
        elif groups.nunique() == 1:
            yield problem(
                NOTE,
                "one group",
                f"Everybody has the same {attribute}, "
                f"{groups.iloc[0]!r}, so that nothing can be compared by it.",
            )
    yield from _ages(table)
    yield from _images(table)
    if real:
        yield from _patients(table)


def _labels(table: Split) -> Iterator[Problem]:
    labels = table.labels()
    for f, finding in enumerate(table.findings):
        known = labels[:, f][np.isfinite(labels[:, f])]
        if not len(known):
            yield problem(
                WARNING,
                "label blank",
                f"{finding} is not known on any image.",
                "leave it out with --findings, or choose another policy of labels",
            )
        elif known.min() == known.max():
            always = "present" if known[0] else "absent"
            yield problem(
                WARNING,
                "label constant",
                f"{finding} is {always} on every image.",
                "leave it out with --findings: it cannot be learnt",
            )


def _ages(table: Split) -> Iterator[Problem]:
    if "age" not in table.frame:
        return
    age = table.frame["age"].to_numpy(float)
    strange = age[(age < 0) | (age > OLDEST)]
    if len(strange):
        yield problem(
            WARNING,
            "absurd age",
            f"{len(strange):,} images are of ages below 0 or above {OLDEST} years.",
            "such ages should count as not known",
            of=[f"{v:g} years" for v in np.unique(strange)],
        )


def _images(table: Split) -> Iterator[Problem]:
    frame = table.frame
    ids = frame["image_id"].astype(str)
    again = ids[ids.duplicated()].unique()
    if len(again):
        yield problem(
            ERROR,
            "image listed twice",
            f"{len(again):,} image ids stand on several rows.",
            "every image needs a name of its own",
            of=list(again),
        )
    people = frame.groupby(frame["path"].astype(str), sort=False)["patient_id"].nunique()
    shared = list(people.index[people > 1])
    if shared:
        yield problem(
            ERROR,
            "image of two patients",
            f"{len(shared):,} files stand under two patients.",
            "give the person one id: folds are divided by it",
            of=shared,
        )
    if FOLD in frame:
        given = frame[frame[FOLD].fillna("").astype(str) != ""]
        folds = given.groupby("patient_id", sort=False)[FOLD].nunique()
        crossing = list(folds.index[folds > 1].astype(str))
        if crossing:
            yield problem(
                ERROR,
                "patient in two folds",
                f"{len(crossing):,} patients stand in two folds of the lists that come "
                "with the data.",
                "take lists that are divided by patient, or use --split patient",
                of=crossing,
            )


def _patients(table: Split) -> Iterator[Problem]:
    each = table.frame["patient_id"].astype(str).value_counts()
    if len(each) == 1:
        yield problem(
            ERROR,
            "one patient",
            "All images are of one patient.",
            "name the column that tells persons apart",
        )
    elif each.iloc[0] >= MANY and each.iloc[0] > LARGE * len(table):
        yield problem(
            WARNING,
            "one patient has many images",
            f"One patient id has {each.iloc[0]:,} of {len(table):,} images.",
            "make sure that it names one person, not everybody without an id",
            of=[each.index[0]],
        )


def check_cells(folds: Folds, *, restricted: bool) -> Iterator[Problem]:
    """Cells of the test fold that hold too few patients for rates, and so for gaps."""
    cells = test_cells(folds)
    few = cells[cells[["positives", "negatives"]].min(axis=1) < MINIMUM_PATIENTS]
    if few.empty:
        return
    whole = few[few["attribute"] == ""]
    if len(whole):
        yield problem(
            WARNING,
            "finding too rare",
            f"Of {words.counted(len(whole), 'finding')} of {len(folds.test.findings)} the test "
            f"fold holds fewer than {MINIMUM_PATIENTS} patients with or without it.",
            "their metrics will be n/a: use --folds K, or other findings",
            of=_told_cells(whole, restricted),
        )
    parts = few[(few["attribute"] != "") & ~few["finding"].isin(whole["finding"])]
    if len(parts):
        yield problem(
            WARNING,
            "group too small",
            f"{words.counted(len(parts), 'cell')} of a finding and a group in the test "
            f"fold {'holds' if len(parts) == 1 else 'hold'} fewer than "
            f"{MINIMUM_PATIENTS} patients with or without the finding.",
            "their metrics will be n/a: use --folds K, or wider groups",
            of=_told_cells(parts, restricted),
        )


def _told_cells(cells: pd.DataFrame, restricted: bool) -> list[str]:
    """Each cell with its patients, the rarest first; of everybody only the finding is named."""
    return [
        f"{r.finding}{f', {r.attribute!s} {r.group!s}' if r.attribute else ''}: "
        f"{_count(r.positives, restricted)} with, {_count(r.negatives, restricted)} without"
        for r in cells.sort_values("positives", kind="stable").itertuples()
    ]


def test_cells(folds: Folds) -> pd.DataFrame:
    """Patients with and without every finding in every group of the test fold."""
    test = folds.test
    labels, rows = test.labels(), []
    patients = test.frame["patient_id"].astype(str).to_numpy()
    inside: list[tuple[str, str, np.ndarray]] = [("", "all", np.ones(len(test), bool))]
    for attribute in test.attributes:
        column = test.frame[attribute].astype(str).to_numpy()
        inside += [(attribute, g, column == g) for g in test.groups_of(attribute)]
    for f, finding in enumerate(test.findings):
        for attribute, group, mask in inside:
            people = [len(np.unique(patients[mask & (labels[:, f] == v)])) for v in (1, 0)]
            # An empty group is no fault of the data: there is nobody whom a rate could be of.
            if attribute and not mask.any():
                continue
            rows.append((finding, attribute, group, *people))
    return pd.DataFrame(rows, columns=["finding", "attribute", "group", "positives", "negatives"])


def _count(patients: object, restricted: bool) -> str:
    number = int(str(patients))
    return "1 to 9" if restricted and 0 < number < 10 else f"{number:,}"
