"""ROC curves from histograms of genuine and impostor scores."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Roc:
    """ROC curves, one per row, of weighted counts `(rows, bins)` in bins of ascending score.

    Scores within a bin are tied: the curve runs straight across it. A row without genuine or
    without impostor weight is NaN throughout.
    """

    genuine: np.ndarray
    impostor: np.ndarray

    @cached_property
    def tpr(self) -> np.ndarray:
        """Share of genuine pairs at or above each bin, from the highest `(rows, bins + 1)`."""
        return _from_above(self.genuine)

    @cached_property
    def fpr(self) -> np.ndarray:
        """Share of impostor pairs at or above each bin, from the highest `(rows, bins + 1)`."""
        return _from_above(self.impostor)

    @cached_property
    def _rising_fpr(self) -> np.ndarray:
        # First-order replicate weights can make a bin slightly negative; a curve never steps back.
        rising: np.ndarray = np.maximum.accumulate(self.fpr, axis=1)
        return rising

    def auc(self) -> np.ndarray:
        """Area under each curve `(rows,)`; pairs in one bin count half."""
        area: np.ndarray = np.trapezoid(self.tpr, self.fpr, axis=1)
        return area

    def eer(self) -> np.ndarray:
        """Equal error rate `(rows,)`: the FPR where FPR = 1 - TPR, linearly interpolated."""
        excess = self._rising_fpr + self.tpr - 1
        after = np.maximum((excess >= 0).argmax(axis=1), 1)
        start, end = _at(excess, after - 1), _at(excess, after)
        low, high = _at(self._rising_fpr, after - 1), _at(self._rising_fpr, after)
        return low + (high - low) * -start / (end - start)

    def tpr_at(self, fpr: float) -> np.ndarray:
        """Highest TPR `(rows,)` at a false-positive rate in (0, 1), linearly interpolated."""
        last = np.maximum((self._rising_fpr <= fpr).sum(axis=1) - 1, 0)
        last = np.minimum(last, self.fpr.shape[1] - 2)
        start, end = _at(self._rising_fpr, last), _at(self._rising_fpr, last + 1)
        low, high = _at(self.tpr, last), _at(self.tpr, last + 1)
        return low + (high - low) * (fpr - start) / (end - start)


def _from_above(counts: np.ndarray) -> np.ndarray:
    total = counts.sum(axis=1, keepdims=True, dtype=np.float64)
    summed = np.cumsum(counts[:, ::-1], axis=1, dtype=np.float64)
    return np.pad(summed, ((0, 0), (1, 0))) / np.where(total > 0, total, np.nan)


def _at(values: np.ndarray, column: np.ndarray) -> np.ndarray:
    """One value per row `(rows,)`."""
    picked: np.ndarray = np.take_along_axis(values, column[:, None], axis=1)[:, 0]
    return picked
