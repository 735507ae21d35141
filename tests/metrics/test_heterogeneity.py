"""Scores of equality and of gaps beyond chance: what they are of, and when there are none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from metrics.auroc import auc_estimates
from metrics.bootstrap import PatientBootstrap
from metrics.cells import Cells
from metrics.contrasts import fnr_gap
from metrics.delong import auc_slopes, fnr_slopes, fpr_slopes
from metrics.equality import compare_groups, equality_p, excess_variance, expected_range
from metrics.heterogeneity import (
    auc_excess_gap,
    auc_group_variance,
    auc_heterogeneity_p,
    fnr_excess_gap,
    fnr_heterogeneity_p,
    fpr_heterogeneity_p,
)
from metrics.predictions import Predictions
from metrics.rates import fnr_estimates, fpr_estimates
from metrics.score import Score
from metrics.slopes import freedom

Make = Callable[..., Predictions]


def decided(predictions: Predictions, limit: float = 0.5) -> Predictions:
    return predictions.with_decisions((predictions.logits() >= limit).astype(np.float32))


def cells(predictions: Predictions, replicates: int = 300) -> Cells:
    bootstrap = PatientBootstrap(predictions.patient_codes()[1], replicates)
    return Cells(predictions, "recorded", np.ones(len(predictions.findings), bool), bootstrap)


def by_place(scores: object) -> dict[tuple[str, str], Score]:
    return {(s.finding, s.attribute): s for s in scores}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("slopes", "estimates"), [(fnr_slopes, fnr_estimates), (fpr_slopes, fpr_estimates)]
)
def test_slopes_of_rates_are_of_the_reported_rates(
    make_simulated: Make, slopes: Callable, estimates: Callable
) -> None:
    made = cells(decided(make_simulated(600, 1500)), 1000)
    found, reported = slopes(made), estimates(made)
    assert found.value == pytest.approx(reported.value, abs=1e-12)
    spread = np.sqrt(np.square(found.slopes).sum(-1))
    assert spread == pytest.approx(reported.replicates.std(-1), rel=0.12)


def test_p_value_is_that_of_the_groups_and_their_replicates(make_simulated: Make) -> None:
    made = cells(make_simulated())
    columns = made.columns_of("age")
    estimates = auc_estimates(made)
    expected = equality_p(
        estimates.value[1, columns],
        np.cov(estimates.replicates[1, columns]),
        freedom(auc_slopes(made).slopes[1, columns]),
    )
    score = by_place(auc_heterogeneity_p(made))["Mass", "age"]
    assert score.value == pytest.approx(expected, rel=1e-9)
    assert np.isnan([score.low, score.high]).all()
    assert score.n == 400


def test_macro_tests_the_mean_over_findings(make_simulated: Make) -> None:
    made = cells(make_simulated())
    columns = made.columns_of("sex")
    estimates = auc_estimates(made)
    expected = equality_p(
        estimates.value[:, columns].mean(0),
        np.cov(estimates.replicates[:, columns].mean(0)),
        freedom(auc_slopes(made).slopes[:, columns].mean(0)),
    )
    score = by_place(auc_heterogeneity_p(made))["macro", "sex"]
    assert score.value == pytest.approx(expected)
    assert "mean over 2 of 2 findings, in 2 groups" in score.note


def test_a_model_that_misses_one_group_is_found(make_simulated: Make) -> None:
    predictions = decided(make_simulated())
    worse = predictions.decisions()
    worse[predictions.frame["sex"].to_numpy() == "F"] = 0
    frame = decided(make_simulated()).with_decisions(
        np.where(np.random.default_rng(0).random(worse.shape) < 0.5, worse, predictions.decisions())
    )
    found = by_place(fnr_heterogeneity_p(cells(frame)))["Mass", "sex"]
    assert found.value < 1e-4
    assert by_place(fnr_heterogeneity_p(cells(predictions)))["Mass", "sex"].value > 0.01


def test_excess_gap_is_the_gap_less_what_chance_makes(make_simulated: Make) -> None:
    made = cells(decided(make_simulated()))
    gap = by_place(fnr_gap(made))
    excess = by_place(fnr_excess_gap(made))
    for finding in ("Edema", "Mass"):
        columns = made.columns_of("age")
        replicates = fnr_estimates(made).replicates[made.predictions.findings.index(finding)]
        expected = expected_range(np.cov(replicates[columns]))
        assert excess[finding, "age"].value == pytest.approx(gap[finding, "age"].value - expected)
        reach = gap[finding, "age"].high - gap[finding, "age"].value
        assert excess[finding, "age"].high - excess[finding, "age"].value == pytest.approx(reach)
        assert excess[finding, "age"].value - excess[finding, "age"].low == pytest.approx(reach)
    mean = (excess["Edema", "age"].value + excess["Mass", "age"].value) / 2
    assert excess["macro", "age"].value == pytest.approx(mean)


def test_group_variance_may_lie_below_zero_and_says_so(make_simulated: Make) -> None:
    made = cells(make_simulated())
    scores = by_place(auc_group_variance(made))
    estimates, columns = auc_estimates(made), made.columns_of("age")
    expected = excess_variance(
        estimates.value[0, columns], np.cov(estimates.replicates[0, columns])
    )
    assert scores["Edema", "age"].value == pytest.approx(expected)
    for score in scores.values():
        assert 0 <= score.low <= score.high
        assert ("below 0" in score.note) == (score.value < 0)


@pytest.mark.parametrize("metric", [auc_heterogeneity_p, auc_excess_gap, auc_group_variance])
def test_one_evaluable_group_cannot_be_compared(make_simulated: Make, metric: Callable) -> None:
    predictions = make_simulated()
    frame = predictions.frame
    few = frame["patient"].isin(frame.loc[frame["sex"] == "F", "patient"].unique()[:20])
    kept = frame[few | (frame["sex"] == "M")].reset_index(drop=True)
    scores = by_place(metric(cells(replace(predictions, frame=kept))))
    for finding in ("Mass", "macro"):
        assert np.isnan(scores[finding, "sex"].value)
    assert "fewer than 30" in scores["Mass", "sex"].note
    assert "none of 2 findings" in scores["macro", "sex"].note


def test_macro_compares_groups_that_all_findings_have(make_simulated: Make) -> None:
    predictions = make_simulated()
    frame = predictions.frame.copy()
    frame.loc[frame["age"] == "60+", "y:Mass"] = 0.0
    made = cells(replace(predictions, frame=frame))
    macro = [
        c for c in compare_groups(auc_estimates(made), auc_slopes(made), ["age"])
        if c.finding is None
    ]  # fmt: skip
    assert macro[0].names == ("<40", "40-59")


def test_a_group_without_noise_cannot_be_tested(make_simulated: Make) -> None:
    predictions = make_simulated()
    decisions = (predictions.logits() >= 0.5).astype(np.float32)
    decisions[predictions.frame["sex"].to_numpy() == "F"] = 1
    score = by_place(fpr_heterogeneity_p(cells(predictions.with_decisions(decisions))))
    assert np.isnan(score["Mass", "sex"].value)
    assert score["Mass", "sex"].note == "all replicates are alike in F: no noise to judge by"


def test_without_decisions_there_is_nothing_to_test(make_simulated: Make) -> None:
    score = by_place(fnr_heterogeneity_p(cells(make_simulated())))["Mass", "sex"]
    assert np.isnan(score.value)
    assert "no decision" in score.note


def test_duplicated_images_change_nothing(make_simulated: Make) -> None:
    predictions = decided(make_simulated())
    frame = predictions.frame
    twice = pd.concat([frame, frame.assign(image=frame["image"] + "b")], ignore_index=True)
    for metric in (auc_heterogeneity_p, fnr_excess_gap, auc_group_variance):
        once = by_place(metric(cells(predictions, 50)))
        doubled = by_place(metric(cells(replace(predictions, frame=twice), 50)))
        for place, score in once.items():
            assert doubled[place].value == pytest.approx(score.value, abs=1e-10)
            assert doubled[place].high == pytest.approx(score.high, abs=1e-10, nan_ok=True)
