"""Replicates without resampling: from how far each patient moves each number."""

from __future__ import annotations

import numpy as np

DRAWS = 2000
"""Replicates of everything that is compared on the leaderboard."""
ROUNDING = 1e-12
"""Share of the largest variance below which a variance is rounding."""


def normal_errors(slopes: np.ndarray, *, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Joint errors `(numbers, draws)` of numbers measured on the same patients, to first order.

    `slopes` `(numbers, patients)` are derivatives by the weight of each patient: of numbers of any
    method, run or group on one test set. The errors are normal with covariance slopes slopes', that
    of the patient bootstrap to first order, so differences of rows are paired.

    Source: Efron, The Jackknife, the Bootstrap and Other Resampling Plans, 1982, ch. 6;
    Chernozhukov, Chetverikov & Kato, Annals of Statistics 2013;41:2786-2819 (normal
    multipliers for maxima).
    """
    values, vectors = np.linalg.eigh(slopes @ slopes.T)
    # Rounding around 0 would tear apart numbers that are equal.
    values = np.where(values > ROUNDING * values.max(), values, 0.0)
    # The symmetric root does not depend on the signs that a solver gives its vectors.
    root = (vectors * np.sqrt(values)) @ vectors.T
    normal = np.random.default_rng([seed, 0x51AE]).standard_normal((len(slopes), draws))
    found: np.ndarray = root @ normal
    return found
