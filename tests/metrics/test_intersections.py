"""Joint groups of attributes are scored like any other, small ones not at all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from metrics.bootstrap import PatientBootstrap
from metrics.evaluate import evaluate
from metrics.intersections import overlaps, with_intersections
from metrics.predictions import Predictions
from metrics.score import Score

Make = Callable[..., Predictions]


def scored(predictions: Predictions) -> list[Score]:
    return evaluate(
        predictions,
        macro_findings=predictions.findings,
        bootstrap=PatientBootstrap(predictions.patient_codes()[1], 40),
        intersections=[("sex", "age")],
    )


def test_joint_groups_are_all_pairs_in_the_frozen_order(make_simulated: Make) -> None:
    joined = with_intersections(make_simulated(), [("sex", "age")])
    assert joined.attributes == ("sex", "age", "sex & age")
    assert joined.groups["sex & age"] == (
        "F & <40", "F & 40-59", "F & 60+", "M & <40", "M & 40-59", "M & 60+",
    )  # fmt: skip


def test_a_joint_group_is_those_who_are_in_both(make_simulated: Make) -> None:
    predictions = make_simulated()
    (score,) = [
        s for s in scored(predictions)
        if (s.metric, s.finding, s.group) == ("auc", "Edema", "F & 60+")
    ]  # fmt: skip
    frame = predictions.frame
    inside = frame[(frame["sex"] == "F") & (frame["age"] == "60+")]
    assert score.value == pytest.approx(roc_auc_score(inside["y:Edema"], inside["logit:Edema"]))
    assert score.n == inside["patient"].nunique()


def test_small_joint_groups_are_undefined_with_their_counts(make_simulated: Make) -> None:
    found = [
        s for s in scored(make_simulated(patients=120, images=240))
        if (s.metric, s.attribute, s.finding) == ("auc", "sex & age", "Edema")
    ]  # fmt: skip
    assert len(found) == 6 and all(np.isnan(s.value) and s.note for s in found)
    assert all(0 < s.n < 60 for s in found)


def test_an_attribute_overlaps_what_it_is_part_of() -> None:
    assert overlaps("sex", "sex & age") and overlaps("sex & age", "age & race")
    assert not overlaps("sex", "age")
