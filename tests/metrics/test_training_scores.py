"""Scores that are read off the history of training."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from metrics.training import training_scores


def history(*parts: list[float], **columns: float) -> pd.DataFrame:
    """Parts with the epsilon of each epoch; Rényi's is a tenth above."""
    rows = [
        {"epoch": epoch, "part": part, "epsilon": value, "epsilon_rdp": 1.1 * value} | columns
        for part, values in enumerate(parts)
        for epoch, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_the_last_epoch_counts() -> None:
    scores = training_scores(history([1.0, 2.0, 3.0], delta=1e-4))
    assert {s.metric: s.value for s in scores} == {
        "epsilon": 3.0,
        "epsilon_rdp": pytest.approx(3.3),
    }


def test_the_note_says_how_the_loss_came_about() -> None:
    table = history([8.0], delta=5.3e-5, sampling_rate=0.25, steps=240, noise_multiplier=2.3)
    tight, loose = training_scores(table)
    assert tight.note == (
        "delta 5.3e-05, unit: patient, PRV accountant, Poisson rate 0.25, steps 240, "
        "noise multiplier 2.3"
    )
    assert "Rényi accountant" in loose.note


def test_of_several_parts_the_largest_counts() -> None:
    assert training_scores(history([1.0, 2.0], [0.5, 2.5], delta=1e-4))[0].value == 2.5


def test_a_part_without_noise_leaves_no_guarantee() -> None:
    for score in training_scores(history([1.0], [math.inf], delta=1e-4)):
        assert math.isnan(score.value) and "infinite" in score.note


def test_methods_that_spend_nothing_have_no_such_score() -> None:
    assert training_scores(pd.DataFrame({"epoch": [0], "part": [0], "train_loss": [0.5]})) == []
    assert training_scores(pd.DataFrame()) == []
