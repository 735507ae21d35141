"""How numbers are written."""

from __future__ import annotations

import math

import pytest

from leaderboard.numbers import count, decimal, duration, interval, pair


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (0.84249, False, "0.842"),
        (0.153, True, "+0.153"),
        (-0.153, True, "−0.153"),
        (-0.0001, True, "0.000"),
        (0.0001, True, "0.000"),
    ],
)
def test_decimals(value: float, signed: bool, text: str) -> None:
    assert decimal(value, signed=signed) == text


def test_an_interval_of_a_share() -> None:
    assert interval(0.8291, 0.8559) == "0.829–0.856"


def test_an_interval_of_a_contrast_is_signed() -> None:
    assert interval(-0.02, 0.15, signed=True) == "−0.020 to +0.150"


def test_no_interval_is_empty() -> None:
    assert interval(math.nan, 0.5) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.21, "4.2 s"), (61.2, "1 min 01 s"), (3600.0 * 2 + 61, "2 h 01 min"), (math.nan, "n/a")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_have_groups_of_three() -> None:
    assert count(161000.0) == "161,000"


def test_a_pair_has_a_true_minus() -> None:
    assert pair("60-79 - 40-59") == "60-79 − 40-59"
