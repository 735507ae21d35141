"""Signed differences between groups, pair by pair, and their range.

A contrast is a property of a model with its thresholds on these images, not of the people in a
group. Ranges are biased up by noise; `metrics/heterogeneity.py` has what corrects for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from metrics.auroc import auc_estimates
from metrics.cells import Cells
from metrics.rates import fnr_estimates, fpr_estimates
from metrics.rows import contrast_scores, spread
from metrics.score import Score
from registry import METRICS


@METRICS.register("fnr_contrast", direction="zero", unit="rate difference", input="cells")
def fnr_contrast(cells: Cells) -> Iterator[Score]:
    """FNR of the later group minus FNR of the earlier one, for every pair, written "B - A".

    d = FNR_B - FNR_A with A before B in the frozen order of groups.

    Source: Hardt, Price & Srebro, NeurIPS 2016, definition 2.2 (equal opportunity).
    """
    yield from contrast_scores(cells.once(fnr_estimates), "fnr_contrast")


@METRICS.register("fpr_contrast", direction="zero", unit="rate difference", input="cells")
def fpr_contrast(cells: Cells) -> Iterator[Score]:
    """FPR of the later group minus FPR of the earlier one, for every pair, written "B - A".

    d = FPR_B - FPR_A with A before B in the frozen order of groups.

    Source: Hardt, Price & Srebro, NeurIPS 2016, definition 2.1 (equalized odds).
    """
    yield from contrast_scores(cells.once(fpr_estimates), "fpr_contrast")


@METRICS.register("auc_contrast", direction="zero", unit="AUC difference", input="cells")
def auc_contrast(cells: Cells) -> Iterator[Score]:
    """AUC of the later group minus AUC of the earlier one, for every pair, written "B - A".

    d = AUC_B - AUC_A with A before B in the frozen order of groups; each AUC is within its group.

    Source: Larrazabal et al., PNAS 2020;117:12592–12594.
    """
    yield from contrast_scores(cells.once(auc_estimates), "auc_contrast")


@METRICS.register("fnr_gap", direction="lower", unit="rate difference", input="cells")
def fnr_gap(cells: Cells) -> Iterator[Score]:
    """Largest minus smallest FNR among the evaluable groups of an attribute, in [0,1].

    Gap = max_g FNR_g - min_g FNR_g. Biased up by noise, more so with more and smaller groups.
    Its interval is simultaneous over all pairs, so it holds 0 where no pair differs clearly.

    Source: Zong, Yang & Hospedales, MEDFAIR, ICLR 2023.
    """
    yield from spread("fnr_gap").scores(cells.once(fnr_estimates))


@METRICS.register("fpr_gap", direction="lower", unit="rate difference", input="cells")
def fpr_gap(cells: Cells) -> Iterator[Score]:
    """Largest minus smallest FPR among the evaluable groups of an attribute, in [0,1].

    Gap = max_g FPR_g - min_g FPR_g. Biased up by noise, more so with more and smaller groups.
    Its interval is simultaneous over all pairs, so it holds 0 where no pair differs clearly.

    Source: Zong, Yang & Hospedales, MEDFAIR, ICLR 2023.
    """
    yield from spread("fpr_gap").scores(cells.once(fpr_estimates))


@METRICS.register("auc_gap", direction="lower", unit="AUC difference", input="cells")
def auc_gap(cells: Cells) -> Iterator[Score]:
    """Largest minus smallest AUC among the evaluable groups of an attribute, in [0,1].

    Gap = max_g AUC_g - min_g AUC_g. Biased up by noise; its interval is simultaneous over pairs.

    Source: Zong, Yang & Hospedales, MEDFAIR, ICLR 2023.
    """
    yield from spread("auc_gap").scores(cells.once(auc_estimates))
