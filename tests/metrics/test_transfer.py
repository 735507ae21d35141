"""Transfer of an operating point: by hand, and against resampling both folds written out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from metrics.bootstrap import PatientBootstrap
from metrics.cells import Cells
from metrics.evaluate import evaluate
from metrics.operating_points import sensitivity_rank, specificity_rank
from metrics.predictions import Predictions, pool
from metrics.score import Score
from metrics.thresholds import fit_rule
from metrics.transfer import (
    OTHER_STREAM,
    TARGET,
    sensitivity_transfer,
    specificity_transfer,
    weighted_thresholds,
)
from metrics.validation import ValidationPredictions

Make = Callable[..., Predictions]
METRICS = {
    "specificity_transfer": ("specificity:0.80", 0),
    "sensitivity_transfer": ("sensitivity:0.80", 1),
}


def scored(
    test: Predictions, val: list[Predictions], replicates: int = 60
) -> dict[tuple[str, str, str], Score]:
    bootstrap = PatientBootstrap(test.patient_codes()[1], replicates)
    checked = tuple(ValidationPredictions.of(v) for v in val)
    cells = Cells(test, "recorded", np.ones(len(test.findings), bool), bootstrap, checked)
    scores = [*specificity_transfer(cells), *sensitivity_transfer(cells)]
    return {(s.metric, s.finding, s.group): s for s in scores}


@pytest.mark.parametrize(("count", "rank"), [(9, 8), (99, 80), (3, 0), (4, 4), (0, 0)])
def test_the_rank_of_a_specificity_by_hand(count: int, rank: int) -> None:
    # ceil(.8 * 10) = 8; ceil(.8 * 100) = 80; ceil(.8 * 4) = 4 of 3 images: none.
    assert specificity_rank(np.array([count]), TARGET)[0] == rank


@pytest.mark.parametrize(("count", "rank"), [(9, 2), (99, 20), (3, 0), (4, 1), (0, 0)])
def test_the_rank_of_a_sensitivity_by_hand(count: int, rank: int) -> None:
    assert sensitivity_rank(np.array([count]), TARGET)[0] == rank


@pytest.mark.parametrize("images", [1, 7, 128, 129, 300])
@pytest.mark.parametrize("rank", [specificity_rank, sensitivity_rank])
def test_weighted_thresholds_are_those_of_images_written_out(
    images: int, rank: Callable[[np.ndarray, Fraction], np.ndarray]
) -> None:
    rng = np.random.default_rng(images)
    logits = np.sort(rng.normal(size=images).round(1))
    weights = rng.integers(0, 4, (images, 50)).astype(np.uint8)
    found = weighted_thresholds(logits, weights, rank)
    for b in range(50):
        drawn = np.repeat(logits, weights[:, b])
        place = int(rank(np.array(len(drawn)), TARGET))
        assert found[b] == drawn[place - 1] if place else np.isnan(found[b])


@pytest.mark.parametrize("metric", METRICS)
def test_the_value_is_the_rate_at_the_fitted_threshold_minus_the_target(
    make_simulated: Make, metric: str
) -> None:
    test, val = make_simulated(), make_simulated(300, 700, seed=1, fold="val")
    rule, label = METRICS[metric]
    found = scored(test, [val])
    decided = fit_rule(val, rule).apply(test).frame
    for group in ("all", "F", "60+"):
        inside = decided[["sex", "age"]].eq(group).any(axis=1) | (group == "all")
        rows = decided[inside & (decided["y:Mass"] == label)]
        expected = (rows["decision:Mass"] == label).mean() - 0.8
        assert found[metric, "Mass", group].value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_the_interval_draws_patients_of_both_folds(make_simulated: Make, metric: str) -> None:
    test, val = make_simulated(150, 400), make_simulated(90, 200, seed=1, fold="val")
    rule, label = METRICS[metric]
    drawn = []
    weights = [PatientBootstrap(150, 60).weights, PatientBootstrap(90, 60, OTHER_STREAM).weights]
    for b in range(60):
        rows = []
        for predictions, weight in zip((test, val), weights, strict=True):
            times = weight[predictions.patient_codes()[0], b]
            frame = predictions.frame.loc[np.repeat(np.arange(len(times)), times)]
            frame = frame.assign(image=[str(i) for i in range(len(frame))])
            rows.append(replace(predictions, frame=frame))
        frame = fit_rule(rows[1], rule).apply(rows[0]).frame
        right = frame.loc[frame["y:Edema"] == label, "decision:Edema"] == label
        drawn.append(right.mean() - 0.8)
    score = scored(test, [val])[metric, "Edema", "all"]
    assert (score.low, score.high) == pytest.approx(np.quantile(drawn, (0.025, 0.975)))


def test_few_validation_patients_widen_the_interval(make_simulated: Make) -> None:
    test = make_simulated()
    few, many = (
        scored(test, [make_simulated(n, 2 * n, seed=2, fold="val")], 300)
        for n in (40, 4000)
    )  # fmt: skip
    key = ("specificity_transfer", "Mass", "all")
    assert few[key].high - few[key].low > 1.5 * (many[key].high - many[key].low)


def test_each_part_has_the_threshold_of_its_own_model(make_simulated: Make) -> None:
    tests = [make_simulated(seed=s) for s in (0, 1)]
    vals = [make_simulated(seed=s, fold="val") for s in (2, 3)]
    # The second model's logits lie 5 higher, in test and validation alike.
    for those in (tests, vals):
        names = ["logit:Edema", "logit:Mass"]
        shifted = those[1].frame[names] + np.float32(5)
        those[1] = replace(those[1], frame=those[1].frame.assign(**shifted))
    tests = [
        replace(t, frame=t.frame.assign(image=f"{i}" + t.frame["image"]))
        for i, t in enumerate(tests)
    ]
    found = scored(pool(tests), vals)["specificity_transfer", "Mass", "all"]
    wanted = []
    for t, v in zip(tests, vals, strict=True):
        frame = fit_rule(v, "specificity:0.80").apply(t).frame
        wanted.append(frame.loc[frame["y:Mass"] == 0, "decision:Mass"] == 0)
    assert found.value == pytest.approx(np.concatenate(wanted).mean() - 0.8)


def test_without_validation_there_is_no_transfer_and_a_note(make_simulated: Make) -> None:
    for score in scored(make_simulated(), []).values():
        assert np.isnan([score.value, score.low, score.high]).all()
        if score.finding != "macro":
            assert score.note == "no validation predictions were given"
            assert score.positives >= 30


def test_too_few_validation_images_leave_no_threshold(make_simulated: Make) -> None:
    # Three negative images cannot guarantee a specificity of 0.80.
    val = make_simulated(60, 60, seed=1, fold="val")
    kept = np.r_[
        np.flatnonzero(val.frame["y:Mass"] == 1), np.flatnonzero(val.frame["y:Mass"] == 0)[:3]
    ]
    val = replace(val, frame=val.frame.iloc[kept].reset_index(drop=True))
    found = scored(make_simulated(), [val])
    assert "too few validation images" in found["specificity_transfer", "Mass", "all"].note
    assert np.isfinite(found["sensitivity_transfer", "Mass", "all"].value)


def test_small_cells_have_no_transfer(make_simulated: Make) -> None:
    found = scored(make_simulated(60, 130), [make_simulated(seed=1, fold="val")])
    score = found["specificity_transfer", "Mass", "60+"]
    assert np.isnan(score.value)
    assert "fewer than 30" in score.note


def test_every_part_needs_its_validation_predictions(make_simulated: Make) -> None:
    test = make_simulated()
    parted = replace(test, frame=test.frame.assign(part=test.patient_codes()[0] % 2))
    with pytest.raises(ValueError, match="one table per part"):
        evaluate(parted, macro_findings=["Mass"], val=[make_simulated(seed=1, fold="val")])


def test_validation_of_other_findings_is_refused(make_simulated: Make) -> None:
    val = replace(make_simulated(seed=1, fold="val"), findings=("Edema",))
    with pytest.raises(ValueError, match="same findings"):
        evaluate(make_simulated(), macro_findings=["Mass"], val=[val])


def test_evaluate_hands_validation_on(make_simulated: Make) -> None:
    test, val = make_simulated(90, 200), make_simulated(90, 200, seed=1, fold="val")
    few = PatientBootstrap(90, 20)
    scores = evaluate(test, macro_findings=test.findings, bootstrap=few, val=[val])
    for score in scored(test, [val], 20).values():
        if score.group == "all":
            assert score in scores


def test_duplicated_test_images_change_nothing(make_simulated: Make) -> None:
    test, val = make_simulated(), make_simulated(seed=1, fold="val")
    again = test.frame.assign(image=test.frame["image"] + "b")
    doubled = replace(test, frame=pd.concat([test.frame, again], ignore_index=True))
    once, twice = scored(test, [val]), scored(doubled, [val])
    for place, score in once.items():
        found = [twice[place].value, twice[place].low, twice[place].high]
        assert found == pytest.approx([score.value, score.low, score.high], abs=1e-12)


def test_splitting_patients_of_either_fold_narrows_the_interval(make_simulated: Make) -> None:
    test, val = make_simulated(100, 1500), make_simulated(100, 1500, seed=1, fold="val")
    apart = [replace(p, frame=p.frame.assign(patient=p.frame["image"])) for p in (test, val)]

    def width(test: Predictions, val: Predictions) -> float:
        score = scored(test, [val], 400)["specificity_transfer", "Mass", "all"]
        return score.high - score.low

    # 15 images of a patient share half of the variance; each fold gives half of the noise.
    whole = width(test, val)
    assert whole > 1.05 * width(apart[0], val)
    assert whole > 1.05 * width(test, apart[1])
    assert whole > 1.4 * width(*apart)
