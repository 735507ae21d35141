"""How far each patient moves a number: its variance to first order, without a bootstrap.

Arrays in, arrays out, and nothing of the suite: stored predictions are read with it as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Moved:
    """A statistic T with `value` T(1) and `slopes` `(patients,)`: dT/dw_p at weights of one.

    With patients drawn anew T varies by the sum of squared slopes, to first order; slopes of a
    difference are the differences of slopes. Exact for the patient bootstrap of a mean.

    Source: Efron, The Jackknife, the Bootstrap and Other Resampling Plans, 1982, ch. 6
    (infinitesimal jackknife).
    """

    value: float
    slopes: np.ndarray


def freedom(slopes: np.ndarray) -> np.ndarray:
    """Degrees of freedom `(...)` of the variance that slopes `(..., patients)` give.

    f = 2 V^2 / Var(V) with V = sum_p s_p^2: low where few patients, or patients with many images,
    carry the variance.

    Source: Satterthwaite, Biometrics Bulletin 1946;2:110-114.
    """
    squares = np.square(slopes)
    noise = np.square(squares - squares.mean(axis=-1, keepdims=True)).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: np.ndarray = 2 * np.square(squares.sum(axis=-1)) / noise
    return found


@dataclass(frozen=True)
class Ranked:
    """Images of one finding whose logits were sorted once, for the AUC of any subset of them.

    All arrays `(n,)`: `rank` is dense over part and logit, `start` and `end` bound the ranks of the
    image's part, `patients` are codes below `count`.
    """

    positive: np.ndarray
    patients: np.ndarray
    rank: np.ndarray
    start: np.ndarray
    end: np.ndarray
    count: int

    def auc(self, images: np.ndarray | slice = slice(None)) -> Moved:
        """AUC of the images that a mask or slice marks, with slopes; NaN where no pair is left.

        With placements V_i (share of negatives below positive i, ties half) and U_j (share of
        positives above negative j) the slope of patient p is
        sum_{i in p} (V_i - AUC) / n1 + sum_{j in p} (U_j - AUC) / n0. With k-fold predictions pairs
        of one part count: each image then weighs by the pairs that it is in.

        Source: DeLong, DeLong & Clarke-Pearson, Biometrics 1988;44:837-845 (placements);
        Obuchowski, Biometrics 1997;53:567-578 (several images per patient).
        """
        positive, rank = self.positive[images], self.rank[images]
        start, end = self.start[images], self.end[images]
        wins, pairs = np.zeros(len(rank)), np.zeros(len(rank))
        for own in (positive, ~positive):
            other = ~own
            size = int(self.end.max(initial=0))
            below = np.concatenate([[0], np.cumsum(np.bincount(rank[other], minlength=size))])
            at = rank[own]
            pairs[own] = below[end[own]] - below[start[own]]
            wins[own] = (below[at] + below[at + 1]) / 2 - below[start[own]]
        wins[~positive] = pairs[~positive] - wins[~positive]
        total = pairs[positive].sum()
        if total == 0:
            return Moved(math.nan, np.full(self.count, math.nan))
        value = float(wins[positive].sum() / total)
        # Whole and half numbers are summed before anything is divided, so the order of images
        # changes no bit.
        won = np.bincount(self.patients[images], wins, minlength=self.count)
        met = np.bincount(self.patients[images], pairs, minlength=self.count)
        return Moved(value, (won - value * met) / total)


def rank_images(
    logits: np.ndarray,
    labels: np.ndarray,
    patients: np.ndarray,
    count: int,
    parts: np.ndarray | None = None,
) -> Ranked:
    """Images `(n,)` ranked by logit within each part; without `parts` all share one.

    `labels` are 0 or 1, `patients` codes below `count`.

    Raises:
        ValueError: a label is NaN; select the images with a known label first.
    """
    if not np.isfinite(labels).all():
        raise ValueError(
            f"labels must be known to rank images, but {int(np.isnan(labels).sum())} are NaN; "
            "leave those images out"
        )
    part = np.zeros(len(logits), np.int64) if parts is None else parts.astype(np.int64)
    order = np.lexsort((logits, part))
    changed = (logits[order][1:] != logits[order][:-1]) | (part[order][1:] != part[order][:-1])
    rank = np.empty(len(logits), np.int64)
    rank[order] = np.concatenate([[0], np.cumsum(changed)])[: len(order)]
    start, end = np.empty_like(rank), np.empty_like(rank)
    for number in np.unique(part):
        inside = part == number
        start[inside], end[inside] = rank[inside].min(), rank[inside].max() + 1
    return Ranked(labels == 1, patients, rank, start, end, count)


def ratio(part: np.ndarray, whole: np.ndarray, patients: np.ndarray, count: int) -> Moved:
    """A ratio of two sums over images `(n,)`, such as a rate, and its slopes; NaN over nothing.

    With R = sum part / sum whole the slope of patient p is
    (sum_{i in p} part_i - R sum_{i in p} whole_i) / sum whole.
    """
    total = whole.sum()
    if total == 0:
        return Moved(math.nan, np.full(count, math.nan))
    value = float(part.sum() / total)
    own = np.bincount(patients, part, minlength=count)
    base = np.bincount(patients, whole, minlength=count)
    return Moved(value, (own - value * base) / total)
