"""Several numbers at once: draws of their joint error, and intervals that hold all together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metrics.comparison.paired import Replicates, variances
from metrics.comparison.power import detectable
from metrics.comparison.spread import LEVEL, freedom, half_width


@dataclass(frozen=True)
class Joint:
    """Estimates `(cells,)` with intervals that hold all their true values in 95 % of studies.

    `error` are standard errors, seeds and patients combined; `detectable` is the smallest true
    value that would be told from 0, among as many cells, with a chance of 80 %.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    error: np.ndarray
    detectable: np.ndarray


def simultaneous(taken: Replicates, *, family: int = 1, seed: int = 0) -> Joint:
    """Simultaneous 95 % intervals of the cells `(seeds, cells)` of `taken`, by max-T.

    value_c -+ k_c SE_c, where k is the 95 % point of max_c |T_c| and
    T_c = error_c / SE_c. The error of a draw is that of a patient replicate plus the mean of as
    many normal seeds as there are, with the covariance that the seeds have; SE is taken anew from
    each draw's seeds, as Student's t does. No interval is narrower than that of its cell alone.
    Draws in which a cell is undefined are left out. Where `family` such sets of intervals are read
    together, each cell's level is divided by it (Bonferroni), so that all of them hold.

    Raises:
        ValueError: fewer than half of the replicates are defined in all cells together.

    Source: Westfall & Young, Resampling-Based Multiple Testing, 1993, ch. 2; Romano & Wolf, Journal
    of the American Statistical Association 2005;100:94-108.
    """
    from scipy.special import stdtr, stdtrit

    patients, seeds = variances(taken)
    runs = np.asarray(float(len(taken.seeds)))
    error = np.sqrt(patients + seeds)
    value = taken.values.mean(axis=0)
    moved = _patient_errors(taken)
    spread = np.broadcast_to(patients[:, None] + seeds[:, None], moved.shape)
    if len(taken.seeds) > 1:
        drawn = _seed_draws(taken.values, moved.shape[-1], np.random.default_rng([seed, 0x7A11]))
        moved = moved + drawn.mean(axis=0)
        spread = patients[:, None] + drawn.var(axis=0, ddof=1) / len(taken.seeds)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(spread > 0, np.abs(moved) / np.sqrt(spread), 0.0)
    reach = np.quantile(statistic.max(axis=0), LEVEL)
    half = np.maximum(reach * error, half_width(patients, seeds, runs))
    free = freedom(patients, seeds, runs)
    with np.errstate(divide="ignore", invalid="ignore"):
        critical = np.where(error > 0, half / error, reach)
    if family > 1:
        critical = -stdtrit(free, stdtr(free, -critical) / family)
        half = critical * error
    found = detectable(error, free, critical=critical)
    return Joint(value, value - half, value + half, error, found)


def posterior(taken: Replicates, *, seed: int = 0) -> np.ndarray:
    """Joint draws `(cells, B)` of where the true means lie, given patients and seeds.

    A draw is the value moved by a patient replicate and by a multivariate t of S - 1 degrees of
    freedom with the covariance of the seeds: the posterior of the mean of normal seeds under a flat
    prior. Draws in which a cell is undefined are left out.

    Source: Gelman et al., Bayesian Data Analysis, 3rd edition, 2013, section 3.6.
    """
    moved = _patient_errors(taken)
    runs = len(taken.seeds)
    if runs > 1:
        rng = np.random.default_rng([seed, 0x9057])
        weights = rng.standard_normal((moved.shape[-1], runs))
        centred = taken.values - taken.values.mean(axis=0)
        scale = np.sqrt(runs * rng.chisquare(runs - 1, moved.shape[-1]))
        moved = moved + (weights @ centred / scale[:, None]).T
    found: np.ndarray = taken.values.mean(axis=0)[:, None] + moved
    return found


def _patient_errors(taken: Replicates) -> np.ndarray:
    """How far the mean over seeds moves in each replicate with all cells defined `(cells, B)`."""
    if taken.values.ndim != 2:
        raise ValueError(
            f"several numbers must be (seeds, cells), but got {taken.values.shape} "
            f"({taken.method}); give one axis of cells"
        )
    moved = (taken.replicates - taken.values[..., None]).mean(axis=0)
    whole = np.isfinite(moved).all(axis=0)
    if whole.mean() < 0.5:
        raise ValueError(
            "half of the replicates must be defined in all cells, but only "
            f"{whole.mean():.0%} are ({taken.method}); leave out cells with few patients"
        )
    return moved[:, whole]


def _seed_draws(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Errors `(seeds, cells, draws)` of normal seeds with the covariance of `values`."""
    runs = len(values)
    centred = (values - values.mean(axis=0)) / np.sqrt(runs - 1)
    weights = rng.standard_normal((runs, draws, runs))
    return np.moveaxis(weights @ centred, 1, 2)
