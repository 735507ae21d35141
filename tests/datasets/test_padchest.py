"""The traps of PadChest's table and tree, each on rows made for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trees import padchest as tree
from trees.padchest import image

from datasets.images import open_images, prepare
from datasets.padchest import PadChest
from datasets.padchest_labels import GROUPS
from datasets.split import Split
from registry import UnknownName


def read(root: Path, *rows: tree.Row, **fields: object) -> Split:
    return PadChest(**fields).table(tree.table(root, rows))  # type: ignore[arg-type]


def test_labels_with_leading_blanks_are_read(tmp_path: Path) -> None:
    table = read(tmp_path, image(1, 1, "['infiltrates', ' pneumonia']"))
    present = [f for f in table.findings if table.frame[f][0] == 1]
    assert present == ["Infiltration", "Pneumonia"]


@pytest.mark.parametrize(
    ("label", "finding"),
    [
        ("pseudonodule", "Nodule"),
        ("subcutaneous emphysema", "Emphysema"),
        ("pericardial effusion", "Pleural Effusion"),
        ("calcified pleural plaques", "Pleural Thickening"),
        ("mastectomy", "Mass"),
        ("vertebral compression", "Fracture"),
    ],
)
def test_words_within_a_label_do_not_make_a_finding(
    tmp_path: Path, label: str, finding: str
) -> None:
    assert read(tmp_path, image(1, 1, f"['{label}']")).frame[finding][0] == 0


@pytest.mark.parametrize(
    ("label", "finding"),
    [("atypical pneumonia", "Pneumonia"), ("laminar atelectasis", "Atelectasis"),
     ("loculated pleural effusion", "Pleural Effusion"), ("normal", "No Finding"),
     ("air bronchogram", "Consolidation"), ("air bronchogram", "Infiltration"),
     ("hydropneumothorax", "Pneumothorax"), ("callus rib fracture", "Fracture")],
)  # fmt: skip
def test_labels_below_a_finding_make_it(tmp_path: Path, label: str, finding: str) -> None:
    assert read(tmp_path, image(1, 1, f"['{label}']")).frame[finding][0] == 1


def test_no_label_stands_twice_in_a_finding() -> None:
    assert all(len(set(members)) == len(members) for members in GROUPS.values())


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ("", "no labels"),
        ("nan", "no labels"),
        ("[]", "no labels"),
        ("['']", "no labels"),
        ("['exclude']", "report not usable (exclude)"),
        ("['exclude', ' cardiomegaly']", "report not usable (exclude)"),
        ("['unchanged']", "report tells no findings (unchanged, suboptimal study)"),
        ("['suboptimal study', ' unchanged']",
         "report tells no findings (unchanged, suboptimal study)"),
    ],
)  # fmt: skip
def test_reports_that_tell_nothing_are_left_out(tmp_path: Path, labels: str, reason: str) -> None:
    table = read(tmp_path, image(1, 1), image(2, 2, labels))
    assert len(table) == 1 and table.dropped == {reason: 1}


def test_suboptimal_studies_with_findings_stay_unless_refused(tmp_path: Path) -> None:
    rows = image(1, 1), image(2, 2, "['suboptimal study', ' nodule']")
    assert read(tmp_path, *rows).frame["Nodule"].tolist() == [0, 1]
    assert read(tmp_path, *rows, suboptimal=False).dropped == {"suboptimal study": 1}


@pytest.mark.parametrize("labels", ["normal", "{'normal'}", "['normal'", "[1]", "__import__('os')"])
def test_labels_that_are_no_list_are_refused_with_their_row(tmp_path: Path, labels: str) -> None:
    with pytest.raises(ValueError, match=r"row 2 \(line 3\)"):
        read(tmp_path, image(1, 1), image(2, 2, labels))


def test_label_of_its_own_is_a_finding_by_its_exact_name(tmp_path: Path) -> None:
    rows = image(1, 1, "['scoliosis']"), image(2, 2, "['kyphosis']")
    table = read(tmp_path, *rows, findings=("scoliosis", "Nodule"))
    assert table.frame["scoliosis"].tolist() == [1, 0]
    with pytest.raises(UnknownName, match="scoliosis"):
        read(tmp_path, *rows, findings=("Scoliosis",))


def test_age_is_counted_from_the_year_of_the_study(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        image(1, 1, StudyDate_DICOM=20090301, PatientBirth="1950.0"),
        image(2, 1, StudyDate_DICOM=20171231, PatientBirth="1950"),
        image(3, 2, PatientBirth=""),
        image(4, 3, PatientBirth="1900"),
        image(5, 4, PatientBirth="2015"),
        image(6, 5, StudyDate_DICOM=""),
    )
    # 2009 - 1950 and 2017 - 1950; 114 and -1 years are no ages.
    np.testing.assert_array_equal(table.frame["age"], [59, 67, *[np.nan] * 4])
    assert table.frame["age_band"].astype(str).tolist() == ["40-59", "60-79", *["Unknown"] * 4]


def test_sex_not_recorded_is_a_group(tmp_path: Path) -> None:
    rows = [image(i, i, PatientSex_DICOM=s) for i, s in enumerate(("M", "F", "O", ""))]
    assert read(tmp_path, *rows).frame["sex"].astype(str).tolist() == [
        "Male", "Female", "Unknown", "Unknown"]  # fmt: skip


def test_views_not_chosen_are_counted_by_reason(tmp_path: Path) -> None:
    views = ("PA", "AP", "AP_horizontal", "L", "COSTAL", "EXCLUDE", "")
    rows = [image(i, i, Projection=view) for i, view in enumerate(views)]
    table = read(tmp_path, *rows)
    assert table.frame["view"].astype(str).tolist() == ["PA", "AP", "AP_horizontal"]
    assert table.dropped == {
        "lateral view": 1, "view not chosen": 1, "view not usable (EXCLUDE)": 1,
        "view not recorded": 1,
    }  # fmt: skip
    assert len(read(tmp_path, *rows, views=("PA", "L", "Unknown"))) == 3


def test_labels_of_physicians_alone_can_be_asked_for(tmp_path: Path) -> None:
    rows = image(1, 1, MethodLabel="Physician"), image(2, 2)
    table = read(tmp_path, *rows, labelled_by="physician")
    assert len(table) == 1 and table.dropped == {"not labelled by a physician": 1}
    assert "1 of 2 images were given by physicians" in read(tmp_path, *rows).notes[0]


def test_children_stay_unless_refused(tmp_path: Path) -> None:
    rows = image(1, 1), image(2, 2, Pediatric="PED")
    assert len(read(tmp_path, *rows)) == 2
    assert read(tmp_path, *rows, pediatric=False).dropped == {"protocol for children": 1}


def test_visits_stand_in_order_of_dates_and_the_first_can_be_asked_for(tmp_path: Path) -> None:
    rows = (image(1, 1, StudyDate_DICOM=20150101), image(2, 1, StudyDate_DICOM=20100101),
            image(3, 2))  # fmt: skip
    assert read(tmp_path, *rows).frame["visit"].tolist() == [1, 0, 0]
    first = read(tmp_path, *rows, one_image_per_patient=True)
    assert first.frame["image_id"].tolist() == ["00002_made.png", "00003_made.png"]


def test_image_listed_twice_stays_once(tmp_path: Path) -> None:
    assert read(tmp_path, image(1, 1), image(1, 1)).dropped == {"image listed before": 1}


def test_rows_without_ids_are_left_out(tmp_path: Path) -> None:
    table = read(tmp_path, image(1, 1), image(2, 2, PatientID=""), image(3, 3, ImageID=""))
    assert table.dropped == {"no image or patient id": 2}


def test_report_is_not_in_the_table(tmp_path: Path) -> None:
    table = read(tmp_path, image(1, 1), image(2, 2))
    assert tree.SECRET not in table.frame.to_csv() + repr(table)


@pytest.mark.parametrize("flat", [True, False])
def test_images_lie_in_numbered_folders_or_in_one(tmp_path: Path, flat: bool) -> None:
    rows = [image(i, i) for i in range(5)]
    tree.pixels(tmp_path, rows, flat=flat)
    table = read(tmp_path, *rows)
    assert open_images(table, 32).take().shape == (5, 32, 32)
    assert table.frame["path"][4] == ("00004_made.png" if flat else "1/00004_made.png")


def test_copies_of_another_size_lie_where_the_user_says(tmp_path: Path) -> None:
    (tmp_path / "images-224").mkdir()
    tree.pixels(tmp_path / "images-224", [image(1, 1)], flat=True)
    table = read(tmp_path, image(1, 1), image_folder="images-224")
    assert len(prepare(table, 32)) == 1
    with pytest.raises(FileNotFoundError, match="image_folder"):
        read(tmp_path, image(1, 1), image_folder="elsewhere")


def test_sixteen_bit_pictures_fill_the_range(tmp_path: Path) -> None:
    tree.pixels(tmp_path, [image(1, 1)])
    shown = open_images(read(tmp_path, image(1, 1)), 64).take()[0]
    assert shown.max() > 200 and 90 < shown[:, 8:56].mean() < 165


def test_missing_and_cut_files_are_counted_and_left_out(tmp_path: Path) -> None:
    rows = [image(i, i) for i in range(3)]
    tree.pixels(tmp_path, rows)
    table = read(tmp_path, *rows)
    (tmp_path / "1" / "00001_made.png").unlink()
    whole = (tmp_path / "2" / "00002_made.png").read_bytes()
    (tmp_path / "2" / "00002_made.png").write_bytes(whole[: len(whole) // 2])
    kept = prepare(table, 32, on_bad="drop")
    assert len(kept) == 1
    assert kept.dropped == {"image file missing": 1, "image unreadable": 1}


def test_path_that_leads_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must lie below"):
        read(tmp_path, image(1, 1, ImageID="../../secret.png"))


def test_compressed_table_is_read(tmp_path: Path) -> None:
    tree.table(tmp_path, [image(1, 1)], compressed=True)
    assert len(PadChest().table(tmp_path)) == 1


def test_nothing_left_says_what_was_left_out(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lateral view"):
        read(tmp_path, image(1, 1, Projection="L"))


@pytest.mark.parametrize("field", ["labelled_by", "views"])
def test_words_that_mean_nothing_are_refused(field: str) -> None:
    value = ("nurse",) if field == "views" else "nurse"
    with pytest.raises(UnknownName):
        PadChest(**{field: value})  # type: ignore[arg-type]
