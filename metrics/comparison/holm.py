"""Many comparisons at once: Holm's correction over primary endpoints and methods."""

from __future__ import annotations

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    """p-values adjusted for all comparisons of the family, in the shape of `p`.

    With the m defined p-values sorted, adjusted_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)). The
    chance that any comparison without a difference falls below 0.05 is at most 5 %, however the
    comparisons depend on each other. The family is every primary endpoint of every method against
    ERM on one data set. NaN, a comparison that could not be made, stays NaN and does not count.

    Source: Holm, Scandinavian Journal of Statistics 1979;6:65-70.

    >>> holm(np.array([0.01, 0.04, 0.03]))
    array([0.03, 0.06, 0.06])
    """
    flat = np.asarray(p, float).ravel()
    adjusted = np.full(flat.shape, np.nan)
    order = np.argsort(flat, kind="stable")[: int(np.isfinite(flat).sum())]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * flat[order]), 1)
    return adjusted.reshape(np.shape(p))
