"""Contrasts of error rates as if every group had the case mix of all patients together.

Groups differ in more than the attribute that names them: in age, sex, insurance. A raw contrast
holds all of that. A standardised one weighs images so that the other attributes are distributed
alike in every group, among images of the same class; what is left is not explained by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from metrics.cells import Cells, Estimates
from metrics.intersections import AND, overlaps
from metrics.rates import fnr_estimates, fpr_estimates
from metrics.rows import contrast_scores
from metrics.score import MACRO, Score
from metrics.sums import ratio
from registry import METRICS


@METRICS.register(
    "fnr_contrast_standardised", direction="zero", unit="rate difference", input="cells"
)
def fnr_contrast_standardised(cells: Cells) -> Iterator[Score]:
    """FNR of the later group minus that of the earlier one, both with the pooled case mix.

    FNR_g = sum_s P(s | y = 1) FNR_{s,g} over strata s, the joint groups of all other attributes,
    where every compared group has positive images; the note says which share of images that is.
    The weights of strata are held fixed, as those of a standard population are.

    Source: Glocker et al., eBioMedicine 2023;89:104467 (test-set resampling); direct
    standardisation, Rothman, Greenland & Lash, Modern Epidemiology, 2008, chapter 3.
    """
    yield from _standardised(cells, "fnr_contrast_standardised", fnr_estimates, of=1, wrong=0)


@METRICS.register(
    "fpr_contrast_standardised", direction="zero", unit="rate difference", input="cells"
)
def fpr_contrast_standardised(cells: Cells) -> Iterator[Score]:
    """FPR of the later group minus that of the earlier one, both with the pooled case mix.

    FPR_g = sum_s P(s | y = 0) FPR_{s,g}; otherwise as `fnr_contrast_standardised`.

    Source: as `fnr_contrast_standardised`.
    """
    yield from _standardised(cells, "fpr_contrast_standardised", fpr_estimates, of=0, wrong=1)


@dataclass(frozen=True)
class Strata:
    """Joint groups of all other attributes: the stratum of each image `(n,)`, and how many."""

    of_image: np.ndarray
    count: int

    @classmethod
    def beside(cls, cells: Cells, attribute: str) -> Strata:
        """Those of all attributes that it does not hold; one stratum where there is no other."""
        others = [
            i + 1
            for i, name in enumerate(cells.predictions.attributes)
            if AND not in name and not overlaps(attribute, name)
        ]
        kinds, kind = np.unique(cells.columns[:, others], axis=0, return_inverse=True)
        return cls(kind.ravel(), len(kinds))


def _standardised(
    cells: Cells, metric: str, raw: Callable[[Cells], Estimates], of: int, wrong: int
) -> Iterator[Score]:
    estimates = cells.once(raw)
    value, replicates = estimates.value.copy(), estimates.replicates.copy()
    covered: dict[tuple[str, str], float] = {}
    for attribute in cells.predictions.attributes if cells.predictions.has_decisions else ():
        strata, columns = Strata.beside(cells, attribute), cells.columns_of(attribute)
        sums = np.zeros((2, cells.bootstrap.patients, len(value), len(columns)))
        for f, finding in enumerate(cells.predictions.findings):
            held = np.flatnonzero(estimates.evaluable[f, columns])
            if len(held) > 1:
                found = _weighed(cells, strata, [columns[i] for i in held], f, of, wrong)
                sums[:, :, f, held] = found.wrong, found.all
                covered[attribute, finding] = found.share
        # One product for all findings: each reads the whole weight matrix.
        part, whole = (cells.bootstrap.real @ s.reshape(len(s), -1) for s in sums)
        drawn = ratio(part, whole).T.reshape(len(value), len(columns), -1)
        value[:, columns], replicates[:, columns] = drawn[..., 0], drawn[..., 1:]
    reason = "the compared groups share no stratum of the other attributes"
    made = replace(estimates, value=value, replicates=replicates, reason=reason)
    for score in contrast_scores(made, metric):
        share = covered.get((score.attribute, score.finding), np.nan)
        if score.finding == MACRO or np.isnan(score.value) or np.isnan(share):
            yield score
        else:
            yield replace(score, note=f"{share:.0%} of the images are in strata of all groups")


@dataclass(frozen=True)
class Weighed:
    """Of one finding in the compared groups: sums over each patient's images `(patients, groups)`
    of the weights of wrong decisions and of all, and the share of images that have a weight."""

    wrong: np.ndarray
    all: np.ndarray
    share: float


def _weighed(
    cells: Cells, strata: Strata, columns: list[int], finding: int, of: int, wrong: int
) -> Weighed:
    """Images weighed so that strata are distributed in every group as they are in all together."""
    decisions = cells.predictions.decisions()[:, finding]
    counted = np.isfinite(decisions) & (cells.truth[:, finding] == of)
    sizes = np.stack(
        [
            np.bincount(strata.of_image[counted & cells.members[:, c]], minlength=strata.count)
            for c in columns
        ]
    )
    shared: np.ndarray = np.all(sizes > 0, axis=0)
    standard = np.bincount(strata.of_image[counted], minlength=strata.count) * shared
    sums = np.zeros((2, cells.bootstrap.patients, len(columns)))
    for i, column in enumerate(columns):
        rows = np.flatnonzero(counted & cells.members[:, column] & shared[strata.of_image])
        stratum, patient = strata.of_image[rows], cells.patients[rows]
        weight = standard[stratum] / sizes[i, stratum]
        for kept, values in zip(sums, (weight * (decisions[rows] == wrong), weight), strict=True):
            kept[:, i] = np.bincount(patient, values, len(kept))
    return Weighed(sums[0], sums[1], float(standard.sum() / counted.sum()))
