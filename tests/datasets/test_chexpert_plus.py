"""Traps of CheXpert Plus, on miniature trees of made-up people."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from trees import chexpert as tree

from datasets.chexpert import Chexpert
from datasets.split import Split


def loaded(root: Path, rows: list[tree.Row], said: list[tree.Row], **fields: object) -> Split:
    """The table of these images and labels."""
    tree.plus(root, rows, said)
    return Chexpert(**fields).table(root)  # type: ignore[arg-type]


def test_the_table_and_its_labels_are_joined_by_path(tmp_path: Path) -> None:
    rows = [tree.plus_image(i) for i in (1, 2, 3)]
    said = [tree.plus_labels(rows[2], Edema=0.0), tree.plus_labels(rows[0], Edema=1.0),
            tree.plus_labels(rows[1], Edema=-1.0)]  # fmt: skip
    table = loaded(tmp_path, rows, said)
    np.testing.assert_array_equal(table.frame["Edema"], [1.0, np.nan, 0.0])
    assert table.attributes == ("sex", "age_band", "race", "ethnicity", "insurance", "view")
    assert "release: CheXpert Plus" in table.notes


def test_reports_with_line_breaks_are_passed_over(tmp_path: Path) -> None:
    rows = [tree.plus_image(1), tree.plus_image(2, report='a\n"b",\n\nc, 3')]
    assert len(loaded(tmp_path, rows, [tree.plus_labels(r) for r in rows])) == 2


def test_images_without_labels_are_told(tmp_path: Path) -> None:
    rows = [tree.plus_image(1), tree.plus_image(2)]
    table = loaded(tmp_path, rows, [tree.plus_labels(rows[0], Edema=1.0)], blank="ignore")
    np.testing.assert_array_equal(table.frame["Edema"], [1.0, np.nan])
    assert any(note.startswith("1 of 2 images are not in impression_fixed") for note in table.notes)


def test_images_without_labels_stay_blank_where_blanks_are_absent(tmp_path: Path) -> None:
    rows = [tree.plus_image(1), tree.plus_image(2)]
    table = loaded(tmp_path, rows, [tree.plus_labels(rows[0], Edema=1.0)], blank="zero")
    np.testing.assert_array_equal(table.frame["Edema"], [1.0, np.nan])
    np.testing.assert_array_equal(table.frame["Fracture"], [0.0, np.nan])


def test_the_section_of_the_report_is_a_choice(tmp_path: Path) -> None:
    rows = [tree.plus_image(1)]
    tree.plus(tmp_path, rows, [tree.plus_labels(rows[0], Edema=1.0)], section="findings")
    with pytest.raises(FileNotFoundError, match=r"must hold impression_fixed\.json"):
        Chexpert().table(tmp_path)
    assert Chexpert(section="findings").table(tmp_path).frame["Edema"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("place", "ending"), [("", "jpg"), ("", "png"), ("PNG", "png"), ("PNG/PNG", "png"),
                          ("DICOM", "dcm")],
)  # fmt: skip
def test_images_are_found_in_the_folder_and_kind_that_is_there(
    tmp_path: Path, place: str, ending: str
) -> None:
    rows = [tree.plus_image(1)]
    file = tmp_path / place / f"train/patient00001/study1/view1_frontal.{ending}"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    table = loaded(tmp_path, rows, [tree.plus_labels(rows[0])])
    assert tmp_path / str(table.frame["path"][0]) == file


def test_insurance_is_one_per_patient_and_blank_is_unknown(tmp_path: Path) -> None:
    insured = ((1, "Medicaid"), (2, "Medicare"), (3, "Medicaid"))
    rows = [tree.plus_image(1, study=s, insurance_type=name) for s, name in insured]
    rows += [tree.plus_image(2, insurance_type=""), tree.plus_image(3)]
    table = loaded(tmp_path, rows, [tree.plus_labels(r) for r in rows])
    assert table.frame["insurance"].tolist() == ["Medicaid"] * 3 + ["Unknown", "Medicare"]
    assert table.groups_of("insurance") == ("Medicare", "Medicaid", "Unknown")


def test_a_table_without_insurance_is_read(tmp_path: Path) -> None:
    rows = [tree.plus_image(1)]
    path = tree.plus(tmp_path, rows, [tree.plus_labels(rows[0])])
    tree.table(path, rows, [c for c in tree.PLUS if c != "insurance_type"])
    assert "insurance" not in Chexpert().table(tmp_path).attributes


def test_reports_stand_in_their_order_in_time(tmp_path: Path) -> None:
    rows = [tree.plus_image(1, study=s, patient_report_date_order=o) for s, o in ((1, 2), (2, 1))]
    said = [tree.plus_labels(r) for r in rows]
    assert loaded(tmp_path, rows, said).frame["visit"].tolist() == [1, 0]
    first = Chexpert(one_image_per_patient=True).table(tmp_path)
    assert first.frame["image_id"].tolist() == ["train/patient00001/study2/view1_frontal"]


def test_valid_is_the_test_fold(tmp_path: Path) -> None:
    rows = [
        tree.plus_image(1),
        {**tree.plus_image(2), "path_to_image": "valid/patient00002/study1/view1_frontal.jpg"},
    ]
    table = loaded(tmp_path, rows, [tree.plus_labels(r) for r in rows])
    assert table.frame["fold"].tolist() == ["train", "test"]


def test_laterals_are_left_out(tmp_path: Path) -> None:
    rows = [tree.plus_image(1), tree.plus_image(1, view="view2_lateral")]
    table = loaded(tmp_path, rows, [tree.plus_labels(r) for r in rows])
    assert table.dropped == {"lateral view": 1}


def test_both_releases_in_one_folder_are_chosen_between(tmp_path: Path) -> None:
    rows = [tree.plus_image(1)]
    tree.plus(tmp_path, rows, [tree.plus_labels(rows[0])])
    tree.table(tmp_path / "CheXpert-v1.0" / "train.csv", [tree.image(2)])
    with pytest.raises(ValueError, match=r"choose with --data release=v1\.0 or release=plus"):
        Chexpert().table(tmp_path)
    for release, patient in (("plus", "patient00001"), ("v1.0", "patient00002")):
        table = Chexpert(release=release).table(tmp_path)
        assert table.frame["patient_id"].tolist() == [patient]


def test_a_split_file_of_rows_of_v1_is_refused(tmp_path: Path) -> None:
    rows = [tree.plus_image(1)]
    with pytest.raises(ValueError, match=r"rows of train\.csv, which CheXpert Plus does not have"):
        loaded(tmp_path, rows, [tree.plus_labels(rows[0])], split_file="s.csv")


@pytest.mark.parametrize(
    ("line", "told"), [('{"path_to', "line 2"), ("[1]", "a list instead"), ("", "line 2")]
)
def test_a_damaged_line_of_labels_is_named(tmp_path: Path, line: str, told: str) -> None:
    rows = [tree.plus_image(1)]
    tree.plus(tmp_path, rows, [])
    labels = tmp_path / "chexbert_labels" / "impression_fixed.json"
    labels.write_text(json.dumps(tree.plus_labels(rows[0])) + f"\n{line}\n")
    with pytest.raises(ValueError, match=rf"impression_fixed\.json .*{told}"):
        Chexpert().table(tmp_path)


def test_a_cut_compressed_file_of_labels_is_refused(tmp_path: Path) -> None:
    rows = [tree.plus_image(i) for i in range(50)]
    tree.plus(tmp_path, rows, [])
    labels = tmp_path / "chexbert_labels" / "impression_fixed.json"
    text = "".join(json.dumps(tree.plus_labels(row)) + "\n" for row in rows)
    labels.unlink()
    packed = labels.with_name("impression_fixed.json.gz")
    packed.write_bytes(gzip.compress(text.encode())[:-30])
    with pytest.raises(ValueError, match="must hold one JSON object in each line"):
        Chexpert().table(tmp_path)


def test_labels_without_a_finding_are_answered_with_the_nearest(tmp_path: Path) -> None:
    row = tree.plus_image(1)
    said = {k.replace("Edema", "Oedema"): v for k, v in tree.plus_labels(row, Edema=1.0).items()}
    with pytest.raises(ValueError, match=r"the column 'Edema'.*nearest: 'Oedema'"):
        loaded(tmp_path, [row], [said])


def test_labels_of_other_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has none of the 1; take both from one release"):
        loaded(tmp_path, [tree.plus_image(1)], [tree.plus_labels(tree.plus_image(2))])
