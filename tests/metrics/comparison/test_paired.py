"""Paired differences: which seeds and patients, and what the variance holds."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.comparison.paired import Endpoint, Replicates, difference, minus


def method(
    name: str,
    values: list[float],
    replicates: list[list[float]],
    seeds: tuple[int, ...] | None = None,
) -> Replicates:
    seeds = tuple(range(len(values))) if seeds is None else seeds
    return Replicates(name, seeds, np.array(values), np.array(replicates))


def test_the_difference_is_taken_seed_by_seed_and_replicate_by_replicate() -> None:
    # Differences 0.1 and 0.3; their replicates average to 0.0, 0.2, 0.4: variance 0.04.
    ours = method("a", [0.9, 0.8], [[0.8, 0.9, 1.0], [0.6, 0.8, 1.0]])
    theirs = method("erm", [0.8, 0.5], [[0.8, 0.8, 0.8], [0.6, 0.5, 0.4]])
    found = difference(ours, theirs)
    assert found.value == pytest.approx(0.2)
    assert found.patient_variance == pytest.approx(0.04)
    assert found.seed_variance == pytest.approx(0.02 / 2)
    assert found.seeds == (0, 1)
    assert found.low < 0 < found.high
    assert found.p > 0.05


def test_noise_that_both_methods_share_leaves_no_variance() -> None:
    noise = [0.1, -0.2, 0.05]
    ours = method("a", [0.9], [[0.9 + n for n in noise]])
    theirs = method("erm", [0.8], [[0.8 + n for n in noise]])
    found = difference(ours, theirs)
    assert found.patient_variance == pytest.approx(0, abs=1e-30)
    assert found.seed_variance == 0


def test_more_seeds_do_not_shrink_the_patient_variance() -> None:
    rng = np.random.default_rng(1)
    moved = rng.normal(0, 0.1, 500)
    for seeds in (1, 20):
        ours = method("a", [0.9] * seeds, [list(0.9 + moved)] * seeds)
        theirs = method("erm", [0.8] * seeds, [[0.8] * 500] * seeds)
        found = difference(ours, theirs)
        assert found.patient_variance == pytest.approx(moved.var(ddof=1))


def test_seeds_of_one_method_only_are_left_out() -> None:
    ours = method("a", [0.9, 0.7], [[0.9, 0.8], [0.7, 0.7]], seeds=(1, 2))
    theirs = method("erm", [0.5, 0.6], [[0.5, 0.5], [0.6, 0.6]], seeds=(2, 3))
    taken = minus(ours, theirs)
    assert taken.seeds == (2,)
    assert taken.values == pytest.approx([0.2])


def test_undefined_replicates_are_left_out() -> None:
    ours = method("a", [0.9], [[0.8, 1.0, np.nan, 0.9]])
    found = difference(ours, method("erm", [0.5], [[0.5] * 4]))
    assert found.patient_variance == pytest.approx(0.01)


def test_with_most_replicates_undefined_there_is_no_interval() -> None:
    ours = method("a", [0.9], [[0.8, np.nan, np.nan, np.nan]])
    found = difference(ours, method("erm", [0.5], [[0.5] * 4]))
    assert np.isnan([found.patient_variance, found.low, found.high, found.p]).all()


def test_cells_keep_their_shape() -> None:
    ours = Replicates("a", (0, 1), np.ones((2, 3)), np.ones((2, 3, 5)))
    assert difference(ours, ours).p.shape == (3,)


def test_without_a_common_seed_there_is_no_difference() -> None:
    ours = method("a", [0.9], [[0.9, 0.9]], seeds=(1,))
    with pytest.raises(ValueError, match="a seed in common"):
        difference(ours, method("erm", [0.5], [[0.5, 0.5]], seeds=(2,)))


def test_replicates_of_other_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="same cells and replicates"):
        difference(method("a", [0.9], [[0.9] * 3]), method("erm", [0.5], [[0.5] * 4]))


def test_a_seed_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="once each"):
        method("a", [0.9, 0.9], [[0.9, 0.9]] * 2, seeds=(1, 1))


def test_a_direction_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'zero'"):
        Endpoint("fnr_contrast", "zero")
