"""Thresholds by hand-counted order statistics, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from metrics.predictions import Predictions
from metrics.thresholds import Rule, Threshold, fit_rule

Make = Callable[..., Predictions]


def validation(make_table: Make, negatives: list[float], positives: list[float]) -> Predictions:
    logits = [*negatives, *positives]
    labels = [0.0] * len(negatives) + [1.0] * len(positives)
    return make_table([f"p{i}" for i in range(len(logits))], logits, labels, fold="val")


def test_specificity_takes_the_ceil_of_x_times_n_plus_one_smallest_negative(
    make_table: Make,
) -> None:
    # 9 negatives 1..9, X = .80: ceil(.8 * 10) = 8th smallest = 8; 7 of 9 lie below it.
    val = validation(make_table, [5, 1, 9, 3, 7, 2, 8, 4, 6], [10, 0])
    threshold = fit_rule(val, "specificity:0.80").thresholds[0]
    assert threshold.value == 8
    assert threshold.achieved == 7 / 9
    assert (threshold.positives, threshold.negatives) == (2, 9)
    assert (threshold.rule, threshold.fold) == ("specificity:0.80", "val")


def test_specificity_rank_has_no_rounding_error(make_table: Make) -> None:
    # .55 * 100 is 55.000000000000007 in floating point; the rank is 55, not 56.
    val = validation(make_table, list(range(1, 100)), [0])
    assert fit_rule(val, "specificity:0.55").thresholds[0].value == 55


def test_sensitivity_takes_the_floor_of_one_minus_x_times_n_plus_one_smallest_positive(
    make_table: Make,
) -> None:
    # 9 positives 1..9, X = .80: floor(.2 * 10) = 2nd smallest = 2; 8 of 9 are at or above it.
    val = validation(make_table, [0], [5, 1, 9, 3, 7, 2, 8, 4, 6])
    threshold = fit_rule(val, "sensitivity:0.80").thresholds[0]
    assert threshold.value == 2
    assert threshold.achieved == 8 / 9


def test_youden_takes_the_largest_difference(make_table: Make) -> None:
    # At 4: TPR 3/4, FPR 1/4, J = .5. At 2: TPR 1, FPR 3/4, J = .25. At 6: TPR 2/4, J = .5 too if
    # FPR were 0, but negative 7 lies above it: J = .25.
    val = validation(make_table, [0, 2, 3, 7], [2, 4, 6, 8])
    threshold = fit_rule(val, "youden").thresholds[0]
    assert threshold.value == 4
    assert threshold.achieved == 0.5


def test_youden_takes_the_highest_threshold_at_a_tie(make_table: Make) -> None:
    # At 5: TPR 1/2, FPR 0. At 1: TPR 1, FPR 1/2. Both J = .5.
    assert fit_rule(validation(make_table, [0, 3], [1, 5]), "youden").thresholds[0].value == 5


def test_decision_is_positive_from_the_threshold_on(make_table: Make) -> None:
    test = make_table(["a", "b", "c"], [0.9, 1.0, 1.1], [0, 0, 1])
    rule = Rule((Threshold("Edema", 1.0, "youden"),))
    assert rule.apply(test).decisions()[:, 0].tolist() == [0, 1, 1]


def test_threshold_of_a_float32_logit_still_decides_that_logit_positive(make_table: Make) -> None:
    val = validation(make_table, [0.1, 0.2, 0.3, 0.7], [0.7, 0.9])
    rule = fit_rule(val, "youden")
    assert rule.apply(replace(val, fold="test")).decisions()[:, 0].tolist() == [0, 0, 0, 1, 1, 1]


def test_test_predictions_are_refused(make_table: Make) -> None:
    with pytest.raises(ValueError, match=r"must be fitted on validation.*'test'"):
        fit_rule(make_table(["a", "b"], [0, 1], [0, 1]))


@pytest.mark.parametrize(
    "text", ["specifity:0.8", "specificity", "specificity:", "specificity:80", "sensitivity:x",
             "specificity:1", "specificity:0", "youden:0.5", "", "specificity:nan", "balanced:0.5"],
)  # fmt: skip
def test_misspelt_operating_points_are_refused(make_table: Make, text: str) -> None:
    with pytest.raises(ValueError, match="specificity:X"):
        fit_rule(validation(make_table, [0], [1]), text)


def test_unknown_attribute_is_refused(make_table: Make) -> None:
    with pytest.raises(KeyError, match="sex"):
        fit_rule(validation(make_table, [0], [1]), attributes=["sex"])


def test_youden_ties_are_exact(make_table: Make) -> None:
    # At 3: TPR 1/3, FPR 0. At 2: TPR 2/3, FPR 1/3. In floating point 2/3 - 1/3 != 1/3 may hold.
    val = validation(make_table, [0, 1, 2], [1, 2, 3])
    assert fit_rule(val, "youden").thresholds[0].value == 3


def test_balanced_takes_the_smallest_difference_of_sensitivity_and_specificity(
    make_table: Make,
) -> None:
    # At 4: TPR 3/4, TNR 3/5. At 5: TPR 2/4, TNR 4/5. At 3: TPR 3/4, TNR 2/5. So 4, with .15.
    val = validation(make_table, [1, 2, 3, 4, 8], [2, 4, 6, 9])
    threshold = fit_rule(val, "balanced").thresholds[0]
    assert threshold.value == 4
    assert threshold.achieved == pytest.approx(0.15)
    assert (threshold.rule, threshold.positives, threshold.negatives) == ("balanced", 4, 5)


def test_balanced_counts_a_logit_on_the_threshold_as_positive(make_table: Make) -> None:
    # All images tie: at 1 all are positive, TPR 1 and TNR 0; there is no other threshold.
    threshold = fit_rule(validation(make_table, [1, 1], [1, 1]), "balanced").thresholds[0]
    assert (threshold.value, threshold.achieved) == (1, 1)


def test_balanced_takes_the_highest_threshold_at_a_tie(make_table: Make) -> None:
    # Separable: at 5 and at 3 (the lowest positive and the highest negative, 3 < t <= 5) only 5
    # has TPR 1 and TNR 1; at 7 TPR 1/2, TNR 1; at 3 TPR 1, TNR 1/2: the gap of 5 is 0 alone.
    val = validation(make_table, [1, 3], [5, 7])
    assert fit_rule(val, "balanced").thresholds[0].value == 5
    # One of each in reverse: at 5 TPR 0 and TNR 0, gap 0, and at 1 TPR 1 and TNR 0, gap 1.
    assert fit_rule(validation(make_table, [5], [1]), "balanced").thresholds[0].value == 5


@pytest.mark.parametrize(
    ("rule", "negatives", "positives", "note"),
    [
        ("specificity:0.80", [], [1.0, 2.0], "no negative validation image"),
        ("sensitivity:0.80", [1.0, 2.0], [], "no positive validation image"),
        ("youden", [1.0, 2.0], [], "no positive validation image"),
        ("youden", [], [1.0, 2.0], "no negative validation image"),
        ("balanced", [], [1.0, 2.0], "no negative validation image"),
        ("balanced", [1.0, 2.0], [], "no positive validation image"),
        ("specificity:0.95", [1.0, 2.0], [3.0], "2 negative validation images are too few"),
        ("sensitivity:0.95", [1.0], [2.0, 3.0], "2 positive validation images are too few"),
    ],
)
def test_threshold_is_nan_with_a_note_where_a_class_is_missing(
    make_table: Make, rule: str, negatives: list[float], positives: list[float], note: str
) -> None:
    val = validation(make_table, negatives, positives)
    fitted = fit_rule(val, rule)
    assert np.isnan(fitted.thresholds[0].value)
    assert note in fitted.thresholds[0].note
    assert np.isnan(fitted.apply(val).decisions()).all()


def test_unknown_labels_are_left_out(make_table: Make) -> None:
    val = make_table(list("abcd"), [1, 2, 3, 4], [0, np.nan, 0, 1], fold="val")
    # Negatives 1 and 3: ceil(.5 * 3) = 2nd smallest.
    assert fit_rule(val, "specificity:0.5").thresholds[0].value == 3


def grouped(make_table: Make, in_small_group: int) -> Predictions:
    """Group A: negatives and positives on 1..40; group B on 101.., `in_small_group` of each."""
    logits = [float(i) for i in range(1, 41)] * 2
    logits += [100.0 + i for i in range(1, in_small_group + 1)] * 2
    labels = [0.0] * 40 + [1.0] * 40 + [0.0] * in_small_group + [1.0] * in_small_group
    sex = ["A"] * 80 + ["B"] * (2 * in_small_group)
    return make_table([f"p{i}" for i in range(len(logits))], logits, labels, fold="val", sex=sex)


def test_each_group_gets_its_own_threshold(make_table: Make) -> None:
    rule = fit_rule(grouped(make_table, 30), "specificity:0.5", attributes=["sex"])
    # A: ceil(.5 * 41) = 21st of 1..40; B: ceil(.5 * 31) = 16th of 101..130.
    assert [(t.group, t.value, t.note) for t in rule.thresholds] == [("A", 21, ""), ("B", 116, "")]


def test_a_small_group_gets_the_threshold_of_everybody_with_a_note(make_table: Make) -> None:
    val = grouped(make_table, 29)
    rule = fit_rule(val, "specificity:0.5", attributes=["sex"])
    everybody = fit_rule(val, "specificity:0.5").thresholds[0]
    small = rule.thresholds[1]
    assert small.value == everybody.value
    assert (small.positives, small.negatives) == (29, 29)
    assert "29 positive and 29 negative patients" in small.note


def test_group_thresholds_are_applied_to_their_group(make_table: Make) -> None:
    rule = Rule(
        (Threshold("Edema", 0, "youden", group="A"), Threshold("Edema", 2, "youden", group="B")),
        attributes=("sex",),
    )
    test = make_table(list("abcd"), [1, 1, -1, 3], [0, 0, 0, 1], sex=["A", "B", "A", "B"])
    assert rule.apply(test).decisions()[:, 0].tolist() == [1, 0, 0, 1]


def test_a_group_without_threshold_is_refused(make_table: Make) -> None:
    rule = Rule((Threshold("Edema", 0, "youden", group="A"),), attributes=("sex",))
    with pytest.raises(ValueError, match="'Edema' has no threshold for sex: 'B'"):
        rule.apply(make_table(["a", "b"], [1, 2], [0, 1], sex=["A", "B"]))


def crossed(make_table: Make, sizes: dict[tuple[str, str], int]) -> Predictions:
    """Joint groups of race and sex; the i-th holds negatives and positives on 100 i + 1, 2, …"""
    logits: list[float] = []
    labels: list[float] = []
    race: list[str] = []
    sex: list[str] = []
    for number, ((r, s), size) in enumerate(sizes.items()):
        logits += [100.0 * number + i for i in range(1, size + 1)] * 2
        labels += [0.0] * size + [1.0] * size
        race += [r] * (2 * size)
        sex += [s] * (2 * size)
    names = [f"p{i}" for i in range(len(logits))]
    return make_table(names, logits, labels, fold="val", race=race, sex=sex)


SIZES = {("A", "F"): 40, ("A", "M"): 30, ("B", "F"): 35, ("B", "M"): 29}


def test_each_joint_group_gets_its_own_threshold(make_table: Make) -> None:
    rule = fit_rule(crossed(make_table, SIZES), "specificity:0.5", attributes=["race", "sex"])
    assert rule.attributes == ("race", "sex")
    assert {t.attribute for t in rule.thresholds} == {"race & sex"}
    values = {t.group: t.value for t in rule.thresholds}
    # ceil(.5 * 41) = 21st of 40; ceil(.5 * 31) = 16th of 30; ceil(.5 * 36) = 18th of 35.
    assert (values["A & F"], values["A & M"], values["B & F"]) == (21, 116, 218)


def test_a_small_joint_group_gets_the_threshold_of_everybody(make_table: Make) -> None:
    val = crossed(make_table, SIZES)
    small = fit_rule(val, "specificity:0.5", attributes=["race", "sex"]).thresholds[3]
    assert (small.group, small.positives, small.negatives) == ("B & M", 29, 29)
    assert small.value == fit_rule(val, "specificity:0.5").thresholds[0].value
    assert "threshold of everybody: the group has 29 positive" in small.note


def test_a_joint_group_without_validation_patients_gets_the_threshold_of_everybody(
    make_table: Make,
) -> None:
    val = crossed(make_table, {("A", "F"): 40, ("B", "M"): 40})
    rule = fit_rule(val, "balanced", attributes=["race", "sex"])
    empty = {t.group: t for t in rule.thresholds}["B & F"]
    assert (empty.positives, empty.negatives) == (0, 0)
    assert empty.value == fit_rule(val, "balanced").thresholds[0].value


def test_joint_thresholds_are_applied_to_their_joint_group(make_table: Make) -> None:
    val = crossed(make_table, SIZES)
    rule = fit_rule(val, "specificity:0.5", attributes=["race", "sex"])
    logits = [20.0, 21.0, 115.0, 116.0, 217.0, 218.0]
    test = make_table(
        list("abcdef"), logits, [0, 1] * 3, race=list("AAAABB"), sex=list("FFMMFF")
    )  # fmt: skip
    test = replace(test, groups=val.groups)
    assert rule.apply(test).decisions()[:, 0].tolist() == [0, 1] * 3


def test_undefined_threshold_without_a_note_is_refused() -> None:
    with pytest.raises(ValueError, match="must say why"):
        Threshold("Edema", np.nan, "youden")


def test_f1_takes_the_largest_f1(make_table: Make) -> None:
    # At 8: 2/(4 + 1) = .4. At 6: 4/(4 + 3) = .571 (7 above it). At 4: 6/(4 + 4) = .75.
    # At 3: 6/(4 + 5) = .667. At 2: 8/(4 + 7) = .727.
    val = validation(make_table, [0, 2, 3, 7], [2, 4, 6, 8])
    threshold = fit_rule(val, "f1").thresholds[0]
    assert (threshold.value, threshold.achieved) == (4, 0.75)
    assert (threshold.rule, threshold.positives, threshold.negatives) == ("f1", 4, 4)


def test_f1_agrees_with_scikit_learn(make_table: Make) -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(200) < 0.2).astype(float)
    logits = np.round(labels + rng.normal(size=200), 1).astype(np.float32)
    val = make_table([f"p{i}" for i in range(200)], logits.tolist(), labels.tolist(), fold="val")
    threshold = fit_rule(val, "f1").thresholds[0]
    scores = {cut: f1_score(labels, logits >= cut) for cut in np.unique(logits)}
    assert threshold.achieved == pytest.approx(max(scores.values()), abs=1e-15)
    assert threshold.value == max(c for c, f in scores.items() if f == threshold.achieved)


def test_f1_takes_the_highest_threshold_at_a_tie(make_table: Make) -> None:
    # At 6: 2 * 1 / (3 + 1) = 1/2. At 1: 2 * 3 / (3 + 9) = 1/2. At 2: 2 * 1 / (3 + 7) = 1/5.
    val = validation(make_table, [2, 3, 3, 4, 4, 5], [1, 1, 6])
    threshold = fit_rule(val, "f1").thresholds[0]
    assert (threshold.value, threshold.achieved) == (6, 0.5)


def test_f1_without_positives_is_undefined_with_a_reason(make_table: Make) -> None:
    threshold = fit_rule(validation(make_table, [1, 2], []), "f1").thresholds[0]
    assert np.isnan([threshold.value, threshold.achieved]).all()
    assert threshold.note == "no positive validation image"
