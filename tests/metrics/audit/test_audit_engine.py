"""The numbers of an audit, and where its decisions come from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from metrics.audit import Audit, audit

Make = Callable[..., pd.DataFrame]


def value(made: Audit, metric: str, group: str = "all", finding: str = "finding") -> float:
    """One number of an audit."""
    rows = made.scores.query("metric == @metric and group == @group and finding == @finding")
    return float(rows["value"].iloc[0])


def test_auc_of_each_group_is_that_of_scikit_learn(make_frame: Make) -> None:
    frame = make_frame()
    made = audit(frame, replicates=20)
    assert value(made, "auc") == pytest.approx(roc_auc_score(frame["label"], frame["score"]))
    women = frame[frame["sex"] == "F"]
    assert value(made, "auc", "F") == pytest.approx(roc_auc_score(women["label"], women["score"]))


def test_the_order_of_rows_changes_nothing(make_frame: Make) -> None:
    frame = make_frame().assign(image=range(600))
    shuffled = frame.sample(frac=1, random_state=0)
    one, other = (audit(f, replicates=20, thresholds=0.5).scores for f in (frame, shuffled))
    pd.testing.assert_frame_equal(one, other)


def test_without_thresholds_there_are_no_rates_and_it_is_said(make_frame: Make) -> None:
    made = audit(make_frame(), replicates=20)
    assert np.isnan(value(made, "fnr"))
    assert not np.isnan(value(made, "auc"))
    assert "No error rates are reported" in made.conclusion


def test_a_score_at_the_given_threshold_is_positive() -> None:
    score = [0.1, 0.3, 0.3, 0.8] * 40
    frame = pd.DataFrame(
        {"patient": range(160), "label": [0, 0, 1, 1] * 40, "score": score}
    )  # fmt: skip
    made = audit(frame, thresholds=0.3, replicates=20)
    assert value(made, "fnr") == 0
    assert value(made, "fpr") == pytest.approx(0.5)


def test_a_finding_without_a_given_threshold_has_no_rates(make_two: Make) -> None:
    made = audit(make_two(), thresholds={"Edema": 0.0}, replicates=20)
    assert not np.isnan(value(made, "fnr", finding="Edema"))
    assert np.isnan(value(made, "fnr", finding="Mass"))


def test_thresholds_come_from_validation_patients_alone(make_frame: Make) -> None:
    test, val = make_frame(), make_frame(seed=1)
    made = audit(test, validation=val, operating_point="specificity:0.80", replicates=20)
    negative = np.sort(val.loc[val["label"] == 0, "score"])
    expected = negative[int(np.ceil(0.8 * (len(negative) + 1))) - 1]
    assert made.decided.limits[0].value == pytest.approx(expected, rel=1e-6)
    cleared = test.loc[test["label"] == 0, "score"] >= expected
    assert value(made, "fpr") == pytest.approx(cleared.mean())


def test_labels_of_tested_images_move_no_threshold(make_frame: Make) -> None:
    test, val = make_frame(), make_frame(seed=1)
    turned = test.assign(label=1 - test["label"])
    one, other = (audit(t, validation=val, replicates=20) for t in (test, turned))
    assert one.decided.limits == other.decided.limits


def test_decisions_of_the_table_are_taken_with_a_doubt(make_frame: Make) -> None:
    frame = make_frame()
    made = audit(frame.assign(decision=frame["label"]), replicates=20)
    assert value(made, "fnr") == 0
    assert "cannot be seen from here" in made.conclusion


def test_an_operating_point_overrules_decisions_of_the_table(make_frame: Make) -> None:
    test = make_frame().assign(decision=0)
    made = audit(
        test, validation=make_frame(seed=1), operating_point="youden", replicates=20
    )  # fmt: skip
    assert value(made, "fnr") < 1


def test_thresholds_of_several_models_are_not_fitted_together(make_frame: Make) -> None:
    test = make_frame().assign(part=[0, 1] * 300)
    with pytest.raises(ValueError, match="names 2 models"):
        audit(test, validation=make_frame(seed=1), replicates=20)


def test_macro_runs_over_the_named_findings(make_two: Make) -> None:
    made = audit(make_two(), macro=["Mass"], replicates=20)
    assert value(made, "auc", finding="macro") == value(made, "auc", finding="Mass")


def test_an_audit_can_not_be_changed(make_frame: Make) -> None:
    made = audit(make_frame(), replicates=20)
    with pytest.raises(AttributeError):
        made.seed = 3  # type: ignore[misc]
