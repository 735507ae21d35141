"""Race, ethnicity and insurance of CheXpert: the workbook, its traps, and who is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from trees import chexpert as tree

from datasets.chexpert import Chexpert
from datasets.split import Split


def loaded(root: Path, people: list[tree.Row], patients: int = 3, **fields: object) -> Split:
    """The table of patients 1, 2, … with a workbook of `people` beside the release."""
    tree.table(root / "CheXpert-v1.0" / "train.csv", [tree.image(i + 1) for i in range(patients)])
    tree.workbook(root / tree.DEMO, people)
    return Chexpert(**fields).table(root)  # type: ignore[arg-type]


def of(table: Split, attribute: str) -> dict[str, str]:
    """The group of each patient, by number."""
    who = table.frame["patient_id"].str[-1]
    return dict(zip(who, table.frame[attribute].astype(str), strict=True))


@pytest.mark.parametrize("place", [".", "CheXpert-v1.0"])
@pytest.mark.parametrize("name", [tree.DEMO, "chexpert_demo.xlsx", "CheXpert Demo (1).xlsx"])
def test_the_workbook_is_found_beside_the_release_and_inside(
    tmp_path: Path, place: str, name: str
) -> None:
    tree.table(tmp_path / "CheXpert-v1.0" / "train.csv", [tree.image(1)])
    tree.workbook(tmp_path / place / name, [tree.person(1, "Asian")])
    for root in (tmp_path, tmp_path / "CheXpert-v1.0"):
        assert of(Chexpert().table(root), "race") == {"1": "Asian"}


def test_without_the_workbook_race_is_no_attribute_and_the_run_is_told(tmp_path: Path) -> None:
    tree.table(tmp_path / "train.csv", [tree.image(1)])
    table = Chexpert().table(tmp_path)
    assert table.attributes == ("sex", "age_band", "view")
    assert any("race and ethnicity are not known" in note for note in table.notes)


def test_without_the_workbook_a_rule_of_race_is_refused(tmp_path: Path) -> None:
    tree.table(tmp_path / "train.csv", [tree.image(1)])
    with pytest.raises(FileNotFoundError, match="race_groups=glocker-2023 needs race"):
        Chexpert(race_groups="glocker-2023").table(tmp_path)


def test_a_patient_who_is_not_in_the_workbook_is_unknown(tmp_path: Path) -> None:
    table = loaded(tmp_path, [tree.person(1), tree.person(3, "Black or African American")])
    assert of(table, "race") == {"1": "White", "2": "Unknown", "3": "Black"}
    assert of(table, "ethnicity")["2"] == "Unknown"
    assert any(note.startswith("1 patients (1 images) are not in") for note in table.notes)


def test_words_with_commas_are_grouped_by_the_rule(tmp_path: Path) -> None:
    people = [tree.person(1, "White, non-Hispanic"), tree.person(2, "White, Hispanic", "Hispanic"),
              tree.person(3, "Asian - Historical Conv")]  # fmt: skip
    assert of(loaded(tmp_path, people), "race") == {"1": "White", "2": "Hispanic", "3": "Asian"}
    nonwhite = Chexpert(race_groups="white-nonwhite").table(tmp_path)
    assert of(nonwhite, "race") == {"1": "White", "2": "White", "3": "Non-White"}


@pytest.mark.parametrize("race", ["Unknown", "Patient Refused", "Race and Ethnicity Unknown", ""])
def test_race_that_was_not_told_is_unknown_and_not_other(tmp_path: Path, race: str) -> None:
    assert of(loaded(tmp_path, [tree.person(1, race, "Unknown")], 1), "race") == {"1": "Unknown"}


def test_the_rule_of_glocker_leaves_out_whom_its_study_left_out(tmp_path: Path) -> None:
    people = [
        tree.person(1, "White"),
        tree.person(2, "White", "Unknown"),
        tree.person(3, "White", ""),
        tree.person(4, "Other"),
        tree.person(5, "Asian, non-Hispanic", "Not Hispanic"),
        tree.person(6, "Black or African American", "Hispanic/Latino"),
    ]
    table = loaded(tmp_path, people, 7, race_groups="glocker-2023")
    assert of(table, "race") == {"1": "White", "5": "Asian"}
    assert table.dropped == {"race left out by glocker-2023": 5}
    assert table.groups_of("race") == ("White", "Asian")


def test_two_words_of_one_group_are_no_change_of_race(tmp_path: Path) -> None:
    people = [tree.person(1, "White"), tree.person(1, "White, non-Hispanic"), tree.person(2)]
    assert of(loaded(tmp_path, people, 2, changing="drop"), "race") == {"1": "White", "2": "White"}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("most_frequent", {"1": "Asian", "2": "White"}), ("first", {"1": "White", "2": "White"}),
     ("drop", {"2": "White"})],
)  # fmt: skip
def test_two_races_of_one_patient_follow_the_policy(
    tmp_path: Path, policy: str, expected: dict[str, str]
) -> None:
    people = [tree.person(1, "White"), tree.person(1, "Asian"), tree.person(1, "Asian"),
              tree.person(2), tree.person(2, "Unknown")]  # fmt: skip
    table = loaded(tmp_path, people, 2, changing=policy)
    assert of(table, "race") == expected
    assert table.dropped == (
        {"patient recorded under two groups of race": 1} if policy == "drop" else {}
    )


@pytest.mark.parametrize(
    ("race", "ethnicity", "expected"),
    [
        ("White", "Non-Hispanic/Non-Latino", "Not Hispanic"),
        ("White", "Not Hispanic", "Not Hispanic"),
        ("White", "Hispanic/Latino", "Hispanic"),
        ("White", "Hispanic", "Hispanic"),
        ("White", "Unknown", "Unknown"),
        ("White", "Patient Refused", "Unknown"),
        ("White", "", "Unknown"),
        ("White, Hispanic", "Unknown", "Hispanic"),
        ("White, non-Hispanic", "", "Not Hispanic"),
        ("White, non-Hispanic", "Hispanic", "Hispanic"),
    ],
)
def test_ethnicity_has_two_groups_and_unknown(
    tmp_path: Path, race: str, ethnicity: str, expected: str
) -> None:
    table = loaded(tmp_path, [tree.person(1, race, ethnicity)], 1)
    assert of(table, "ethnicity") == {"1": expected}


def test_age_and_sex_of_the_workbook_are_those_of_one_study_and_not_used(tmp_path: Path) -> None:
    table = loaded(tmp_path, [{**tree.person(1), "AGE_AT_CXR": 33, "GENDER": "Male"}], 1)
    assert table.frame["age"].tolist() == [50.0] and of(table, "sex") == {"1": "Female"}


def test_a_workbook_of_other_people_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'PATIENT' .* such as 'patient00001'.*'patient00008'"):
        loaded(tmp_path, [tree.person(8)])


def test_two_workbooks_are_not_chosen_between(tmp_path: Path) -> None:
    tree.workbook(tmp_path / "CheXpert-v1.0" / tree.DEMO, [tree.person(1)])
    with pytest.raises(ValueError, match="race must stand in one workbook"):
        loaded(tmp_path, [tree.person(1)])


def test_excels_own_lock_file_is_not_the_workbook(tmp_path: Path) -> None:
    (tmp_path / f"~${tree.DEMO}").write_bytes(b"locked")
    assert of(loaded(tmp_path, [tree.person(1)], 1), "race") == {"1": "White"}
