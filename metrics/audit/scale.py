"""Scores as logits: what they are, and how they keep their order and their ties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PROBABILITY, LOGIT, AUTO = "probability", "logit", "auto"
KINDS = (AUTO, PROBABILITY, LOGIT)
CERTAIN = 37.0
"""Logit that stands for a probability of exactly 1, and its negative for 0, unless others lie
beyond: the largest probability below 1 in float64 has a logit of 36.7."""


@dataclass(frozen=True)
class Scale:
    """What the scores of a table are, and in words how that was decided."""

    kind: str
    told: str

    def native(self, logit: float) -> float:
        """A logit in the unit of the scores."""
        return float(1 / (1 + np.exp(-logit))) if self.kind == PROBABILITY else float(logit)


def detect(scores: Sequence[tuple[str, np.ndarray]], kind: str, source: str) -> Scale:
    """The scale of named columns of finite scores `(n,)`, all together.

    Raises:
        ValueError: columns differ in kind, or it cannot be told which kind they are.
    """
    if kind not in KINDS:
        raise ValueError(f"--scores must be one of {', '.join(KINDS)}, but got {kind!r}")
    inside = {name: bool((v.min() >= 0) and (v.max() <= 1)) for name, v in scores}
    if kind == LOGIT:
        return Scale(LOGIT, "Scores were declared to be logits.")
    if all(inside.values()):
        how = "all lie in [0, 1]" if kind == AUTO else "declared so"
        return Scale(PROBABILITY, f"Scores are taken as probabilities ({how}); logits were made.")
    outside = next((n, v) for n, v in scores if not inside[n])
    span = f"{outside[0]!r} runs from {outside[1].min():g} to {outside[1].max():g}"
    if kind == PROBABILITY:
        raise ValueError(
            f"scores declared as probabilities must lie in [0, 1], but {span} ({source}); "
            "correct them, or say --scores logit"
        )
    if any(inside.values()):
        like = next(n for n, held in inside.items() if held)
        raise ValueError(
            f"scores must all be probabilities or all be logits, but {like!r} lies in [0, 1] and "
            f"{span} ({source}); bring them to one scale, or say --scores logit"
        )
    if all(v.min() >= 0 for _, v in scores):
        raise ValueError(
            f"scores must be probabilities in [0, 1] or logits of both signs, but {span} "
            f"({source}); divide percentages by 100, or say --scores logit"
        )
    return Scale(LOGIT, "Scores are taken as logits (some lie outside [0, 1]).")


def to_logits(scores: np.ndarray, kind: str) -> np.ndarray:
    """Logits `(n,)` float32 of scores `(n,)` float64, in the same order and with the same ties.

    float32 would merge scores that differ beyond its resolution, and a probability near 1 more
    than others. A merged score is therefore moved to the next float32: by parts in 10^7, so that
    ranks are those of the scores as given.
    """
    distinct, position = np.unique(scores, return_inverse=True)
    logits = _logits(distinct) if kind == PROBABILITY else distinct
    small = logits.astype(np.float32)
    if (small[1:] <= small[:-1]).any():
        small = _rising(small)
    return small[position]


def _logits(probabilities: np.ndarray) -> np.ndarray:
    """Logits of ascending distinct probabilities, never descending."""
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities) - np.log1p(-probabilities)
    finite = logits[np.isfinite(logits)]
    reach = np.abs(finite).max(initial=0.0)
    certain = CERTAIN if reach < CERTAIN else reach + 1
    ascending: np.ndarray = np.maximum.accumulate(np.clip(logits, -certain, certain))
    return ascending


def _rising(values: np.ndarray) -> np.ndarray:
    """Ascending float32 made strictly ascending, each by as few steps of float32 as it takes."""
    bits = values.view(np.int32).astype(np.int64)
    # The integers of float32 count its values away from zero; below zero they count downwards.
    rank = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    step = np.arange(len(rank))
    rank = np.maximum.accumulate(rank - step) + step
    bits = np.where(rank < 0, -rank | 0x80000000, rank)
    return bits.astype(np.uint32).view(np.float32)
