"""How far each test patient moves a number: what pairs two methods patient by patient.

The stored intervals of two methods do not give that of their difference: both were tested on the
same patients, and what is hard for one is mostly hard for the other. `predictions.parquet` tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

PREDICTIONS = "predictions.parquet"
LABELS = {"recorded": "y:", "true": "true:"}
"""Column prefix of each label set in the stored predictions."""
LOGIT, DECISION = "logit:", "decision:"
OUTSIDE = -1
"""Part of an image that does not count."""
RATES = {"fnr_contrast": (1.0, 0.0), "fpr_contrast": (0.0, 1.0)}
"""Of each contrast: the class whose images are counted, and the decision that is an error."""


@dataclass(frozen=True)
class Moved:
    """A statistic T with `value` T(1) and `slopes` `(patients,)`: dT/dw_p at weights of one.

    With patients drawn anew T varies by the sum of squared slopes, to first order; slopes of a
    difference are the differences of slopes. Exact for the patient bootstrap of a mean.

    Source: Efron, The Jackknife, the Bootstrap and Other Resampling Plans, 1982, ch. 6
    (infinitesimal jackknife); for AUC DeLong, DeLong & Clarke-Pearson, Biometrics 1988;44:837-845,
    and with several images per patient Obuchowski, Biometrics 1997;53:567-578.
    """

    value: float
    slopes: np.ndarray


@dataclass(frozen=True)
class StoredPredictions:
    """The stored test predictions of one run, a row per image."""

    frame: pd.DataFrame

    @cached_property
    def patients(self) -> tuple[np.ndarray, np.ndarray]:
        """Names of patients, sorted, and the patient of each row as an index into them."""
        names, codes = np.unique(self.frame["patient"].to_numpy(dtype=str), return_inverse=True)
        return names, codes.astype(np.int64)

    def auc(
        self, findings: Sequence[str], labels: str, attribute: str = "", group: str = ""
    ) -> Moved:
        """The mean AUC over findings, of everybody or of a group of an attribute.

        Pairs of images of one part of a k-fold run count.
        """
        part = self.frame["part"].to_numpy(np.int64)
        if attribute:
            part = np.where(self.frame[attribute].astype(str).to_numpy() == group, part, OUTSIDE)
        return _mean([self._auc(finding, labels, part) for finding in findings])

    def contrast(
        self, metric: str, findings: Sequence[str], attribute: str, pair: str, labels: str
    ) -> Moved:
        """The mean over findings of a contrast "B - A" of error rates."""
        later, earlier = pair.split(" - ", 1)
        group = self.frame[attribute].astype(str).to_numpy()
        found = []
        for finding in findings:
            sides = [self._rate(metric, finding, labels, group == g) for g in (later, earlier)]
            found.append(Moved(sides[0].value - sides[1].value, sides[0].slopes - sides[1].slopes))
        return _mean(found)

    def _auc(self, finding: str, labels: str, part: np.ndarray) -> Moved:
        truth = self.frame[LABELS[labels] + finding].to_numpy(np.float64)
        logits = self.frame[LOGIT + finding].to_numpy(np.float64)
        # Wins of each image over the other class of its part, ties half; what they are of.
        wins, pairs = np.zeros(len(truth)), np.zeros(len(truth))
        for number in np.unique(part[part != OUTSIDE]):
            positive = (truth == 1) & (part == number)
            negative = (truth == 0) & (part == number)
            wins[positive] = _below(logits[positive], logits[negative])
            wins[negative] = positive.sum() - _below(logits[negative], logits[positive])
            pairs[positive], pairs[negative] = negative.sum(), positive.sum()
        # Every pair was counted at both its ends, in the sums as in their derivatives.
        return self._ratio(wins, pairs, ends=2)

    def _rate(self, metric: str, finding: str, labels: str, member: np.ndarray) -> Moved:
        counted, error = RATES[metric]
        truth = self.frame[LABELS[labels] + finding].to_numpy(np.float64)
        decision = self.frame[DECISION + finding].to_numpy(np.float64)
        base = member & np.isfinite(decision) & (truth == counted)
        return self._ratio((base & (decision == error)).astype(float), base.astype(float), ends=1)

    def _ratio(self, part: np.ndarray, whole: np.ndarray, *, ends: int) -> Moved:
        """A ratio of two sums over images; the slope of a sum of pairs counts each at both ends."""
        names, codes = self.patients
        total = whole.sum()
        if total == 0:
            return Moved(np.nan, np.full(len(names), np.nan))
        value = part.sum() / total
        moved = np.bincount(codes, part - value * whole, minlength=len(names))
        return Moved(float(value), ends * moved / total)


def read(directory: Path) -> StoredPredictions | None:
    """The stored test predictions of a run, or None where they are not there or not readable."""
    path = directory / PREDICTIONS
    if not path.is_file():
        return None
    try:
        frame = pd.read_parquet(path)
        return StoredPredictions(frame[frame["fold"] == "test"].reset_index(drop=True))
    except (OSError, KeyError, ValueError):  # ArrowInvalid is a ValueError
        return None


def _below(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How many of `others` lie below each score `(n,)`, ties half."""
    ordered = np.sort(others)
    left = np.searchsorted(ordered, scores, "left")
    right = np.searchsorted(ordered, scores, "right")
    below: np.ndarray = (left + right) / 2
    return below


def _mean(found: Sequence[Moved]) -> Moved:
    value = float(np.mean([moved.value for moved in found]))
    return Moved(value, np.mean([moved.slopes for moved in found], axis=0))
