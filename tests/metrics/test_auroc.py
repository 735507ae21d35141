"""The weighted AUC against hand-worked tables and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from metrics.auroc import auroc

ONE = np.ones((4, 1), np.uint8)


def test_auc_counts_ordered_pairs() -> None:
    # Positives .3 and .8 against negatives .1 and .5: 3 of 4 pairs are in order.
    value = auroc(np.array([0.1, 0.3, 0.5, 0.8]), np.array([0, 1, 0, 1]), ONE)
    assert value.tolist() == [0.75]


def test_ties_count_half() -> None:
    # .5 ties with .5 (half), .8 beats both.
    value = auroc(np.array([0.1, 0.5, 0.5, 0.8]), np.array([0, 1, 0, 1]), ONE)
    assert value.tolist() == [3.5 / 4]


def test_constant_scores_give_one_half() -> None:
    assert auroc(np.zeros(4), np.array([0, 1, 0, 1]), ONE).tolist() == [0.5]


def test_weights_repeat_images() -> None:
    # Counting the positive at .3 three times: pairs in order 3*1 + 1*2 of 4*2.
    weights = np.array([[1], [3], [1], [1]], np.uint8)
    value = auroc(np.array([0.1, 0.3, 0.5, 0.8]), np.array([0, 1, 0, 1]), weights)
    assert value.tolist() == [5 / 8]


def test_one_class_is_nan() -> None:
    assert np.isnan(auroc(np.arange(4.0), np.ones(4), ONE)).all()
    assert np.isnan(auroc(np.arange(4.0), np.zeros(4), ONE)).all()


def test_a_replicate_without_one_class_is_nan_and_the_others_are_not() -> None:
    weights = np.array([[1, 1], [1, 0], [1, 1], [1, 0]], np.uint8)
    value = auroc(np.array([0.1, 0.3, 0.5, 0.8]), np.array([0, 1, 0, 1]), weights)
    assert value[0] == 0.75
    assert np.isnan(value[1])


def test_unknown_labels_are_left_out() -> None:
    value = auroc(np.array([0.1, 0.3, 0.5, 0.8]), np.array([0, 1, np.nan, 1]), ONE)
    assert value.tolist() == [1]


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("decimals", [1, 8])
def test_equals_scikit_learn_under_random_weights_and_ties(share: float, decimals: int) -> None:
    rng = np.random.default_rng(int(share * 100) + decimals)
    labels = (rng.random(400) < share).astype(float)
    scores = np.round(rng.normal(size=400) + labels, decimals)
    weights = rng.poisson(1, (400, 300)).astype(np.uint8)
    value = auroc(scores, labels, weights)
    expected = [roc_auc_score(labels, scores, sample_weight=w) for w in weights.T]
    assert np.abs(value - expected).max() < 1e-12


def test_order_of_images_changes_no_bit() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 200).astype(float), rng.normal(size=200).round(1)
    weights = rng.poisson(1, (200, 20)).astype(np.uint8)
    shuffled = rng.permutation(200)
    value = auroc(scores, labels, weights)
    assert np.array_equal(value, auroc(scores[shuffled], labels[shuffled], weights[shuffled]))


def test_only_pairs_within_a_part_count() -> None:
    # Part 0: positive 1 over negative 0, in order. Part 1, on a higher scale: positive 10 under
    # negative 11, out of order. Across parts the positive 10 would beat the negative 0.
    scores, labels = np.array([0.0, 1, 10, 11]), np.array([0, 1, 1, 0])
    assert auroc(scores, labels, ONE).tolist() == [0.5]
    assert auroc(scores, labels, ONE, np.array([0, 0, 1, 1])).tolist() == [0.5]
    scores[3] = 6
    assert auroc(scores, labels, ONE, np.array([0, 0, 1, 1])).tolist() == [1]


def test_parts_are_weighted_by_their_pairs() -> None:
    rng = np.random.default_rng(5)
    part = np.repeat([0, 1, 2], [50, 30, 20])
    labels = (rng.random(100) < 0.3).astype(float)
    scores = rng.normal(size=100).round(1) + 7 * part
    weights = rng.poisson(1, (100, 5)).astype(np.uint8)
    wins = pairs = np.zeros(5)
    for p in range(3):
        inside = part == p
        positive = weights[inside & (labels == 1)].sum(0, dtype=float)
        mass = positive * weights[inside & (labels == 0)].sum(0)
        area = [
            roc_auc_score(labels[inside], scores[inside], sample_weight=w[inside])
            for w in weights.T
        ]
        wins, pairs = wins + mass * area, pairs + mass
    assert auroc(scores, labels, weights, part) == pytest.approx(wins / pairs, abs=1e-12)


def test_pairs_of_different_parts_only_are_nan() -> None:
    value = auroc(np.arange(4.0), np.array([0, 1, 0, 1]), ONE, np.array([0, 1, 0, 1]))
    assert np.isnan(value).all()
