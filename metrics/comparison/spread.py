"""How certain a mean over seeds is: patient and seed variance combined, interval and p-value."""

from __future__ import annotations

import numpy as np

LEVEL = 0.95
"""Coverage of every interval."""
Z = 1.959964
"""Half width of a 95 % normal interval in standard deviations."""
MOST_FREEDOM = 1e9
"""Degrees of freedom that stand for a normal law."""


def freedom(patients: np.ndarray, seeds: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Degrees of freedom of `patients + seeds`, where `seeds` was estimated from `runs` runs.

    (patients + seeds)^2 / (seeds^2 / (runs - 1)): two seeds that are all there is have 1, patients
    alone have as many as a normal law. `patients` is the variance that comes from the choice of
    test patients, `seeds` the variance between seeds divided by their number.

    Source: Satterthwaite, Biometrics Bulletin 1946;2:110-114.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.maximum(runs - 1, 1) * ((patients + seeds) / seeds) ** 2
    return np.where(seeds > 0, np.minimum(found, MOST_FREEDOM), MOST_FREEDOM)


def half_width(patients: np.ndarray, seeds: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Half a 95 % interval of a mean with these variances, `seeds` estimated from `runs` runs.

    A variance from three runs is itself a guess: a normal interval on it alone would cover some
    82 %. The factor is Student's t with the degrees of freedom of `freedom`: 4.30 where three seeds
    are all there is, 1.96 where the many patients dominate.

    Source: Satterthwaite, Biometrics Bulletin 1946;2:110-114.
    """
    from scipy.special import stdtrit

    total = patients + seeds
    factor = np.where(seeds > 0, stdtrit(freedom(patients, seeds, runs), (1 + LEVEL) / 2), Z)
    half: np.ndarray = np.where(total > 0, factor, 0.0) * np.sqrt(total)
    return half


def p_value(
    value: np.ndarray, patients: np.ndarray, seeds: np.ndarray, runs: np.ndarray
) -> np.ndarray:
    """The two-sided p-value of a mean against 0, by inversion of its interval.

    The p at which the interval of level 1 - p ends at 0: p = 2 T_v(-|value| / sqrt(patients +
    seeds)) with T_v Student's law and v from `freedom`. Below 0.05 just where `half_width` is less
    than |value|. A value of exactly 0 has p = 1, and NaN gives NaN.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, section 12.3.
    """
    from scipy.special import stdtr

    error = np.sqrt(patients + seeds)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(value == 0, 0.0, np.abs(value) / error)
    found: np.ndarray = 2 * stdtr(freedom(patients, seeds, runs), -distance)
    return found
