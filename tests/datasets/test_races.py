"""Recorded race as groups: every word of CheXpert and MIMIC-IV under every rule.

Columns of the tables: broad, seyyed-kalantari-2021, glocker-2023, white-black-other,
white-black-asian-other, white-nonwhite; "-" is left out.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from datasets.races import RULES, RaceGroups, in_order
from registry import UnknownName

W, B, H, A, R, U = "White", "Black", "Hispanic", "Asian", "Other", "Unknown"
N, P, NW = "Native American", "Pacific Islander", "Non-White"
WHITE = (W, W, W, W, W, W)
WHITE_HISPANIC = (H, H, "-", W, W, W)
BLACK = (B, B, B, B, B, NW)
BLACK_HISPANIC = (H, H, "-", B, B, NW)
ASIAN = (A, A, A, R, A, NW)
ASIAN_HISPANIC = (H, H, "-", R, A, NW)
HISPANIC = (H, H, "-", R, R, NW)
NATIVE = (N, N, "-", R, R, NW)
PACIFIC = (P, R, "-", R, R, NW)
OTHER = (R, R, "-", R, R, NW)
NOT_KNOWN = (U, "-", "-", U, U, U)

CHEXPERT = {
    "White": WHITE,
    "Other": OTHER,
    "White, non-Hispanic": WHITE,
    "Asian": ASIAN,
    "Unknown": NOT_KNOWN,
    "Black or African American": BLACK,
    "Race and Ethnicity Unknown": NOT_KNOWN,
    "Other, Hispanic": HISPANIC,
    "Native Hawaiian or Other Pacific Islander": PACIFIC,
    "Asian, non-Hispanic": ASIAN,
    "Black, non-Hispanic": BLACK,
    "White, Hispanic": WHITE_HISPANIC,
    "Other, non-Hispanic": OTHER,
    "American Indian or Alaska Native": NATIVE,
    "Patient Refused": NOT_KNOWN,
    "Pacific Islander, non-Hispanic": PACIFIC,
    "Native American, non-Hispanic": NATIVE,
    "Black, Hispanic": BLACK_HISPANIC,
    "Asian, Hispanic": ASIAN_HISPANIC,
    "Native American, Hispanic": HISPANIC,
    "White or Caucasian": WHITE,
    "Pacific Islander, Hispanic": HISPANIC,
    "Asian - Historical Conv": ASIAN,
}
"""The 23 words of CHEXPERT DEMO.xlsx."""
MIMIC = {
    "WHITE": WHITE,
    "BLACK/AFRICAN AMERICAN": BLACK,
    "OTHER": OTHER,
    "UNKNOWN": NOT_KNOWN,
    "WHITE - OTHER EUROPEAN": WHITE,
    "HISPANIC/LATINO - PUERTO RICAN": HISPANIC,
    "WHITE - RUSSIAN": WHITE,
    "ASIAN - CHINESE": ASIAN,
    "BLACK/CAPE VERDEAN": BLACK,
    "HISPANIC/LATINO - DOMINICAN": HISPANIC,
    "HISPANIC OR LATINO": HISPANIC,
    "ASIAN": ASIAN,
    "BLACK/CARIBBEAN ISLAND": BLACK,
    "BLACK/AFRICAN": BLACK,
    "PORTUGUESE": OTHER,
    "ASIAN - SOUTH EAST ASIAN": ASIAN,
    "HISPANIC/LATINO - GUATEMALAN": HISPANIC,
    "ASIAN - ASIAN INDIAN": ASIAN,
    "WHITE - EASTERN EUROPEAN": WHITE,
    "AMERICAN INDIAN/ALASKA NATIVE": NATIVE,
    "UNABLE TO OBTAIN": NOT_KNOWN,
    "WHITE - BRAZILIAN": WHITE,
    "HISPANIC/LATINO - SALVADORAN": HISPANIC,
    "PATIENT DECLINED TO ANSWER": NOT_KNOWN,
    "HISPANIC/LATINO - COLUMBIAN": HISPANIC,
    "HISPANIC/LATINO - HONDURAN": HISPANIC,
    "SOUTH AMERICAN": HISPANIC,
    "HISPANIC/LATINO - CUBAN": HISPANIC,
    "MULTIPLE RACE/ETHNICITY": OTHER,
    "ASIAN - KOREAN": ASIAN,
    "HISPANIC/LATINO - MEXICAN": HISPANIC,
    "HISPANIC/LATINO - CENTRAL AMERICAN": HISPANIC,
    "NATIVE HAWAIIAN OR OTHER PACIFIC ISLANDER": PACIFIC,
    # Of version 1 alone.
    "HISPANIC/LATINO": HISPANIC,
}
"""The 33 words of `admissions.race` and what version 1 adds."""


def grouped(rule: str, race: str, ethnicity: str | None = None) -> str:
    """The group of one record under a rule, "-" where the rule leaves it out."""
    others = None if ethnicity is None else pd.Series([ethnicity])
    return RaceGroups(race_groups=rule).race_of(pd.Series([race]), others)[0] or "-"


@pytest.mark.parametrize("place", range(len(RULES)), ids=[*RULES])
@pytest.mark.parametrize("words", [CHEXPERT, MIMIC], ids=["chexpert", "mimic"])
def test_every_word_has_the_group_of_the_rule(
    words: dict[str, tuple[str, ...]], place: int
) -> None:
    rule = RaceGroups(race_groups=[*RULES][place])
    got = [group or "-" for group in rule.race_of(pd.Series([*words]))]
    assert dict(zip(words, got, strict=True)) == {word: row[place] for word, row in words.items()}


def test_both_vocabularies_are_complete() -> None:
    assert len(CHEXPERT) == 23 and len(MIMIC) == 33 + 1


@pytest.mark.parametrize("race", ["", "  ", "nan", "Not Specified", None, np.nan])
def test_blank_race_is_not_known_under_every_rule(race: object) -> None:
    found = [RaceGroups(race_groups=r).race_of(pd.Series([race]))[0] or "-" for r in RULES]
    assert tuple(found) == NOT_KNOWN


@pytest.mark.parametrize("word", ["white", " WHITE ", "White"])
def test_letters_and_spaces_around_do_not_matter(word: str) -> None:
    assert grouped("broad", word) == "White"


@pytest.mark.parametrize("ethnicity", ["Hispanic/Latino", "Hispanic"])
@pytest.mark.parametrize("race", ["White", "Other", "Unknown", "Patient Refused", ""])
def test_whoever_is_recorded_as_hispanic_is_hispanic(race: str, ethnicity: str) -> None:
    assert grouped("broad", race, ethnicity) == "Hispanic"
    assert grouped("seyyed-kalantari-2021", race, ethnicity) == "Hispanic"
    assert grouped("glocker-2023", race, ethnicity) == "-"


@pytest.mark.parametrize("ethnicity", ["Non-Hispanic/Non-Latino", "Not Hispanic", "Non-Hispanic"])
def test_three_words_say_not_hispanic(ethnicity: str) -> None:
    for race, group in (("White", W), ("Black or African American", B), ("Asian", A), (R, "-")):
        assert grouped("glocker-2023", race, ethnicity) == group
    assert grouped("broad", "White", ethnicity) == "White"


@pytest.mark.parametrize("ethnicity", ["Unknown", "Patient Refused"])
def test_ethnicity_that_was_not_told_is_left_out_by_glocker_alone(ethnicity: str) -> None:
    assert grouped("glocker-2023", "White", ethnicity) == "-"
    assert grouped("broad", "White", ethnicity) == "White"


def test_the_index_stays() -> None:
    race, ethnicity = pd.Series(["White"], index=[7]), pd.Series(["Hispanic"], index=[7])
    assert list(RaceGroups().race_of(race, ethnicity).index) == [7]
    assert list(RaceGroups().race_of(race).index) == [7]


def test_groups_stand_in_one_order_with_unknown_last() -> None:
    groups = in_order(pd.Series([U, R, N, A, H, B, W, P]))
    assert list(groups.categories) == [W, B, H, A, N, P, R, U]


def test_another_rule_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'glocker-2023'"):
        RaceGroups(race_groups="glocker-2022")
