"""Patient and seed variance combined: interval, p-value, minimum detectable contrast."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from metrics.comparison.power import detectable
from metrics.comparison.spread import freedom, half_width, p_value


def of(value: float) -> np.ndarray:
    return np.asarray(value)


def test_seeds_alone_have_students_interval() -> None:
    # Three seeds with a variance of their mean of 4: t of 2 degrees of freedom is 4.3027.
    assert half_width(of(0.0), of(4.0), of(3)) == pytest.approx(2 * 4.302653, rel=1e-6)


def test_patients_alone_have_a_normal_interval() -> None:
    assert half_width(of(4.0), of(0.0), of(3)) == pytest.approx(2 * 1.959964, rel=1e-6)


def test_freedom_is_satterthwaites() -> None:
    # (3 + 1)^2 / (1^2 / 4) = 64.
    assert freedom(of(3.0), of(1.0), of(5)) == pytest.approx(64)


def test_p_of_seeds_alone_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(0.3, 1, 6), rng.normal(0, 1, 6)
    difference = ours - theirs
    found = p_value(of(difference.mean()), of(0.0), of(difference.var(ddof=1) / 6), of(6))
    assert found == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)


def test_p_is_five_percent_where_the_interval_ends_at_zero() -> None:
    half = half_width(of(0.0002), of(0.0001), of(4))
    assert p_value(half, of(0.0002), of(0.0001), of(4)) == pytest.approx(0.05, abs=1e-6)


def test_no_difference_without_spread_has_a_p_of_one() -> None:
    assert p_value(of(0.0), of(0.0), of(0.0), of(3)) == 1


def test_an_undefined_difference_has_no_p() -> None:
    assert np.isnan(p_value(of(np.nan), of(1.0), of(0.0), of(1)))


@pytest.mark.parametrize("seeds", [3, 5, 8, 10, 16])
def test_what_is_detectable_is_found_with_a_chance_of_eighty_percent(seeds: int) -> None:
    # Noncentral t by scipy.stats; the chance to err in the other direction is below 1e-4.
    least = float(detectable(of(seeds**-0.5), of(seeds - 1.0)))
    edge = stats.t.ppf(0.975, seeds - 1)
    power = stats.nct.sf(edge, seeds - 1, least * seeds**0.5)
    assert power == pytest.approx(0.8, abs=1e-6)


def test_with_many_patients_it_is_2_8_standard_errors() -> None:
    assert detectable(of(0.01), of(1e9)) == pytest.approx(0.01 * (1.959964 + 0.841621), rel=1e-5)


def test_a_larger_critical_value_detects_less() -> None:
    assert detectable(of(1.0), of(1e9), critical=3.0) == pytest.approx(3.841621, rel=1e-5)
