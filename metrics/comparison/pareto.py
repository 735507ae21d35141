"""Several aims at once, never weighed into one: who is on the front, and who dominates whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TIE = 1e-9
"""Gains that differ by less are equal: rounding must not decide who dominates."""


@dataclass(frozen=True)
class Front:
    """`member` `(methods,)`: the chance that nothing dominates it; `dominates[j, k]`: that j does
    k. A chance speaks of where the true means lie, given these patients and seeds.
    """

    member: np.ndarray
    dominates: np.ndarray


def dominance(gains: np.ndarray) -> np.ndarray:
    """Whether j dominates k `(methods, methods, ...)`: nowhere less, and somewhere more.

    `gains` is `(methods, aims, ...)`, higher better on every aim; gains within 1e-9 of each other
    are equal. NaN dominates nothing and is dominated by nothing.
    """
    ours, theirs = gains[:, None], gains[None]
    found: np.ndarray = np.all(ours >= theirs - TIE, axis=2) & np.any(ours > theirs + TIE, axis=2)
    return found


def front(draws: np.ndarray) -> Front:
    """The chance of each method to be on the Pareto front, over joint draws of all aims.

    `draws` is `(methods, aims, B)`, higher better, such as `joint.posterior` makes: each draw has
    its own front, and the chances are shares of the draws. A method near the edge of the front has
    a chance near a half, which the front of the point estimates would hide.

    Raises:
        ValueError: a draw that is not finite.

    Source: Ehrgott, Multicriteria Optimization, 2nd edition, 2005, section 2.1 (dominance).
    """
    if not np.isfinite(draws).all():
        raise ValueError(
            f"draws must be finite, but {int((~np.isfinite(draws)).sum())} are not; leave out "
            "methods without all aims"
        )
    beaten = np.zeros((len(draws), len(draws)))
    free = np.zeros(len(draws))
    blocks = np.array_split(draws, max(1, draws.shape[-1] // 200), axis=-1)  # keeps memory small
    for block in blocks:
        found = dominance(block)
        beaten += found.sum(axis=-1)
        free += (~found.any(axis=0)).sum(axis=-1)
    return Front(free / draws.shape[-1], beaten / draws.shape[-1])
