"""Groups that are compared with each other, and what chance alone puts between equal groups."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from metrics.bootstrap import LEVEL
from metrics.cells import Estimates
from metrics.delong import Slopes
from metrics.score import ALL, MACRO, Score

DRAWS = 5000
"""Normal draws for the expected range of four or more groups; its error is about 1 in 100."""


@dataclass(frozen=True)
class Compared:
    """One statistic of the K evaluable groups of an attribute.

    Of one finding, or of the mean over the macro findings (`finding` is None). `value` is `(K,)`,
    `replicates` `(K, B)`, `slopes` `(K, patients)`, and `names` are the groups. `short` says why
    fewer than two groups are compared.
    """

    estimates: Estimates
    attribute: str
    finding: int | None
    value: np.ndarray
    replicates: np.ndarray
    names: tuple[str, ...]
    slopes: np.ndarray
    short: str = ""
    note: str = ""

    @cached_property
    def covariance(self) -> np.ndarray:
        """Covariance `(K, K)` over the replicates in which every group has a value."""
        whole = np.isfinite(self.replicates).all(axis=0)
        return np.atleast_2d(np.cov(self.replicates[:, whole]))

    @property
    def reason(self) -> str:
        """Why groups cannot be tested for equality; empty if they can."""
        if self.short:
            return self.short
        if np.isfinite(self.replicates).all(axis=0).mean() < 0.5:
            return "undefined in more than half of the replicates"
        still = [n for n, v in zip(self.names, np.diag(self.covariance), strict=True) if v < 1e-18]
        if still:
            return f"all replicates are alike in {', '.join(still)}: no noise to judge by"
        if np.linalg.matrix_rank(self.covariance) < len(self.names):
            drawn = self.replicates.shape[1]
            return f"{drawn} replicates do not tell how {len(self.names)} groups vary together"
        return ""

    def score(
        self,
        metric: str,
        value: float = math.nan,
        low: float = math.nan,
        high: float = math.nan,
        note: str = "",
    ) -> Score:
        """A score of all these groups; without a value it says why there is none."""
        cells = self.estimates.cells
        n, positives, negatives = self.estimates.patients_of(
            self.finding, cells.columns_of(self.attribute)
        )
        found = self.note if not math.isnan(value) else self.reason
        return Score(
            metric=metric,
            value=value,
            finding=MACRO if self.finding is None else cells.predictions.findings[self.finding],
            attribute=self.attribute,
            group=ALL,
            n=n,
            positives=positives,
            negatives=negatives,
            low=low,
            high=high,
            labels=cells.labels,
            note="; ".join(text for text in (found, note) if text),
        )


def compare_groups(
    estimates: Estimates, slopes: Slopes, attributes: Sequence[str] | None = None
) -> Iterator[Compared]:
    """The evaluable groups of each attribute: for every finding, then for the macro average.

    The macro average runs over the macro findings with two evaluable groups, and holds the groups
    that are evaluable in all of them.
    """
    cells = estimates.cells
    for attribute in cells.predictions.attributes if attributes is None else attributes:
        columns = np.array(cells.columns_of(attribute), dtype=np.int64)
        evaluable = estimates.evaluable[:, columns]
        for finding in range(len(evaluable)):
            held = columns[evaluable[finding]]
            yield Compared(
                estimates,
                attribute,
                finding,
                estimates.value[finding, held],
                estimates.replicates[finding, held],
                tuple(cells.groups[c][1] for c in held),
                slopes.slopes[finding, held],
                short="" if len(held) > 1 else estimates.missing(finding, list(columns)),
            )
        counted = np.flatnonzero(cells.macro & (evaluable.sum(axis=1) > 1))
        held = columns[evaluable[counted].all(axis=0)] if len(counted) else columns[:0]
        declared = int(cells.macro.sum())
        if not len(counted):
            short = f"none of {declared} findings is evaluable here"
        else:
            short = "no two groups are evaluable in all findings" if len(held) < 2 else ""
        chosen = np.ix_(counted, held)
        yield Compared(
            estimates,
            attribute,
            None,
            estimates.value[chosen].mean(axis=0) if len(counted) else np.zeros(0),
            estimates.replicates[chosen].mean(axis=0) if len(counted) else np.zeros((0, 1)),
            tuple(cells.groups[c][1] for c in held),
            slopes.slopes[chosen].mean(axis=0) if len(counted) else np.zeros((0, 1)),
            short=short,
            note=f"of the mean over {len(counted)} of {declared} findings, in {len(held)} groups",
        )


def equality_p(value: np.ndarray, covariance: np.ndarray, degrees: np.ndarray) -> float:
    """p-value of the test that K statistics `(K,)` of this covariance have one expectation.

    Q = (C a)' (C S C')^-1 (C a) over K - 1, divided by 1 + 2 (K - 2) / (K^2 - 1) A, against F with
    K - 1 and (K^2 - 1) / (3 A) degrees of freedom. A = sum_g (1 - u_g / sum u)^2 / f_g, with
    u_g = 1 / S_gg and f_g the `degrees` of freedom `(K,)` of S_gg. With f_g infinite it is chi2 of
    K - 1, which rejects too often where groups hold some 30 positive patients.

    Source: Welch, Biometrika 1951;38:330-336.
    """
    from scipy.stats import f

    groups = len(value)
    q = _q(value, covariance)
    share = 1 / np.diag(covariance)
    share = share / share.sum()
    a = float(np.sum((1 - share) ** 2 / degrees))
    statistic = q / (groups - 1) / (1 + 2 * (groups - 2) / (groups**2 - 1) * a)
    return float(f.sf(statistic, groups - 1, (groups**2 - 1) / (3 * a)))


def expected_range(covariance: np.ndarray) -> float:
    """Expected largest minus smallest of K normal numbers of equal mean and this covariance.

    Exact for two and three: the range of three is half the sum of their three distances, and
    E|N(0, s^2)| = s sqrt(2 / pi). For more the mean over fixed draws.
    """
    groups = len(covariance)
    if groups <= 3:
        spread = [
            math.sqrt(max(covariance[g, g] + covariance[h, h] - 2 * covariance[g, h], 0))
            for g, h in combinations(range(groups), 2)
        ]
        return sum(spread) * math.sqrt(2 / math.pi) / (groups - 1)
    scale, axes = np.linalg.eigh(covariance)
    draws = np.random.default_rng(0).normal(size=(DRAWS, groups))
    return float(np.ptp(draws @ (axes * np.sqrt(np.clip(scale, 0, None))).T, axis=1).mean())


def excess_variance(value: np.ndarray, covariance: np.ndarray) -> float:
    """Variance between K statistics `(K,)` less its expectation if their expectations were equal.

    The expectation is the mean variance less the mean covariance of two.
    """
    groups = len(value)
    own = np.trace(covariance) / groups
    shared = (covariance.sum() - np.trace(covariance)) / (groups * (groups - 1))
    return float(value.var(ddof=1) - (own - shared))


def variance_interval(value: np.ndarray, covariance: np.ndarray) -> tuple[float, float]:
    """95 % interval of the variance between K statistics `(K,)`, from 0 upwards.

    Holds every t >= 0 at which Q with the covariance S + t I lies between the 2.5 % and 97.5 %
    points of chi2 with K - 1 degrees of freedom; Q falls as t grows.

    Source: Viechtbauer, Statistics in Medicine 2007;26:37-52 (Q profile).
    """
    from scipy.stats import chi2

    tail = (1 - LEVEL) / 2
    points = (chi2.isf(tail, len(value) - 1), chi2.ppf(tail, len(value) - 1))
    low, high = (_variance_at(value, covariance, float(point)) for point in points)
    return low, high


def _variance_at(value: np.ndarray, covariance: np.ndarray, point: float) -> float:
    """The t at which Q with the covariance S + t I is `point`; 0 where Q is below it throughout."""
    from scipy.optimize import brentq

    def above(t: float) -> float:
        return _q(value, covariance + t * np.eye(len(value))) - point

    if above(0.0) <= 0:
        return 0.0
    # Q(t) <= sum (a_g - mean)^2 / t, which bounds the root.
    upper = len(value) * float(value.var()) / point
    return float(brentq(above, 0.0, upper * 1.001, xtol=1e-15, rtol=1e-10))


def _q(value: np.ndarray, covariance: np.ndarray) -> float:
    steps = np.diff(np.eye(len(value)), axis=0)
    difference = steps @ value
    return float(difference @ np.linalg.solve(steps @ covariance @ steps.T, difference))
