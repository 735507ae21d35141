"""Sets of places, and chances on the Pareto front."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.comparison.paired import Endpoint, Replicates
from metrics.comparison.pareto import dominance, front
from metrics.comparison.ranks import rank_sets

AUC = Endpoint("auc", "higher")


def methods(values: list[float], error: float = 0.01, shared: float = 0.0) -> list[Replicates]:
    """One seed each; `shared` is the error that all methods have in common."""
    rng = np.random.default_rng(0)
    common = rng.normal(0, shared, 4000)
    return [
        Replicates(f"m{i}", (0,), np.array([v]), v + common + rng.normal(0, error, (1, 4000)))
        for i, v in enumerate(values)
    ]


def places(found: list[Replicates], endpoint: Endpoint = AUC) -> list[tuple[int, int]]:
    return [(one.first, one.last) for one in rank_sets(found, endpoint)]


def test_clear_differences_give_single_places() -> None:
    assert places(methods([0.7, 0.9, 0.8])) == [(3, 3), (1, 1), (2, 2)]


def test_methods_that_cannot_be_told_apart_share_all_their_places() -> None:
    assert places(methods([0.800, 0.801, 0.6])) == [(1, 2), (1, 2), (3, 3)]


def test_lower_may_be_better() -> None:
    assert places(methods([0.7, 0.9]), Endpoint("fnr", "lower")) == [(1, 1), (2, 2)]


def test_noise_that_all_methods_share_does_not_widen() -> None:
    # Each number is uncertain by 0.1, their differences by 0.014.
    assert places(methods([0.7, 0.8], shared=0.1)) == [(2, 2), (1, 1)]


def test_places_need_a_common_seed() -> None:
    ours = Replicates("a", (1,), np.zeros(1), np.zeros((1, 5)))
    theirs = Replicates("b", (2,), np.zeros(1), np.zeros((1, 5)))
    with pytest.raises(ValueError, match="a seed in common"):
        rank_sets([ours, theirs], AUC)


def test_one_method_has_no_place() -> None:
    with pytest.raises(ValueError, match="at least 2 methods"):
        rank_sets(methods([0.7]), AUC)


def test_a_method_dominates_where_it_is_nowhere_less_and_somewhere_more() -> None:
    gains = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    assert dominance(gains).tolist() == [
        [False, True, False, False],
        [False, False, False, False],
        [False, False, False, False],
        [False, True, False, False],
    ]


def test_rounding_makes_no_dominance() -> None:
    assert not dominance(np.array([[0.3, 0.5], [0.1 + 0.2, 0.5]])).any()


def test_chances_are_shares_of_the_draws() -> None:
    # The first dominates the second in draws 0, 1, 2 and trades with it in draw 3.
    draws = np.array([[[1, 1, 1, 1], [1, 1, 1, 1]], [[0, 0, 0, 0], [0, 0, 0, 2]]], float)
    found = front(draws)
    assert found.member == pytest.approx([1, 0.25])
    assert found.dominates == pytest.approx(np.array([[0, 0.75], [0, 0]]))


def test_many_draws_are_counted_once_each() -> None:
    draws = np.random.default_rng(0).normal(size=(4, 3, 1037))
    kept = ~dominance(draws).any(axis=0)
    assert front(draws).member == pytest.approx(kept.mean(axis=-1))


def test_an_aim_that_is_missing_is_refused() -> None:
    with pytest.raises(ValueError, match="must be finite"):
        front(np.full((2, 2, 3), np.nan))
