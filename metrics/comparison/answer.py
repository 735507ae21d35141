"""What one comparison with ERM says, in a word."""

from __future__ import annotations

from metrics.comparison.power import ALPHA

HIGHER, LOWER, ALIKE, INCONCLUSIVE = "higher", "lower", "alike", "inconclusive"


def answer(low: float, high: float, *, adjusted: float, detectable: float, margin: float) -> str:
    """ "higher" or "lower", "alike" or "inconclusive", of a difference with this 95 % interval.

    Higher or lower only where the interval leaves out 0 and the p-value adjusted for all
    comparisons of the family (`holm`) is below 0.05. Alike where the interval lies within -+
    `margin` and a difference of `margin` would have been found with a chance of 80 %. Everything
    else is inconclusive: an interval that holds 0 shows no difference, and no equality either. NaN
    bounds, a difference without an interval, are inconclusive.

    Source: Lakens, Social Psychological and Personality Science 2017;8:355-362 (equivalence).
    """
    if adjusted < ALPHA and low > 0:
        return HIGHER
    if adjusted < ALPHA and high < 0:
        return LOWER
    if -margin < low and high < margin and detectable <= margin:
        return ALIKE
    return INCONCLUSIVE
