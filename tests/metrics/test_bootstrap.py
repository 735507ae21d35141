"""The shared patient weights and the intervals made with them."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.bootstrap import (
    PatientBootstrap,
    logit_interval,
    percentile_interval,
    simultaneous_interval,
)


def test_every_replicate_draws_as_many_patients_as_there_are() -> None:
    weights = PatientBootstrap(37, replicates=50).weights
    assert weights.shape == (37, 50)
    assert weights.dtype == np.uint8
    assert (weights.sum(axis=0) == 37).all()


def test_weights_are_those_of_drawing_with_replacement() -> None:
    weights = PatientBootstrap(40, replicates=4000, seed=3).weights.astype(float)
    # Multinomial: mean 1, variance 1 - 1/P, covariance -1/P.
    assert weights.mean() == 1
    assert weights.var(axis=1).mean() == pytest.approx(1 - 1 / 40, rel=0.02)
    assert np.cov(weights)[np.triu_indices(40, 1)].mean() == pytest.approx(-1 / 40, rel=0.05)


def test_equal_fields_give_equal_weights_and_another_seed_gives_others() -> None:
    same, again, other = (PatientBootstrap(20, 30, seed=s).weights for s in (1, 1, 2))
    assert np.array_equal(same, again)
    assert not np.array_equal(same, other)


@pytest.mark.parametrize(("patients", "replicates"), [(1, 100), (0, 100), (10, 1)])
def test_too_few_patients_or_replicates_are_refused(patients: int, replicates: int) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        PatientBootstrap(patients, replicates)


def test_percentile_interval_cuts_two_and_a_half_percent_on_each_side() -> None:
    low, high = percentile_interval(np.arange(1001.0))
    assert (low, high) == pytest.approx((25, 975))


def test_percentile_interval_leaves_undefined_replicates_out() -> None:
    values = np.r_[np.arange(1001.0), [np.nan] * 10]
    low, high = percentile_interval(np.stack([values, np.full(1011, np.nan)]))
    assert (low[0], high[0]) == pytest.approx((25, 975))
    assert np.isnan(low[1])
    assert np.isnan(high[1])


def test_percentile_interval_is_undefined_if_most_replicates_are() -> None:
    assert np.isnan(percentile_interval(np.r_[1.0, 2.0, [np.nan] * 3])[0])


def test_simultaneous_interval_reaches_to_the_largest_noise_in_95_percent() -> None:
    low, high = simultaneous_interval(np.array(0.3), np.linspace(0, 0.2, 101))
    assert low == pytest.approx(0.3 - 0.19)
    assert high == pytest.approx(0.3 + 0.19)


def test_simultaneous_interval_stays_within_zero_and_one() -> None:
    low, high = simultaneous_interval(np.array([0.1, 0.9]), np.full((2, 10), 0.5))
    assert low.tolist() == [0, pytest.approx(0.4)]
    assert high.tolist() == [pytest.approx(0.6), 1]


def test_logit_interval_by_hand() -> None:
    # Replicates whose logits are 1, 2 and 3 around a value with logit 2: SD 1; t(10) is 2.2281.
    replicates = 1 / (1 + np.exp(-np.array([1.0, 2, 3])))
    low, high = logit_interval(replicates[1], replicates, np.array(10))
    assert low == pytest.approx(1 / (1 + np.exp(-2 + 2.228139)))
    assert high == pytest.approx(1 / (1 + np.exp(-2 - 2.228139)))


def test_logit_interval_of_a_certain_value_is_that_of_the_percentiles() -> None:
    replicates = np.r_[np.ones(500), np.linspace(0.9, 1, 501)]
    assert logit_interval(np.array(1.0), replicates, np.array(30)) == pytest.approx(
        percentile_interval(replicates)
    )


def test_logit_interval_is_undefined_if_most_replicates_are() -> None:
    replicates = np.r_[0.6, 0.7, [np.nan] * 3]
    assert np.isnan(logit_interval(np.array(0.6), replicates, np.array(30))).all()
