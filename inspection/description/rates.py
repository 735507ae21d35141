"""Shares of images with the patient as the unit: value, interval, counts, and who moves it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from metrics.bootstrap import LEVEL
from metrics.slopes import freedom, ratio


@dataclass(frozen=True, eq=False)
class Rate:
    """A share of images, in [0, 1], with its 95 % interval over patients.

    `patients` have an image that counts, `positives` one that has what is asked, `negatives` one
    that has not; a patient may count in both. `slopes` `(all patients,)` say how far each moves the
    value, scaled so that their squares sum to its variance.
    """

    value: float
    low: float
    high: float
    images: int
    positive_images: int
    patients: int
    positives: int
    negatives: int
    slopes: np.ndarray
    degrees: float
    """Degrees of freedom of the variance."""
    note: str = ""

    @property
    def inner(self) -> bool:
        """Whether the value lies strictly between 0 and 1, so that it has a logit."""
        return 0 < self.value < 1

    @property
    def log_odds(self) -> float:
        """The logit of the value."""
        return math.log(self.value / (1 - self.value))

    @property
    def log_odds_slopes(self) -> np.ndarray:
        """How far each patient moves the logit `(all patients,)`."""
        return self.slopes / (self.value * (1 - self.value))


def rate(has: np.ndarray, counts: np.ndarray, patients: np.ndarray, count: int) -> Rate:
    """The share of images that have something, among those that count.

    `has` and `counts` are bool `(n,)`, `patients` codes `(n,)` below `count`. The interval is that
    of a ratio of sums over patients: value -+ t SE on the logit scale, with Satterthwaite's degrees
    of freedom, at most one less than patients. Where no or every image has it, the bound is that of
    Clopper & Pearson for as many patients.

    Source: Cochran, Sampling Techniques, 1977, ch. 6 (ratio estimator, clusters of unequal size);
    Korn & Graubard, Survey Methodology 1998;24:193-201 (intervals of proportions from clusters).
    """
    rows = np.flatnonzero(counts)
    hit, patient = has[rows], patients[rows]
    per_patient = np.bincount(patient, minlength=count)
    hits = np.bincount(patient[hit], minlength=count)
    inside = per_patient > 0
    n = int(inside.sum())
    moved = ratio(hit.astype(float), np.ones(len(rows)), patient, count)
    # The variance of n clusters around their own ratio is (n - 1) / n of the truth on average.
    slopes = moved.slopes * math.sqrt(n / (n - 1)) if n > 1 else np.full(count, math.nan)
    # Satterthwaite's are endless where all patients move the value equally far, as at one half.
    degrees = min(float(freedom(slopes[inside])), n - 1) if n > 1 else math.nan
    low, high, note = _interval(moved.value, slopes, degrees, n)
    return Rate(
        value=moved.value,
        low=low,
        high=high,
        images=len(rows),
        positive_images=int(hit.sum()),
        patients=n,
        positives=int((hits > 0).sum()),
        negatives=int((hits < per_patient).sum()),
        slopes=slopes,
        degrees=degrees,
        note=note,
    )


def _interval(
    value: float, slopes: np.ndarray, degrees: float, patients: int
) -> tuple[float, float, str]:
    from scipy.special import expit, stdtrit

    if not patients:
        return math.nan, math.nan, "no image counts"
    if patients == 1:
        return math.nan, math.nan, "one patient has no spread"
    tail = (1 - LEVEL) / 2
    if value == 0:
        return 0.0, 1 - tail ** (1 / patients), "no image has it; bound by the number of patients"
    if value == 1:
        return tail ** (1 / patients), 1.0, "every image has it; bound by the number of patients"
    error = math.sqrt(float(np.square(slopes).sum())) / (value * (1 - value))
    if not error:
        return math.nan, math.nan, "all patients have the same share"
    reach = float(stdtrit(degrees, 1 - tail)) * error
    centre = math.log(value / (1 - value))
    return float(expit(centre - reach)), float(expit(centre + reach)), ""
