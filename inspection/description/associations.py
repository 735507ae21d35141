"""How a finding goes with the groups of an attribute: odds ratios, Cramer's V, and a test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inspection.description.groupings import Grouping
from inspection.description.rates import Rate, rate
from metrics.bootstrap import LEVEL
from metrics.cells import MINIMUM_PATIENTS
from metrics.equality import equality_p


@dataclass(frozen=True)
class OddsRatio:
    """Log odds of a finding in one group minus those in the reference, with a 95 % interval."""

    group: str
    reference: str
    value: float
    low: float
    high: float
    p: float
    note: str = ""


@dataclass(frozen=True)
class Association:
    """How far one finding goes with one attribute.

    `v` is Cramer's V of the images, `v_beyond_chance` what is left of it once the noise of patients
    is taken out, `p` of the test that the finding is equally frequent in all groups.
    """

    v: float
    v_beyond_chance: float
    p: float
    groups: int
    odds_ratios: tuple[OddsRatio, ...]
    note: str = ""


def reference_of(grouping: Grouping, patients: Sequence[int], wanted: str) -> int | None:
    """The group that others are compared with: `wanted`, else the recorded one with most patients.

    None where no attribute of anybody is recorded.
    """
    there = [g for g in grouping.known if patients[g]]
    if wanted in grouping.groups and grouping.groups.index(wanted) in there:
        return grouping.groups.index(wanted)
    return max(there, key=lambda g: patients[g], default=None)


def association(
    rates: Sequence[Rate],
    groups: Sequence[str],
    known: Sequence[int],
    reference: int | None,
    pooled: Rate,
) -> Association:
    """The association of a finding with groups, from its rate in each.

    `known` are the groups that are tested, those of recorded attributes; of them the ones with at
    least 30 positive and 30 negative patients. `pooled` is the rate in all of `known`.
    """
    ratios = tuple(
        _odds_ratio(rates[g], rates[reference], groups[g], groups[reference])
        for g in range(len(groups))
        if reference is not None and g != reference and rates[g].patients
    )
    tested = [
        g
        for g in known
        if min(rates[g].positives, rates[g].negatives) >= MINIMUM_PATIENTS and rates[g].inner
    ]
    v, beyond = _cramer([rates[g] for g in known if rates[g].patients > 1], pooled)
    if len(tested) < 2:
        note = f"fewer than two groups have {MINIMUM_PATIENTS} positive and negative patients"
        return Association(v, beyond, math.nan, len(tested), ratios, note)
    slopes = np.stack([rates[g].log_odds_slopes for g in tested])
    p = equality_p(
        np.array([rates[g].log_odds for g in tested]),
        slopes @ slopes.T,
        np.array([rates[g].degrees for g in tested]),
    )
    return Association(v, beyond, p, len(tested), ratios)


def _odds_ratio(one: Rate, other: Rate, group: str, reference: str) -> OddsRatio:
    from scipy.special import stdtr, stdtrit

    if not (one.inner and other.inner):
        note = "no odds: no image, or every image, of one of the two groups has it"
        return OddsRatio(group, reference, math.nan, math.nan, math.nan, math.nan, note)
    value = one.log_odds - other.log_odds
    # A patient may stand in both groups, so the slopes are taken together before they are squared.
    variance = float(np.square(one.log_odds_slopes - other.log_odds_slopes).sum())
    own = [float(np.square(r.log_odds_slopes).sum()) for r in (one, other)]
    if not variance or not math.isfinite(variance):
        none = math.nan
        return OddsRatio(group, reference, value, none, none, none, "no spread over patients")
    # Welch's degrees of freedom of a difference.
    degrees = sum(own) ** 2 / (own[0] ** 2 / one.degrees + own[1] ** 2 / other.degrees)
    error = math.sqrt(variance)
    reach = float(stdtrit(degrees, (1 + LEVEL) / 2)) * error
    p = 2 * float(stdtr(degrees, -abs(value) / error))
    return OddsRatio(group, reference, value, value - reach, value + reach, p)


def _cramer(rates: Sequence[Rate], pooled: Rate) -> tuple[float, float]:
    """Cramer's V of a table of two rows, and the same beyond chance.

    V^2 = sum_g w_g (p_g - p)^2 / (p (1 - p)) with w_g the share of the images. If all p_g were one,
    noise alone would make it sum_g w_g Var(p_g - p) / (p (1 - p)); this is taken out, with the
    variance over patients, and what is left is at least 0.

    Source: Cramer, Mathematical Methods of Statistics, 1946, section 21.9; Bergsma, Journal of the
    Korean Statistical Society 2013;42:323-328 (taking out the expectation).
    Differs from Bergsma: the expectation is that of clusters, not of independent images.
    """
    if len(rates) < 2 or not pooled.inner:
        return math.nan, math.nan
    images = np.array([r.images for r in rates], float)
    weights = images / images.sum()
    spread = pooled.value * (1 - pooled.value)
    square = sum(w * (r.value - pooled.value) ** 2 for w, r in zip(weights, rates, strict=True))
    noise = sum(
        w * float(np.square(r.slopes - pooled.slopes).sum())
        for w, r in zip(weights, rates, strict=True)
    )
    return math.sqrt(square / spread), math.sqrt(max(0.0, (square - noise) / spread))


def pooled_rate(
    has: np.ndarray, counts: np.ndarray, codes: np.ndarray, known: Sequence[int],
    patients: np.ndarray, count: int,
) -> Rate:  # fmt: skip
    """The rate in all groups of `known` together."""
    return rate(has, counts & np.isin(codes, known), patients, count)
