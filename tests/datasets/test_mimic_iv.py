"""What MIMIC-IV records of people: versions, joins, ages, changing race and insurance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trees import mimic_cxr as tree

from datasets.mimic_iv import Demographics, MimicIV, age_at_study
from registry import UnknownName


def subjects(*patients: int) -> pd.Series:
    return pd.Series([str(10_000_000 + patient) for patient in patients])


def read(root: Path, patients: list[int], year: float = 2180, **fields: object) -> Demographics:
    loader = MimicIV(**fields)  # type: ignore[arg-type]
    return loader.demographics(root, subjects(*patients), pd.Series([year] * len(patients)))


def recorded(root: Path, *stays: tree.Row, **fields: object) -> Demographics:
    """Patient 1, with these admissions."""
    tree.iv(root / "hosp", [tree.person(1)], stays)
    return read(root, [1], **fields)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
@pytest.mark.parametrize("place", ["", "hosp", "mimiciv/3.1/hosp", "mimiciv/1.0/core"])
def test_every_version_is_found_below_the_root(tmp_path: Path, place: str, ending: str) -> None:
    columns = tree.FIRST_VERSION if "core" in place else tree.ADMISSIONS
    stays = [tree.stay(1, "BLACK/AFRICAN AMERICAN", "Medicaid")]
    tree.iv(tmp_path / place, [tree.person(1, "M", 40)], stays, ending=ending, columns=columns)
    people = read(tmp_path, [1])
    assert people.attributes == ("sex", "age_band", "race", "insurance")
    assert people.columns.iloc[0][[*people.attributes]].tolist() == [
        "Male", "40-59", "Black", "Medicaid"
    ]  # fmt: skip


def test_a_named_folder_is_read_and_relative_to_the_root(tmp_path: Path) -> None:
    tree.iv(tmp_path / "iv" / "hosp", [tree.person(1)], [tree.stay(1)])
    (tmp_path / "cxr").mkdir()
    for named in ("../iv", "../iv/hosp", str(tmp_path / "iv")):
        assert read(tmp_path / "cxr", [1], mimic_iv=named).attributes


def test_a_named_folder_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"patients\.csv .*nowhere"):
        read(tmp_path, [1], mimic_iv="nowhere")


def test_two_versions_below_the_root_must_be_told_apart(tmp_path: Path) -> None:
    for version in ("2.2", "3.1"):
        tree.iv(tmp_path / "mimiciv" / version / "hosp", [tree.person(1)], [tree.stay(1)])
    with pytest.raises(ValueError, match=r"found once.*2\.2.*3\.1.*mimic_iv=DIR"):
        read(tmp_path, [1])
    assert read(tmp_path, [1], mimic_iv="mimiciv/2.2").attributes


def test_folders_of_images_are_not_searched(tmp_path: Path) -> None:
    tree.iv(tmp_path / "files" / "p10", [tree.person(1)], [tree.stay(1)])
    assert read(tmp_path, [1]).attributes == ()


def test_without_mimic_iv_nothing_is_known_and_a_note_says_how_to_get_it(tmp_path: Path) -> None:
    people = read(tmp_path, [1])
    assert people.attributes == () and len(people.columns.columns) == 0
    assert "physionet.org/content/mimiciv" in people.notes[0] and "mimic_iv=DIR" in people.notes[0]


def test_without_admissions_sex_and_age_are_known(tmp_path: Path) -> None:
    tree.iv(tmp_path / "hosp", [tree.person(1)], None)
    people = read(tmp_path, [1])
    assert people.attributes == ("sex", "age_band")
    assert any("race and insurance" in note for note in people.notes)


def test_people_in_neither_table_stay_as_unknown(tmp_path: Path) -> None:
    tree.iv(tmp_path / "hosp", [tree.person(1), tree.person(2)], [tree.stay(1)])
    people = read(tmp_path, [1, 2, 3, 3])
    shown = people.columns
    assert shown["sex"].tolist() == ["Female", "Female", "Unknown", "Unknown"]
    assert shown["race"].tolist() == ["White", "Unknown", "Unknown", "Unknown"]
    assert shown["insurance"].tolist() == ["Medicare", "Unknown", "Unknown", "Unknown"]
    assert shown["age_band"].tolist() == ["40-59", "40-59", "Unknown", "Unknown"]
    assert not people.left_out.any()
    assert "of 3 patients, 1 (2 images) are not in patients.csv.gz" in people.notes[0]
    assert "of 3 patients, 2 (3 images) are not in admissions.csv.gz" in people.notes[1]


def test_tables_of_other_people_are_refused(tmp_path: Path) -> None:
    tree.iv(tmp_path / "hosp", [tree.person(5)], [tree.stay(5)])
    with pytest.raises(ValueError, match="none of the 1 is among its 1"):
        read(tmp_path, [1])


def test_a_person_listed_twice_is_refused(tmp_path: Path) -> None:
    tree.iv(tmp_path / "hosp", [tree.person(1), tree.person(1, "M")], [tree.stay(1)])
    with pytest.raises(ValueError, match=r"subject_id must stand once .*line 3"):
        read(tmp_path, [1])


# Age


def test_age_is_that_of_the_study_and_not_of_the_anchor(tmp_path: Path) -> None:
    tree.iv(tmp_path / "hosp", [tree.person(1, age=58, year=2180)], [tree.stay(1)])
    assert read(tmp_path, [1], year=2185).columns["age"].tolist() == [63.0]
    assert read(tmp_path, [1], year=2185).columns["age_band"].tolist() == ["60-79"]
    assert read(tmp_path, [1], year=2170).columns["age"].tolist() == [48.0]


def test_91_at_the_anchor_is_a_code_for_90_and_more_at_every_study() -> None:
    year = np.array([2150.0, 2180.0, 2190.0])
    ages = age_at_study(np.full(3, 91.0), np.full(3, 2180.0), year)
    np.testing.assert_array_equal(ages, [90.0, 90.0, 90.0])


def test_whoever_grows_older_than_90_is_90_and_more_too() -> None:
    ages = age_at_study(np.array([85.0, 85.0]), np.full(2, 2180.0), np.array([2184.0, 2190.0]))
    np.testing.assert_array_equal(ages, [89.0, 90.0])


def test_negative_and_missing_ages_are_not_known() -> None:
    ages = age_at_study(
        np.array([0.0, 0.0, np.nan, 50.0]), np.full(4, 2180.0), np.array([2179, 2180, 2180, np.nan])
    )
    np.testing.assert_array_equal(ages, [np.nan, 0.0, np.nan, np.nan])


def test_the_oldest_are_in_the_last_band_and_counted(tmp_path: Path) -> None:
    tree.iv(tmp_path / "hosp", [tree.person(1, age=91), tree.person(2, age=30)], [tree.stay(1)])
    people = read(tmp_path, [1, 1, 2])
    assert people.columns["age_band"].tolist() == ["80+", "80+", "20-39"]
    assert "age 90 stands for 90 and more (2 images)" in people.notes
    assert [*people.columns["age_band"].cat.categories] == [
        "0-19", "20-39", "40-59", "60-79", "80+"
    ]  # fmt: skip


def test_bands_above_90_are_refused() -> None:
    with pytest.raises(ValueError, match="end at 90 years at most"):
        MimicIV(age_edges=(40, 95))


# Race and insurance


def test_subgroups_add_up_before_the_most_frequent_is_taken(tmp_path: Path) -> None:
    races = ["BLACK/AFRICAN AMERICAN", "BLACK/AFRICAN AMERICAN", "WHITE", "WHITE - RUSSIAN",
             "WHITE - BRAZILIAN"]  # fmt: skip
    people = recorded(tmp_path, *(tree.stay(1, race) for race in races))
    assert people.columns["race"].tolist() == ["White"]


def test_unknown_gives_way_to_what_is_known(tmp_path: Path) -> None:
    races = ["UNKNOWN", "UNABLE TO OBTAIN", "PATIENT DECLINED TO ANSWER", "ASIAN - KOREAN"]
    people = recorded(tmp_path, *(tree.stay(1, race) for race in races))
    assert people.columns["race"].tolist() == ["Asian"]


def test_policies_of_a_patient_with_two_races(tmp_path: Path) -> None:
    stays = [tree.stay(1, "OTHER"), tree.stay(1, "WHITE"), tree.stay(1, "WHITE")]
    assert recorded(tmp_path, *stays).columns["race"].tolist() == ["White"]
    assert recorded(tmp_path, *stays, changing="first").columns["race"].tolist() == ["Other"]
    dropped = recorded(tmp_path, *stays, changing="drop")
    assert dropped.left_out.tolist() == ["patient recorded under two groups of race"]


def test_unknown_beside_one_race_is_no_change(tmp_path: Path) -> None:
    stays = [tree.stay(1, "UNKNOWN"), tree.stay(1, "WHITE")]
    people = recorded(tmp_path, *stays, changing="drop")
    assert people.left_out.tolist() == [""] and people.columns["race"].tolist() == ["White"]


def test_who_a_rule_leaves_out_is_counted_apart_from_who_changes(tmp_path: Path) -> None:
    tree.iv(tmp_path / "hosp", [tree.person(i) for i in range(5)], [
        tree.stay(0, "WHITE"), tree.stay(1, "HISPANIC/LATINO"), tree.stay(2, "UNKNOWN"),
        tree.stay(3, "OTHER"), tree.stay(3, "WHITE"),
    ])  # fmt: skip
    fields = {"race_groups": "glocker-2023", "changing": "drop"}
    out = "race left out by glocker-2023"
    assert read(tmp_path, [0, 1, 2, 3, 4], **fields).left_out.tolist() == [
        "", out, out, "patient recorded under two groups of race", out
    ]  # fmt: skip


def test_unknown_gives_way_under_rules_that_leave_unknown_race_out(tmp_path: Path) -> None:
    stays = [tree.stay(1, "UNKNOWN"), tree.stay(1, "UNKNOWN"), tree.stay(1, "ASIAN - KOREAN")]
    for changing in ("most_frequent", "drop"):
        people = recorded(tmp_path, *stays, race_groups="seyyed-kalantari-2021", changing=changing)
        assert people.columns["race"].tolist() == ["Asian"] and people.left_out.tolist() == [""]


def test_a_rule_that_keeps_unknown_race_apart_keeps_people_without_admission(
    tmp_path: Path,
) -> None:
    tree.iv(tmp_path / "hosp", [tree.person(1), tree.person(2)], [tree.stay(1, "ASIAN")])
    people = read(tmp_path, [1, 2], race_groups="white-nonwhite")
    assert people.columns["race"].tolist() == ["Non-White", "Unknown"]
    assert not people.left_out.any()


def test_insurance_has_a_policy_of_its_own(tmp_path: Path) -> None:
    stays = [tree.stay(1, insurance=i) for i in ("Other", "Medicaid", "", "Medicaid")]
    assert recorded(tmp_path, *stays).columns["insurance"].tolist() == ["Medicaid"]
    first = recorded(tmp_path, *stays, changing_insurance="first")
    assert first.columns["insurance"].tolist() == ["Other"]
    dropped = recorded(tmp_path, *stays, changing_insurance="drop")
    assert dropped.left_out.tolist() == ["patient recorded under two groups of insurance"]
    assert recorded(tmp_path, *stays, changing="drop").left_out.tolist() == [""]


def test_insurances_of_version_3_are_groups_in_a_fixed_order(tmp_path: Path) -> None:
    texts = ["", "No charge", "Other", "Private", "Medicaid", "Medicare", "Self-pay"]
    tree.iv(tmp_path / "hosp", [tree.person(i) for i in range(7)],
            [tree.stay(i, insurance=text) for i, text in enumerate(texts)])  # fmt: skip
    groups = read(tmp_path, [*range(7)]).columns["insurance"].cat.categories
    assert [*groups] == ["Medicare", "Medicaid", "Private", "No charge", "Other", "Self-pay",
                         "Unknown"]  # fmt: skip


def test_unknown_policies_are_refused() -> None:
    with pytest.raises(UnknownName, match="most_frequent"):
        MimicIV(changing_insurance="last")
