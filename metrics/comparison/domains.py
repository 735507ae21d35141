"""How far a number out of domain is from the one in domain: two sets of different patients."""

from __future__ import annotations

import numpy as np

from metrics.comparison.spread import Z


def apart(inside: float, inside_se: float, outside: float, outside_se: float) -> tuple[float, ...]:
    """`outside` minus `inside` with its 95 % interval: value, low, high.

    The two sets of test patients are independent, so their variances add: SE = sqrt(SE_in^2 +
    SE_out^2). NaN bounds where an error is not known.

    Source: Altman & Bland, BMJ 2003;326:219 (comparing two independent estimates).
    """
    half = Z * float(np.sqrt(inside_se**2 + outside_se**2))
    value = outside - inside
    return value, value - half, value + half
