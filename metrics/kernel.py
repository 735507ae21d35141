"""What is compiled: AUC, average precision and sums in bins, of all groups and all replicates.

A *walk* goes over the images of one finding from the lowest score to the highest (AUC) or from the
highest to the lowest (average precision). At every image it updates all replicates of all groups
that the image belongs to. Counts are integers, so neither the order of rows nor of patients changes
a bit of an AUC.

`metrics/auroc.py` and `metrics/precision.py` hold the same numbers in plain numpy, one cell at a
time; the tests hold all of them against each other and against scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

LANES = 64
"""Replicates walked together: a row of their weights is one line of the processor cache."""
NEGATIVE, POSITIVE, BEFORE, AFTER, NEXT_PART = range(5)
"""Steps of a walk. Of images that tie, the positive ones meet the accumulated negatives twice,
`BEFORE` and `AFTER` those that they tie with: half a win each."""
CLOSE = 3
"""Step of the walk of average precision: a threshold lies below the images that tie."""


@dataclass(frozen=True)
class Steps:
    """A walk: the row `(k,)` that each step reads, what it does `(k,)`, and the columns of the
    groups it does it to `(k, groups of an image)`, -1 for none."""

    row: np.ndarray
    kind: np.ndarray
    groups: np.ndarray


def in_blocks(weights: np.ndarray) -> np.ndarray:
    """Weights `(patients, B)` uint8 as `(blocks, patients, LANES)`, padded with zeros."""
    patients, replicates = weights.shape
    blocks = -(-replicates // LANES)
    padded = np.zeros((patients, blocks * LANES), np.uint8)
    padded[:, :replicates] = weights
    return np.ascontiguousarray(padded.reshape(patients, blocks, LANES).transpose(1, 0, 2))


def walk_for_auc(
    scores: np.ndarray, positive: np.ndarray, part: np.ndarray, groups: np.ndarray
) -> Steps:
    """Steps upwards: scores `(n,)`, classes `(n,)` bool, parts `(n,)` and groups `(n, columns)`."""
    order, tie = _ascending(scores, part)
    label = positive[order]
    both = _any(tie, label) & _any(tie, ~label)
    mixed = both[tie]
    # Within a tie: positive images, then negative ones, then the positive ones again.
    first, middle, again = mixed & label, mixed & ~label, mixed & label
    plain = np.where(label[~mixed], POSITIVE, NEGATIVE)
    rows = np.concatenate([order[~mixed], order[first], order[middle], order[again]])
    kinds = [plain, _full(first, BEFORE), _full(middle, NEGATIVE), _full(again, AFTER)]
    place = np.concatenate(
        [3 * tie[~mixed], 3 * tie[first], 3 * tie[middle] + 1, 3 * tie[again] + 2]
    )
    return _ordered(rows, np.concatenate(kinds), groups[rows], place, part[rows])


def walk_for_precision(
    scores: np.ndarray, positive: np.ndarray, part: np.ndarray, groups: np.ndarray
) -> Steps:
    """Steps downwards, with a `CLOSE` for every group that has positive images at a threshold."""
    order, tie = _ascending(-scores, part)
    label = positive[order]
    # One step per threshold and group, whose row is not read.
    ties = np.repeat(tie[label], groups.shape[1])
    held = groups[order[label]].ravel()
    ties, held = ties[held >= 0], held[held >= 0]
    closing = np.unique(np.stack([ties, held]), axis=1) if len(ties) else np.zeros((2, 0), int)
    alone = np.full((closing.shape[1], groups.shape[1]), -1, groups.dtype)
    alone[:, 0] = closing[1]
    first_of = np.searchsorted(tie, closing[0])
    rows = np.concatenate([order, order[first_of]])
    kinds = np.concatenate([label.astype(np.uint8), np.full(len(alone), CLOSE, np.uint8)])
    place = np.concatenate([2 * tie, 2 * closing[0] + 1])
    return _ordered(rows, kinds, np.concatenate([groups[order], alone]), place, part[rows])


def _ascending(scores: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows in ascending order of part, then score, and which tie each of them is in."""
    order = np.lexsort((scores, part))
    new = (np.diff(scores[order]) != 0) | (np.diff(part[order]) != 0)
    return order, np.concatenate([[0], np.cumsum(new)]) if len(order) else order


def _any(tie: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Whether any image of each tie is marked."""
    return np.bincount(tie, marked, minlength=int(tie[-1]) + 1 if len(tie) else 0) > 0


def _full(mask: np.ndarray, kind: int) -> np.ndarray:
    return np.full(int(mask.sum()), kind)


def _ordered(
    rows: np.ndarray, kinds: np.ndarray, groups: np.ndarray, place: np.ndarray, part: np.ndarray
) -> Steps:
    """The steps by place, with a `NEXT_PART` in front of every part but the first."""
    if len(rows) and part.min() != part.max():
        starts = [place[part == p].min() for p in np.unique(part)[1:]]
        rows = np.concatenate([np.zeros(len(starts), rows.dtype), rows])
        kinds = np.concatenate([np.full(len(starts), NEXT_PART), kinds])
        none = np.full((len(starts), groups.shape[1]), -1, groups.dtype)
        groups, place = np.concatenate([none, groups]), np.concatenate([starts, place])
    order = np.argsort(place, kind="stable")
    return Steps(
        rows[order].astype(np.int32), kinds[order].astype(np.uint8), groups[order].astype(np.int16)
    )


@numba.njit(cache=True, nogil=True)
def count_wins(
    blocks: np.ndarray, patient: np.ndarray, kind: np.ndarray, groups: np.ndarray, columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Twice the wins of positive over negative images, and their pairs: `(columns, B)` uint64.

    `blocks` are weights `(blocks, patients, LANES)`; `patient`, `kind`, `groups` are the steps,
    with rows already read as patients. A product of a weight and a sum of weights stays below 2^32.
    """
    lanes = blocks.shape[0] * LANES
    wins = np.zeros((columns, lanes), np.uint64)
    pairs = np.zeros((columns, lanes), np.uint64)
    below = np.empty((columns, LANES), np.uint32)
    hits = np.empty((columns, LANES), np.uint32)
    won = np.empty((columns, LANES), np.uint64)
    for k in range(blocks.shape[0]):
        below[:] = 0
        hits[:] = 0
        won[:] = 0
        start = k * LANES
        for i in range(len(patient)):
            step = kind[i]
            if step == NEXT_PART:
                for g in range(columns):
                    for b in range(LANES):
                        pairs[g, start + b] += np.uint64(below[g, b]) * np.uint64(hits[g, b])
                below[:] = 0
                hits[:] = 0
                continue
            weight = blocks[k, patient[i]]
            for a in range(groups.shape[1]):
                g = groups[i, a]
                if g < 0:
                    continue
                under = below[g]
                if step == NEGATIVE:
                    for b in range(LANES):
                        under[b] += np.uint32(weight[b])
                    continue
                taken = won[g]
                if step == AFTER:
                    for b in range(LANES):
                        taken[b] += np.uint64(np.uint32(np.uint32(weight[b]) * under[b]))
                    continue
                seen = hits[g]
                times = np.uint32(2) if step == POSITIVE else np.uint32(1)
                for b in range(LANES):
                    w = np.uint32(weight[b])
                    seen[b] += w
                    taken[b] += np.uint64(np.uint32(times * w * under[b]))
        for g in range(columns):
            for b in range(LANES):
                wins[g, start + b] = won[g, b]
                pairs[g, start + b] += np.uint64(below[g, b]) * np.uint64(hits[g, b])
    return wins, pairs


@numba.njit(cache=True, nogil=True, error_model="numpy")
def sum_precisions(
    blocks: np.ndarray,
    patient: np.ndarray,
    kind: np.ndarray,
    groups: np.ndarray,
    odds: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums over positive images of the precision at their score; `(columns, B)` float64.

    The first with the prevalence as it is; the second with every negative image weighed by `odds`
    `(columns, B)`, so that all groups can be given one prevalence. The third is the weight of the
    positive images. `blocks` are weights `(blocks, patients, LANES)`; `patient`, `kind`, `groups`
    are the steps, with rows already read as patients.
    """
    lanes = blocks.shape[0] * LANES
    columns = len(odds)
    plain = np.zeros((columns, lanes))
    common = np.zeros((columns, lanes))
    total = np.zeros((columns, lanes))
    hits = np.empty((columns, LANES), np.uint32)
    alarms = np.empty((columns, LANES), np.uint32)
    new = np.empty((columns, LANES), np.uint32)
    for k in range(blocks.shape[0]):
        hits[:] = 0
        alarms[:] = 0
        new[:] = 0
        start = k * LANES
        for i in range(len(patient)):
            step = kind[i]
            if step == NEXT_PART:
                hits[:] = 0
                alarms[:] = 0
                continue
            weight = blocks[k, patient[i]]
            for a in range(groups.shape[1]):
                g = groups[i, a]
                if g < 0:
                    continue
                if step == CLOSE:
                    above, false, fresh = hits[g], alarms[g], new[g]
                    for b in range(LANES):
                        above[b] += fresh[b]
                        count, true = float(fresh[b]), float(above[b])
                        # Without a positive image at this threshold 0 is added, over at least 1.
                        floor = max(true, 1.0)
                        plain[g, start + b] += count * true / (floor + float(false[b]))
                        scaled = odds[g, start + b] * float(false[b])
                        common[g, start + b] += count * true / (floor + scaled)
                        total[g, start + b] += count
                        fresh[b] = 0
                    continue
                counted = new[g] if step == POSITIVE else alarms[g]
                for b in range(LANES):
                    counted[b] += np.uint32(weight[b])
    return plain, common, total


@numba.njit(cache=True, nogil=True)
def sum_by_slot(
    blocks: np.ndarray, patient: np.ndarray, slot: np.ndarray, value: np.ndarray, slots: int
) -> tuple[np.ndarray, np.ndarray]:
    """Number of images, and sum of their `value` `(n,)`, in every slot: `(slots, B)` float64.

    `blocks` are weights `(blocks, patients, LANES)`; `slot` `(n,)` says where an image belongs.
    """
    lanes = blocks.shape[0] * LANES
    number = np.zeros((slots, lanes))
    total = np.zeros((slots, lanes))
    counted = np.empty((slots, LANES), np.uint32)
    added = np.empty((slots, LANES))
    for k in range(blocks.shape[0]):
        counted[:] = 0
        added[:] = 0
        for i in range(len(patient)):
            weight, own = blocks[k, patient[i]], value[i]
            here, there = counted[slot[i]], added[slot[i]]
            for b in range(LANES):
                here[b] += np.uint32(weight[b])
                there[b] += float(weight[b]) * own
        for s in range(slots):
            for b in range(LANES):
                number[s, k * LANES + b] = counted[s, b]
                total[s, k * LANES + b] = added[s, b]
    return number, total
