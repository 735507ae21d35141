"""Means over runs and their intervals, worked by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic_store import PHANTOM, run_json, write_run

from leaderboard.aggregate import aggregate
from leaderboard.collect import collect
from metrics.score import Score

HALF = 1.959964 * 0.02
"""Half an interval whose patient standard deviation is 0.02."""


def one(output: Path, values: list[float], *, tests: list[str] | None = None, **score: Any) -> Any:
    """The aggregated row of one score with these values over seeds."""
    for seed, value in enumerate(values):
        test = tests[seed] if tests else "same"
        made = {"low": value - HALF, "high": value + HALF, "n": 100 + 10 * seed} | score
        if math.isnan(value):
            made |= {"note": "too few patients"}
        metric = made.pop("metric", "auc")
        run = run_json(PHANTOM, "erm", seed, test_digest=test)
        write_run(output, run, [Score(metric, value, **made)])
    table = aggregate(collect(output))
    assert len(table) == 1
    return table.iloc[0]


def test_one_run_keeps_its_own_interval(tmp_path: Path) -> None:
    row = one(tmp_path, [0.8], low=0.71, high=0.83)
    assert (row.value, row.low, row.high) == (0.8, 0.71, 0.83)
    assert (row["of"], row.runs) == ("patients", 1)


def test_seeds_on_the_same_patients_do_not_shrink_the_patient_variance(tmp_path: Path) -> None:
    # Values 0.78, 0.80, 0.82: seed variance 0.0004, over 3 runs 0.00013333;
    # patient variance 0.0004 over 1 test set; sum 0.00053333, square root 0.0230940.
    # Degrees of freedom 2 * (0.00053333 / 0.00013333)^2 = 32: Student's t is 2.0369.
    row = one(tmp_path, [0.78, 0.80, 0.82])
    assert row.value == pytest.approx(0.80)
    assert row.high - row.value == pytest.approx(2.0369333 * 0.0230940, rel=1e-5)
    assert row.value - row.low == pytest.approx(2.0369333 * 0.0230940, rel=1e-5)
    assert (row["of"], row.runs, row.tests) == ("patients + seeds", 3, 1)


def test_distinct_test_patients_shrink_the_patient_variance(tmp_path: Path) -> None:
    # Patient variance 0.0004 over 2 test sets, seed variance 0.0002 over 2 runs: sum 0.0003.
    # Degrees of freedom (0.0003 / 0.0001)^2 = 9: Student's t is 2.2621572.
    row = one(tmp_path, [0.79, 0.81], tests=["a", "b"])
    assert row.high - row.value == pytest.approx(2.2621572 * math.sqrt(0.0003), rel=1e-6)
    assert row.tests == 2


def test_without_patient_intervals_the_interval_is_of_seeds_only(tmp_path: Path) -> None:
    # Values 0.79, 0.80, 0.81: seed variance 0.0001 over 3 runs; Student's t of 2 degrees 4.3026527.
    row = one(tmp_path, [0.79, 0.80, 0.81], low=math.nan, high=math.nan)
    assert row["of"] == "seeds"
    assert row.high - row.value == pytest.approx(4.3026527 * math.sqrt(0.0001 / 3), rel=1e-6)


def test_equal_seeds_leave_the_interval_of_the_patients(tmp_path: Path) -> None:
    row = one(tmp_path, [0.8, 0.8, 0.8])
    assert row.high - row.value == pytest.approx(HALF, rel=1e-6)


def test_one_run_without_an_interval_has_none(tmp_path: Path) -> None:
    row = one(tmp_path, [0.8], low=math.nan, high=math.nan)
    assert row["of"] == ""
    assert math.isnan(row.low)


def test_an_undefined_score_stays_undefined_with_its_reason(tmp_path: Path) -> None:
    row = one(tmp_path, [math.nan, math.nan])
    assert math.isnan(row.value)
    assert math.isnan(row.low)
    assert (row.runs, row.undefined, row.note) == (2, 2, "too few patients")


def test_undefined_runs_are_counted_and_not_averaged_in(tmp_path: Path) -> None:
    row = one(tmp_path, [0.78, math.nan, 0.82])
    assert row.value == pytest.approx(0.80)
    assert (row.runs, row.undefined) == (3, 1)
    assert row.note == "1 of 3 runs undefined: too few patients"


def test_counts_are_means_over_runs(tmp_path: Path) -> None:
    assert one(tmp_path, [0.8, 0.8, 0.8]).n == 110


@pytest.mark.parametrize(
    ("metric", "values", "low", "high"),
    [("auc", [0.99, 1.0], None, 1.0), ("fnr", [0.0, 0.01], 0.0, None)],
)
def test_an_interval_of_a_share_stays_within_zero_and_one(
    tmp_path: Path, metric: str, values: list[float], low: float | None, high: float | None
) -> None:
    row = one(tmp_path, values, metric=metric)
    assert low is None or row.low == low
    assert high is None or row.high == high


def test_an_interval_of_a_contrast_may_be_negative(tmp_path: Path) -> None:
    row = one(tmp_path, [0.0, 0.01], metric="fnr_contrast", attribute="race", group="B - A")
    assert row.low < 0


def test_other_fields_of_the_method_make_another_row(tmp_path: Path) -> None:
    for variant in ("", "lr=0.01"):
        run = run_json(PHANTOM, "erm", method_variant=variant)
        write_run(tmp_path, run, [Score("auc", 0.8)])
    assert len(aggregate(collect(tmp_path))) == 2


@pytest.mark.parametrize("change", [{"folds": 5}, {"operating_point": "youden"}, {"kind": "real"}])
def test_what_is_not_comparable_is_never_averaged(tmp_path: Path, change: dict[str, Any]) -> None:
    write_run(tmp_path, run_json(PHANTOM, "erm", 0), [Score("fnr", 0.2)])
    write_run(tmp_path, run_json(PHANTOM, "erm", 1, **change), [Score("fnr", 0.4)])
    assert sorted(aggregate(collect(tmp_path))["value"]) == [0.2, 0.4]


def test_an_empty_table_aggregates_to_an_empty_table(tmp_path: Path) -> None:
    table = aggregate(collect(tmp_path))
    assert isinstance(table, pd.DataFrame)
    assert table.empty
