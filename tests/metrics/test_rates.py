"""Rates, calibration and parity against fairlearn, scikit-learn and tables worked by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import fairlearn.metrics as fair
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk
from scipy.special import expit

from metrics.bootstrap import PatientBootstrap
from metrics.evaluate import evaluate
from metrics.predictions import Predictions
from metrics.score import to_frame
from metrics.thresholds import Rule, Threshold

Make = Callable[..., Predictions]
LIMIT = 0.5
RATES: dict[str, Callable[..., float]] = {
    "tpr": fair.true_positive_rate,
    "tnr": fair.true_negative_rate,
    "fpr": fair.false_positive_rate,
    "fnr": fair.false_negative_rate,
    "ppv": sk.precision_score,
    "npv": lambda y, d: sk.precision_score(1 - y, 1 - d),
    "selection_rate": fair.selection_rate,
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
}
LOSSES: dict[str, Callable[..., float]] = {
    "brier": sk.brier_score_loss,
    "log_loss": sk.log_loss,
    "citl": lambda y, p: float(np.mean(p) - np.mean(y)),
}


def scored(predictions: Predictions, replicates: int = 50) -> pd.DataFrame:
    rule = Rule(tuple(Threshold(f, LIMIT, "youden") for f in predictions.findings))
    bootstrap = PatientBootstrap(predictions.patient_codes()[1], replicates)
    scores = evaluate(
        rule.apply(predictions), macro_findings=predictions.findings, bootstrap=bootstrap
    )
    return to_frame(scores)


def value(table: pd.DataFrame, metric: str, **where: str) -> float:
    wanted = {"finding": "Edema", "attribute": "", "group": "all", **where}
    found = table[table["metric"] == metric]
    for column, held in wanted.items():
        found = found[found[column] == held]
    return float(found["value"].item())


@pytest.mark.parametrize("metric", RATES)
def test_every_rate_is_that_of_fairlearn(make_simulated: Make, metric: str) -> None:
    predictions = make_simulated()
    table, frame = scored(predictions), predictions.frame
    oracle = fair.MetricFrame(
        metrics=RATES[metric],
        y_true=frame["y:Edema"],
        y_pred=(frame["logit:Edema"] >= LIMIT).astype(float),
        sensitive_features=frame["sex"],
    )
    assert value(table, metric) == pytest.approx(oracle.overall, abs=1e-12)
    for group, expected in oracle.by_group.items():
        found = value(table, metric, attribute="sex", group=str(group))
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", LOSSES)
def test_every_loss_is_that_of_scikit_learn(make_simulated: Make, metric: str) -> None:
    predictions = make_simulated()
    table, frame = scored(predictions), predictions.frame
    scores = expit(frame["logit:Edema"].to_numpy(float))
    for attribute, group, rows in [
        ("", "all", np.ones(len(frame), bool)),
        ("age", "60+", (frame["age"] == "60+").to_numpy()),
    ]:
        expected = LOSSES[metric](frame.loc[rows, "y:Edema"].to_numpy(), scores[rows])
        found = value(table, metric, attribute=attribute, group=group)
        assert found == pytest.approx(expected, abs=1e-12)


def test_replicates_of_a_loss_are_those_of_resampled_patients(make_simulated: Make) -> None:
    predictions = make_simulated()
    from metrics.calibration import brier_estimates, log_loss_estimates, slope_estimates
    from metrics.cells import Cells

    bootstrap = PatientBootstrap(400, 4)
    cells = Cells(predictions, "recorded", np.ones(2, bool), bootstrap)
    y, z = predictions.frame["y:Edema"].to_numpy(), predictions.logits()[:, 0].astype(float)
    for b in range(4):
        w = bootstrap.weights[cells.patients, b].astype(float)
        for estimates, oracle in (
            (brier_estimates, sk.brier_score_loss),
            (log_loss_estimates, sk.log_loss),
        ):
            found = estimates(cells).replicates[0, 0, b]
            assert found == pytest.approx(oracle(y, expit(z), sample_weight=w), abs=1e-12)
        # One Newton step from the coefficients of all images is near the solution.
        from sklearn.linear_model import LogisticRegression

        fitted = LogisticRegression(C=np.inf, tol=1e-10).fit(z[:, None], y, sample_weight=w)
        found = slope_estimates(cells).replicates[0, 0, b]
        assert found == pytest.approx(fitted.coef_.item(), rel=0.03)


def test_calibration_slope_is_that_of_a_logistic_regression(make_simulated: Make) -> None:
    from sklearn.linear_model import LogisticRegression

    predictions = make_simulated()
    table, frame = scored(predictions), predictions.frame
    inside = frame["sex"] == "F"
    fitted = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(
        frame.loc[inside, ["logit:Edema"]].to_numpy(float), frame.loc[inside, "y:Edema"]
    )
    found = value(table, "calibration_slope", attribute="sex", group="F")
    assert found == pytest.approx(fitted.coef_.item(), abs=1e-5)


def test_separated_classes_have_no_slope(make_table: Make) -> None:
    patients = [f"p{i}" for i in range(80)]
    made = make_table(patients, [-2.0, -1.0] * 20 + [1.0, 2.0] * 20, [0] * 40 + [1] * 40)
    rows = scored(made)
    row = rows[(rows["metric"] == "calibration_slope") & (rows["finding"] == "Edema")].iloc[0]
    assert np.isnan(row["value"])
    assert "separate" in row["note"]


def test_parity_scalars_are_those_of_fairlearn(make_simulated: Make) -> None:
    predictions = make_simulated()
    table, frame = scored(predictions), predictions.frame
    y, d = frame["y:Edema"], (frame["logit:Edema"] >= LIMIT).astype(float)
    for attribute in ("sex", "age"):
        oracles = {
            "equal_opportunity": fair.equal_opportunity_difference(
                y, d, sensitive_features=frame[attribute]
            ),
            "equalized_odds_max": fair.equalized_odds_difference(
                y, d, sensitive_features=frame[attribute]
            ),
            "equalized_odds_average": fair.equalized_odds_difference(
                y, d, sensitive_features=frame[attribute], agg="mean"
            ),
            "demographic_parity": fair.demographic_parity_difference(
                y, d, sensitive_features=frame[attribute]
            ),
        }
        for metric, expected in oracles.items():
            found = value(table, metric, attribute=attribute)
            assert found == pytest.approx(expected, abs=1e-12), metric


@pytest.mark.parametrize(
    ("metric", "rate"), [("accuracy_parity", "accuracy"), ("balanced_accuracy_parity", "balanced")]
)
def test_parity_of_accuracy_is_a_group_against_all_others(
    make_simulated: Make, metric: str, rate: str
) -> None:
    predictions = make_simulated()
    table, frame = scored(predictions), predictions.frame
    y, d = frame["y:Edema"], (frame["logit:Edema"] >= LIMIT).astype(float)
    measure = sk.accuracy_score if rate == "accuracy" else sk.balanced_accuracy_score
    inside = frame["age"] == "60+"
    expected = measure(y[inside], d[inside]) - measure(y[~inside], d[~inside])
    found = value(table, metric, attribute="age", group="60+")
    assert found == pytest.approx(expected, abs=1e-12)


def test_predictive_values_need_twenty_patients_with_such_a_decision(make_table: Make) -> None:
    # 35 positive and 35 negative patients, of whom 19 are decided positive.
    patients = [f"p{i:02d}" for i in range(70)]
    logits = [1.0] * 10 + [0.0] * 25 + [1.0] * 9 + [0.0] * 26
    table = scored(make_table(patients, logits, [1.0] * 35 + [0.0] * 35))
    found = table[(table["metric"] == "ppv") & (table["finding"] == "Edema")].iloc[0]
    assert np.isnan(found["value"])
    assert "fewer than 20 patients were decided positive" in found["note"]
    # 26 of the 51 cleared images are negative.
    assert value(table, "npv") == 26 / 51


def test_underdiagnosis_is_the_fpr_of_no_finding_and_absent_without_it(
    make_simulated: Make,
) -> None:
    predictions = make_simulated()
    assert "underdiagnosis" not in set(scored(predictions)["metric"])
    columns = {c: c.replace("Edema", "No Finding") for c in predictions.frame}
    renamed = replace(
        predictions,
        frame=predictions.frame.rename(columns=columns),
        findings=("No Finding", "Mass"),
    )
    table = scored(renamed)
    for metric, rate in (("underdiagnosis", "fpr"), ("overdiagnosis", "fnr")):
        for where in ({}, {"attribute": "sex", "group": "F"}):
            found = value(table, metric, finding="No Finding", **where)
            assert found == value(table, rate, finding="No Finding", **where)
        assert set(table.loc[table["metric"] == metric, "finding"]) == {"No Finding"}


def test_a_calibrated_model_has_no_calibration_error_once_debiased() -> None:
    from metrics.cells import Cells
    from metrics.ece import ece_estimates

    values, plain = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        z = rng.normal(-1, 1.2, 600)
        frame = pd.DataFrame(
            {
                "image": [f"i{i}" for i in range(600)],
                "patient": [f"p{i}" for i in range(600)],
                "part": 0,
                "y:Edema": (rng.random(600) < expit(z)).astype(float),
                "logit:Edema": z.astype(np.float32),
            }
        )
        cells = Cells(
            Predictions("test", frame, ("Edema",), ()),
            "recorded",
            np.ones(1, bool),
            PatientBootstrap(600, 2),
        )
        error = ece_estimates(cells).value[0, 0]
        values.append(np.sign(error) * error**2)
        bins = np.searchsorted(np.quantile(z, np.arange(1, 15) / 15), z)
        off = expit(z) - frame["y:Edema"].to_numpy()
        plain.append(sum((bins == b).mean() * off[bins == b].mean() ** 2 for b in range(15)))
    # The plain squared error is far from 0 for every calibrated model; the debiased one is 0 on
    # average: within three standard errors.
    reach = 3 * np.std(values, ddof=1) / np.sqrt(len(values))
    assert abs(np.mean(values)) < reach
    assert np.mean(plain) > 3 * reach


def test_a_shift_of_all_scores_is_found_whole() -> None:
    # Scores of 0.7 for a prevalence of 0.5 in one bin: the error is 0.2.
    from metrics.cells import Cells
    from metrics.ece import ece_estimates

    n = 4000
    frame = pd.DataFrame(
        {
            "image": [f"i{i}" for i in range(n)],
            "patient": [f"p{i}" for i in range(n)],
            "part": 0,
            "y:Edema": np.arange(n) % 2,
            "logit:Edema": np.float32(np.log(0.7 / 0.3)),
        }
    )
    made = Predictions("test", frame, ("Edema",), ())
    cells = Cells(made, "recorded", np.ones(1, bool), PatientBootstrap(n, 2))
    assert ece_estimates(cells).value[0, 0] == pytest.approx(0.2, abs=1e-3)
