"""Standardised contrasts: what other attributes explain is gone, what they do not stays."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from metrics.bootstrap import PatientBootstrap
from metrics.casemix import fnr_contrast_standardised
from metrics.cells import Cells
from metrics.contrasts import fnr_contrast
from metrics.predictions import Predictions


def cells(rows: list[tuple[str, str, int, int]], copies: int = 1) -> Cells:
    """Positive images (sex, age, decision, how many), and as many negative ones, decided 0."""
    parts = []
    for sex, age, decision, number in rows:
        for label in (1, 0):
            own = {"sex": sex, "age": age, "y:Edema": label, "decision:Edema": decision * label}
            parts.append(pd.DataFrame([own] * (number * copies)))
    frame = pd.concat(parts, ignore_index=True)
    names = [f"p{i:05d}" for i in range(len(frame))]
    frame = frame.assign(image=names, patient=names, part=0, **{"logit:Edema": np.float32(0)})
    groups = {a: tuple(sorted(frame[a].unique())) for a in ("sex", "age")}
    made = Predictions("test", frame, ("Edema",), ("sex", "age"), groups)
    return Cells(made, "recorded", np.ones(1, bool), PatientBootstrap(len(frame), 200))


def contrasts(made: Cells, attribute: str) -> tuple[float, float]:
    """The raw and the standardised contrast of the one pair of groups."""
    found = []
    for metric in (fnr_contrast, fnr_contrast_standardised):
        rows = [s for s in metric(made) if s.attribute == attribute and s.finding == "Edema"]
        assert len(rows) == 1
        found.append(rows[0].value)
    return found[0], found[1]


def test_a_contrast_that_age_explains_is_gone() -> None:
    # FNR is 0.2 in the young and 0.6 in the old, for both sexes; F are 100 : 50, M 50 : 100.
    made = cells(
        [
            ("F", "old", 0, 30), ("F", "old", 1, 20), ("F", "young", 0, 20), ("F", "young", 1, 80),
            ("M", "old", 0, 60), ("M", "old", 1, 40), ("M", "young", 0, 10), ("M", "young", 1, 40),
        ]
    )  # fmt: skip
    raw, standardised = contrasts(made, "sex")
    assert raw == pytest.approx(70 / 150 - 50 / 150)
    assert standardised == pytest.approx(0, abs=1e-12)


def test_a_contrast_that_age_does_not_explain_stays() -> None:
    # M are missed 0.2 more often at every age.
    made = cells(
        [
            ("F", "old", 0, 20), ("F", "old", 1, 30), ("F", "young", 0, 20), ("F", "young", 1, 80),
            ("M", "old", 0, 60), ("M", "old", 1, 40), ("M", "young", 0, 20), ("M", "young", 1, 30),
        ]
    )  # fmt: skip
    assert contrasts(made, "sex")[1] == pytest.approx(0.2)


def test_strata_without_one_of_the_groups_are_left_out_and_the_share_is_told() -> None:
    # Nobody old is recorded as M: the young alone are compared, 100 of 150 positive images.
    made = cells([("F", "old", 0, 50), ("F", "young", 0, 25), ("F", "young", 1, 25),
                  ("M", "young", 0, 10), ("M", "young", 1, 40)])  # fmt: skip
    (score,) = [
        s for s in fnr_contrast_standardised(made)
        if s.attribute == "sex" and s.finding == "Edema"
    ]  # fmt: skip
    assert score.value == pytest.approx(10 / 50 - 25 / 50)
    assert score.note == "67% of the images are in strata of all groups"
    assert score.low < score.value < score.high


def test_groups_that_share_no_stratum_cannot_be_compared() -> None:
    made = cells([("F", "old", 0, 20), ("F", "old", 1, 20), ("M", "young", 0, 20),
                  ("M", "young", 1, 20)])  # fmt: skip
    scores = [s for s in fnr_contrast_standardised(made) if s.finding == "Edema"]
    assert scores and all(np.isnan(s.value) for s in scores)
    assert "share no stratum" in scores[0].note
