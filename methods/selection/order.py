"""Which of several candidates is chosen: one rule for the epochs of a run and trials of a study."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """What is kept of a candidate: the strategy's value (NaN where undefined), macro AUC, loss."""

    value: float
    auc: float
    loss: float = math.nan


@dataclass(frozen=True)
class Order:
    """How the values of a strategy compare.

    `direction` is "higher" or "lower". Candidates whose macro AUC lies more than `floor` below the
    best macro AUC of all candidates are out of the question; an infinite floor leaves all of them.

    Raises:
        ValueError: another direction, or a floor that is negative.
    """

    direction: str = "higher"
    floor: float = math.inf

    def __post_init__(self) -> None:
        if self.direction not in ("higher", "lower"):
            raise ValueError(f"direction must be higher or lower, but got {self.direction!r}")
        if not self.floor >= 0:
            raise ValueError(f"floor must be at least 0, but got {self.floor}")

    def chosen(self, candidates: Sequence[Measured]) -> int:
        """Position of the best of at least one candidate.

        Above the floor the best value wins, the first of equal ones; with a floor, the one of
        highest macro AUC among equal ones. A candidate without a value stands behind those that
        have one, by its macro AUC, and one without either behind those, by its loss.
        """
        return min(self._eligible(candidates), key=lambda i: self._key(i, candidates[i]))

    def contenders(self, candidates: Sequence[Measured]) -> list[int]:
        """Positions that may still be chosen, whatever candidates follow.

        A candidate is out for good once it lies below the floor, which only rises, or once another
        one goes before it and has at least its macro AUC. Without a floor one is left: the chosen.
        """
        kept: list[int] = []
        # Best first: what betters a candidate stands before it.
        for i in sorted(self._eligible(candidates), key=lambda i: self._key(i, candidates[i])):
            if not any(self._stays_above(candidates[j], candidates[i]) for j in kept):
                kept.append(i)
        return sorted(kept)

    def _eligible(self, candidates: Sequence[Measured]) -> list[int]:
        limit = max(_auc(c) for c in candidates) - self.floor
        return [i for i, c in enumerate(candidates) if not _auc(c) < limit]

    def _stays_above(self, better: Measured, worse: Measured) -> bool:
        return math.isinf(self.floor) or _auc(better) >= _auc(worse)

    def _key(self, position: int, one: Measured) -> tuple[int, float, float, int]:
        if not math.isnan(one.value):
            cost = -one.value if self.direction == "higher" else one.value
            return 0, cost, 0.0 if math.isinf(self.floor) else -_auc(one), position
        if not math.isnan(one.auc):
            return 1, -one.auc, 0.0, position
        return 2, math.inf if math.isnan(one.loss) else one.loss, 0.0, position


def _auc(one: Measured) -> float:
    return -math.inf if math.isnan(one.auc) else one.auc
