"""Whether groups differ more than chance makes them: a test, and gaps with chance taken out.

A gap between noisy rates is never 0, and grows with the number of groups and with their smallness.
The numbers here say how much of it would be there if all groups were equal. The noise is the
covariance of the replicates, so the patient is the unit; rates are conditional on the frozen
thresholds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from metrics.auroc import auc_estimates
from metrics.bootstrap import LEVEL
from metrics.cells import Cells, Estimates
from metrics.delong import Slopes, auc_slopes, fnr_slopes, fpr_slopes
from metrics.equality import (
    compare_groups,
    equality_p,
    excess_variance,
    expected_range,
    variance_interval,
)
from metrics.rates import fnr_estimates, fpr_estimates
from metrics.rows import over_groups
from metrics.score import Score
from metrics.slopes import freedom
from registry import METRICS


@METRICS.register("auc_heterogeneity_p", direction="higher", unit="p-value", input="cells")
def auc_heterogeneity_p(cells: Cells) -> Iterator[Score]:
    """p-value of the test that all evaluable groups of an attribute have one AUC.

    Q = (C a)' (C S C')^-1 (C a), with a the AUC of the K groups, C their successive differences and
    S their covariance over the replicates, against Welch's F with K - 1 degrees of freedom, which
    allows for S being estimated. "macro" tests the mean AUC over findings, in the groups where all
    counted findings are evaluable; it is no mean of p-values, and a p-value has no interval. A
    large p-value is no proof of equality.

    Source: Cochran, Biometrics 1954;10:101-129 (Q); Welch, Biometrika 1951;38:330-336 (F).
    """
    yield from _tests(cells.once(auc_estimates), cells.once(auc_slopes), "auc_heterogeneity_p")


@METRICS.register("fnr_heterogeneity_p", direction="higher", unit="p-value", input="cells")
def fnr_heterogeneity_p(cells: Cells) -> Iterator[Score]:
    """p-value of the test that all evaluable groups of an attribute have one FNR.

    Q and Welch's F as for auc_heterogeneity_p.

    Source: Cochran, Biometrics 1954;10:101-129 (Q); Welch, Biometrika 1951;38:330-336 (F).
    """
    yield from _tests(cells.once(fnr_estimates), cells.once(fnr_slopes), "fnr_heterogeneity_p")


@METRICS.register("fpr_heterogeneity_p", direction="higher", unit="p-value", input="cells")
def fpr_heterogeneity_p(cells: Cells) -> Iterator[Score]:
    """p-value of the test that all evaluable groups of an attribute have one FPR.

    Q and Welch's F as for auc_heterogeneity_p.

    Source: Cochran, Biometrics 1954;10:101-129 (Q); Welch, Biometrika 1951;38:330-336 (F).
    """
    yield from _tests(cells.once(fpr_estimates), cells.once(fpr_slopes), "fpr_heterogeneity_p")


@METRICS.register("auc_excess_gap", direction="lower", unit="AUC difference", input="cells")
def auc_excess_gap(cells: Cells) -> Iterator[Score]:
    """Largest minus smallest AUC among the groups, minus what chance alone makes of equal groups.

    E = max_g a_g - min_g a_g - E0 with E0 the expected range of K normal numbers of equal mean and
    of the covariance of the replicates. Around 0, on either side, where groups are equal. The
    interval is that of the gap (simultaneous over all pairs) moved by E0.

    Source: Lum, Zhang & Bower, De-biasing "bias" measurement, FAccT 2022 (bias of such measures).
    """
    yield from _excess_gaps(cells.once(auc_estimates), cells.once(auc_slopes), "auc_excess_gap")


@METRICS.register("fnr_excess_gap", direction="lower", unit="rate difference", input="cells")
def fnr_excess_gap(cells: Cells) -> Iterator[Score]:
    """Largest minus smallest FNR among the groups, minus what chance alone makes of equal groups.

    E = max_g FNR_g - min_g FNR_g - E0, as for auc_excess_gap.

    Source: Lum, Zhang & Bower, De-biasing "bias" measurement, FAccT 2022 (bias of such measures).
    """
    yield from _excess_gaps(cells.once(fnr_estimates), cells.once(fnr_slopes), "fnr_excess_gap")


@METRICS.register("fpr_excess_gap", direction="lower", unit="rate difference", input="cells")
def fpr_excess_gap(cells: Cells) -> Iterator[Score]:
    """Largest minus smallest FPR among the groups, minus what chance alone makes of equal groups.

    E = max_g FPR_g - min_g FPR_g - E0, as for auc_excess_gap.

    Source: Lum, Zhang & Bower, De-biasing "bias" measurement, FAccT 2022 (bias of such measures).
    """
    yield from _excess_gaps(cells.once(fpr_estimates), cells.once(fpr_slopes), "fpr_excess_gap")


@METRICS.register("auc_group_variance", direction="lower", unit="squared AUC", input="cells")
def auc_group_variance(cells: Cells) -> Iterator[Score]:
    """Variance between the AUC of groups, less the variance that chance puts between them.

    tau2 = var_g(a) - (mean_g S_gg - mean_{g != h} S_gh), with var_g over K - 1. The estimate has no
    bias and may therefore lie below 0, with a note; the variance itself cannot, nor its interval:
    all tau2 at which Q, with S + tau2 I, lies between the 2.5 % and 97.5 % points of chi2 with
    K - 1 degrees of freedom. "macro" is of the mean AUC over findings.

    Source: Lum, Zhang & Bower, De-biasing "bias" measurement, FAccT 2022; Viechtbauer, Statistics
    in Medicine 2007;26:37-52 (Q profile).
    """
    yield from _variances(cells.once(auc_estimates), cells.once(auc_slopes), "auc_group_variance")


@METRICS.register("fnr_group_variance", direction="lower", unit="squared rate", input="cells")
def fnr_group_variance(cells: Cells) -> Iterator[Score]:
    """Variance between the FNR of groups, less the variance that chance puts between them.

    tau2 and its interval as for auc_group_variance.

    Source: Lum, Zhang & Bower, De-biasing "bias" measurement, FAccT 2022; Viechtbauer, Statistics
    in Medicine 2007;26:37-52 (Q profile).
    """
    yield from _variances(cells.once(fnr_estimates), cells.once(fnr_slopes), "fnr_group_variance")


@METRICS.register("fpr_group_variance", direction="lower", unit="squared rate", input="cells")
def fpr_group_variance(cells: Cells) -> Iterator[Score]:
    """Variance between the FPR of groups, less the variance that chance puts between them.

    tau2 and its interval as for auc_group_variance.

    Source: Lum, Zhang & Bower, De-biasing "bias" measurement, FAccT 2022; Viechtbauer, Statistics
    in Medicine 2007;26:37-52 (Q profile).
    """
    yield from _variances(cells.once(fpr_estimates), cells.once(fpr_slopes), "fpr_group_variance")


def _tests(estimates: Estimates, slopes: Slopes, metric: str) -> Iterator[Score]:
    for compared in compare_groups(estimates, slopes):
        if compared.reason:
            yield compared.score(metric)
            continue
        p = equality_p(compared.value, compared.covariance, freedom(compared.slopes))
        yield compared.score(metric, p, note="a p-value has no interval")


def _variances(estimates: Estimates, slopes: Slopes, metric: str) -> Iterator[Score]:
    for compared in compare_groups(estimates, slopes):
        if compared.reason:
            yield compared.score(metric)
            continue
        value = excess_variance(compared.value, compared.covariance)
        low, high = variance_interval(compared.value, compared.covariance)
        note = "below 0: the groups differ less than chance alone makes them" if value < 0 else ""
        yield compared.score(metric, value, low, high, note)


def _excess_gaps(estimates: Estimates, slopes: Slopes, metric: str) -> Iterator[Score]:
    cells = estimates.cells
    for attribute in cells.predictions.attributes:
        value = np.full(len(estimates.value), np.nan)
        noise = np.full((len(value), estimates.replicates.shape[-1]), np.nan)
        for compared in compare_groups(estimates, slopes, [attribute]):
            if compared.finding is None or compared.short:
                continue
            expected = expected_range(compared.covariance)
            value[compared.finding] = np.ptp(compared.value) - expected
            noise[compared.finding] = np.ptp(compared.replicates - compared.value[:, None], axis=0)
        yield from over_groups(
            estimates, metric, attribute, value, noise, interval=_around, own=False
        )


def _around(value: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value ∓ the 95 % quantile of the noise over the last axis."""
    defined = np.isfinite(noise).mean(axis=-1) >= 0.5
    reach = np.full(value.shape, np.nan)
    if defined.any():
        reach[defined] = np.nanquantile(noise[defined], LEVEL, axis=-1)
    return value - reach, value + reach
