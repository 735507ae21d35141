"""The compiled walks against plain numpy and scikit-learn; counts are equal bit for bit."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from metrics.auroc import auroc
from metrics.kernel import (
    LANES,
    count_wins,
    in_blocks,
    sum_by_slot,
    sum_precisions,
    walk_for_auc,
    walk_for_precision,
)


@dataclass(frozen=True)
class Case:
    """Scores `(n,)`, labels in {0, 1, NaN}, parts, groups `(n, 2)` and weights `(patients, B)`."""

    scores: np.ndarray
    labels: np.ndarray
    part: np.ndarray
    groups: np.ndarray
    patient: np.ndarray
    weights: np.ndarray

    @property
    def known(self) -> np.ndarray:
        return np.flatnonzero(np.isfinite(self.labels))

    def auc(self) -> np.ndarray:
        """AUC `(5, B)`."""
        k = self.known
        steps = walk_for_auc(self.scores[k], self.labels[k] == 1, self.part[k], self.groups[k])
        wins, pairs = count_wins(
            in_blocks(self.weights), self.patient[k][steps.row], steps.kind, steps.groups, 5
        )
        with np.errstate(invalid="ignore"):
            return (wins / (2 * pairs))[:, : self.weights.shape[1]]

    def precision(self, odds: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Average precision `(5, B)` as it is, and with negative images weighed by `odds`."""
        k = self.known
        steps = walk_for_precision(
            self.scores[k], self.labels[k] == 1, self.part[k], self.groups[k]
        )
        blocks = in_blocks(self.weights)
        plain, common, total = sum_precisions(
            blocks,
            self.patient[k][steps.row],
            steps.kind,
            steps.groups,
            np.full((5, len(blocks) * LANES), odds),
        )
        with np.errstate(invalid="ignore"):
            return tuple((s / total)[:, : self.weights.shape[1]] for s in (plain, common))  # type: ignore[return-value]

    def cell(self, group: int) -> np.ndarray:
        """Rows with a known label in a group."""
        return self.known[(self.groups[self.known] == group).any(axis=1)]


def case(seed: int, *, parts: int = 1) -> Case:
    """A random case with ties, zero weights, unknown labels, small groups and perhaps one class."""
    rng = np.random.default_rng(seed)
    n, patients = int(rng.integers(1, 120)), int(rng.integers(1, 40))
    labels = (rng.random(n) < rng.choice([0.0, 0.05, 0.4, 0.95])).astype(float)
    labels[rng.random(n) < 0.1] = np.nan
    return Case(
        scores=np.round(rng.normal(size=n), int(rng.integers(0, 4))),
        labels=labels,
        part=rng.integers(0, parts, n),
        groups=np.stack([np.zeros(n, np.int16), rng.integers(1, 5, n).astype(np.int16)], axis=1),
        patient=rng.integers(0, patients, n),
        weights=rng.poisson(0.8, (patients, int(rng.integers(1, 90)))).astype(np.uint8),
    )


@pytest.mark.parametrize("seed", range(60))
def test_auc_equals_the_reference_and_scikit_learn(seed: int) -> None:
    made = case(seed)
    values = made.auc()
    for group in range(5):
        rows = made.cell(group)
        weights = made.weights[made.patient[rows]]
        reference = auroc(made.scores[rows], made.labels[rows], weights)
        np.testing.assert_allclose(values[group], reference, rtol=0, atol=1e-12)
        for b in range(min(5, weights.shape[1])):
            held = rows[weights[:, b] > 0]
            if len(np.unique(made.labels[held])) < 2:
                assert np.isnan(values[group, b])
                continue
            expected = roc_auc_score(
                made.labels[held], made.scores[held], sample_weight=weights[weights[:, b] > 0, b]
            )
            assert values[group, b] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(60))
def test_average_precision_equals_scikit_learn(seed: int) -> None:
    made = case(seed)
    plain, common = made.precision()
    np.testing.assert_array_equal(plain, common)
    for group in range(5):
        rows = made.cell(group)
        weights = made.weights[made.patient[rows]]
        for b in range(min(5, weights.shape[1])):
            if not weights[made.labels[rows] == 1, b].sum():
                assert np.isnan(plain[group, b])
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = average_precision_score(
                    made.labels[rows], made.scores[rows], sample_weight=weights[:, b]
                )
            assert plain[group, b] == pytest.approx(expected, abs=1e-12)


def test_odds_weigh_negative_images() -> None:
    # Twice as many negative images, by odds and by copies.
    made = case(3)
    doubled = np.r_[made.known, made.known[made.labels[made.known] == 0]]
    copied = replace(
        made,
        scores=made.scores[doubled],
        labels=made.labels[doubled],
        part=made.part[doubled],
        groups=made.groups[doubled],
        patient=made.patient[doubled],
    )
    np.testing.assert_allclose(made.precision(2.0)[1], copied.precision()[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_pairs_within_a_part_count(seed: int) -> None:
    made = case(seed, parts=3)
    values = made.auc()
    for group in range(5):
        rows = made.cell(group)
        weights = made.weights[made.patient[rows]]
        reference = auroc(made.scores[rows], made.labels[rows], weights, made.part[rows])
        np.testing.assert_allclose(values[group], reference, rtol=0, atol=1e-12)


def test_precision_with_parts_is_the_mean_over_positive_images_of_that_in_their_part() -> None:
    # Part 0: the positive image is first of two (precision 1); part 1: second of two (1/2).
    made = Case(
        scores=np.array([2.0, 1.0, 11.0, 12.0]),
        labels=np.array([1.0, 0.0, 1.0, 0.0]),
        part=np.array([0, 0, 1, 1]),
        groups=np.zeros((4, 1), np.int16),
        patient=np.arange(4),
        weights=np.ones((4, 1), np.uint8),
    )
    assert made.precision()[0][0, 0] == (1 + 1 / 2) / 2


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_rows_changes_no_bit(seed: int) -> None:
    made = case(seed, parts=2)
    order = np.random.default_rng(seed).permutation(len(made.scores))
    mixed = replace(
        made,
        scores=made.scores[order],
        labels=made.labels[order],
        part=made.part[order],
        groups=made.groups[order],
        patient=made.patient[order],
    )
    np.testing.assert_array_equal(made.auc(), mixed.auc())
    np.testing.assert_array_equal(made.precision()[0], mixed.precision()[0])


def test_sums_by_slot_are_those_of_numpy() -> None:
    made = case(5)
    slot = (np.arange(len(made.scores)) % 3).astype(np.int32)
    number, total = sum_by_slot(in_blocks(made.weights), made.patient, slot, made.scores, 3)
    weights = made.weights[made.patient].astype(float)
    for s in range(3):
        inside = slot == s
        count = made.weights.shape[1]
        np.testing.assert_array_equal(number[s, :count], weights[inside].sum(axis=0))
        np.testing.assert_allclose(
            total[s, :count], made.scores[inside] @ weights[inside], rtol=0, atol=1e-9
        )


def test_padding_counts_nothing() -> None:
    blocks = in_blocks(np.full((3, 70), 7, np.uint8))
    assert blocks.shape == (2, 3, LANES)
    assert blocks.sum() == 3 * 70 * 7
