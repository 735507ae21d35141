"""AUC: exact under weights, for all bootstrap replicates after one sort."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from metrics.cells import Cells, Estimates
from metrics.delong import auc_slopes
from metrics.rows import Extreme, cell_scores
from metrics.score import Score
from registry import METRICS

BLOCK = 256
"""Replicates handled together: a block of 10,000 images stays within a few megabytes."""


@METRICS.register("auc", direction="higher", unit="probability", input="cells")
def auc(cells: Cells) -> Iterator[Score]:
    """Probability that a positive image gets a higher logit than a negative one; ties count half.

    AUC = sum_ij w_i w_j (1[z_i > z_j] + 1/2 1[z_i = z_j]) / sum_ij w_i w_j over positive images i
    and negative images j of one cell. With k-fold predictions only pairs from the same part count:
    logits of different models share no scale, decisions do. The interval is that of the logit with
    Student's t and the spread of the replicates.

    Source: Hanley & McNeil, Radiology 1982;143:29–36.
    """
    yield from cell_scores(cells.once(auc_estimates), cells.once(auc_slopes).slopes)


@METRICS.register("worst_group_auc", direction="higher", unit="probability", input="cells")
def worst_group_auc(cells: Cells) -> Iterator[Score]:
    """Lowest AUC among the evaluable groups of an attribute; its macro is the mean over findings.

    WorstAUC = min_g AUC_g. The minimum of noisy numbers is biased down, more so with more and
    smaller groups, so compare methods on the same cells only.

    Source: Zhang et al., Improving the Fairness of Chest X-ray Classifiers, CHIL 2022.
    """
    lowest = Extreme(
        "worst_group_auc",
        pick=lambda values: float(values.min()),
        deviation=lambda noise: np.abs(noise).max(axis=0),
        label=lambda values, groups: f"lowest in {groups[int(values.argmin())]}",
        bias="a minimum over groups is biased down",
        least=2,
    )
    yield from lowest.scores(cells.once(auc_estimates))


def auc_estimates(cells: Cells) -> Estimates:
    """AUC of every cell with all its replicates."""
    from metrics.kernel import count_wins, walk_for_auc

    logits = cells.predictions.logits()
    part = cells.predictions.frame["part"].to_numpy(np.int64)
    blocks, count = cells.bootstrap.blocks, 1 + cells.bootstrap.replicates
    drawn = np.full((cells.truth.shape[1], len(cells.groups), count), np.nan)
    for f in range(len(drawn)):
        rows = np.flatnonzero(np.isfinite(cells.truth[:, f]))
        steps = walk_for_auc(
            logits[rows, f], cells.truth[rows, f] == 1, part[rows], cells.columns[rows]
        )
        patient = cells.patients[rows][steps.row]
        wins, pairs = count_wins(blocks, patient, steps.kind, steps.groups, drawn.shape[1])
        with np.errstate(invalid="ignore"):
            drawn[f] = wins[:, :count] / (2 * pairs[:, :count])
    return Estimates.of("auc", cells, drawn, reason="no positive and negative image share a part")


def auroc(
    scores: np.ndarray, labels: np.ndarray, weights: np.ndarray, parts: np.ndarray | None = None
) -> np.ndarray:
    """AUC `(B,)` of scores `(n,)` under each column of non-negative integer weights `(n, B)`.

    Labels `(n,)` are 0, 1 or NaN (left out). With `parts` `(n,)` only pairs within a part count.
    NaN where a class has no weight.
    """
    known = np.flatnonzero(np.isfinite(labels))
    order = known[np.argsort(scores[known], kind="stable")]
    part = np.zeros(len(order), np.int64) if parts is None else parts[order].astype(np.int64)
    keys = part_ranks(scores[order], part)
    return weighted_auroc(keys, labels[order] == 1, part, weights[order])


def part_ranks(ordered: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Dense ranks `(n,)` int64 of ascending scores, offset so that no two parts overlap."""
    if not len(ordered):
        return np.zeros(0, np.int64)
    rank = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])]).astype(np.int64)
    return rank + part * (len(ordered) + 1)


def weighted_auroc(
    keys: np.ndarray, positive: np.ndarray, part: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """AUC `(B,)` from part-offset ranks `(n,)`, classes `(n,)` bool and integer weights `(n, B)`.

    Walks over the smaller class and reads, from one running sum of the larger class, how much of it
    lies below each member. Integers throughout, so the order of images changes no bit.
    """
    few, many = np.flatnonzero(positive), np.flatnonzero(~positive)
    flip = len(few) > len(many)
    if flip:
        few, many = many, few
    if not len(few):
        return np.full(weights.shape[1], np.nan)
    many = many[np.argsort(keys[many], kind="stable")]
    sorted_keys, sorted_parts = keys[many], part[many]
    edges = np.stack(
        [
            np.searchsorted(sorted_keys, keys[few], "left"),
            np.searchsorted(sorted_keys, keys[few], "right"),
            np.searchsorted(sorted_parts, part[few], "left"),
            np.searchsorted(sorted_parts, part[few], "right"),
        ]
    )
    cuts, position = np.unique(edges, return_inverse=True)
    below, upto, start, end = position.reshape(edges.shape)
    result = np.empty(weights.shape[1])
    for b in range(0, weights.shape[1], BLOCK):
        running = _sums_at(cuts, weights[many, b : b + BLOCK])
        own = weights[few, b : b + BLOCK].astype(np.int64)
        wins = np.einsum("ib,ib->b", own, running[below] + running[upto] - 2 * running[start])
        pairs = 2 * np.einsum("ib,ib->b", own, running[end] - running[start])
        with np.errstate(invalid="ignore", divide="ignore"):
            result[b : b + BLOCK] = wins / pairs
    return 1 - result if flip else result


def _sums_at(cuts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum of the first c rows of `weights` `(m, B)` for each ascending c in `cuts`, int64."""
    inner = cuts[cuts < len(weights)]
    # A segment of fewer than 8 million images fits int32, which sums twice as fast as int64.
    segments = np.add.reduceat(weights, inner, axis=0, dtype=np.int32)
    first = weights[: cuts[0]].sum(axis=0, dtype=np.int32)
    steps = np.concatenate([first[None], segments])[: len(cuts)]
    sums: np.ndarray = np.cumsum(steps, axis=0, dtype=np.int64)
    return sums
