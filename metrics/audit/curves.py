"""ROC and calibration of every group, as points that a picture can show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POINTS = 150
"""Corners of a drawn ROC curve: more cannot be seen."""
BINS, PATIENTS_PER_BIN = 10, 30
Z = 1.959964
"""Standard errors on either side of a 95 % interval."""


@dataclass(frozen=True)
class Roc:
    """False and true positive rates `(k,)` along the curve; the operating point, or NaN."""

    fpr: np.ndarray
    tpr: np.ndarray
    point: tuple[float, float]


@dataclass(frozen=True)
class Reliability:
    """Mean probability and share of positives in bins of equally many images `(bins,)`.

    `low` and `high` are the 95 % interval of the share, with patients as the unit.
    """

    predicted: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray


def roc(logits: np.ndarray, labels: np.ndarray, decisions: np.ndarray) -> Roc:
    """The ROC curve of images `(n,)` with labels 0 and 1, thinned to what can be seen.

    Source: Fawcett, Pattern Recognit. Lett. 2006;27:861–874.
    """
    order = np.argsort(-logits, kind="stable")
    positive = labels[order] == 1
    last = np.append(np.flatnonzero(np.diff(logits[order])), len(order) - 1)
    tpr = np.append(0, np.cumsum(positive)[last] / positive.sum())
    fpr = np.append(0, np.cumsum(~positive)[last] / (~positive).sum())
    along = np.floor((fpr + tpr) / 2 * POINTS)
    kept = np.append(np.flatnonzero(np.diff(along)), len(along) - 1)
    kept = np.unique(np.append(0, kept))
    point = (np.nan, np.nan)
    if np.isfinite(decisions).all():
        point = (float((decisions[labels == 0]).mean()), float((decisions[labels == 1]).mean()))
    return Roc(fpr[kept], tpr[kept], point)


def reliability(logits: np.ndarray, labels: np.ndarray, patients: np.ndarray) -> Reliability:
    """Calibration of images `(n,)` in up to ten bins with the same number of images.

    There are at least 30 patients per bin. The error of a share is that of a ratio of sums over
    patients: sqrt(sum_p (sum_i in p (y_i - share))^2) / n; Wilson's interval with the number of
    images that would give this error if they were independent.

    Source: Niculescu-Mizil & Caruana, ICML 2005 (reliability diagrams); Wilson, JASA 1927;22:209;
    Kish, Survey Sampling, 1965 (effective number).
    """
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    order = np.argsort(logits, kind="stable")
    bins = max(1, min(BINS, len(np.unique(patients)) // PATIENTS_PER_BIN))
    points = []
    for rows in np.array_split(order, bins):
        share = labels[rows].mean()
        pulls = np.bincount(patients[rows], weights=labels[rows] - share)
        variance = float((pulls**2).sum()) / len(rows) ** 2
        effective = (
            share * (1 - share) / variance if variance > 0 else len(np.unique(patients[rows]))
        )
        points.append((probabilities[rows].mean(), share, *_wilson(share, effective)))
    return Reliability(*np.array(points).T)


def _wilson(share: float, n: float) -> tuple[float, float]:
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
