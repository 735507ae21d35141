"""Who gains and who loses beside ERM: the levelling-down verdict over groups of an attribute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from metrics.comparison.joint import simultaneous
from metrics.comparison.paired import LEAST_DEFINED, Endpoint, Replicates, minus

PARETO_UP, NEUTRAL, TRADE = "PARETO-UP", "NEUTRAL", "TRADE"
LEVEL_DOWN, WORSE, INCONCLUSIVE = "LEVEL-DOWN", "WORSE", "INCONCLUSIVE"
NONINFERIORITY = 0.005
"""AUC by which the model may be worse in a group and still count as not inferior there."""
MARGIN = 0.02
"""AUC. A comparison that could miss a difference of this size in a group has shown nothing by not
finding one there. Own choice; give another with the question that is asked."""


@dataclass(frozen=True)
class Verdict:
    """What a method does to the groups of an attribute, compared with ERM.

    `gain` `(groups,)` is better where above 0, whatever the direction of the endpoint, with
    simultaneous bounds `low` and `high`. `harmed` and `benefited` name groups whose interval leaves
    out 0, `noninferior` those whose lower bound lies above -0.005, `left_out` those without a
    number. `gap_fall` is ERM's gap minus the method's, and `fall_shown` whether more than chance.
    `levelled_up` is the share of that fall that the group ERM served worst has gained: 1 all of it,
    0 or less none; NaN unless the fall is shown. `detectable` `(groups,)` is the smallest gain that
    would have been found with a chance of 80 %.
    """

    answer: str
    groups: tuple[str, ...]
    gain: np.ndarray
    low: np.ndarray
    high: np.ndarray
    detectable: np.ndarray
    harmed: tuple[str, ...]
    benefited: tuple[str, ...]
    noninferior: tuple[str, ...]
    left_out: tuple[str, ...]
    gap_fall: float
    fall_shown: bool
    levelled_up: float
    margin: float


def verdict(
    method: Replicates,
    reference: Replicates,
    *,
    endpoint: Endpoint,
    groups: Sequence[str],
    margin: float = MARGIN,
    noninferiority: float = NONINFERIORITY,
    family: int = 1,
    seed: int = 0,
) -> Verdict:
    """The verdict of a method against ERM over `groups`, the cells of both, on the same patients.

    D_g is the gain of group g, with simultaneous (max-T) 95 % intervals over the groups; HARM
    counts groups with an upper bound below 0, BENEFIT those with a lower bound above 0.

    - PARETO-UP: HARM = 0, BENEFIT >= 1, and no group may have lost `margin` or more.
    - NEUTRAL: HARM = BENEFIT = 0, a gain or loss of `margin` would have been found in every group
      with a chance of 80 %, and every interval lies within -+ `margin`.
    - TRADE: HARM >= 1 and BENEFIT >= 1.
    - LEVEL-DOWN: HARM >= 1, BENEFIT = 0, and the gap falls: groups come closer by loss alone.
    - WORSE: HARM >= 1, BENEFIT = 0, and no fall of the gap is shown.
    - INCONCLUSIVE: everything else. A wide interval is no equality.

    The gap falls if its estimate does and the gain of the group that ERM serves worst exceeds
    that of the one it serves best, by an interval simultaneous over all pairs: which groups these
    are was read from the same data. A larger gap without harm is no harm.
    `family` is how many verdicts are read together: all intervals are widened for it.

    Raises:
        ValueError: cells that are not `groups`, or fewer than two groups with a number.

    Source: Zietlow et al., Leveling Down in Computer Vision, CVPR 2022; Mittelstadt, Wachter &
    Russell, The Unfairness of Fair Machine Learning, 2023 (levelling down and up); Piaggio et al.,
    JAMA 2012;308:2594-2604 (non-inferiority margins).
    """
    taken = minus(method, reference)
    if taken.values.shape != (len(taken.seeds), len(groups)):
        raise ValueError(
            f"cells must be the groups {', '.join(groups)}, but got values of shape "
            f"{taken.values.shape} ({taken.method}); give (seeds, groups)"
        )
    known = np.isfinite(taken.values).all(axis=0)
    known &= np.isfinite(taken.replicates).mean(axis=-1).min(axis=0) >= LEAST_DEFINED
    if known.sum() < 2:
        raise ValueError(
            f"at least 2 groups must have a number, but {int(known.sum())} of {len(groups)} have "
            f"({taken.method}); groups need enough patients"
        )
    names = np.array(groups, object)
    gains = _oriented(taken, known, endpoint)
    joint = simultaneous(gains, family=family, seed=seed)
    harmed, benefited = joint.high < 0, joint.low > 0
    served = endpoint.sign * reference.only(taken.seeds).values.mean(axis=0)[known]
    fall = float(np.ptp(served) - np.ptp(served + joint.value))
    shown = fall > 0 and _catches_up(
        gains, int(served.argmin()), int(served.argmax()), family, seed
    )
    return Verdict(
        answer=_answer(joint.low, joint.high, joint.detectable, shown, margin),
        groups=tuple(names[known]),
        gain=joint.value,
        low=joint.low,
        high=joint.high,
        detectable=joint.detectable,
        harmed=tuple(names[known][harmed]),
        benefited=tuple(names[known][benefited]),
        noninferior=tuple(names[known][joint.low > -noninferiority]),
        left_out=tuple(names[~known]),
        gap_fall=fall,
        fall_shown=shown,
        levelled_up=float(joint.value[served.argmin()]) / fall if shown else math.nan,
        margin=margin,
    )


def _oriented(taken: Replicates, cells: np.ndarray, endpoint: Endpoint) -> Replicates:
    values, replicates = taken.values[:, cells], taken.replicates[:, cells]
    return Replicates(taken.method, taken.seeds, endpoint.sign * values, endpoint.sign * replicates)


def _catches_up(gains: Replicates, worst: int, best: int, family: int, seed: int) -> bool:
    """Whether the group `worst` clearly gains more than `best`, among all pairs of groups."""
    pairs = np.array(list(combinations(range(gains.values.shape[1]), 2)))
    between = Replicates(
        gains.method,
        gains.seeds,
        gains.values[:, pairs[:, 0]] - gains.values[:, pairs[:, 1]],
        gains.replicates[:, pairs[:, 0]] - gains.replicates[:, pairs[:, 1]],
    )
    joint = simultaneous(between, family=family, seed=seed)
    place = int(np.flatnonzero((pairs == sorted((worst, best))).all(axis=1))[0])
    return bool(joint.low[place] > 0 if worst < best else joint.high[place] < 0)


def _answer(
    low: np.ndarray, high: np.ndarray, found: np.ndarray, falls: bool, margin: float
) -> str:
    harm, benefit = int((high < 0).sum()), int((low > 0).sum())
    if harm and benefit:
        return TRADE
    if harm:
        return LEVEL_DOWN if falls else WORSE
    if benefit:
        return PARETO_UP if (low > -margin).all() else INCONCLUSIVE
    within = (low > -margin).all() and (high < margin).all()
    return NEUTRAL if within and (found <= margin).all() else INCONCLUSIVE
