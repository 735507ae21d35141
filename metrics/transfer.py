"""How far an operating point fitted on validation patients lands from its target on test patients.

Every other rate of the suite is conditional on the threshold as it was frozen: its interval covers
the choice of test patients. Here the threshold is part of what is measured, so validation patients
are drawn anew as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import numpy as np

from metrics.bootstrap import PatientBootstrap
from metrics.cells import Cells, Estimates
from metrics.operating_points import sensitivity_rank, specificity_rank
from metrics.predictions import Predictions
from metrics.rows import cell_scores
from metrics.score import Score
from registry import METRICS

TARGET = Fraction("0.80")
"""Specificity, and sensitivity, that the thresholds are fitted to: the suite's default."""
BLOCK = 256
"""Replicates handled together; of 100,000 images their weights are 25 megabytes."""
STRIDE = 128
"""Images that are summed before the one is looked for that reaches a rank."""
OTHER_STREAM = 0x7A1
"""Added to the seed for validation patients, whose draws must not be those of test patients."""

Ranking = Callable[[np.ndarray, Fraction], np.ndarray]


@METRICS.register("specificity_transfer", direction="zero", unit="rate difference", input="cells")
def specificity_transfer(cells: Cells) -> Iterator[Score]:
    """Specificity on test, at the validation threshold for 0.80, minus 0.80.

    D = sum_i w_i 1[y_i = 0, z_i < t] / sum_i w_i 1[y_i = 0] - 0.80 over the images of one cell,
    with t the ceil(0.80 (n0 + 1))-th smallest logit of the n0 negative validation images of
    everybody, against recorded labels. In a group it also says how the one threshold falls on that
    group. The interval draws test and validation patients independently (so too with k folds,
    where a patient is in both, for different models) and takes t anew in every replicate. It does
    not depend on the operating point that a run was asked for.

    Source: Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005, ch. 2 (order
    statistic); Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 8 (two samples).
    """
    yield from cell_scores(cells.once(_specificity))


@METRICS.register("sensitivity_transfer", direction="zero", unit="rate difference", input="cells")
def sensitivity_transfer(cells: Cells) -> Iterator[Score]:
    """Sensitivity on test, at the validation threshold for 0.80, minus 0.80.

    D = sum_i w_i 1[y_i = 1, z_i >= t] / sum_i w_i 1[y_i = 1] - 0.80 over the images of one cell,
    with t the floor(0.20 (n1 + 1))-th smallest logit of the n1 positive validation images of
    everybody, against recorded labels. Interval and groups as for specificity_transfer.

    Source: Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005, ch. 2 (order
    statistic); Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 8 (two samples).
    """
    yield from cell_scores(cells.once(_sensitivity))


def weighted_thresholds(logits: np.ndarray, weights: np.ndarray, rank: Ranking) -> np.ndarray:
    """The logit `(B,)` of the rank that each column of weights asks for; NaN where none has it.

    `logits` are ascending `(n,)`, `weights` whole numbers `(n, B)`, and `rank` takes the weight of
    all images to that of the threshold, as if each image stood there as often as it weighs.
    """
    if not len(logits):
        return np.full(weights.shape[1], np.nan)
    upto = _running_sums(weights)
    wanted = rank(upto[:, -1], TARGET)
    stride = np.clip((upto < wanted[:, None]).sum(axis=1) - 1, 0, upto.shape[1] - 2)
    drawn = _weights_in(stride, weights)
    before = upto[np.arange(len(upto)), stride]
    within = before[:, None] + np.cumsum(drawn, axis=1, dtype=np.int64)
    reached = np.minimum(stride * STRIDE + (within < wanted[:, None]).sum(axis=1), len(logits) - 1)
    return np.where(wanted >= 1, logits[reached].astype(np.float64), np.nan)


def _specificity(cells: Cells) -> Estimates:
    return _transfer(cells, "specificity_transfer", label=0, rank=specificity_rank)


def _sensitivity(cells: Cells) -> Estimates:
    return _transfer(cells, "sensitivity_transfer", label=1, rank=sensitivity_rank)


def _transfer(cells: Cells, metric: str, label: int, rank: Ranking) -> Estimates:
    """The rate of correct decisions among images of class `label` minus the target."""
    findings = cells.truth.shape[1]
    # Column 0 weighs everybody once: the value itself; the others are the replicates.
    rates = np.full((findings, len(cells.groups), 1 + cells.bootstrap.replicates), np.nan)
    if cells.validation:
        weights = np.insert(cells.bootstrap.weights, 0, 1, axis=1)
        thresholds = _thresholds(cells, label, rank)
        for f in range(findings):
            below, all_of = _weight_below(cells, f, label, thresholds[f], weights)
            with np.errstate(invalid="ignore", divide="ignore"):
                share = below / all_of
            rates[f] = (share if label == 0 else 1 - share) - float(TARGET)
    return Estimates(
        metric,
        cells,
        rates[..., 0],
        rates[..., 1:],
        positive=cells.positive,
        negative=cells.negative,
        reason=(
            f"too few validation images to guarantee {float(TARGET):g}"
            if cells.validation
            else "no validation predictions were given"
        ),
    )


def _thresholds(cells: Cells, label: int, rank: Ranking) -> np.ndarray:
    """Thresholds `(findings, parts, 1 + B)` against recorded labels; column 0 is the fitted one."""
    names, weights = cells.once(_validation_weights)
    found = np.empty((cells.truth.shape[1], len(cells.validation), weights.shape[1]))
    for part, val in enumerate(cells.validation):
        patients = np.searchsorted(names, val.frame["patient"].to_numpy(dtype=str))
        for f in range(len(found)):
            found[f, part] = _thresholds_of(val, f, label, patients, weights, rank)
    return found


def _validation_weights(cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    """Names of validation patients, sorted, and their weights `(patients, 1 + B)`."""
    patients = [val.frame["patient"].to_numpy(dtype=str) for val in cells.validation]
    names = np.unique(np.concatenate(patients))
    seed = cells.bootstrap.seed + OTHER_STREAM
    drawn = PatientBootstrap(max(len(names), 2), cells.bootstrap.replicates, seed)
    return names, np.insert(drawn.weights, 0, 1, axis=1)


def _thresholds_of(
    val: Predictions, f: int, label: int, patients: np.ndarray, weights: np.ndarray, rank: Ranking
) -> np.ndarray:
    logits = val.logits()[:, f]
    rows = np.flatnonzero(val.labels()[:, f] == label)
    rows = rows[np.argsort(logits[rows], kind="stable")]
    blocks = [
        weighted_thresholds(logits[rows], weights[patients[rows], b : b + BLOCK], rank)
        for b in range(0, weights.shape[1], BLOCK)
    ]
    return np.concatenate(blocks)


def _weight_below(
    cells: Cells, f: int, label: int, thresholds: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weight of the images of a class below their thresholds, and of all: `(groups, 1 + B)` each.

    `thresholds` are `(parts, 1 + B)`; NaN where a part with images of the class has none.
    """
    part = cells.predictions.frame["part"].to_numpy(np.int64)
    logits = cells.predictions.logits()[:, f].astype(np.float64)
    below = np.zeros((len(cells.groups), weights.shape[1]))
    all_of = np.zeros_like(below)
    for number, limits in enumerate(thresholds):
        rows = np.flatnonzero((cells.truth[:, f] == label) & (part == number))
        if not len(rows):
            continue
        rows = rows[np.argsort(logits[rows], kind="stable")]
        cuts = np.searchsorted(logits[rows], limits, "left")
        defined = np.isfinite(limits)
        low, high = (cuts[defined].min(), cuts[defined].max()) if defined.any() else (0, 0)
        # Thresholds of all replicates lie close together: only images between the lowest and the
        # highest differ between replicates, and only those need a running sum.
        surely, total = _sums(cells, (rows[:low], rows))
        steps = np.clip(cuts - low, 0, high - low)
        below += surely + _first(cells, rows[low:high], steps, weights)
        all_of += total
        below[:, ~defined] = np.nan
    return below, all_of


def _sums(cells: Cells, several: Sequence[np.ndarray]) -> np.ndarray:
    """Weight of several sets of images in every group `(sets, groups, 1 + B)`."""
    images = [
        np.bincount(cells.patients[rows], inside, minlength=cells.bootstrap.patients)
        for rows in several
        for inside in cells.members[rows].T
    ]
    counted = np.stack(images, axis=1).astype(np.float32)
    # Weighted counts stay below 2^24, so the float32 product is exact.
    drawn = cells.bootstrap.matrix @ counted
    sums = np.concatenate([counted.sum(axis=0)[None], drawn]).T.astype(np.float64)
    return sums.reshape(len(several), len(cells.groups), -1)


def _first(cells: Cells, rows: np.ndarray, steps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weight of the first `steps` `(1 + B,)` of some images in every group `(groups, 1 + B)`."""
    inside = cells.members[rows].T.astype(np.float32)
    found = np.empty((len(inside), len(steps)))
    for b in range(0, len(steps), BLOCK):
        counted = np.arange(len(rows))[:, None] < steps[b : b + BLOCK]
        drawn = weights[cells.patients[rows], b : b + BLOCK] * counted
        found[:, b : b + BLOCK] = inside @ drawn.astype(np.float32)
    return found


def _running_sums(weights: np.ndarray) -> np.ndarray:
    """Sum of the rows before each stride, and of all: `(B, strides + 1)` int64.

    Numpy sums over strides far faster than it accumulates row by row.
    """
    whole = len(weights) // STRIDE * STRIDE
    full = weights[:whole].reshape(-1, STRIDE, weights.shape[1]).sum(axis=1, dtype=np.int32)
    nothing = np.zeros((1, weights.shape[1]), np.int32)
    rest = weights[whole:].sum(axis=0, dtype=np.int32)[None]
    steps = np.concatenate([nothing, full, rest])
    return np.cumsum(steps.T, axis=1, dtype=np.int64)


def _weights_in(stride: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weights of each replicate in a stride of its own `(B, STRIDE)`; zeros past the last row."""
    rows = stride[:, None] * STRIDE + np.arange(STRIDE)
    drawn = weights[np.minimum(rows, len(weights) - 1), np.arange(len(stride))[:, None]]
    return np.where(rows < len(weights), drawn, 0)
