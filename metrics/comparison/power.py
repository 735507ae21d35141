"""How large a difference must be to be found: the minimum detectable contrast."""

from __future__ import annotations

import numpy as np

ALPHA = 0.05
"""Two-sided level of every test."""
POWER = 0.8
"""Chance with which a difference as large as the minimum detectable one is found."""
NORMAL = 1e5
"""Degrees of freedom from which on the normal law stands for Student's."""


def detectable(
    error: np.ndarray, freedom: np.ndarray, *, critical: np.ndarray | float | None = None
) -> np.ndarray:
    """The smallest true difference that a test at level 0.05 finds with a chance of 80 %.

    delta * error, where delta solves P(T'_v(delta) > c) = 0.8 with T'_v the noncentral t law of v
    degrees of freedom; 2.80 standard errors where v is large. `error` is the standard error of the
    difference in its own unit, any shape. `critical` is c: by default the two-sided 5 % point of
    Student's t; of a simultaneous test its critical value.

    Source: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, section 2.4.

    >>> float(detectable(np.array(1 / 5**0.5), np.array(4.0))).__round__(2)  # five pairs, sd of 1
    1.68
    """
    from scipy.special import nctdtrinc, ndtri, stdtrit

    freedom = np.asarray(freedom, float)
    edge = stdtrit(freedom, 1 - ALPHA / 2) if critical is None else np.asarray(critical, float)
    few = np.minimum(freedom, NORMAL)
    away = np.where(freedom < NORMAL, nctdtrinc(few, 1 - POWER, edge), edge + ndtri(POWER))
    found: np.ndarray = away * error
    return found
