"""The nih-cxr14 loader on miniature trees with every quirk."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from trees import nih_cxr14 as tree

from datasets.folds import official
from datasets.images import prepare
from datasets.nih_cxr14 import FINDINGS, NihCxr14
from registry import DATASETS

TABLE = "Data_Entry_2017_v2020.csv"


def row(
    patient: int = 1,
    number: int = 0,
    *,
    labels: str = "Mass",
    visit: str = "0",
    age: str = "50",
    sex: str = "M",
    view: str = "PA",
) -> str:
    """A line of the table."""
    image = tree.name(patient, number)
    return f"{image},{labels},{visit},{patient},{age},{sex},{view},{tree.REST}"


def loaded(root: Path, *lines: str, **fields: object):  # type: ignore[no-untyped-def]
    """The table of a folder that lists `lines`."""
    tree.write_table(root, TABLE, tree.HEADER_2020, lines)
    return NihCxr14(**fields).table(root)  # type: ignore[arg-type]


def test_loader_is_registered_and_open() -> None:
    loader = DATASETS.get("nih-cxr14")
    assert loader is NihCxr14
    assert loader.terms == "open" and loader.reidentification_allowed


# Headers


@pytest.mark.parametrize(
    ("file", "header"),
    [
        *[(TABLE, tree.HEADER_2020), (TABLE, tree.HEADER_BOX)],
        *[("Data_Entry_2017.csv", tree.HEADER_2017), ("sample_labels.csv", tree.HEADER_SAMPLE)],
    ],
)
def test_every_release_gives_the_same_table(tmp_path: Path, file: str, header: str) -> None:
    tree.write_table(tmp_path, file, header, tree.rows())
    frame = NihCxr14().table(tmp_path).frame
    first = frame.iloc[0]
    assert len(frame) == len(tree.rows())
    assert (first["image_id"], first["patient_id"]) == ("00000001_002.png", "1")
    assert (first["sex"], first["view"], first["age"]) == ("Female", "PA", 20.0)


def test_compressed_table_is_read(tmp_path: Path) -> None:
    text = "\n".join([tree.HEADER_BOX, row() + ","])
    with gzip.open(tmp_path / f"{TABLE}.gz", "wt") as file:
        file.write(text)
    assert NihCxr14().table(tmp_path).patients.tolist() == ["1"]


def test_release_of_2020_is_preferred(tmp_path: Path) -> None:
    tree.write_table(tmp_path, "Data_Entry_2017.csv", tree.HEADER_2017, [row(age="414")])
    assert loaded(tmp_path, row(age="41")).frame["age"].tolist() == [41.0]


def test_misnamed_column_is_answered_with_the_nearest(tmp_path: Path) -> None:
    header = tree.HEADER_2020.replace("Patient ID", "PatientID")
    tree.write_table(tmp_path, TABLE, header, [row()])
    with pytest.raises(ValueError, match=r"column 'Patient ID'.*nearest: 'PatientID'"):
        NihCxr14().table(tmp_path)


def test_absent_table_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Data_Entry_2017_v2020\.csv.*nihcc\.app"):
        NihCxr14().table(tmp_path)


def test_follow_up_that_is_no_number_names_row_and_value(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'visit' .* row 2 \(line 3\) holds 'x'"):
        loaded(tmp_path, row(), row(2, visit="x"))


# Findings


def test_findings_are_split_and_not_searched_for(tmp_path: Path) -> None:
    table = loaded(
        tmp_path,
        *(row(1, labels="Pleural_Thickening"), row(2, labels="Thickening|Mass")),
        findings=("Mass", "Thickening", "Pleural_Thickening"),
    )
    assert table.labels().tolist() == [[0, 0, 1], [1, 1, 0]]


def test_all_fifteen_names_are_findings(tmp_path: Path) -> None:
    table = loaded(tmp_path, *(row(i + 1, labels=name) for i, name in enumerate(FINDINGS)))
    assert len(FINDINGS) == 15 and (table.labels() == np.eye(15)).all()


def test_row_without_any_label_is_not_known_rather_than_absent(tmp_path: Path) -> None:
    table = loaded(tmp_path, row(labels=""), row(2), findings=("Mass", "No Finding"))
    assert np.isnan(table.labels()[0]).all() and table.labels()[1].tolist() == [1, 0]


def test_misspelt_finding_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="did you mean 'Infiltration'"):
        loaded(tmp_path, row(), findings=("Infiltrate",))


# People


@pytest.mark.parametrize(
    ("recorded", "age", "band"),
    [
        *[("0", 0, "0-19"), ("20", 20, "20-39"), ("95", 95, "80+"), ("060Y", 60, "60-79")],
        *[("011M", 11 / 12, "0-19"), ("013D", 13 / 365.25, "0-19"), ("100", 100, "80+")],
        *[("101", np.nan, "Unknown"), ("414", np.nan, "Unknown"), ("", np.nan, "Unknown")],
    ],
)
def test_age_falls_into_its_band_and_errors_are_unknown(
    tmp_path: Path, recorded: str, age: float, band: str
) -> None:
    frame = loaded(tmp_path, row(age=recorded)).frame
    assert frame["age"].to_numpy() == pytest.approx([age], nan_ok=True)
    assert frame["age_band"].tolist() == [band]


def test_band_without_anybody_stays_a_group(tmp_path: Path) -> None:
    table = loaded(tmp_path, row(age="50"))
    assert table.groups_of("age_band") == ("0-19", "20-39", "40-59", "60-79", "80+")


def test_edges_of_bands_can_be_chosen(tmp_path: Path) -> None:
    assert loaded(tmp_path, row(age="64"), age_edges=(65,)).frame["age_band"].tolist() == ["0-64"]


@pytest.mark.parametrize(("recorded", "group"), [("M", "Male"), ("F", "Female"), ("", "Unknown")])
def test_recorded_sex_is_spelled_out(tmp_path: Path, recorded: str, group: str) -> None:
    assert loaded(tmp_path, row(sex=recorded)).frame["sex"].tolist() == [group]


def test_listed_same_persons_are_united(tmp_path: Path) -> None:
    (tmp_path / "same_person.csv").write_text("patientid_a,patientid_b\n2,7\n")
    assert loaded(tmp_path, row(2), row(7), row(8)).patients.tolist() == ["2", "8"]


# Rows


def test_every_row_is_kept_or_counted(tmp_path: Path) -> None:
    lines = [row(1), row(2, view="AP"), row(3, view=""), row(1), row(4).replace(",4,", ",,", 1)]
    table = loaded(tmp_path, *lines)
    assert table.frame["patient_id"].tolist() == ["1", "2"]
    assert table.dropped == {
        "no image name or patient id": 1,
        "view not chosen": 1,
        "image listed before": 1,
    }


def test_view_can_be_chosen(tmp_path: Path) -> None:
    table = loaded(tmp_path, row(1), row(2, view="AP"), views=("AP",))
    assert table.patients.tolist() == ["2"] and table.groups_of("view") == ("AP",)


def test_misspelt_view_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match=r"unknown view 'LATERAL'.*AP, PA"):
        loaded(tmp_path, row(), views=("LATERAL",))


def test_first_image_of_a_patient_is_the_first_in_time(tmp_path: Path) -> None:
    # The number in the file's name says otherwise, and as text "10" would come before "9".
    lines = [row(1, 0, visit="10"), row(1, 1, visit="9"), row(2, 0, visit="3")]
    table = loaded(tmp_path, *lines, one_image_per_patient=True)
    assert table.frame["image_id"].tolist() == [tree.name(1, 1), tree.name(2, 0)]
    assert table.dropped == {"later image of the patient": 1}


def test_one_image_per_patient_is_one_of_each_person(tmp_path: Path) -> None:
    (tmp_path / "same_person.csv").write_text("patientid_a,patientid_b\n2,7\n")
    lines = [row(2, visit="4"), row(7, visit="1"), row(8)]
    table = loaded(tmp_path, *lines, one_image_per_patient=True)
    assert table.frame["image_id"].tolist() == [tree.name(7, 0), tree.name(8, 0)]
    assert table.patients.tolist() == ["2", "8"]


def test_visit_is_the_follow_up_number(tmp_path: Path) -> None:
    frame = loaded(tmp_path, row(1, 5, visit="2"), row(1, 6, visit="11")).frame
    assert frame["visit"].tolist() == [2, 11]


def test_table_with_none_of_the_views_is_refused_with_its_counts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'view not chosen': 1"):
        loaded(tmp_path, row(view="AP"), views=("PA",))


# Files


@pytest.mark.parametrize(
    "folder",
    ["images", "images_012/images", "images_003", "images/images_001", "sample/sample/images"],
)
def test_image_is_found_wherever_releases_put_it(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / tree.name(1, 0)).touch()
    assert loaded(tmp_path, row()).frame["path"].tolist() == [f"{folder}/{tree.name(1, 0)}"]


def test_other_folders_are_not_looked_into(tmp_path: Path) -> None:
    (tmp_path / "resized").mkdir()
    (tmp_path / "resized" / tree.name(1, 0)).touch()
    assert loaded(tmp_path, row()).frame["path"].tolist() == [f"images/{tree.name(1, 0)}"]


def test_absent_images_are_left_to_the_policy_of_preparation(tmp_path: Path) -> None:
    tree.write_images(tmp_path, [tree.name(1, 0)])
    table = loaded(tmp_path, row(), row(2))
    with pytest.raises(ValueError, match=r"00000002_000\.png: image file missing"):
        prepare(table, 32)
    assert prepare(table, 32, on_bad="drop").dropped == {"image file missing": 1}


def test_path_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="image paths must lie below"):
        loaded(tmp_path, row().replace(tree.name(1, 0), "../../x.png"))


# Official lists


def test_official_lists_become_folds(tmp_path: Path) -> None:
    tree.write_lists(tmp_path, [tree.name(1, 0), tree.name(9, 9)], [tree.name(2, 0)])
    frame = loaded(tmp_path, row(1), row(2), row(3)).frame
    assert frame["fold"].tolist() == ["train", "test", ""]


def test_lists_with_other_line_ends_are_read(tmp_path: Path) -> None:
    tree.write_lists(tmp_path, [], [tree.name(3, 0)])
    text = f"\ufeff{tree.name(1, 0)}\r\n{tree.name(2, 0)}\r\n"
    (tmp_path / "train_val_list.txt").write_text(text, encoding="utf-8")
    assert loaded(tmp_path, row(1), row(2), row(3)).frame["fold"].tolist() == [
        *("train", "train", "test")
    ]


def test_without_lists_there_is_no_official_split_and_a_note(tmp_path: Path) -> None:
    table = loaded(tmp_path, row())
    assert "fold" not in table.frame
    assert "train_val_list.txt and test_list.txt" in table.notes[0]
    with pytest.raises(ValueError, match=r"assigns no folds.*test_list.txt.*--split patient"):
        official(table)


def test_one_list_without_the_other_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test_list.txt").write_text(tree.name(1, 0))
    with pytest.raises(FileNotFoundError, match=r"train_val_list\.txt is not"):
        loaded(tmp_path, row())


def test_image_in_both_lists_is_refused(tmp_path: Path) -> None:
    tree.write_lists(tmp_path, [tree.name(1, 0)], [tree.name(1, 0)])
    with pytest.raises(ValueError, match=r"1 stand in both.*00000001_000\.png"):
        loaded(tmp_path, row())


def test_lists_of_other_images_are_refused(tmp_path: Path) -> None:
    tree.write_lists(tmp_path, ["a.png"], ["b.png"])
    with pytest.raises(ValueError, match=r"none of its 1 images .*00000001_000\.png"):
        loaded(tmp_path, row())
