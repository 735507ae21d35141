"""Ages as data sets write them, and the bands that become groups."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from datasets.ages import AgeBands, years


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Plain numbers: CheXpert, NIH v2020, PadChest.
        ("0", 0), ("7", 7), ("68", 68), ("68.0", 68), (" 41 ", 41), ("100", 100),
        # DICOM and the first release of NIH.
        ("060Y", 60), ("58Y", 58), ("011M", 11 / 12), ("013D", 13 / 365.25), ("026W", 26 / 52.1775),
        ("45 y", 45), ("000Y", 0),
        # MIMIC, BRAX and case reports.
        ("85 or more", 85), ("90+", 90), ("50+", 50), (">89", 89), (">= 90", 90), ("≥90", 90),
        ("mid 50s", 55), ("early 40s", 42), ("late-30's", 38), ("70s", 75),
    ],
)  # fmt: skip
def test_ages_are_read(text: str, expected: float) -> None:
    assert years(pd.Series([text])).tolist() == [pytest.approx(expected)]


@pytest.mark.parametrize(
    "text",
    ["", "nan", "NaN", "unknown", "-1", "101", "155", "414Y", "412Y", "0148Y", "1e2", "50-60", "<1",
     "Y", "12X", "old", "120s"],
)  # fmt: skip
def test_what_is_no_age_is_not_known(text: str) -> None:
    assert math.isnan(years(pd.Series([text]))[0])


def test_numbers_and_blanks_are_read_as_they_are() -> None:
    read = years(pd.Series([40, 41.5, None, float("nan"), 300]))
    assert read[:2].tolist() == [40, 41.5] and read[2:].isna().all()


def test_the_index_stays_and_an_empty_column_is_one() -> None:
    assert list(years(pd.Series(["1", "2"], index=[7, 3])).index) == [7, 3]
    assert years(pd.Series([], dtype=str)).dtype == float


def test_a_band_begins_at_its_edge() -> None:
    ages = pd.Series([0, 19, 19.9, 20, 39.5, 40, 79, 80, 100])
    assert list(AgeBands().age_band(ages)) == ["0-19", "0-19", "0-19", "20-39", "20-39", "40-59",
                                               "60-79", "80+", "80+"]  # fmt: skip


def test_empty_bands_stay_and_unknown_is_there_only_with_somebody() -> None:
    known = AgeBands().age_band(pd.Series([50.0]))
    assert list(known.categories) == ["0-19", "20-39", "40-59", "60-79", "80+"]
    partly = AgeBands().age_band(pd.Series([float("nan"), 50.0]))
    assert list(partly) == ["Unknown", "40-59"] and list(partly.categories)[-1] == "Unknown"


def test_edges_are_a_choice() -> None:
    bands = AgeBands(age_edges=(60,))
    assert bands.bands == ("0-59", "60+")
    assert list(bands.age_band(pd.Series([59.0, 60.0]))) == ["0-59", "60+"]


@pytest.mark.parametrize("edges", [(), (0, 20), (40, 20), (20, 20), (20, 100), (-5,)])
def test_edges_that_make_no_bands_are_refused(edges: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="age_edges must rise between 1 and 99 years"):
        AgeBands(age_edges=edges)
