"""The worst group chosen on other patients than those it is judged on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from metrics.bootstrap import PatientBootstrap
from metrics.cells import Cells
from metrics.crossfit import SPLITS, worst_group_auc_crossfit
from metrics.predictions import Predictions
from metrics.score import Score

Make = Callable[..., Predictions]


def scored(predictions: Predictions) -> dict[tuple[str, str], Score]:
    bootstrap = PatientBootstrap(predictions.patient_codes()[1], 300)
    cells = Cells(predictions, "recorded", np.ones(len(predictions.findings), bool), bootstrap)
    return {(s.finding, s.attribute): s for s in worst_group_auc_crossfit(cells)}


def test_each_half_is_judged_by_the_worst_group_of_the_other(make_simulated: Make) -> None:
    predictions = make_simulated()
    frame, codes = predictions.frame, predictions.patient_codes()[0]
    rng = np.random.default_rng(0)
    judged = []
    for _ in range(SPLITS):
        first = (rng.permutation(400) < 200)[codes]
        auc = [
            {
                g: roc_auc_score(rows["y:Mass"], rows["logit:Mass"])
                for g, rows in frame[half].groupby("age")
            }
            for half in (first, ~first)
        ]
        judged += [auc[1][min(auc[0], key=auc[0].get)], auc[0][min(auc[1], key=auc[1].get)]]
    score = scored(predictions)["Mass", "age"]
    assert score.value == pytest.approx(np.mean(judged))
    assert score.low < score.value < score.high


def test_a_clearly_worse_group_has_its_own_auc(make_simulated: Make) -> None:
    predictions = make_simulated(1000, 2200)
    frame = predictions.frame
    worse = (frame["age"] == "60+").to_numpy()
    noise = np.random.default_rng(1).normal(size=len(frame)).astype(np.float32)
    frame = frame.assign(**{"logit:Mass": np.where(worse, noise, frame["logit:Mass"])})
    score = scored(replace(predictions, frame=frame))["Mass", "age"]
    assert score.note == f"chosen on halves: 60+ ({2 * SPLITS})"
    alone = roc_auc_score(frame.loc[worse, "y:Mass"], frame.loc[worse, "logit:Mass"])
    assert score.value == pytest.approx(alone, abs=0.01)


def test_macro_is_the_mean_over_findings(make_simulated: Make) -> None:
    found = scored(make_simulated())
    mean = (found["Edema", "sex"].value + found["Mass", "sex"].value) / 2
    assert found["macro", "sex"].value == pytest.approx(mean)


def test_one_evaluable_group_has_no_worst(make_simulated: Make) -> None:
    predictions = make_simulated()
    frame = predictions.frame
    few = frame["patient"].isin(frame.loc[frame["sex"] == "F", "patient"].unique()[:20])
    kept = frame[few | (frame["sex"] == "M")].reset_index(drop=True)
    score = scored(replace(predictions, frame=kept))["Mass", "sex"]
    assert np.isnan(score.value)
    assert "fewer than 30" in score.note


@pytest.mark.slow
def test_equal_groups_have_no_downward_bias(make_simulated: Make) -> None:
    crossfit, plain = [], []
    for seed in range(60):
        predictions = make_simulated(300, 700, seed=seed)
        truth = 0.6915  # Phi(1 / sqrt(2 * 2)): scores of variance 2 that lie 1 apart
        crossfit.append(scored(predictions)["Mass", "age"].value - truth)
        plain.append(
            min(
                roc_auc_score(rows["y:Mass"], rows["logit:Mass"])
                for _, rows in predictions.frame.groupby("age")
            )
            - truth
        )
    error = np.std(crossfit) / np.sqrt(60)
    assert abs(np.mean(crossfit)) < 3 * error
    assert np.mean(plain) < -0.01
