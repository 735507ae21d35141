"""Slopes against counting patients twice, leaving them out, and DeLong's formula by hand."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.auroc import auroc
from metrics.slopes import Moved, rank_images, ratio


def images(
    patients: int, seed: int = 0, parts: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Logits with ties, labels, patient codes and parts; one to three images per patient."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
    labels = (rng.random(len(patient)) < 0.4).astype(float)
    noise = rng.normal(0, 1, len(labels)) + rng.normal(0, 0.7, patients)[patient]
    return (labels + noise).round(1), labels, patient, patient % parts


def test_auc_and_slopes_by_hand() -> None:
    # Positives 2.0 (p) and 1.0 (q), negatives 1.0 and 0.0 (both r): wins 2 and 1.5 of 4, AUC 7/8.
    # Slope of p: (1 - 7/8) / 2 = 1/16, of q: (3/4 - 7/8) / 2 = -1/16.
    # Of r: (3/4 - 7/8) / 2 + (1 - 7/8) / 2 = 0.
    moved = rank_images(
        np.array([2.0, 1.0, 1.0, 0.0]), np.array([1.0, 1, 0, 0]), np.array([0, 1, 2, 2]), 3
    ).auc()
    assert moved.value == 7 / 8
    assert moved.slopes == pytest.approx([1 / 16, -1 / 16, 0])


def test_a_ratio_and_its_slopes_by_hand() -> None:
    # Patient 0 has two images, one counted; patient 1 has one, counted: 2/3.
    # (1 - 2/3 * 2) / 3 = -1/9 and (1 - 2/3) / 3 = 1/9; patient 2 has none.
    moved = ratio(np.array([1.0, 0, 1]), np.ones(3), np.array([0, 0, 1]), 3)
    assert moved.value == pytest.approx(2 / 3)
    assert moved.slopes == pytest.approx([-1 / 9, 1 / 9, 0])


def test_a_ratio_over_nothing_is_undefined() -> None:
    moved = ratio(np.zeros(2), np.zeros(2), np.array([0, 1]), 2)
    assert np.isnan(moved.value)
    assert np.isnan(moved.slopes).all()


@pytest.mark.parametrize("parts", [1, 3])
def test_slopes_are_what_counting_a_patient_twice_changes(parts: int) -> None:
    logits, labels, patients, part = images(60, parts=parts)
    moved = rank_images(logits, labels, patients, 60, part).auc()
    step = 1000  # weights must be whole: 1001 of one patient, 1000 of all others
    weights = step + (patients[:, None] == np.arange(60)).astype(np.int64)
    changed = (auroc(logits, labels, weights, part) - moved.value) * step
    assert changed == pytest.approx(moved.slopes, abs=2e-5)


@pytest.mark.parametrize("parts", [1, 3])
def test_a_subset_has_the_auc_and_slopes_of_ranking_it_alone(parts: int) -> None:
    logits, labels, patients, part = images(80, parts=parts)
    inside = np.random.default_rng(1).random(len(logits)) < 0.5
    from_all = rank_images(logits, labels, patients, 80, part).auc(inside)
    alone = rank_images(logits[inside], labels[inside], patients[inside], 80, part[inside]).auc()
    assert from_all.value == alone.value
    assert np.array_equal(from_all.slopes, alone.slopes)


def test_the_order_of_images_changes_no_bit() -> None:
    logits, labels, patients, part = images(80, parts=2)
    order = np.random.default_rng(2).permutation(len(logits))
    one = rank_images(logits, labels, patients, 80, part).auc()
    other = rank_images(logits[order], labels[order], patients[order], 80, part[order]).auc()
    assert one.value == other.value
    assert np.array_equal(one.slopes, other.slopes)


def variance(moved: Moved) -> float:
    return float(np.square(moved.slopes).sum())


def test_singletons_have_the_variance_of_delong() -> None:
    # Var = sum (V_i - A)^2 / n1^2 + sum (U_j - A)^2 / n0^2, written out pair by pair.
    logits, labels, patients, _ = images(90)
    first = np.unique(patients, return_index=True)[1]
    logits, labels = logits[first], labels[first]
    positive, negative = logits[labels == 1], logits[labels == 0]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    expected = wins.mean(1).var() / len(positive) + wins.mean(0).var() / len(negative)
    moved = rank_images(logits, labels, np.arange(90), 90).auc()
    assert moved.value == wins.mean()
    assert variance(moved) == pytest.approx(expected, rel=1e-12)


def test_the_variance_is_near_that_of_leaving_each_patient_out() -> None:
    logits, labels, patients, _ = images(300)
    left_out = (patients[:, None] != np.arange(300)).astype(np.int64)
    replicates = auroc(logits, labels, left_out)
    jackknife = 299 / 300 * np.square(replicates - replicates.mean()).sum()
    moved = rank_images(logits, labels, patients, 300).auc()
    assert variance(moved) == pytest.approx(jackknife, rel=0.02)


def test_a_class_alone_has_no_auc() -> None:
    ranked = rank_images(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1, 0]), np.arange(3), 3)
    assert np.isnan(ranked.auc(np.array([True, True, False])).value)
    assert np.isnan(ranked.auc(np.zeros(3, bool)).value)


def test_classes_in_different_parts_have_no_auc() -> None:
    logits, labels, parts = np.array([1.0, 2.0]), np.array([0.0, 1.0]), np.array([0, 1])
    assert np.isnan(rank_images(logits, labels, np.arange(2), 2, parts).auc().value)


def test_unknown_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="must be known"):
        rank_images(np.zeros(2), np.array([1.0, np.nan]), np.arange(2), 2)
