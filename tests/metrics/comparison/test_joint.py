"""Several numbers at once: simultaneous intervals, joint draws, linear replicates."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.comparison.joint import posterior, simultaneous
from metrics.comparison.linear import normal_errors
from metrics.comparison.paired import Replicates


def normal(cells: int, *, seeds: int = 1, shared: bool = False, draws: int = 20_000) -> Replicates:
    """Cells of standard error 1 over patients, independent or all moving as one."""
    rng = np.random.default_rng(0)
    moved = rng.standard_normal((1 if shared else cells, draws)) * np.ones((cells, 1))
    values = np.zeros((seeds, cells))
    return Replicates("a", tuple(range(seeds)), values, np.repeat(moved[None], seeds, axis=0))


def test_independent_cells_have_sidaks_critical_value() -> None:
    # Two-sided, four cells: the point of 0.95^(1/4) is 2.4909.
    assert simultaneous(normal(4)).high == pytest.approx([2.4909] * 4, rel=0.02)


def test_cells_that_move_as_one_need_no_correction() -> None:
    assert simultaneous(normal(4, shared=True)).high == pytest.approx([1.96] * 4, rel=0.02)


def test_two_families_halve_the_level() -> None:
    # One cell at 2.5 % is 2.2414, at 5 % 1.96.
    assert simultaneous(normal(1), family=2).high == pytest.approx([2.2414], rel=0.02)


def test_few_seeds_widen_as_student_does() -> None:
    values = np.array([[-1.0], [0.0], [1.0]])
    taken = Replicates("a", (0, 1, 2), values, values[..., None] + np.zeros((3, 1, 4000)))
    # Seeds alone: 4.3027 standard errors of 1 / sqrt 3.
    assert simultaneous(taken).high == pytest.approx([4.3027 / 3**0.5], rel=0.1)


def test_a_cell_without_spread_has_a_point_for_an_interval() -> None:
    taken = normal(2)
    still = Replicates("a", (0,), taken.values, taken.replicates * np.array([[[1.0], [0.0]]]))
    found = simultaneous(still)
    assert (found.low[1], found.high[1], found.detectable[1]) == (0, 0, 0)


def test_too_few_defined_replicates_are_refused() -> None:
    taken = normal(2, draws=10)
    taken.replicates[0, 0, :6] = np.nan
    with pytest.raises(ValueError, match="40%"):
        simultaneous(taken)


def test_one_number_per_seed_is_not_several() -> None:
    with pytest.raises(ValueError, match=r"\(seeds, cells\)"):
        simultaneous(Replicates("a", (0,), np.zeros(1), np.zeros((1, 5))))


def test_posterior_draws_hold_patients_and_seeds() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1, (30, 2))
    moved = 0.5 * rng.standard_normal((1, 2, 20_000))
    found = posterior(Replicates("a", tuple(range(30)), values, values[..., None] + moved))
    assert found.mean(axis=1) == pytest.approx(values.mean(axis=0), abs=0.02)
    expected = 0.25 + values.var(axis=0, ddof=1) / 30 * 29 / 27  # of Student's t
    assert found.var(axis=1) == pytest.approx(expected, rel=0.05)


def test_linear_replicates_have_the_covariance_of_the_slopes() -> None:
    slopes = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0], [2.0, 4.0, 0.0]])
    found = normal_errors(slopes, draws=40_000)
    assert np.cov(found) == pytest.approx(slopes @ slopes.T, rel=0.05)
    assert found[2] == pytest.approx(2 * found[0], abs=1e-6)  # twice the same number


def test_linear_replicates_agree_with_the_patient_bootstrap_of_a_mean() -> None:
    rng = np.random.default_rng(2)
    ours = rng.normal(0, 1, 400)
    theirs = ours + rng.normal(0, 0.3, 400)
    both = np.stack([ours, theirs])
    slopes = (both - both.mean(axis=1, keepdims=True)) / 400
    drawn = both @ rng.multinomial(400, np.full(400, 1 / 400), 4000).T.astype(float) / 400
    linear = normal_errors(slopes, draws=4000)
    assert (linear[0] - linear[1]).std() == pytest.approx((drawn[0] - drawn[1]).std(), rel=0.06)
