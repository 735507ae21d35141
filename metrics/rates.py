"""Rates at the decisions: of errors, of decisions, and of how often a decision is right.

All are ratios of four counts, summed once for every cell and replicate (`metrics/sums.py`). They
are conditional on the frozen thresholds: an interval tells of other test patients, not of other
validation patients. Intervals of TPR, TNR, FNR and FPR are those of the logit, as of AUC.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from metrics.cells import Cells, Estimates
from metrics.delong import fnr_slopes, fpr_slopes
from metrics.rows import cell_scores
from metrics.score import Score
from metrics.sums import counts, ratio
from registry import METRICS

FEWEST_DECIDED = 20
"""Patients decided positive (or negative) below which a predictive value is not reported."""


@METRICS.register("tpr", direction="higher", unit="rate", input="cells")
def tpr(cells: Cells) -> Iterator[Score]:
    """Sensitivity: share of positive images that the model decides to be positive, in [0,1].

    TPR = TP / (TP + FN), each a sum of weights over the images of one cell.

    Source: Altman & Bland, BMJ 1994;308:1552.
    """
    yield from cell_scores(cells.once(tpr_estimates), cells.once(fnr_slopes).slopes)


@METRICS.register("tnr", direction="higher", unit="rate", input="cells")
def tnr(cells: Cells) -> Iterator[Score]:
    """Specificity: share of negative images that the model decides to be negative, in [0,1].

    TNR = TN / (TN + FP), each a sum of weights over the images of one cell.

    Source: Altman & Bland, BMJ 1994;308:1552.
    """
    yield from cell_scores(cells.once(tnr_estimates), cells.once(fpr_slopes).slopes)


@METRICS.register("fnr", direction="lower", unit="rate", input="cells")
def fnr(cells: Cells) -> Iterator[Score]:
    """Share of positive images that the model decides to be negative, in [0,1].

    FNR = FN / (TP + FN) = 1 - TPR over the images of one cell.

    Source: Seyyed-Kalantari et al., Nat. Med. 2021;27:2176–2182, Methods.
    """
    yield from cell_scores(cells.once(fnr_estimates), cells.once(fnr_slopes).slopes)


@METRICS.register("fpr", direction="lower", unit="rate", input="cells")
def fpr(cells: Cells) -> Iterator[Score]:
    """Share of negative images that the model decides to be positive, in [0,1].

    FPR = FP / (FP + TN) = 1 - TNR over the images of one cell. For the finding "No Finding" this is
    the underdiagnosis rate.

    Source: Seyyed-Kalantari et al., Nat. Med. 2021;27:2176–2182, Methods.
    """
    yield from cell_scores(cells.once(fpr_estimates), cells.once(fpr_slopes).slopes)


@METRICS.register("ppv", direction="higher", unit="rate", input="cells")
def ppv(cells: Cells) -> Iterator[Score]:
    """Positive predictive value: share of positive decisions that are right, in [0,1].

    PPV = TP / (TP + FP). It moves with the prevalence. NaN below 20 patients decided positive.

    Source: Altman & Bland, BMJ 1994;309:102.
    """
    yield from cell_scores(cells.once(ppv_estimates))


@METRICS.register("npv", direction="higher", unit="rate", input="cells")
def npv(cells: Cells) -> Iterator[Score]:
    """Negative predictive value: share of negative decisions that are right, in [0,1].

    NPV = TN / (TN + FN). It moves with the prevalence. NaN below 20 patients decided negative.

    Source: Altman & Bland, BMJ 1994;309:102.
    """
    yield from cell_scores(cells.once(npv_estimates))


@METRICS.register("selection_rate", direction="none", unit="rate", input="cells")
def selection_rate(cells: Cells) -> Iterator[Score]:
    """Share of images with a known label that the model decides to be positive, in [0,1].

    SEL = (TP + FP) / (TP + FP + TN + FN).

    Source: Barocas, Hardt & Narayanan, Fairness and Machine Learning, 2023, chapter 3
    (independence).
    """
    yield from cell_scores(cells.once(selection_estimates))


@METRICS.register("accuracy", direction="higher", unit="rate", input="cells")
def accuracy(cells: Cells) -> Iterator[Score]:
    """Share of decisions that are right, in [0,1]; mostly a matter of prevalence.

    ACC = (TP + TN) / (TP + FP + TN + FN).

    Source: Altman & Bland, BMJ 1994;308:1552.
    """
    yield from cell_scores(cells.once(accuracy_estimates))


@METRICS.register("balanced_accuracy", direction="higher", unit="rate", input="cells")
def balanced_accuracy(cells: Cells) -> Iterator[Score]:
    """Mean of sensitivity and specificity, in [0,1]; 0.5 is what a constant decision gets.

    BA = (TPR + TNR) / 2.

    Source: Brodersen et al., The Balanced Accuracy and Its Posterior Distribution, ICPR 2010.
    """
    yield from cell_scores(cells.once(balanced_accuracy_estimates))


@dataclass(frozen=True)
class Confusion:
    """Counts of decisions `(findings, groups, 1 + B)`, and the patients behind them.

    `positive`, `negative`, `called`, `cleared` `(findings, groups, patients)` say who has a
    positive and a negative image, and an image decided positive and negative.
    """

    true_positives: np.ndarray
    false_positives: np.ndarray
    true_negatives: np.ndarray
    false_negatives: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    called: np.ndarray
    cleared: np.ndarray


def confusion(cells: Cells) -> Confusion:
    """The four counts of every cell; images without a decision or a label leave all of them."""
    if cells.predictions.has_decisions:
        decisions = cells.predictions.decisions()
    else:
        decisions = np.full(cells.truth.shape, np.nan, np.float32)
    decided = np.isfinite(decisions)
    # Where nothing at all was decided the counts of patients still show how much there is, and the
    # note why there is no rate.
    counted = decided | ~decided.any(axis=0)
    yes, no = decisions == 1, decisions == 0
    ill, well = cells.truth == 1, cells.truth == 0
    return Confusion(
        true_positives=counts(cells, yes & ill),
        false_positives=counts(cells, yes & well),
        true_negatives=counts(cells, no & well),
        false_negatives=counts(cells, no & ill),
        positive=cells.holding(counted & ill) if not decided.all() else cells.positive,
        negative=cells.holding(counted & well) if not decided.all() else cells.negative,
        called=cells.holding(yes & (ill | well)),
        cleared=cells.holding(no & (ill | well)),
    )


def tpr_estimates(cells: Cells) -> Estimates:
    """TPR of every cell with all its replicates."""
    c = cells.once(confusion)
    return _estimates("tpr", cells, ratio(c.true_positives, c.true_positives + c.false_negatives))


def tnr_estimates(cells: Cells) -> Estimates:
    """TNR of every cell with all its replicates."""
    c = cells.once(confusion)
    return _estimates("tnr", cells, ratio(c.true_negatives, c.true_negatives + c.false_positives))


def fnr_estimates(cells: Cells) -> Estimates:
    """FNR of every cell with all its replicates."""
    c = cells.once(confusion)
    return _estimates("fnr", cells, ratio(c.false_negatives, c.true_positives + c.false_negatives))


def fpr_estimates(cells: Cells) -> Estimates:
    """FPR of every cell with all its replicates."""
    c = cells.once(confusion)
    return _estimates("fpr", cells, ratio(c.false_positives, c.true_negatives + c.false_positives))


def ppv_estimates(cells: Cells) -> Estimates:
    """PPV of every cell with all its replicates; NaN with few positive decisions."""
    c = cells.once(confusion)
    drawn = ratio(c.true_positives, c.true_positives + c.false_positives)
    return _estimates("ppv", cells, drawn, c.called, "positive")


def npv_estimates(cells: Cells) -> Estimates:
    """NPV of every cell with all its replicates; NaN with few negative decisions."""
    c = cells.once(confusion)
    drawn = ratio(c.true_negatives, c.true_negatives + c.false_negatives)
    return _estimates("npv", cells, drawn, c.cleared, "negative")


def selection_estimates(cells: Cells) -> Estimates:
    """Selection rate of every cell with all its replicates."""
    c = cells.once(confusion)
    return _estimates("selection_rate", cells, ratio(c.true_positives + c.false_positives, _all(c)))


def accuracy_estimates(cells: Cells) -> Estimates:
    """Accuracy of every cell with all its replicates."""
    c = cells.once(confusion)
    return _estimates("accuracy", cells, ratio(c.true_positives + c.true_negatives, _all(c)))


def balanced_accuracy_estimates(cells: Cells) -> Estimates:
    """Balanced accuracy of every cell with all its replicates."""
    c = cells.once(confusion)
    hit = ratio(c.true_positives, c.true_positives + c.false_negatives)
    rejected = ratio(c.true_negatives, c.true_negatives + c.false_positives)
    return _estimates("balanced_accuracy", cells, (hit + rejected) / 2)


def _all(c: Confusion) -> np.ndarray:
    return c.true_positives + c.false_positives + c.true_negatives + c.false_negatives


def _estimates(
    metric: str,
    cells: Cells,
    drawn: np.ndarray,
    decided: np.ndarray | None = None,
    kind: str = "",
) -> Estimates:
    """Estimates of a rate; with `decided`, NaN where fewer than 20 such patients were decided."""
    c = cells.once(confusion)
    reason = "no decision: no threshold could be fitted on validation"
    value = drawn[..., 0].copy()
    if decided is not None:
        few = decided.sum(axis=-1) < FEWEST_DECIDED
        value[few] = np.nan
        reason = f"fewer than {FEWEST_DECIDED} patients were decided {kind}"
    return Estimates(metric, cells, value, drawn[..., 1:], c.positive, c.negative, reason)
