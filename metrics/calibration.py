"""Calibration: whether scores mean what they say, overall and in every group."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from metrics.cells import Cells, Estimates
from metrics.rows import cell_scores, contrast_scores, spread
from metrics.score import Score
from metrics.sums import counts, ratio, totals
from registry import METRICS

NEWTON_STEPS = 25
"""Enough for a logistic regression of two coefficients to settle, or to be given up."""
SETTLED = 1e-10
"""Largest last step of coefficients that have settled."""


@METRICS.register("brier", direction="lower", unit="squared probability", input="cells")
def brier(cells: Cells) -> Iterator[Score]:
    """Brier score: mean squared difference of score and label, in [0,1].

    BS = sum_i w_i (p_i - y_i)^2 / sum_i w_i with p = sigmoid(logit).

    Source: Brier, Mon. Weather Rev. 1950;78:1–3.
    """
    yield from cell_scores(cells.once(brier_estimates))


@METRICS.register("log_loss", direction="lower", unit="nats", input="cells")
def log_loss(cells: Cells) -> Iterator[Score]:
    """Mean negative log-likelihood of the label, from logits so that nothing saturates.

    LL = sum_i w_i (log(1 + e^z_i) - y_i z_i) / sum_i w_i.

    Source: Good, J. R. Stat. Soc. B 1952;14:107–114.
    """
    yield from cell_scores(cells.once(log_loss_estimates))


@METRICS.register("citl", direction="zero", unit="probability difference", input="cells")
def citl(cells: Cells) -> Iterator[Score]:
    """Calibration in the large: mean score minus prevalence; above 0 the model says too much.

    CITL = sum_i w_i (p_i - y_i) / sum_i w_i.

    Source: Van Calster et al., BMC Med. 2019;17:230 (mean calibration, as a difference).
    """
    yield from cell_scores(cells.once(citl_estimates))


@METRICS.register("citl_contrast", direction="zero", unit="probability difference", input="cells")
def citl_contrast(cells: Cells) -> Iterator[Score]:
    """Calibration in the large of the later group minus that of the earlier one, "B - A".

    Source: as `citl`.
    """
    yield from contrast_scores(cells.once(citl_estimates), "citl_contrast")


@METRICS.register(
    "calibration_gap", direction="lower", unit="probability difference", input="cells"
)
def calibration_gap(cells: Cells) -> Iterator[Score]:
    """Range of calibration in the large over the evaluable groups of an attribute.

    max_g CITL_g - min_g CITL_g; biased up by noise.

    Source: as `citl`; Pfohl, Foryciarz & Shah, J. Biomed. Inform. 2021;113:103621 (by group).
    """
    yield from spread("calibration_gap").scores(cells.once(citl_estimates))


@METRICS.register("calibration_slope", direction="one", unit="slope", input="cells")
def calibration_slope(cells: Cells) -> Iterator[Score]:
    """Slope b of the logistic recalibration logit P(y) = a + b z; below 1 scores are too extreme.

    Replicates take one Newton step from the coefficients of all images.

    Source: Cox, Biometrika 1958;45:562–565; Van Calster et al., BMC Med. 2019;17:230.
    """
    yield from cell_scores(cells.once(slope_estimates))


def brier_estimates(cells: Cells) -> Estimates:
    """Brier score of every cell with all its replicates."""
    return _mean_of(cells, "brier", (cells.once(probabilities) - cells.truth) ** 2)


def log_loss_estimates(cells: Cells) -> Estimates:
    """Log-loss of every cell with all its replicates."""
    logits = cells.predictions.logits().astype(np.float64)
    return _mean_of(cells, "log_loss", np.logaddexp(0, logits) - cells.truth * logits)


def citl_estimates(cells: Cells) -> Estimates:
    """Calibration in the large of every cell with all its replicates."""
    return _mean_of(cells, "citl", cells.once(probabilities) - cells.truth)


def probabilities(cells: Cells) -> np.ndarray:
    """Scores `(n, findings)` in [0,1], float64."""
    from scipy.special import expit

    scores: np.ndarray = expit(cells.predictions.logits().astype(np.float64))
    return scores


def known_images(cells: Cells) -> np.ndarray:
    """Number of images with a known label in every cell, `(findings, groups, 1 + B)`."""
    return counts(cells, np.isfinite(cells.truth))


def _mean_of(cells: Cells, metric: str, values: np.ndarray) -> Estimates:
    """Mean of `values` `(n, findings)`, NaN where the label is unknown, over each cell."""
    drawn = ratio(totals(cells, values), cells.once(known_images))
    return Estimates.of(metric, cells, drawn, reason="no image with a known label")


def slope_estimates(cells: Cells) -> Estimates:
    """Recalibration slope of every cell with all its replicates."""
    from scipy.special import expit

    logits = cells.predictions.logits().astype(np.float64)
    drawn = np.full((logits.shape[1], len(cells.groups), 1 + cells.bootstrap.replicates), np.nan)
    for f, own in enumerate(drawn):
        # Gradient (2) and information (3) of each patient, at the coefficients of each group.
        sums = np.zeros((cells.bootstrap.patients, len(own), 5))
        fitted = np.full(len(own), np.nan)
        for g in range(len(own)):
            rows = np.flatnonzero(np.isfinite(cells.truth[:, f]) & cells.members[:, g])
            z, y = logits[rows, f], cells.truth[rows, f].astype(np.float64)
            a, fitted[g] = _recalibrated(z, y)
            if np.isfinite(a):
                p = expit(a + fitted[g] * z)
                v = p * (1 - p)
                for k, part in enumerate((y - p, (y - p) * z, v, v * z, v * z * z)):
                    sums[:, g, k] = np.bincount(cells.patients[rows], part, len(sums))
        drawn_sums = cells.bootstrap.real @ sums.reshape(len(sums), -1)
        g0, g1, h0, h1, h2 = drawn_sums.reshape(-1, len(own), 5).transpose(2, 1, 0)
        own[:] = fitted[:, None] + ratio(h0 * g1 - h1 * g0, h0 * h2 - h1 * h1)
    reason = "scores separate the classes or are constant: the recalibration has no finite slope"
    return Estimates.of("calibration_slope", cells, drawn, reason=reason)


def _recalibrated(z: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Coefficients a, b of the logistic regression of labels on logits, NaN if it has none."""
    from scipy.special import expit

    none = np.nan, np.nan
    if not len(y) or y.min() == y.max() or z.min() == z.max():
        return none
    centre, scale = z.mean(), z.std()
    x = np.stack([np.ones(len(z)), (z - centre) / scale], axis=1)
    beta = np.array([np.log(y.mean() / (1 - y.mean())), 0.0])
    for _ in range(NEWTON_STEPS):
        p = expit(x @ beta)
        information = (x * (p * (1 - p))[:, None]).T @ x
        if np.linalg.cond(information) > 1e12:
            return none
        step = np.linalg.solve(information, x.T @ (y - p))
        beta = beta + step
        if np.abs(step).max() < SETTLED:
            slope = beta[1] / scale
            return float(beta[0] - slope * centre), float(slope)
    return none
