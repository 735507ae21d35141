"""Covariances from slopes against the bootstrap, and DeLong's paired test against its formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from metrics.auroc import auc_estimates
from metrics.bootstrap import PatientBootstrap
from metrics.cells import Cells
from metrics.delong import auc_slopes, covariance, linear_replicates, paired_test
from metrics.predictions import Predictions
from metrics.slopes import Moved, rank_images

Make = Callable[..., Predictions]


def cells(predictions: Predictions, replicates: int = 1000) -> Cells:
    bootstrap = PatientBootstrap(predictions.patient_codes()[1], replicates)
    return Cells(predictions, "recorded", np.ones(len(predictions.findings), bool), bootstrap)


def test_auc_of_every_cell_is_that_of_the_bootstrap_pass(make_simulated: Make) -> None:
    made = cells(make_simulated(), replicates=2)
    assert auc_slopes(made).value == pytest.approx(auc_estimates(made).value, abs=1e-15)


def test_auc_of_every_cell_keeps_to_pairs_within_a_part(make_simulated: Make) -> None:
    predictions = make_simulated()
    parted = predictions.frame.assign(part=predictions.patient_codes()[0] % 3)
    made = cells(replace(predictions, frame=parted), replicates=2)
    assert auc_slopes(made).value == pytest.approx(auc_estimates(made).value, abs=1e-15)
    whole = auc_slopes(cells(predictions, replicates=2))
    assert not np.allclose(auc_slopes(made).value, whole.value, atol=1e-6)


def test_small_cells_are_undefined(make_simulated: Make) -> None:
    found = auc_slopes(cells(make_simulated(60, 120), replicates=2))
    small = np.isnan(found.value)
    assert small.any() and not small.all()
    assert (np.isnan(found.slopes).all(axis=-1) == small).all()


def test_covariance_of_all_cells_is_that_of_the_bootstrap(make_simulated: Make) -> None:
    made = cells(make_simulated(1200, 2700), replicates=3000)
    slopes = auc_slopes(made).slopes.reshape(12, -1)
    linear, drawn = covariance(slopes), np.cov(auc_estimates(made).replicates.reshape(12, -1))
    spread = np.sqrt(np.diag(drawn))
    assert np.sqrt(np.diag(linear)) == pytest.approx(spread, rel=0.07)
    # 3000 replicates tell a correlation to about 0.02.
    assert linear / np.outer(spread, spread) == pytest.approx(
        drawn / np.outer(spread, spread), abs=0.12
    )


def test_covariance_is_the_sum_of_products_times_p_over_p_minus_one() -> None:
    # 3/2 * (1 + 0 + 1) = 3; 3/2 * (2 + 0 - 1) = 3/2; 3/2 * (4 + 1 + 1) = 9.
    found = covariance(np.array([[1.0, 0, -1], [2, 1, 1]]))
    assert found == pytest.approx(np.array([[3, 1.5], [1.5, 9]]))


def test_paired_test_of_singletons_is_that_of_delong() -> None:
    # DeLong's S10 and S01 written out: two models, one image per patient.
    rng = np.random.default_rng(3)
    labels = np.r_[np.ones(40), np.zeros(60)]
    hard = rng.normal(size=100)
    logits = [labels + hard + rng.normal(size=100) for _ in range(2)]
    v10, v01, moved = [], [], []
    for model in logits:
        wins = (model[labels == 1][:, None] > model[labels == 0]).astype(float)
        v10.append(wins.mean(1))
        v01.append(wins.mean(0))
        moved.append(rank_images(model, labels, np.arange(100), 100).auc())
    # np.cov with ddof 0, and the correction for all 100 patients in place of 40 and 60.
    s = (np.cov(v10, ddof=0) / 40 + np.cov(v01, ddof=0) / 60) * 100 / 99
    difference = v10[1].mean() - v10[0].mean()
    error = np.sqrt(s[0, 0] + s[1, 1] - 2 * s[0, 1])
    found = paired_test(*moved)
    assert found.difference == pytest.approx(difference)
    assert found.p == pytest.approx(2 * norm.sf(abs(difference) / error))
    assert found.high - found.difference == pytest.approx(1.959964 * error, rel=1e-6)
    assert found.difference - found.low == pytest.approx(1.959964 * error, rel=1e-6)


def test_a_model_does_not_differ_from_itself() -> None:
    same = Moved(0.8, np.array([0.1, -0.1]))
    assert paired_test(same, same).p == 1


def test_models_of_other_patients_are_refused() -> None:
    with pytest.raises(ValueError, match="same patients"):
        paired_test(Moved(0.8, np.zeros(3)), Moved(0.8, np.zeros(4)))


def test_linear_replicates_are_exact_for_a_mean() -> None:
    # A mean over patients that are drawn in constant number is linear in their weights.
    values, bootstrap = np.array([1.0, 2.0, 6.0]), PatientBootstrap(3, 50)
    found = linear_replicates(np.array(3.0), (values - 3.0) / 3, bootstrap)
    assert found == pytest.approx(values @ bootstrap.weights / 3)


def test_linear_replicates_move_with_the_bootstrap(make_simulated: Make) -> None:
    made = cells(make_simulated(1200, 2700))
    found = auc_slopes(made)
    linear = linear_replicates(found.value, found.slopes, made.bootstrap)
    exact = auc_estimates(made).replicates
    for f in range(2):
        for g in range(len(made.groups)):
            assert np.corrcoef(linear[f, g], exact[f, g])[0, 1] > 0.98
