"""Holm's correction, and the word that a comparison gets."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.comparison.answer import ALIKE, HIGHER, INCONCLUSIVE, LOWER, answer
from metrics.comparison.holm import holm


def test_holm_multiplies_by_what_is_left_and_never_falls() -> None:
    # Sorted 0.01, 0.03, 0.04 by 3, 2, 1: 0.03, 0.06, then 0.04 raised to 0.06.
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])


def test_holm_agrees_with_the_closed_test_of_two() -> None:
    assert holm(np.array([0.03, 0.04])) == pytest.approx([0.06, 0.06])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1, 1])


def test_a_comparison_that_was_not_made_does_not_count() -> None:
    found = holm(np.array([[0.01, np.nan], [0.04, np.nan]]))
    assert found[:, 0] == pytest.approx([0.02, 0.04])
    assert np.isnan(found[:, 1]).all()


def test_an_empty_family_stays_empty() -> None:
    assert holm(np.array([])).shape == (0,)


def word(low: float, high: float, adjusted: float = 0.001, detectable: float = 0.01) -> str:
    return answer(low, high, adjusted=adjusted, detectable=detectable, margin=0.02)


def test_a_clear_difference_has_its_sign() -> None:
    assert (word(0.01, 0.03), word(-0.03, -0.01)) == (HIGHER, LOWER)


def test_an_interval_that_holds_zero_is_never_higher() -> None:
    assert word(-0.001, 0.2) == INCONCLUSIVE


def test_a_difference_that_correction_takes_back_is_inconclusive() -> None:
    assert word(0.001, 0.05, adjusted=0.06) == INCONCLUSIVE


def test_alike_needs_an_interval_within_the_margin_and_power() -> None:
    assert word(-0.01, 0.015, adjusted=1.0) == ALIKE
    assert word(-0.01, 0.025, adjusted=1.0) == INCONCLUSIVE
    assert word(-0.01, 0.015, adjusted=1.0, detectable=0.021) == INCONCLUSIVE


def test_without_an_interval_nothing_is_concluded() -> None:
    assert word(np.nan, np.nan, adjusted=np.nan, detectable=np.nan) == INCONCLUSIVE
