"""Average precision: as it is, and as if every group had one prevalence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from metrics.cells import Cells, Estimates
from metrics.rows import cell_scores
from metrics.score import Score
from registry import METRICS


@METRICS.register("auprc", direction="higher", unit="probability", input="cells")
def auprc(cells: Cells) -> Iterator[Score]:
    """Average precision: the mean over positive images of the precision at their own score.

    AP = sum_k (R_k - R_{k-1}) P_k over distinct scores from the highest to the lowest, with recall
    R and precision P, and without interpolation. Chance level is the prevalence, which the note
    gives: values of cells with unlike prevalence are not comparable. With k-fold predictions the
    precision is that among images of the same part.

    Source: Manning, Raghavan & Schütze, Introduction to Information Retrieval, 2008, section 8.4.
    """
    for score in cell_scores(cells.once(precisions).plain):
        notes = [score.note, "" if np.isnan(score.value) else prevalence_of(cells, score)]
        yield replace(score, note="; ".join(filter(None, notes)))


@METRICS.register("auprc_common", direction="higher", unit="probability", input="cells")
def auprc_common(cells: Cells) -> Iterator[Score]:
    """Average precision as if each group had the prevalence of all test images.

    P_k = pi TPR_k / (pi TPR_k + (1 - pi) FPR_k), with pi the prevalence of the finding among all
    test images, the same in every group and replicate; then AP as in `auprc`. For comparing groups.

    Source: Siblini et al., Master Your Metrics with Calibration, IDA 2020 (precision calibrated to
    a reference prevalence).
    """
    yield from cell_scores(cells.once(precisions).common)


def prevalence_of(cells: Cells, score: Score) -> str:
    """The share of positive images of a score's cell, as a note; of macro rows nothing."""
    if score.finding not in cells.predictions.findings:
        return ""
    f = cells.predictions.findings.index(score.finding)
    g = cells.groups.index((score.attribute, score.group))
    inside = cells.truth[cells.members[:, g], f]
    return f"prevalence {np.nanmean(inside):.3f}"


@dataclass(frozen=True)
class Precisions:
    """Average precision of all cells, with the prevalence as it is and with a common one."""

    plain: Estimates
    common: Estimates


def precisions(cells: Cells) -> Precisions:
    """Both kinds of average precision of every cell with all replicates, from one walk."""
    from metrics.kernel import sum_precisions, walk_for_precision
    from metrics.sums import counts

    logits = cells.predictions.logits()
    part = cells.predictions.frame["part"].to_numpy(np.int64)
    blocks, count = cells.bootstrap.blocks, 1 + cells.bootstrap.replicates
    positives, negatives = (counts(cells, cells.truth == label) for label in (1, 0))
    drawn = np.full((2, *positives.shape), np.nan)
    for f in range(positives.shape[0]):
        everybody = positives[f, 0, 0], negatives[f, 0, 0]
        odds = np.zeros((positives.shape[1], blocks.shape[0] * blocks.shape[2]))
        with np.errstate(invalid="ignore", divide="ignore"):
            odds[:, :count] = (positives[f] / negatives[f]) * (everybody[1] / everybody[0])
        rows = np.flatnonzero(np.isfinite(cells.truth[:, f]))
        steps = walk_for_precision(
            logits[rows, f], cells.truth[rows, f] == 1, part[rows], cells.columns[rows]
        )
        patient = cells.patients[rows][steps.row]
        *sums, total = sum_precisions(
            blocks, patient, steps.kind, steps.groups, np.nan_to_num(odds, posinf=0.0)
        )
        # Without a negative image precision is 1 whatever the model does.
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn[:, f] = np.stack(sums)[..., :count] / total[:, :count]
        drawn[:, f][:, negatives[f] == 0] = np.nan
    reason = "no positive or no negative image"
    return Precisions(
        Estimates.of("auprc", cells, drawn[0], reason=reason),
        Estimates.of("auprc_common", cells, drawn[1], reason=reason),
    )
