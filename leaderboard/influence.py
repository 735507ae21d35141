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

from metrics.slopes import Moved, rank_images, ratio

PREDICTIONS = "predictions.parquet"
LABELS = {"recorded": "y:", "true": "true:"}
"""Column prefix of each label set in the stored predictions."""
LOGIT, DECISION = "logit:", "decision:"
OUTSIDE = -1
"""Part of an image that does not count."""
RATES = {"fnr_contrast": (1.0, 0.0), "fpr_contrast": (0.0, 1.0)}
"""Of each contrast: the class whose images are counted, and the decision that is an error."""


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
        names, codes = self.patients
        known = np.isfinite(truth) & (part != OUTSIDE)
        return rank_images(logits[known], truth[known], codes[known], len(names), part[known]).auc()

    def _rate(self, metric: str, finding: str, labels: str, member: np.ndarray) -> Moved:
        counted, error = RATES[metric]
        truth = self.frame[LABELS[labels] + finding].to_numpy(np.float64)
        decision = self.frame[DECISION + finding].to_numpy(np.float64)
        base = member & np.isfinite(decision) & (truth == counted)
        names, codes = self.patients
        wrong = base & (decision == error)
        return ratio(wrong.astype(float), base.astype(float), codes, len(names))


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


def _mean(found: Sequence[Moved]) -> Moved:
    value = float(np.mean([moved.value for moved in found]))
    return Moved(value, np.mean([moved.slopes for moved in found], axis=0))
