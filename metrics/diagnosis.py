"""Under- and overdiagnosis: what the label "No Finding" says of missed and invented disease."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from metrics.cells import Cells
from metrics.rates import fnr_estimates, fpr_estimates
from metrics.rows import cell_scores, contrast_scores
from metrics.score import Score
from registry import METRICS

NO_FINDING = "No Finding"
"""The label that says that an image shows none of the findings, as CheXpert and others spell it."""


@METRICS.register("underdiagnosis", direction="lower", unit="rate", input="cells")
def underdiagnosis(cells: Cells) -> Iterator[Score]:
    """Underdiagnosis rate: share of images with a finding that are called "No Finding".

    UDR = FPR of the label "No Finding", overall and in every group; absent without that label.

    Source: Seyyed-Kalantari et al., Nat. Med. 2021;27:2176–2182, Methods.
    """
    yield from _of_no_finding(cell_scores(cells.once(fpr_estimates)), "underdiagnosis")


@METRICS.register("overdiagnosis", direction="lower", unit="rate", input="cells")
def overdiagnosis(cells: Cells) -> Iterator[Score]:
    """Overdiagnosis rate: share of images without a finding that are not called "No Finding".

    ODR = FNR of the label "No Finding", overall and in every group; absent without that label.

    Source: Seyyed-Kalantari et al., Nat. Med. 2021;27:2176–2182, Methods.
    """
    yield from _of_no_finding(cell_scores(cells.once(fnr_estimates)), "overdiagnosis")


@METRICS.register(
    "underdiagnosis_contrast", direction="zero", unit="rate difference", input="cells"
)
def underdiagnosis_contrast(cells: Cells) -> Iterator[Score]:
    """Underdiagnosis rate of the later group minus that of the earlier one, written "B - A".

    Source: Seyyed-Kalantari et al., Nat. Med. 2021;27:2176–2182, Methods.
    """
    rows = contrast_scores(cells.once(fpr_estimates), "underdiagnosis_contrast")
    yield from _of_no_finding(rows, "underdiagnosis_contrast")


@METRICS.register("overdiagnosis_contrast", direction="zero", unit="rate difference", input="cells")
def overdiagnosis_contrast(cells: Cells) -> Iterator[Score]:
    """Overdiagnosis rate of the later group minus that of the earlier one, written "B - A".

    Source: Seyyed-Kalantari et al., Nat. Med. 2021;27:2176–2182, Methods.
    """
    rows = contrast_scores(cells.once(fnr_estimates), "overdiagnosis_contrast")
    yield from _of_no_finding(rows, "overdiagnosis_contrast")


def _of_no_finding(scores: Iterable[Score], metric: str) -> Iterator[Score]:
    """Of these scores those of "No Finding", under another name."""
    for score in scores:
        if score.finding == NO_FINDING:
            yield replace(score, metric=metric)
