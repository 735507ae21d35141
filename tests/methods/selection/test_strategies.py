"""Each strategy against a value worked by hand or by scikit-learn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from candidates import FINDINGS, LABEL, MALE, PATIENT, PATIENTS, candidate, taken
from sklearn.metrics import log_loss, roc_auc_score

from methods.selection.base import Candidate, Strategy
from metrics.thresholds import Rule, Threshold
from metrics.validation import ValidationPredictions

SKEWED = np.where(MALE, 1.0, 4.0)


def value(name: str, one: Candidate) -> float:
    return Strategy.named(name).measure(one)[0].value


def aucs(one: Candidate, rows: np.ndarray) -> list[float]:
    """AUC of each finding over some rows, by scikit-learn."""
    return [
        float(roc_auc_score(one.val.labels()[rows, j], one.val.logits()[rows, j]))
        for j in range(len(FINDINGS))
    ]


EVERYBODY = np.ones(PATIENTS, bool)


def test_macro_auc_is_the_mean_of_scikit_learns() -> None:
    one = candidate(SKEWED)
    assert value("macro_auc", one) == pytest.approx(np.mean(aucs(one, EVERYBODY)), abs=1e-12)


def test_macro_auc_runs_over_the_macro_findings() -> None:
    one = replace(candidate(SKEWED), macro_findings=("Mass",))
    assert value("macro_auc", one) == pytest.approx(aucs(one, EVERYBODY)[1], abs=1e-12)


def test_loss_is_that_of_scikit_learn() -> None:
    one = candidate(SKEWED)
    p = 1 / (1 + np.exp(-one.val.logits().astype(float)))
    expected = np.mean([log_loss(LABEL, p[:, j]) for j in range(2)])
    assert value("loss", one) == pytest.approx(expected, rel=1e-5)


def test_worst_group_is_the_lowest_of_all_groups_of_all_attributes() -> None:
    one = candidate(SKEWED)
    rows = [MALE, ~MALE, *(r == PATIENT % 3 for r in range(3))]
    lowest = min(np.mean(aucs(one, r)) for r in rows)
    assert lowest == np.mean(aucs(one, MALE))
    assert value("worst_group", one) == pytest.approx(lowest, abs=1e-12)


def test_a_group_of_few_patients_is_not_the_worst() -> None:
    # Of race C 29 positive patients are left, one too few: A and B remain.
    of_c = np.flatnonzero((PATIENT % 3 == 2) & LABEL)
    kept = np.setdiff1d(PATIENT, of_c[29:])
    # Race C alone is told badly.
    one = taken(candidate(np.where(PATIENT % 3 == 2, -4.0, 4.0)), kept)
    inside = one.val.frame["race"].to_numpy()
    by_sex = [one.val.frame["sex"].to_numpy() == s for s in ("Female", "Male")]
    expected = min(np.mean(aucs(one, r)) for r in [inside == "A", inside == "B", *by_sex])
    assert value("worst_group", one) == pytest.approx(expected, abs=1e-12)


def test_one_group_alone_is_no_worst_group() -> None:
    one = taken(candidate(), np.flatnonzero(MALE & (PATIENT % 3 == 0)))
    measured, reason = Strategy.named("worst_group").measure(one)
    assert math.isnan(measured.value)
    assert reason == (
        "no attribute has two groups with a finding with 30 positive and 30 negative validation "
        "patients"
    )


def test_worst_class_is_the_lowest_finding() -> None:
    one = candidate(SKEWED)
    assert value("worst_class", one) == pytest.approx(min(aucs(one, EVERYBODY)), abs=1e-12)


def test_worst_class_needs_no_attribute() -> None:
    one = candidate(SKEWED)
    bare = replace(one, val=replace(one.val, attributes=(), groups={}))
    assert value("worst_class", bare) == value("worst_class", one)


def test_distance_to_optimum_by_hand() -> None:
    one = candidate(SKEWED)
    u, w = value("macro_auc", one), value("worst_group", one)
    assert value("distance_to_optimum", one) == pytest.approx(((1 - u) ** 2 + (1 - w) ** 2) ** 0.5)
    # A model that knows everything of everybody.
    assert value("distance_to_optimum", candidate(1000.0)) == 0


def at_zero(val: ValidationPredictions) -> Rule:
    """Decides positive from logit 0 on."""
    return Rule(tuple(Threshold(f, 0.0, "by hand") for f in val.findings))


def test_minimum_contrast_is_the_largest_difference_of_missed_findings() -> None:
    # Logits +9 or -9 without doubt, but every fourth positive male is missed: FNR 1/4 and 0.
    positive_males = np.flatnonzero(MALE & LABEL)
    shift = np.zeros(PATIENTS)
    shift[positive_males[::4]] = -18.0
    one = candidate(18.0, shift=shift, decide=at_zero)
    by_race = [np.isin(np.flatnonzero(LABEL & (r == PATIENT % 3)), positive_males[::4]).mean()
               for r in range(3)]  # fmt: skip
    assert max(by_race) - min(by_race) < 0.25
    assert value("minimum_contrast", one) == pytest.approx(0.25)


def test_minimum_contrast_without_thresholds_says_so() -> None:
    def undecided(val: ValidationPredictions) -> Rule:
        return Rule(tuple(Threshold(f, math.nan, "x", note="planted") for f in val.findings))

    measured, reason = Strategy.named("minimum_contrast").measure(candidate(decide=undecided))
    assert math.isnan(measured.value) and "no finding has a threshold" in reason


def test_an_inaccurate_model_does_not_win_by_missing_everybody_alike() -> None:
    strategy = Strategy.named("minimum_contrast")
    useless, fair = candidate(0.0), candidate(SKEWED)
    kept = [strategy.measure(c)[0] for c in (useless, fair)]
    assert kept[1].auc - kept[0].auc > 0.01
    assert strategy.order.chosen(kept) == 1


def test_features_that_are_the_sex_are_read_without_error() -> None:
    assert value("minimum_encoding", candidate(features=MALE[:, None].astype(float))) == 1.0


def test_features_of_noise_are_a_guess() -> None:
    drawn = np.random.default_rng(11).normal(size=(PATIENTS, 2))
    assert 0.5 <= value("minimum_encoding", candidate(features=drawn)) < 0.65


def test_the_probe_is_tested_on_other_patients_than_it_learns_from() -> None:
    # Two images of each patient with features that name the patient, and nothing of the sex: a
    # split by image would read the sex of everybody off the other image.
    one = candidate()
    twice = np.repeat(PATIENT, 2)
    frame = one.val.frame.iloc[twice].assign(image=[f"i{i}" for i in range(2 * PATIENTS)])
    names = np.random.default_rng(5).normal(size=(PATIENTS, PATIENTS))[twice]
    doubled = replace(
        one, val=replace(one.val, frame=frame.reset_index(drop=True)), features=lambda: names
    )
    assert value("minimum_encoding", doubled) < 0.65


def test_small_groups_are_not_probed() -> None:
    few = taken(candidate(), np.arange(30))
    measured, reason = Strategy.named("minimum_encoding").measure(few)
    assert math.isnan(measured.value) and "10 patients inside" in reason


def test_an_oracle_follows_the_true_labels() -> None:
    # Recorded labels the other way round: the truth ranks well, what is recorded badly.
    one = candidate(4.0, labels=~LABEL)
    assert value("oracle", one) == pytest.approx(1 - value("macro_auc", one))
    assert value("oracle", one) > 0.9


def test_an_oracle_without_truth_says_so() -> None:
    one = candidate()
    columns = [c for c in one.val.frame if not str(c).startswith("true:")]
    blind = replace(one, val=replace(one.val, frame=one.val.frame[columns]))
    measured, reason = Strategy.named("oracle").measure(blind)
    assert math.isnan(measured.value) and "this data set has none" in reason
