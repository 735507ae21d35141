"""Counts: images and patients by group, how uneven the groups are, images per patient, ages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from inspection.description.groupings import Grouping

AGE = "age"


def counts(groupings: Iterable[Grouping], patients: np.ndarray) -> pd.DataFrame:
    """A row per group: images, patients, and their shares of all.

    A patient counts in each group in which an image of theirs lies, so that shares of patients may
    sum to more than 1, as with ages at several visits.
    """
    everyone = len(np.unique(patients))
    rows = []
    for grouping in groupings:
        for code, group in enumerate(grouping.groups):
            inside = grouping.codes == code
            images, people = int(inside.sum()), len(np.unique(patients[inside]))
            rows.append((grouping.name, group, images, people, images / len(patients),
                         people / everyone))  # fmt: skip
    columns = ["attribute", "group", "images", "patients", "share_of_images", "share_of_patients"]
    return pd.DataFrame(rows, columns=columns)


def imbalance(counted: pd.DataFrame) -> pd.DataFrame:
    """How uneven the groups of each attribute are, from `counts`; of images, and of patients."""
    rows = []
    for name, part in counted.groupby("attribute", sort=False):
        for unit in ("patients", "images"):
            sizes = part[unit].to_numpy(dtype=float)
            there = sizes[sizes > 0]
            rows.append((name, unit, len(there), int((sizes == 0).sum()), entropy(there),
                         simpson(there), there.max() / there.min(), int(there.min())))  # fmt: skip
    columns = ["attribute", "unit", "groups", "empty_groups", "entropy", "simpson",
               "largest_to_smallest", "smallest"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def entropy(sizes: Sequence[float] | np.ndarray) -> float:
    """Shannon entropy of group shares over its largest possible value, in [0, 1].

    1 where all groups are of one size, near 0 where one holds nearly everybody; NaN for one group.

    Source: Pielou, Journal of Theoretical Biology 1966;13:131-144 (evenness).

    >>> round(entropy([75, 25]), 3)
    0.811
    """
    shares = np.asarray(sizes, float) / np.sum(sizes)
    shares = shares[shares > 0]
    if len(shares) < 2:
        return math.nan
    return float(-(shares * np.log(shares)).sum() / math.log(len(shares)))


def simpson(sizes: Sequence[float] | np.ndarray) -> float:
    """1 - sum p^2: the chance that two draws are of unlike groups; at most 1 - 1/k for k groups.

    Source: Simpson, Nature 1949;163:688; Gini, Variabilità e mutabilità, 1912.

    >>> simpson([75, 25])
    0.375
    """
    shares = np.asarray(sizes, float) / np.sum(sizes)
    return float(1 - np.square(shares).sum())


def images_per_patient(groupings: Iterable[Grouping], patients: np.ndarray) -> pd.DataFrame:
    """A row per group: patients, and how many images of that group each has."""
    rows = []
    for grouping in groupings:
        for code, group in enumerate(grouping.groups):
            _, each = np.unique(patients[grouping.codes == code], return_counts=True)
            several = int((each > 1).sum())
            found = (each.mean(), np.median(each), int(each.max()), several / len(each)) if len(
                each
            ) else (math.nan,) * 4  # fmt: skip
            rows.append((grouping.name, group, len(each), several, *found))
    columns = ["attribute", "group", "patients", "patients_with_several", "mean", "median", "most",
               "share_with_several"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def ages(groupings: Iterable[Grouping], age: np.ndarray, patients: np.ndarray) -> pd.DataFrame:
    """A row per group: images whose age is known, and quartiles of the age in years."""
    rows = []
    for grouping in groupings:
        for code, group in enumerate(grouping.groups):
            inside = grouping.codes == code
            known = age[inside & np.isfinite(age)]
            found = np.percentile(known, (0, 25, 50, 75, 100)) if len(known) else [math.nan] * 5
            people = len(np.unique(patients[inside & np.isfinite(age)]))
            rows.append((grouping.name, group, len(known), int(inside.sum()) - len(known), people,
                         *map(float, found)))  # fmt: skip
    columns = ["attribute", "group", "images", "images_without_age", "patients", "youngest",
               "quartile_1", "median", "quartile_3", "oldest"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def cooccurrence(labels: np.ndarray, findings: Sequence[str], patients: np.ndarray) -> pd.DataFrame:
    """A row per ordered pair of findings: of the images with the first, the share with the second.

    `labels` `(n, findings)`; images where either is not known do not count.
    """
    rows = []
    for i, first in enumerate(findings):
        for j, second in enumerate(findings):
            if i == j:
                continue
            with_first = (labels[:, i] == 1) & np.isfinite(labels[:, j])
            both = with_first & (labels[:, j] == 1)
            images = int(with_first.sum())
            share = both.sum() / images if images else math.nan
            rows.append((first, second, images, int(both.sum()), len(np.unique(patients[both])),
                         share))  # fmt: skip
    columns = ["finding", "with", "images_with_first", "images_with_both", "patients_with_both",
               "share"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)
