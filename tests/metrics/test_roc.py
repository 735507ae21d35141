"""ROC statistics from histograms, by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from metrics.roc import Roc


def roc(genuine: list[float], impostor: list[float]) -> Roc:
    return Roc(np.array([genuine], float), np.array([impostor], float))


def test_auc_counts_pairs_in_one_bin_half() -> None:
    # Genuine in bins 1 and 2, impostors in 0 and 1: 3 pairs in order, one tie.
    assert roc([0, 1, 1], [1, 1, 0]).auc().tolist() == [3.5 / 4]


def test_auc_equals_scikit_learn_on_binned_scores() -> None:
    rng = np.random.default_rng(0)
    genuine, impostor = rng.integers(3, 10, 60), rng.integers(0, 8, 300)
    expected = roc_auc_score(np.r_[np.ones(60), np.zeros(300)], np.r_[genuine, impostor])
    counted = Roc(
        np.bincount(genuine, minlength=10)[None], np.bincount(impostor, minlength=10)[None]
    )
    assert counted.auc()[0] == pytest.approx(expected, abs=1e-12)


def test_eer_is_where_both_errors_are_equal() -> None:
    # From above: bin 3 holds 3 of 4 genuine, bin 2 a quarter of the impostors: FPR .25 = FNR .25.
    assert roc([1, 0, 0, 3], [0, 3, 1, 0]).eer().tolist() == [0.25]


def test_eer_is_interpolated_across_a_tie() -> None:
    # Everything ties: the curve is the diagonal, and both errors are one half in its middle.
    assert roc([4], [8]).eer().tolist() == [0.5]


def test_eer_of_perfect_and_inverted_scores() -> None:
    assert roc([0, 5], [7, 0]).eer().tolist() == [0]
    assert roc([5, 0], [0, 7]).eer().tolist() == [1]


def test_tpr_at_takes_the_highest_rate_at_that_fpr() -> None:
    # 100 impostors, one of them above half of the genuine pairs: TPR rises to 1 at FPR .01 exactly.
    counted = roc([0, 2, 0, 2], [99, 0, 1, 0])
    assert counted.tpr_at(0.01).tolist() == [1]
    assert counted.tpr_at(0.009).tolist() == [0.5]


def test_tpr_at_is_interpolated_across_a_tie() -> None:
    # The top bin holds half of the genuine and 2 % of the impostors: half way at 1 %.
    assert roc([2, 2], [98, 2]).tpr_at(0.01).tolist() == [0.25]


def test_rows_without_weight_are_nan() -> None:
    empty = roc([0, 0], [1, 1])
    for value in (empty.auc(), empty.eer(), empty.tpr_at(0.01)):
        assert np.isnan(value).all()
