"""The end of a run on the terminal."""

from __future__ import annotations

import math

import pytest

from metrics.score import Score
from registry import METRICS
from runs.summary import WORDS, row_name, told, wanted


def test_every_word_of_the_summary_is_a_registered_metric() -> None:
    assert set(WORDS) <= set(METRICS.names())


@pytest.mark.parametrize("metric", ["attribute_auc", "epsilon", "image_reid_auc"])
def test_scores_of_privacy_stand_in_the_summary(metric: str) -> None:
    score = Score(metric=metric, value=0.6, attribute="race" if metric == "attribute_auc" else "")
    assert wanted(score) and WORDS[metric] in row_name(score)


def test_a_score_without_an_interval_shows_its_note() -> None:
    assert told(Score(metric="epsilon", value=7.96, note="delta 5e-05")) == "7.96 (delta 5e-05)"


def test_an_undefined_score_says_why() -> None:
    assert told(Score(metric="epsilon", value=math.nan, note="no noise")) == "n/a (no noise)"


def test_a_score_with_an_interval_shows_it() -> None:
    score = Score(metric="fnr_contrast", value=0.1, low=-0.02, high=0.2)
    assert told(score) == "+0.100 [-0.020, +0.200]"
