"""Expected calibration error in bins of equal mass, freed of the bias that small groups suffer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from metrics.calibration import probabilities
from metrics.cells import Cells, Estimates
from metrics.rows import cell_scores
from metrics.score import Score
from registry import METRICS

BINS = 15
"""Bins of equal mass. Source: Guo et al., ICML 2017 (15 bins)."""


@METRICS.register("ece", direction="lower", unit="probability", input="cells")
def ece(cells: Cells) -> Iterator[Score]:
    """Root mean squared calibration error over 15 bins of equal mass, debiased; may be below 0.

    CE^2 = sum_b n_b/n [(pbar_b - ybar_b)^2 - V_b], reported as sign(CE^2) sqrt|CE^2|. V_b is the
    variance of pbar_b - ybar_b over patients, which a plain binned error mistakes for
    miscalibration: it would make small groups look worse. Edges are quantiles of all test scores of
    the finding, the same in all groups.

    Source: Kumar, Liang & Ma, Verified Uncertainty Calibration, NeurIPS 2019, section 4; Roelofs et
    al., AISTATS 2022 (equal mass). Differs: V_b is that of clusters, since images of one patient
    are not independent.
    """
    yield from cell_scores(cells.once(ece_estimates))


def ece_estimates(cells: Cells) -> Estimates:
    """Debiased calibration error of every cell with all its replicates."""
    from metrics.kernel import sum_by_slot

    scores, count = cells.once(probabilities), 1 + cells.bootstrap.replicates
    kinds, kind = np.unique(cells.columns, axis=0, return_inverse=True)
    drawn = np.full((scores.shape[1], len(cells.groups), count), np.nan)
    for f, own in enumerate(drawn):
        rows = np.flatnonzero(np.isfinite(cells.truth[:, f]))
        if not len(rows):
            continue
        bin_ = _bins(scores[rows, f])
        off = scores[rows, f] - cells.truth[rows, f]
        # Images are summed once for every combination of groups that there is, then the groups
        # are put together: an image is in many groups, but has one combination.
        slot = (kind.ravel()[rows] * BINS + bin_).astype(np.int32)
        sums = sum_by_slot(
            cells.bootstrap.blocks, cells.patients[rows], slot, off, len(kinds) * BINS
        )
        number, total = (s[:, :count].reshape(len(kinds), BINS, count) for s in sums)
        for g in range(len(own)):
            with_group = (kinds == g).any(axis=1)
            n, t = number[with_group].sum(axis=0), total[with_group].sum(axis=0)
            inside = np.flatnonzero(cells.members[rows, g])
            noise = _noise(off[inside], bin_[inside], cells.patients[rows][inside])
            own[g] = _debiased(n, t, noise)
    return Estimates.of("ece", cells, drawn, reason="no image with a known label")


def _bins(scores: np.ndarray) -> np.ndarray:
    """Bin of each score `(n,)`; equal scores share a bin."""
    edges = np.quantile(scores, np.arange(1, BINS) / BINS)
    return np.searchsorted(edges, scores, side="left")


def _noise(off: np.ndarray, bins: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Variance `(bins,)` of the mean of `off` in each bin, over patients."""
    number = np.bincount(bins, minlength=BINS)
    mean = np.bincount(bins, off, BINS) / np.maximum(number, 1)
    places, where = np.unique(bins + BINS * patients.astype(np.int64), return_inverse=True)
    apart = np.bincount(where, off - mean[bins])
    squares = np.bincount(places % BINS, apart**2, BINS)
    clusters = np.bincount(places % BINS, minlength=BINS)
    # One patient alone says nothing about a variance.
    few = np.where(clusters > 1, clusters / np.maximum(clusters - 1, 1), np.nan)
    return few * squares / np.maximum(number, 1) ** 2


def _debiased(number: np.ndarray, total: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Signed root of the debiased squared error `(1 + B,)` from sums `(bins, 1 + B)`.

    A replicate adds noise of its own to that of the sample, so twice as much is taken off.
    """
    times = np.full(number.shape[1], 2.0)
    times[0] = 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        squared = (total / number) ** 2 - times * noise[:, None]
        # Bins without images, or whose images are one patient's, have no debiased error.
        mass = np.where(np.isfinite(squared), number, 0)
        error = np.nansum(mass * squared, axis=0) / mass.sum(axis=0)
    result: np.ndarray = np.sign(error) * np.sqrt(np.abs(error))
    return result
