"""Operating points: from the validation images of one finding to the logit that decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np


@dataclass(frozen=True)
class Images:
    """Logits, labels and patients `(n,)` of the validation images of one finding."""

    logits: np.ndarray
    labels: np.ndarray
    patients: np.ndarray

    def where(self, mask: np.ndarray) -> Images:
        """The images that `mask` `(n,)` marks."""
        return Images(self.logits[mask], self.labels[mask], self.patients[mask])

    def of(self, label: int) -> np.ndarray:
        """Ascending logits of the images with this label."""
        return np.sort(self.logits[self.labels == label].astype(np.float64))

    def count(self, label: int) -> int:
        """Number of patients with such an image."""
        return len(np.unique(self.patients[self.labels == label]))


Choice = tuple[float, float, str]
"""Threshold, what it achieves, and why it is NaN if it is."""
Chooser = Callable[[Images], Choice]


def parse_operating_point(text: str) -> Chooser:
    """The function that chooses a threshold, from its written form.

    Raises:
        ValueError: it is misspelt, or its target does not lie in (0, 1).
    """
    kind, _, number = text.partition(":")
    if text in NAMED:
        return NAMED[text]
    try:
        target = Fraction(number.strip())
    except (ValueError, ZeroDivisionError):
        target = Fraction(0)
    if kind not in ("specificity", "sensitivity") or not 0 < target < 1:
        raise ValueError(
            "an operating point must be 'specificity:X' or 'sensitivity:X' with 0 < X < 1, or one "
            f"of {', '.join(map(repr, NAMED))}, but got {text!r}; "
            "write for example 'specificity:0.80'"
        )
    if kind == "specificity":
        return lambda images: _specificity(images, target)
    return lambda images: _sensitivity(images, target)


def specificity_rank(negatives: np.ndarray, target: Fraction) -> np.ndarray:
    """Which smallest of n0 negative logits has this specificity: ceil(X (n0 + 1)); 0 for none.

    A new negative image is as likely to fall into each of the n0 + 1 spaces between them.
    """
    # Whole numbers throughout: 0.55 * 100 is above 55 in floating point, and ceil gives 56.
    rank = -(-target.numerator * (negatives + 1) // target.denominator)
    return np.where(rank <= negatives, rank, 0)


def sensitivity_rank(positives: np.ndarray, target: Fraction) -> np.ndarray:
    """Which smallest of n1 positive logits has it: floor((1 - X)(n1 + 1)); 0 for none."""
    rest = 1 - target
    rank: np.ndarray = rest.numerator * (positives + 1) // rest.denominator
    return rank


def _specificity(images: Images, target: Fraction) -> Choice:
    negatives = images.of(0)
    rank = int(specificity_rank(np.array(len(negatives)), target))
    if rank < 1:
        return math.nan, math.nan, _too_few("negative", len(negatives), target)
    value = float(negatives[rank - 1])
    return value, float((negatives < value).mean()), ""


def _sensitivity(images: Images, target: Fraction) -> Choice:
    positives = images.of(1)
    rank = int(sensitivity_rank(np.array(len(positives)), target))
    if rank < 1:
        return math.nan, math.nan, _too_few("positive", len(positives), target)
    value = float(positives[rank - 1])
    return value, float((positives >= value).mean()), ""


def _youden(images: Images) -> Choice:
    positives, negatives = len(images.of(1)), len(images.of(0))
    # TPR and TNR times positives x negatives are whole numbers, so equal qualities tie.
    pairs = positives * negatives
    value, achieved, note = _along_the_curve(
        images, lambda hits, rejections: hits * negatives + rejections * positives - pairs
    )
    return value, achieved / pairs if pairs else math.nan, note


def _balanced(images: Images) -> Choice:
    positives, negatives = len(images.of(1)), len(images.of(0))
    pairs = positives * negatives
    value, achieved, note = _along_the_curve(
        images, lambda hits, rejections: -np.abs(hits * negatives - rejections * positives)
    )
    return value, abs(achieved) / pairs if pairs else math.nan, note


def _f1(images: Images) -> Choice:
    positives, negatives = len(images.of(1)), len(images.of(0))

    def f1(hits: np.ndarray, rejections: np.ndarray) -> np.ndarray:
        # One rounded quotient of two whole numbers: equal F1 are equal floats, so they tie.
        quotient: np.ndarray = 2 * hits / (positives + hits + negatives - rejections)
        return quotient

    return _along_the_curve(images, f1)


def _along_the_curve(
    images: Images, quality: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> Choice:
    """The logit with the largest quality, the highest at a tie, and that quality.

    `quality` sees how many positives lie at or above each logit and how many negatives below it.
    """
    positives, negatives = images.of(1), images.of(0)
    if not len(positives) or not len(negatives):
        missing = "negative" if len(positives) else "positive"
        return math.nan, math.nan, f"no {missing} validation image"
    values = np.unique(np.concatenate([positives, negatives]))[::-1]
    hits = len(positives) - np.searchsorted(positives, values, "left")
    rejections = np.searchsorted(negatives, values, "left")
    qualities = quality(hits, rejections)
    best = int(qualities.argmax())
    return float(values[best]), float(qualities[best]), ""


NAMED: Mapping[str, Chooser] = {"youden": _youden, "balanced": _balanced, "f1": _f1}
"""Operating points that need no number."""


def _too_few(kind: str, count: int, target: Fraction) -> str:
    if not count:
        return f"no {kind} validation image"
    return f"{count} {kind} validation images are too few to guarantee {float(target):g}"
