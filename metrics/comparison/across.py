"""Methods over several data sets: Friedman, Nemenyi, Wilcoxon with Holm, Bayesian signed rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metrics.comparison.holm import holm

LEAST = 5
"""Data sets below which nothing is said. Of 5, all for one method, the two-sided p-value of the
signed-rank test is 0.06; of fewer no test of this kind can say anything."""
ROPE = 0.005
"""Half width, in AUC, of the region in which two methods are practically equivalent."""
PRIOR = 0.5
"""Weight of the one pseudo-observation of no difference."""
SAMPLES = 20_000


class TooFewDataSets(ValueError):
    """Why methods cannot be compared across data sets."""


@dataclass(frozen=True)
class Ranked:
    """Mean ranks `(methods,)`, 1 the foremost, with what a critical-difference diagram shows.

    `p` is Friedman's, of the hypothesis that no method differs; two methods differ where their mean
    ranks are more than `critical_difference` apart (Nemenyi, level 0.05). `alike` are the runs of
    methods, by place, that no such distance divides: the bars of the diagram.
    """

    methods: tuple[str, ...]
    mean_ranks: np.ndarray
    chi2: float
    p: float
    critical_difference: float
    data_sets: int
    alike: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Pairwise:
    """One method against ERM over data sets: tests, and chances of better, equivalent and worse."""

    method: str
    median: float
    p: float
    adjusted: float
    better: float
    equivalent: float
    worse: float


def ranked(gains: np.ndarray, methods: Sequence[str]) -> Ranked:
    """Friedman's test and Nemenyi's critical difference over data sets.

    `gains` `(data sets, methods)` is higher better, one number per data set: attributes of one data
    set share patients and are averaged first. Ties share their ranks.

        chi2 = 12 N / (k (k + 1)) [sum_j R_j^2 - k (k + 1)^2 / 4],  CD = q sqrt(k (k + 1) / (6 N))

    with N data sets, k methods, mean ranks R and q the 95 % point of the studentised range divided
    by sqrt 2; chi2 is divided by the usual factor for ties. Not finding a difference is, with few
    data sets, nearly forced: no equivalence.

    Raises:
        TooFewDataSets: fewer than 5.
        ValueError: fewer than 3 methods, or a number that is not finite.

    Source: Demsar, Journal of Machine Learning Research 2006;7:1-30, sections 3.2.2 and 3.2.3.
    """
    from scipy.stats import chi2, rankdata, studentized_range

    _check(gains, methods)
    data_sets, k = gains.shape
    if k < 3:
        raise ValueError(f"Friedman's test needs at least 3 methods, but got {k}; use `against`")
    ranks = rankdata(-gains, axis=1)
    mean = ranks.mean(axis=0)
    counts = [np.unique(row, return_counts=True)[1] for row in ranks]
    tied = sum(float((c**3 - c).sum()) for c in counts) / (data_sets * k * (k * k - 1))
    statistic = 12 * data_sets / (k * (k + 1)) * (np.square(mean).sum() - k * (k + 1) ** 2 / 4)
    statistic = statistic / (1 - tied) if tied < 1 else 0.0
    q = studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2)
    critical = float(q * np.sqrt(k * (k + 1) / (6 * data_sets)))
    return Ranked(
        methods=tuple(methods),
        mean_ranks=mean,
        chi2=float(statistic),
        p=float(chi2.sf(statistic, k - 1)),
        critical_difference=critical,
        data_sets=data_sets,
        alike=_alike(mean, methods, critical),
    )


def against(
    gains: np.ndarray,
    methods: Sequence[str],
    *,
    reference: int = 0,
    rope: float = ROPE,
    seed: int = 0,
) -> list[Pairwise]:
    """Every method against the one at `reference`: Wilcoxon with Holm, and Bayesian signed rank.

    `gains` as in `ranked`. Exact signed-rank p-values, adjusted over methods. The chances come from
    a Dirichlet process with one pseudo-observation of 0 of weight 0.5: in each of 20,000 draws of
    weights w over the differences z, `better` has the weight of all pairs with z_i + z_j > 2 rope,
    `worse` of those below -2 rope, `equivalent` of the rest, and the largest of the three wins the
    draw. "Equivalent" may be claimed where its chance is above 0.95.

    Raises:
        TooFewDataSets: fewer than 5.
        ValueError: a number that is not finite.

    Source: Demsar, JMLR 2006;7:1-30, section 3.1.3 (Wilcoxon); Benavoli, Corani, Demsar & Zaffalon,
    JMLR 2017;18:1-36, section 4.2 (Bayesian signed rank with a region of practical equivalence).
    """
    from scipy.stats import wilcoxon

    _check(gains, methods)
    others = [i for i in range(len(methods)) if i != reference]
    differences = [gains[:, i] - gains[:, reference] for i in others]
    p = np.array([float(wilcoxon(d).pvalue) if d.any() else 1.0 for d in differences])
    adjusted = holm(p)
    return [
        Pairwise(
            methods[i],
            float(np.median(d)),
            float(p[n]),
            float(adjusted[n]),
            *_signed_rank(d, rope, seed),
        )
        for n, (i, d) in enumerate(zip(others, differences, strict=True))
    ]


def _signed_rank(differences: np.ndarray, rope: float, seed: int) -> tuple[float, float, float]:
    """Chances of better, equivalent and worse."""
    held = np.concatenate([[0.0], differences])
    alpha = np.concatenate([[PRIOR], np.ones(len(differences))])
    weights = np.random.default_rng([seed, 0xBA1E5]).dirichlet(alpha, SAMPLES)
    sums = held[:, None] + held[None]
    better = ((weights @ (sums > 2 * rope)) * weights).sum(axis=1)
    worse = ((weights @ (sums < -2 * rope)) * weights).sum(axis=1)
    winner = np.stack([better, 1 - better - worse, worse]).argmax(axis=0)
    first, second, third = np.bincount(winner, minlength=3) / SAMPLES
    return float(first), float(second), float(third)


def _alike(
    mean: np.ndarray, methods: Sequence[str], critical: float
) -> tuple[tuple[str, ...], ...]:
    """Longest runs of at least two methods, by mean rank, within one critical difference."""
    order = np.argsort(mean, kind="stable")
    placed = mean[order]
    found: list[tuple[int, int]] = []
    for start in range(len(order)):
        end = int(np.searchsorted(placed, placed[start] + critical, "right"))
        if end - start > 1 and (not found or end > found[-1][1]):
            found.append((start, end))
    return tuple(tuple(methods[i] for i in order[start:end]) for start, end in found)


def _check(gains: np.ndarray, methods: Sequence[str]) -> None:
    if gains.ndim != 2 or gains.shape[1] != len(methods):
        raise ValueError(
            f"gains must be (data sets, methods), but got {gains.shape} for {len(methods)} methods"
        )
    if len(gains) < LEAST:
        raise TooFewDataSets(
            f"methods are compared across at least {LEAST} data sets, but got {len(gains)}; judge "
            "them within each data set"
        )
    if not np.isfinite(gains).all():
        raise ValueError(
            "every method must have a number on every data set, but "
            f"{int((~np.isfinite(gains)).sum())} are missing; leave out the method or the data set"
        )
