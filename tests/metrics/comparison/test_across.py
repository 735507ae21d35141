"""Methods over several data sets, beside scipy and published values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from metrics.comparison.across import TooFewDataSets, against, ranked


def gains(data_sets: int, methods: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.8, 0.05, (data_sets, methods))


def test_fewer_than_five_data_sets_are_refused() -> None:
    with pytest.raises(TooFewDataSets, match="at least 5 data sets, but got 4"):
        ranked(gains(4, 3), ("a", "b", "c"))
    with pytest.raises(TooFewDataSets):
        against(gains(4, 3), ("a", "b", "c"))


def test_friedman_agrees_with_scipy_also_with_ties() -> None:
    for digits in (6, 1):
        made = gains(9, 4).round(digits)
        found = ranked(made, tuple("abcd"))
        expected = stats.friedmanchisquare(*made.T)
        assert (found.chi2, found.p) == pytest.approx((expected.statistic, expected.pvalue))


def test_the_critical_difference_is_the_published_one() -> None:
    # Demsar 2006, table 5: q of 5 methods is 2.728; section 3.2.4: 4 methods on 14 data sets
    # have a critical difference of 1.25.
    assert ranked(gains(14, 4), tuple("abcd")).critical_difference == pytest.approx(1.25, abs=0.005)
    five = ranked(gains(6, 5), tuple("abcde")).critical_difference
    assert five == pytest.approx(2.728 * (30 / 36) ** 0.5, abs=1e-3)


def test_the_foremost_method_has_rank_one() -> None:
    made = np.tile([0.7, 0.9, 0.8], (6, 1)) + np.random.default_rng(0).normal(0, 1e-3, (6, 3))
    found = ranked(made, ("a", "b", "c"))
    assert found.mean_ranks.tolist() == [3, 1, 2]
    # The critical difference is 2.343 sqrt(12 / 36) = 1.35: neighbours are not told apart.
    assert found.alike == (("b", "c"), ("c", "a"))


def test_wilcoxon_is_exact_and_corrected() -> None:
    made = np.zeros((6, 3))
    made[:, 1] = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]
    made[:, 2] = [0.01, -0.02, 0.03, -0.04, 0.05, -0.06]
    first, second = against(made, ("erm", "up", "noise"))
    assert first.p == pytest.approx(2 / 2**6)  # all six signs alike
    assert first.adjusted == pytest.approx(4 / 2**6)
    assert second.p > 0.5


def test_a_method_that_is_erm_is_equivalent() -> None:
    made = gains(8, 1)
    (found,) = against(np.hstack([made, made]), ("erm", "same"))
    assert (found.p, found.equivalent, found.better) == (1, 1, 0)


def test_chances_of_a_clear_gain_and_of_a_clear_loss() -> None:
    made = np.zeros((10, 3))
    made[:, 1], made[:, 2] = 0.05, -0.05
    up, down = against(made, ("erm", "up", "down"))
    assert up.better > 0.99
    assert down.worse > 0.99
    assert up.better + up.equivalent + up.worse == pytest.approx(1)


def test_a_gain_within_the_region_is_equivalent() -> None:
    made = np.zeros((10, 2))
    made[:, 1] = 0.002
    (found,) = against(made, ("erm", "hardly"))
    assert found.equivalent > 0.95
    assert found.adjusted < 0.05  # a clear difference, and too small to matter


def test_a_missing_number_is_refused() -> None:
    made = gains(6, 3)
    made[2, 1] = np.nan
    with pytest.raises(ValueError, match="1 are missing"):
        ranked(made, ("a", "b", "c"))
