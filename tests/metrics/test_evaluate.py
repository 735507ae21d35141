"""The whole table of scores: values, counts, intervals, and what is left undefined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, false_negative_rate, false_positive_rate
from scipy.special import expit, logit
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from metrics.bootstrap import PatientBootstrap
from metrics.evaluate import cell_metrics, evaluate
from metrics.predictions import Predictions
from metrics.score import to_frame
from metrics.slopes import freedom, rank_images, ratio
from metrics.thresholds import Rule, Threshold
from registry import METRICS

Make = Callable[..., Predictions]
KEYS = ["labels", "metric", "finding", "attribute", "group"]


def decided(predictions: Predictions, limit: float = 0.5) -> Predictions:
    rule = Rule(tuple(Threshold(f, limit, "youden") for f in predictions.findings))
    return rule.apply(predictions)


def scored(predictions: Predictions, replicates: int = 200) -> pd.DataFrame:
    bootstrap = PatientBootstrap(predictions.patient_codes()[1], replicates)
    scores = evaluate(predictions, macro_findings=predictions.findings, bootstrap=bootstrap)
    return to_frame(scores).set_index(KEYS).sort_index()


def of(table: pd.DataFrame, metric: str, finding: str, attribute: str, group: str) -> pd.Series:
    row = table.xs(("recorded", metric, finding, attribute, group))
    assert isinstance(row, pd.Series)
    return row


def resample(predictions: Predictions, counts: np.ndarray) -> pd.DataFrame:
    """The rows of each patient as often as drawn: the bootstrap written out."""
    codes = predictions.patient_codes()[0]
    return predictions.frame.loc[np.repeat(np.arange(len(codes)), counts[codes])]


def test_auc_of_groups_and_everybody_equals_scikit_learn(make_simulated: Make) -> None:
    predictions = decided(make_simulated())
    table, frame = scored(predictions), predictions.frame
    for attribute, group in [("", "all"), ("sex", "F"), ("sex", "M"), ("age", "40-59")]:
        rows = frame[frame[attribute] == group] if attribute else frame
        expected = roc_auc_score(rows["y:Mass"], rows["logit:Mass"])
        assert of(table, "auc", "Mass", attribute, group)["value"] == pytest.approx(
            expected, abs=1e-12
        )


@pytest.mark.parametrize(
    ("metric", "rate"), [("fnr", false_negative_rate), ("fpr", false_positive_rate)]
)
def test_rates_equal_fairlearn(
    make_simulated: Make, metric: str, rate: Callable[..., float]
) -> None:
    predictions = decided(make_simulated())
    table, frame = scored(predictions), predictions.frame
    for attribute in ("sex", "age"):
        expected = MetricFrame(
            metrics=rate,
            y_true=frame["y:Edema"],
            y_pred=frame["decision:Edema"],
            sensitive_features=frame[attribute],
        )
        for group, value in expected.by_group.items():
            got = of(table, metric, "Edema", attribute, str(group))["value"]
            assert got == pytest.approx(value, abs=1e-12)
        gap = of(table, f"{metric}_gap", "Edema", attribute, "all")["value"]
        assert gap == pytest.approx(expected.difference(method="between_groups"), abs=1e-12)
        everybody = of(table, metric, "Edema", "", "all")["value"]
        assert everybody == pytest.approx(expected.overall, abs=1e-12)


def test_intervals_equal_a_bootstrap_written_out(make_simulated: Make) -> None:
    predictions = decided(make_simulated(80, 200))
    bootstrap = PatientBootstrap(80, 60, seed=4)
    scores = evaluate(predictions, macro_findings=["Edema"], bootstrap=bootstrap)
    drawn: dict[str, list[float]] = {"auc": [], "fnr": [], "fpr": []}
    for counts in bootstrap.weights.T:
        rows = resample(predictions, counts)
        y, d = rows["y:Edema"], rows["decision:Edema"]
        drawn["auc"].append(roc_auc_score(y, rows["logit:Edema"]))
        drawn["fnr"].append(1 - d[y == 1].mean())
        drawn["fpr"].append(d[y == 0].mean())
    for metric, values in drawn.items():
        (score,) = (
            s for s in scores
            if (s.metric, s.finding, s.group, s.attribute) == (metric, "Edema", "all", "")
        )  # fmt: skip
        frame, codes = predictions.frame, predictions.patient_codes()[0]
        label = frame["y:Edema"].to_numpy()
        if metric == "auc":
            moved = rank_images(frame["logit:Edema"].to_numpy(), label, codes, 80).auc()
        else:
            base = label == (metric == "fnr")
            wrong = base & (frame["decision:Edema"].to_numpy() != label)
            moved = ratio(wrong.astype(float), base.astype(float), codes, 80)
        reach = student.ppf(0.975, freedom(moved.slopes)) * logit(values).std(ddof=1)
        expected = expit(logit(score.value) + np.array([-reach, reach]))
        assert (score.low, score.high) == pytest.approx(expected)


def test_contrast_is_later_group_minus_earlier_group(make_simulated: Make) -> None:
    table = scored(decided(make_simulated()))
    for metric in ("fnr", "fpr"):
        later, earlier = (of(table, metric, "Mass", "sex", g)["value"] for g in ("M", "F"))
        assert of(table, f"{metric}_contrast", "Mass", "sex", "M - F")["value"] == later - earlier
    assert ("recorded", "fnr_contrast", "Mass", "sex", "F - M") not in table.index


def test_all_pairs_of_groups_are_contrasted_in_their_frozen_order(make_simulated: Make) -> None:
    table = scored(decided(make_simulated())).reset_index()
    rows = table[(table.metric == "fnr_contrast") & (table.attribute == "age")]
    assert set(rows.group) == {"40-59 - <40", "60+ - <40", "60+ - 40-59"}


def test_gap_is_the_largest_contrast_and_names_its_groups(make_simulated: Make) -> None:
    table = scored(decided(make_simulated()))
    rates = {g: of(table, "fnr", "Mass", "age", g)["value"] for g in ("<40", "40-59", "60+")}
    gap = of(table, "fnr_gap", "Mass", "age", "all")
    assert gap["value"] == max(rates.values()) - min(rates.values())
    highest, lowest = max(rates, key=rates.__getitem__), min(rates, key=rates.__getitem__)
    assert f"highest in {highest}, lowest in {lowest}" in gap["note"]
    assert "biased up" in gap["note"]


def test_interval_of_a_gap_holds_its_value(make_simulated: Make) -> None:
    table = scored(decided(make_simulated())).reset_index()
    gaps = table[table.metric.isin(["fnr_gap", "fpr_gap", "worst_group_auc"])]
    assert len(gaps) == 3 * 2 * 3
    assert ((gaps.low <= gaps.value) & (gaps.value <= gaps.high)).all()


def test_worst_group_is_the_lowest_and_is_named(make_simulated: Make) -> None:
    table = scored(decided(make_simulated()))
    groups = {g: of(table, "auc", "Mass", "age", g)["value"] for g in ("<40", "40-59", "60+")}
    worst = of(table, "worst_group_auc", "Mass", "age", "all")
    assert worst["value"] == min(groups.values())
    assert f"lowest in {min(groups, key=groups.__getitem__)}" in worst["note"]
    assert "biased down" in worst["note"]


def test_macro_is_the_mean_over_the_declared_findings_only(make_simulated: Make) -> None:
    predictions = decided(make_simulated())
    both, one = (
        {(s.metric, s.finding, s.group): s for s in evaluate(predictions, macro_findings=names)}
        for names in (["Edema", "Mass"], ["Mass"])
    )
    for key in [("auc", "all"), ("fnr_contrast", "M - F"), ("fpr", "60+")]:
        edema, mass = (both[key[0], f, key[1]].value for f in ("Edema", "Mass"))
        assert both[key[0], "macro", key[1]].value == pytest.approx((edema + mass) / 2, abs=1e-15)
        assert one[key[0], "macro", key[1]].value == mass
        assert one[key[0], "macro", key[1]].low == one[key[0], "Mass", key[1]].low


def test_unknown_macro_finding_is_refused(make_simulated: Make) -> None:
    with pytest.raises(KeyError, match="did you mean 'Edema'"):
        evaluate(decided(make_simulated()), macro_findings=["Edma"])


def test_bootstrap_of_another_test_set_is_refused(make_simulated: Make) -> None:
    with pytest.raises(ValueError, match="one weight per patient"):
        evaluate(
            decided(make_simulated()), macro_findings=["Mass"], bootstrap=PatientBootstrap(399)
        )


def test_counts_are_patients_and_a_patient_may_count_on_both_sides(make_table: Make) -> None:
    # Patient a has both classes, b and c one each, d has no known label.
    test = make_table(list("aabcd"), [1, 2, 3, 4, 5], [0, 1, 1, 0, np.nan])
    score = of(scored(decided(test)), "auc", "Edema", "", "all")
    assert (score["n"], score["positives"], score["negatives"]) == (3, 2, 2)


def small(make_table: Make, positives: int, negatives: int) -> Predictions:
    n = positives + negatives
    return decided(
        make_table(
            [f"p{i}" for i in range(n)], list(range(n)), [1.0] * positives + [0.0] * negatives,
            sex=["F"] * n,
        )
    )  # fmt: skip


@pytest.mark.parametrize(("positives", "negatives"), [(29, 60), (60, 29), (60, 0)])
def test_small_cells_are_nan_with_their_counts(
    make_table: Make, positives: int, negatives: int
) -> None:
    table = scored(small(make_table, positives, negatives))
    for metric in ("auc", "fnr", "fpr"):
        score = of(table, metric, "Edema", "sex", "F")
        assert np.isnan(score[["value", "low", "high"]].astype(float)).all()
        assert (score["positives"], score["negatives"]) == (positives, negatives)
        assert "fewer than 30 positive" in score["note"]


def test_cells_with_thirty_of_each_are_evaluated(make_table: Make) -> None:
    assert np.isfinite(of(scored(small(make_table, 30, 30)), "auc", "Edema", "sex", "F")["value"])


def test_thirty_images_of_fewer_patients_are_not_enough(make_table: Make) -> None:
    patients = [f"p{i // 2}" for i in range(120)]
    test = make_table(patients, list(range(120)), [1.0] * 58 + [0.0] * 62, sex=["F"] * 120)
    score = of(scored(decided(test)), "auc", "Edema", "sex", "F")
    assert (score["positives"], score["negatives"]) == (29, 31)
    assert np.isnan(score["value"])


def test_small_groups_take_no_part_in_gaps_and_contrasts(make_simulated: Make) -> None:
    predictions = decided(make_simulated())
    frame = predictions.frame.copy()
    patients = frame.loc[frame["age"] == "60+", "patient"].unique()
    frame = frame[~frame["patient"].isin(patients[20:])].reset_index(drop=True)
    table = scored(replace(predictions, frame=frame))
    assert np.isnan(of(table, "fnr_contrast", "Mass", "age", "60+ - <40")["value"])
    two = [of(table, "fnr", "Mass", "age", g)["value"] for g in ("<40", "40-59")]
    assert of(table, "fnr_gap", "Mass", "age", "all")["value"] == max(two) - min(two)


def test_gap_and_worst_group_of_a_single_evaluable_group_are_nan(make_table: Make) -> None:
    table = scored(small(make_table, 40, 40))
    assert np.isnan(of(table, "fnr_gap", "Edema", "sex", "all")["value"])
    assert np.isnan(of(table, "worst_group_auc", "Edema", "sex", "all")["value"])


def test_a_group_without_patients_is_reported_with_zero(make_simulated: Make) -> None:
    predictions = decided(make_simulated())
    groups = {**predictions.groups, "sex": ("F", "M", "Unknown")}
    score = of(scored(replace(predictions, groups=groups)), "auc", "Mass", "sex", "Unknown")
    assert score["n"] == 0
    assert np.isnan(score["value"])


def test_findings_without_threshold_have_nan_rates_with_a_note_and_an_auc(
    make_simulated: Make,
) -> None:
    predictions = make_simulated()
    none = Threshold("Mass", np.nan, "youden", note="no positive validation image")
    rule = Rule((Threshold("Edema", 0.5, "youden"), none))
    table = scored(rule.apply(predictions))
    fnr = of(table, "fnr", "Mass", "sex", "F")
    assert np.isnan(fnr["value"])
    assert "no threshold" in fnr["note"]
    assert fnr["positives"] > 30
    assert np.isfinite(of(table, "auc", "Mass", "sex", "F")["value"])
    macro = of(table, "fnr", "macro", "", "all")
    assert macro["value"] == of(table, "fnr", "Edema", "", "all")["value"]
    assert "mean over 1 of 2 findings" in macro["note"]


def test_predictions_without_a_rule_have_nan_rates(make_simulated: Make) -> None:
    score = of(scored(make_simulated()), "fpr", "Mass", "", "all")
    assert np.isnan(score["value"])
    assert "no decision" in score["note"]


def test_duplicating_every_image_changes_nothing(make_simulated: Make) -> None:
    predictions = decided(make_simulated())
    twice = pd.concat(
        [predictions.frame, predictions.frame.assign(image=predictions.frame["image"] + "b")]
    )
    once, doubled = scored(predictions), scored(replace(predictions, frame=twice))
    pd.testing.assert_frame_equal(once, doubled, rtol=0, atol=1e-12)


def test_permuting_rows_changes_nothing(make_simulated: Make) -> None:
    predictions = decided(make_simulated())
    shuffled = predictions.frame.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(
        scored(predictions), scored(replace(predictions, frame=shuffled)), rtol=0, atol=0
    )


def test_splitting_patients_changes_the_intervals_but_not_the_values(
    make_simulated: Make,
) -> None:
    predictions = decided(make_simulated(60, 900))
    split = predictions.frame.assign(patient=predictions.frame["image"])
    whole, apart = scored(predictions, 500), scored(replace(predictions, frame=split), 500)
    before, after = (of(t, "fpr", "Mass", "", "all") for t in (whole, apart))
    assert before["value"] == after["value"]
    # 15 images of a patient share half of their score's variance, so patients differ far more than
    # 900 independent images would.
    assert before["high"] - before["low"] > 1.5 * (after["high"] - after["low"])


def test_true_labels_are_scored_beside_recorded_ones(make_simulated: Make) -> None:
    predictions = decided(make_simulated(truth=True))
    table, frame = scored(predictions), predictions.frame
    for labels, column in (("recorded", "y:Mass"), ("true", "true:Mass")):
        expected = roc_auc_score(frame[column], frame["logit:Mass"])
        value = table.loc[(labels, "auc", "Mass", "", "all"), "value"]
        assert value == pytest.approx(expected, abs=1e-12)


def test_scales_of_different_parts_do_not_mix(make_simulated: Make) -> None:
    predictions = decided(make_simulated())
    part = predictions.patient_codes()[0] % 3
    pooled = predictions.frame.assign(part=part)
    shifted = pooled.assign(**{"logit:Mass": pooled["logit:Mass"] + 8 * part.astype(np.float32)})
    before, after = (
        of(scored(replace(predictions, frame=f)), "auc", "Mass", "", "all")
        for f in (pooled, shifted)
    )
    assert before["value"] == pytest.approx(after["value"], abs=1e-12)
    expected = roc_auc_score(shifted["y:Mass"], shifted["logit:Mass"])
    assert abs(after["value"] - expected) > 0.05


def test_every_number_is_unique_and_undefined_ones_have_no_interval(
    make_simulated: Make,
) -> None:
    table = scored(decided(make_simulated()))
    assert table.index.is_unique
    undefined = table["value"].isna()
    assert table.loc[undefined, ["low", "high"]].isna().all(axis=None)
    # A p-value is a statement about an interval, and has none.
    bounded = ~undefined & ~table.index.get_level_values("metric").str.endswith("_p")
    assert table.loc[bounded, ["low", "high"]].notna().all(axis=None)


def test_a_registered_metric_is_what_evaluate_calls(make_simulated: Make) -> None:
    names = {m.registered_name for m in cell_metrics()}  # type: ignore[attr-defined]
    renamed = decided(make_simulated())
    columns = {c: c.replace("Mass", "No Finding") for c in renamed.frame}
    renamed = replace(
        renamed, frame=renamed.frame.rename(columns=columns), findings=("Edema", "No Finding")
    )
    table = scored(renamed).reset_index()
    assert names == set(table.metric)


@pytest.mark.parametrize("name", METRICS.names())
def test_every_metric_states_direction_unit_and_source(name: str) -> None:
    entry = METRICS.entries()[name]
    assert entry.facts["direction"] in ("higher", "lower", "zero", "one", "none")
    assert entry.facts["unit"]
    assert entry.summary.endswith(".")
    assert "Source:" in (METRICS.get(name).__doc__ or "")


def coverage(make_simulated: Make, metric: str, truth: float, runs: int) -> float:
    """Share of runs whose interval of everybody, or of all groups, holds the true value."""
    held = 0
    for seed in range(runs):
        predictions = decided(make_simulated(300, 700, seed=seed))
        bootstrap = PatientBootstrap(300, 400)
        for s in evaluate(predictions, macro_findings=["Mass"], bootstrap=bootstrap):
            if (s.metric, s.finding, s.group) == (metric, "Mass", "all") and s.attribute in (
                "",
                "age",
            ):
                held += s.low <= truth <= s.high
    return held / runs


@pytest.mark.slow
def test_auc_intervals_cover_the_true_auc(make_simulated: Make) -> None:
    # Scores differ by N(1, 2 * 2) between classes: AUC = Phi(1 / 2) = .6915, less the rounding.
    assert 0.92 <= coverage(make_simulated, "auc", 0.6915, 300) <= 0.975


@pytest.mark.slow
def test_gap_intervals_hold_zero_where_groups_do_not_differ(make_simulated: Make) -> None:
    # About .91 with 100 patients a group; a percentile interval of the gap would hold 0 never.
    assert coverage(make_simulated, "fnr_gap", 0.0, 300) >= 0.88
