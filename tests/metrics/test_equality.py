"""Tests of equal groups, and what chance makes of equal groups, against independent formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2, ttest_ind

from metrics.equality import equality_p, excess_variance, expected_range, variance_interval
from metrics.slopes import freedom


def of_samples(samples: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, the covariance of the means, and its degrees of freedom."""
    variances = [s.var(ddof=1) / len(s) for s in samples]
    sizes = np.array([len(s) - 1 for s in samples])
    return np.array([s.mean() for s in samples]), np.diag(variances), sizes


def test_two_groups_are_tested_as_by_welchs_t() -> None:
    rng = np.random.default_rng(0)
    samples = [rng.normal(0, 1, 12), rng.normal(0.8, 3, 9)]
    expected = ttest_ind(*samples, equal_var=False).pvalue
    assert equality_p(*of_samples(samples)) == pytest.approx(expected, rel=1e-9)


def test_several_groups_by_welchs_formula_written_out() -> None:
    # Welch 1951 with weights n/s^2, as printed in textbooks, in place of differences.
    from scipy.stats import f

    rng = np.random.default_rng(1)
    samples = [rng.normal(m, s, n) for m, s, n in [(0, 1, 8), (1, 2, 15), (0, 3, 10), (2, 1, 6)]]
    w = np.array([len(s) / s.var(ddof=1) for s in samples])
    means, sizes = np.array([s.mean() for s in samples]), np.array([len(s) for s in samples])
    centre = (w * means).sum() / w.sum()
    correction = ((1 - w / w.sum()) ** 2 / (sizes - 1)).sum()
    statistic = (w * (means - centre) ** 2).sum() / 3 / (1 + 2 * 2 / 15 * correction)
    expected = f.sf(statistic, 3, 15 / (3 * correction))
    assert equality_p(*of_samples(samples)) == pytest.approx(expected, rel=1e-9)


def test_with_many_degrees_of_freedom_it_is_the_chi_square_test() -> None:
    value, covariance = np.array([0.1, 0.3, 0.2]), np.diag([0.01, 0.02, 0.01])
    weights = 1 / np.diag(covariance)
    centre = (weights * value).sum() / weights.sum()
    expected = chi2.sf((weights * (value - centre) ** 2).sum(), 2)
    assert equality_p(value, covariance, np.full(3, 1e9)) == pytest.approx(expected, rel=1e-6)


def test_a_shared_error_does_not_hide_a_difference() -> None:
    # Both groups move together: their difference has variance .02 - 2 * .009 = .002.
    value, covariance = np.array([0.1, 0.3]), np.array([[0.01, 0.009], [0.009, 0.01]])
    found = equality_p(value, covariance, np.full(2, 1e9))
    assert found == pytest.approx(chi2.sf(0.2**2 / 0.002, 1), rel=1e-6)


@pytest.mark.parametrize(
    ("groups", "error", "expected"), [(4, 0.02, 0.041), (8, 0.03, 0.085), (16, 0.04, 0.141)]
)
def test_expected_range_of_equal_groups(groups: int, error: float, expected: float) -> None:
    # Tabulated mean ranges of normal samples: 2.059, 2.847 and 3.532 standard deviations.
    assert expected_range(error**2 * np.eye(groups)) == pytest.approx(expected, abs=0.001)


def test_expected_range_of_two_and_three_is_exact() -> None:
    # Mean ranges of 2 and 3: 2 / sqrt(pi) = 1.12838 and 3 / sqrt(pi) = 1.69257.
    assert expected_range(np.eye(2)) == pytest.approx(1.1283792)
    assert expected_range(np.eye(3)) == pytest.approx(1.6925688)


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_expected_range_heeds_unequal_and_shared_errors(groups: int) -> None:
    rng = np.random.default_rng(groups)
    factor = rng.normal(size=(groups, groups))
    drawn = np.ptp(rng.normal(size=(400_000, groups)) @ factor.T, axis=1).mean()
    assert expected_range(factor @ factor.T) == pytest.approx(drawn, rel=0.015)


def test_excess_variance_by_hand() -> None:
    # Variance of .1, .2, .6 over 2: .07. Mean variance .02, mean covariance .005: .07 - .015.
    covariance = np.full((3, 3), 0.005) + np.diag([0.005, 0.015, 0.025])
    assert excess_variance(np.array([0.1, 0.2, 0.6]), covariance) == pytest.approx(0.055)


def test_excess_variance_has_no_bias() -> None:
    rng = np.random.default_rng(4)
    factor = rng.normal(size=(4, 4))
    values = rng.normal(size=(5000, 4)) @ factor.T + rng.normal(0, 2, (5000, 4))
    found = np.mean([excess_variance(v, factor @ factor.T) for v in values])
    assert found == pytest.approx(4, rel=0.1)


def test_variance_interval_has_q_at_the_points_of_chi_square() -> None:
    value, variances = np.array([0.1, 0.5, 0.9, 0.2]), np.array([0.01, 0.02, 0.01, 0.03])
    bounds = variance_interval(value, np.diag(variances))
    for bound, share in zip(bounds, (0.975, 0.025), strict=True):
        weights = 1 / (variances + bound)
        centre = (weights * value).sum() / weights.sum()
        assert (weights * (value - centre) ** 2).sum() == pytest.approx(chi2.ppf(share, 3))


def test_variance_interval_of_alike_groups_starts_at_zero() -> None:
    low, high = variance_interval(np.array([0.10, 0.12, 0.11]), 0.0001 * np.eye(3))
    assert low == 0
    assert high > 0


def test_degrees_of_freedom_count_what_carries_the_variance() -> None:
    # Normal slopes of 400: 2 V^2 / Var(V) = 2 * 400^2 / (400 * 2) = 400, Satterthwaite's own case.
    slopes = np.random.default_rng(5).normal(size=(200, 400))
    assert freedom(slopes).mean() == pytest.approx(400, rel=0.03)
    # Two of 100 patients carry it all: squares 1, 1, 0, ...: 2 * 4 / (2 * .98^2 + 98 * .02^2).
    assert freedom(np.r_[1.0, -1.0, np.zeros(98)]) == pytest.approx(8 / 1.96)


@pytest.mark.slow
def test_p_values_of_equal_groups_are_uniform() -> None:
    rng = np.random.default_rng(6)
    found = [
        equality_p(*of_samples([rng.normal(0, s, n) for s, n in [(1, 10), (2, 20), (3, 15)]]))
        for _ in range(4000)
    ]
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.012)
    assert np.mean(np.array(found) < 0.5) == pytest.approx(0.5, abs=0.025)
