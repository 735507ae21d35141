"""Error rates at the decisions, from sums per patient and one matrix product for all replicates.

All intervals here are conditional on the frozen thresholds: they cover the choice of test patients,
not that of the validation patients whom the thresholds were fitted on (see `metrics.transfer`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from metrics.cells import Cells, Estimates
from metrics.rows import Extreme, cell_scores, contrast_scores
from metrics.score import Score
from registry import METRICS


@METRICS.register("fnr", direction="lower", unit="rate", input="cells")
def fnr(cells: Cells) -> Iterator[Score]:
    """Share of positive images that the model decides to be negative, in [0,1].

    FNR = sum_i w_i 1[y_i = 1, d_i = 0] / sum_i w_i 1[y_i = 1] over the images of one cell.

    Source: Seyyed-Kalantari et al., Nat. Med. 2021;27:2176–2182, Methods.
    """
    yield from cell_scores(cells.once(fnr_estimates))


@METRICS.register("fpr", direction="lower", unit="rate", input="cells")
def fpr(cells: Cells) -> Iterator[Score]:
    """Share of negative images that the model decides to be positive, in [0,1].

    FPR = sum_i w_i 1[y_i = 0, d_i = 1] / sum_i w_i 1[y_i = 0] over the images of one cell.
    For the finding "No Finding" this is the underdiagnosis rate.

    Source: Seyyed-Kalantari et al., Nat. Med. 2021;27:2176–2182, Methods.
    """
    yield from cell_scores(cells.once(fpr_estimates))


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


@METRICS.register("fnr_gap", direction="lower", unit="rate difference", input="cells")
def fnr_gap(cells: Cells) -> Iterator[Score]:
    """Largest minus smallest FNR among the evaluable groups of an attribute, in [0,1].

    Gap = max_g FNR_g - min_g FNR_g. Biased up by noise, more so with more and smaller groups.
    Its interval is simultaneous over all pairs, so it holds 0 where no pair differs clearly.

    Source: Zong, Yang & Hospedales, MEDFAIR, ICLR 2023.
    """
    yield from _gap("fnr_gap").scores(cells.once(fnr_estimates))


@METRICS.register("fpr_gap", direction="lower", unit="rate difference", input="cells")
def fpr_gap(cells: Cells) -> Iterator[Score]:
    """Largest minus smallest FPR among the evaluable groups of an attribute, in [0,1].

    Gap = max_g FPR_g - min_g FPR_g. Biased up by noise, more so with more and smaller groups.
    Its interval is simultaneous over all pairs, so it holds 0 where no pair differs clearly.

    Source: Zong, Yang & Hospedales, MEDFAIR, ICLR 2023.
    """
    yield from _gap("fpr_gap").scores(cells.once(fpr_estimates))


def fnr_estimates(cells: Cells) -> Estimates:
    """FNR of every cell with all its replicates."""
    return _rate(cells, "fnr", of=1, wrong=0)


def fpr_estimates(cells: Cells) -> Estimates:
    """FPR of every cell with all its replicates."""
    return _rate(cells, "fpr", of=0, wrong=1)


def _rate(cells: Cells, metric: str, of: int, wrong: int) -> Estimates:
    """Share of decisions `wrong` among images of class `of`, in every cell."""
    if cells.predictions.has_decisions:
        decisions = cells.predictions.decisions()
    else:
        decisions = np.full(cells.truth.shape, np.nan, np.float32)
    decided = np.isfinite(decisions)
    # Images without a decision leave every count. Where nothing at all was decided the counts show
    # how much there is, and the note why there is no rate.
    counted = decided | ~decided.any(axis=0)
    value = np.full((decided.shape[1], len(cells.groups)), np.nan)
    replicates = np.full((*value.shape, cells.bootstrap.replicates), np.nan)
    for f in range(len(value)):
        base = decided[:, f] & (cells.truth[:, f] == of)
        errors = base & (decisions[:, f] == wrong)
        value[f], replicates[f] = _ratio(cells, errors, base)
    return Estimates(
        metric,
        cells,
        value,
        replicates,
        positive=cells.holding(counted & (cells.truth == 1)),
        negative=cells.holding(counted & (cells.truth == 0)),
        reason="no decision: no threshold could be fitted on validation",
    )


def _ratio(cells: Cells, part: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of `whole` `(n,)` images that are in `part`: `(groups,)`, replicates `(groups, B)`."""
    sums = np.stack([_patient_sums(cells, images) for images in (part, whole)])
    # Weighted counts stay below 2^24, so the float32 product is exact.
    drawn = (cells.bootstrap.matrix @ sums).astype(np.float64)
    total = sums.sum(axis=1, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return total[0] / total[1], (drawn[0] / drawn[1]).T


def _patient_sums(cells: Cells, images: np.ndarray) -> np.ndarray:
    """Number of marked images `(n,)` per patient and group `(patients, groups)` float32."""
    chosen = np.flatnonzero(images)
    sums = np.zeros((cells.bootstrap.patients, len(cells.groups)), np.float32)
    np.add.at(sums, cells.patients[chosen], cells.members[chosen].astype(np.float32))
    return sums


def _gap(metric: str) -> Extreme:
    return Extreme(
        metric,
        pick=lambda values: float(np.ptp(values)),
        deviation=lambda noise: np.ptp(noise, axis=0),
        label=lambda values, groups: (
            f"highest in {groups[int(values.argmax())]}, lowest in {groups[int(values.argmin())]}"
        ),
        bias="a gap is biased up",
        least=2,
    )
