"""DeLong's covariance with the patient as unit: slopes of all cells at once, and paired tests."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from metrics.bootstrap import LEVEL, PatientBootstrap
from metrics.cells import Cells, large_enough
from metrics.slopes import Moved, rank_images, ratio


@dataclass(frozen=True)
class Slopes:
    """A statistic of every cell `(findings, groups)`, its slopes `(findings, groups, patients)`."""

    value: np.ndarray
    slopes: np.ndarray


@dataclass(frozen=True)
class PairedTest:
    """A difference of two statistics on the same patients, its 95 % interval and p-value."""

    difference: float
    low: float
    high: float
    p: float


def auc_slopes(cells: Cells) -> Slopes:
    """AUC and slopes of every finding in every group; NaN in cells with too few patients.

    Sorts each finding once; the groups then need counts only.

    Source: DeLong, DeLong & Clarke-Pearson, Biometrics 1988;44:837-845; Obuchowski, Biometrics
    1997;53:567-578 (several images per patient).
    """
    wanted = large_enough(cells.positive, cells.negative)
    count = cells.bootstrap.patients
    value = np.full(wanted.shape, math.nan)
    slopes = np.full((*wanted.shape, count), math.nan)
    logits = cells.predictions.logits()
    part = cells.predictions.frame["part"].to_numpy(np.int64)
    for f in range(len(value)):
        known = np.isfinite(cells.truth[:, f])
        ranked = rank_images(
            logits[known, f], cells.truth[known, f], cells.patients[known], count, part[known]
        )
        for g in np.flatnonzero(wanted[f]):
            moved = ranked.auc(cells.members[known, g])
            value[f, g], slopes[f, g] = moved.value, moved.slopes
    return Slopes(value, slopes)


def fnr_slopes(cells: Cells) -> Slopes:
    """FNR and slopes of every finding in every group; NaN where nothing was decided."""
    return _rate_slopes(cells, of=1, wrong=0)


def fpr_slopes(cells: Cells) -> Slopes:
    """FPR and slopes of every finding in every group; NaN where nothing was decided."""
    return _rate_slopes(cells, of=0, wrong=1)


def _rate_slopes(cells: Cells, of: int, wrong: int) -> Slopes:
    findings, count = cells.truth.shape[1], cells.bootstrap.patients
    value = np.full((findings, len(cells.groups)), math.nan)
    slopes = np.full((*value.shape, count), math.nan)
    if not cells.predictions.has_decisions:
        return Slopes(value, slopes)
    decisions = cells.predictions.decisions()
    for f in range(findings):
        rows = np.flatnonzero(np.isfinite(decisions[:, f]) & (cells.truth[:, f] == of))
        errors = (decisions[rows, f] == wrong).astype(np.float64)
        for g in range(len(cells.groups)):
            inside = cells.members[rows, g].astype(np.float64)
            moved = ratio(errors * inside, inside, cells.patients[rows], count)
            value[f, g], slopes[f, g] = moved.value, moved.slopes
    return Slopes(value, slopes)


def covariance(slopes: np.ndarray) -> np.ndarray:
    """Covariance `(k, k)` of k statistics from their slopes `(k, patients)`.

    Cov = P / (P - 1) sum_p slope_p slope_p^T: one matrix product for all findings, groups and
    models on the same patients. In cells with few positive patients it is up to a quarter too
    small in the standard deviation; the bootstrap is for those.

    Source: Obuchowski, Biometrics 1997;53:567-578.
    """
    patients = slopes.shape[-1]
    product: np.ndarray = slopes @ slopes.T * (patients / (patients - 1))
    return product


def paired_test(first: Moved, second: Moved) -> PairedTest:
    """The second statistic minus the first, both on the same patients: z = d / SE(d).

    For two models' AUC this is DeLong's paired test with the patient as unit.

    Raises:
        ValueError: the two are of other numbers of patients.

    Source: DeLong, DeLong & Clarke-Pearson, Biometrics 1988;44:837-845.
    """
    from scipy.stats import norm

    if first.slopes.shape != second.slopes.shape:
        raise ValueError(
            "paired statistics must be of the same patients, but they have "
            f"{first.slopes.size} and {second.slopes.size}; predict the same test set with both"
        )
    difference = second.value - first.value
    error = math.sqrt(covariance((second.slopes - first.slopes)[None])[0, 0])
    reach = float(norm.ppf((1 + LEVEL) / 2)) * error
    if error > 0:
        p = float(2 * norm.sf(abs(difference) / error))
    else:
        p = 1.0 if difference == 0 else math.nan
    return PairedTest(difference, difference - reach, difference + reach, p)


def linear_replicates(
    value: np.ndarray, slopes: np.ndarray, bootstrap: PatientBootstrap
) -> np.ndarray:
    """What replicates of a statistic would be if it were linear in the weights `(..., B)`.

    value + sum_p (w_p - 1) slope_p under the shared weights, so paired with all other replicates.
    `value` is `(...)`, `slopes` `(..., patients)`.
    """
    moved = slopes.reshape(-1, slopes.shape[-1]) @ (bootstrap.matrix.T.astype(np.float64) - 1)
    replicates: np.ndarray = np.asarray(value)[..., None] + moved.reshape(*slopes.shape[:-1], -1)
    return replicates
