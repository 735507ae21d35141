"""The traps of VinDr-CXR's tables, readers and tags, each on rows made for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from trees import vindr_cxr as tree
from trees.vindr_cxr import box, boxes, file, labels, name, reading

from datasets import dicom
from datasets.images import open_images
from datasets.split import Split
from datasets.vindr_cxr import VinDrCxr
from registry import UnknownName


def read(root: Path, **fields: Any) -> Split:
    return VinDrCxr(**fields).table(root)


def three(number: int, *said: str) -> list[Any]:
    """One finding of each of three readers."""
    return [reading(number, f"R{1 + j}", finding) for j, finding in enumerate(said)]


# Readers


@pytest.mark.parametrize(
    ("rule", "expected"), [("majority", [0, 1, 1]), ("any", [1, 1, 1]), ("all", [0, 0, 1])]
)
def test_three_readers_become_one_label(tmp_path: Path, rule: str, expected: list[int]) -> None:
    one = three(1, "Edema", "COPD", "COPD")
    two = three(2, "Edema", "Edema", "COPD")
    every = three(3, "Edema", "Edema", "Edema")
    table = read(labels(tmp_path, [*one, *two, *every]), readers=rule)
    assert table.frame["Edema"].tolist() == expected


def test_tie_of_two_readers_is_blank(tmp_path: Path) -> None:
    table = read(labels(tmp_path, three(1, "Edema", "COPD")))
    assert np.isnan(table.frame["Edema"][0]) and table.frame["ILD"][0] == 0
    assert any("1 training images were not read by 3" in note for note in table.notes)


def test_reader_listed_twice_has_one_vote(tmp_path: Path) -> None:
    rows = [reading(1, "R1", "Edema"), reading(1, "R1", "Edema"), reading(1, "R2"),
            reading(1, "R3")]  # fmt: skip
    assert read(labels(tmp_path, rows)).frame["Edema"][0] == 0


def test_rows_of_readers_may_stand_apart(tmp_path: Path) -> None:
    first, second = three(1, "Edema", "Edema", "ILD"), three(2, "ILD", "ILD", "ILD")
    mixed = [row for pair in zip(first, second, strict=True) for row in pair]
    table = read(labels(tmp_path, mixed))
    assert table.frame["image_id"].tolist() == [name(1), name(2)]
    assert table.frame["Edema"].tolist() == [1, 0]


def test_unknown_rule_is_refused() -> None:
    with pytest.raises(UnknownName, match="majority"):
        VinDrCxr(readers="most")


# Tables


def test_test_images_without_readers_are_not_lost(tmp_path: Path) -> None:
    test = [{"image_id": name(8), "Edema": 1}, {"image_id": name(9)}]
    table = read(labels(tmp_path, three(1, "ILD", "ILD", "ILD"), test))
    assert table.frame["fold"].tolist() == ["train", "test", "test"]
    assert table.frame["Edema"].tolist() == [0, 1, 0]
    assert table.frame["path"][1] == f"test/{name(8)}.dicom"


def test_singular_of_the_test_table_is_the_plural_of_the_other(tmp_path: Path) -> None:
    test = [{"image_id": name(8), "Other disease": 1}]
    table = read(labels(tmp_path, three(1, "Other diseases", "Other diseases", "ILD"), test))
    assert table.frame["Other diseases"].tolist() == [1, 1]


def test_findings_of_other_data_sets_have_their_capitals(tmp_path: Path) -> None:
    table = read(labels(tmp_path, three(1, "Pleural effusion", "Pleural effusion", "No finding")))
    assert table.frame["Pleural Effusion"][0] == 1 and table.frame["No Finding"][0] == 0
    assert len(table.findings) == 28


def test_tables_may_lie_beside_the_images(tmp_path: Path) -> None:
    assert len(read(labels(tmp_path, three(1, "ILD", "ILD", "ILD"), folder="."))) == 1


def test_without_test_table_there_are_no_folds(tmp_path: Path) -> None:
    assert "fold" not in read(labels(tmp_path, three(1, "ILD", "ILD", "ILD"))).frame


def test_finding_that_the_table_lacks_is_blank_there(tmp_path: Path) -> None:
    labels(tmp_path, three(1, "ILD", "ILD", "ILD"), [{"image_id": name(8)}])
    path = tmp_path / "annotations" / "image_labels_test.csv"
    pd.read_csv(path).drop(columns="Edema").to_csv(path, index=False)
    assert read(tmp_path).frame["Edema"].isna().tolist() == [False, True]


def test_image_in_both_tables_is_refused(tmp_path: Path) -> None:
    labels(tmp_path, three(1, "ILD", "ILD", "ILD"), [{"image_id": name(1)}])
    with pytest.raises(ValueError, match="train and test"):
        read(tmp_path)


def test_label_that_is_neither_0_nor_1_is_refused(tmp_path: Path) -> None:
    labels(tmp_path, [{"image_id": name(1), "rad_id": "R1", "Edema": 2}])
    with pytest.raises(ValueError, match=r"'Edema'.*must hold 0, 1"):
        read(tmp_path)


def test_table_without_readers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image_labels_train.csv").write_text("image_id,Edema\na,1\n")
    with pytest.raises(ValueError, match="rad_id"):
        read(tmp_path)


def test_folder_without_tables_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"image_labels_train\.csv.*physionet"):
        read(tmp_path)


@pytest.mark.parametrize("image", ["../../etc/passwd", "/etc/passwd", "a/b"])
def test_id_that_leads_out_is_refused_before_a_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: str
) -> None:
    monkeypatch.setattr(dicom, "tags", lambda *_: pytest.fail("a file was opened"))
    labels(tmp_path, [{"image_id": image, "rad_id": "R1"}])
    with pytest.raises(ValueError, match="names of files"):
        read(tmp_path)


# Kaggle


def test_boxes_of_kaggle_become_labels_of_readers(tmp_path: Path) -> None:
    rows = [
        box(1, "R1", "Cardiomegaly", 3), box(1, "R1", "Cardiomegaly", 3), box(1, "R2", "ILD", 5),
        box(1, "R2", "Cardiomegaly", 3), box(1, "R3", "No finding"),
        *(box(2, f"R{j}", "No finding") for j in range(3)),
    ]  # fmt: skip
    table = read(boxes(tmp_path, rows))
    assert table.frame["Cardiomegaly"].tolist() == [1, 0]
    assert table.frame["ILD"].tolist() == [0, 0]
    assert table.frame["No Finding"].tolist() == [0, 1]
    assert "Edema" not in table.findings and "fold" not in table.frame


def test_finding_that_kaggle_does_not_have_is_refused(tmp_path: Path) -> None:
    boxes(tmp_path, [box(1, "R1", "No finding"), box(1, "R2", "ILD", 5)])
    with pytest.raises(UnknownName, match="Edema"):
        read(tmp_path, findings=("Edema",))


def test_class_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    boxes(tmp_path, [box(1, "R1", "No finding"), box(1, "R2", "Covid", 77)])
    with pytest.raises(ValueError, match=r"row 2 \(line 3\) holds 'Covid'"):
        read(tmp_path)


# People


def test_sex_and_age_come_from_the_tags(tmp_path: Path) -> None:
    said = [("M", "045Y"), ("F", "000Y"), ("O", ""), ("", "081Y"), ("F", "011M"), ("F", "0Y")]
    labels(tmp_path, [row for i in range(7) for row in three(i, "ILD", "ILD", "ILD")])
    for i, (sex, age) in enumerate(said):
        file(tmp_path, "train", i, PatientSex=sex, PatientAge=age)
    table = read(tmp_path)
    assert table.frame["sex"].astype(str).tolist() == [
        "Male", "Female", "Unknown", "Unknown", "Female", "Female", "Unknown"]  # fmt: skip
    np.testing.assert_allclose(
        table.frame["age"], [45, np.nan, np.nan, 81, 11 / 12, np.nan, np.nan]
    )
    assert "of 7 images, 3 have no recorded sex and 4 no age" in table.notes


def test_every_image_counts_as_a_patient_and_a_note_says_so(tmp_path: Path) -> None:
    table = read(labels(tmp_path, [*three(1, "ILD", "ILD", "ILD"), *three(2, "ILD", "ILD", "ILD")]))
    assert table.frame["patient_id"].tolist() == [name(1), name(2)]
    assert any("no patients are named" in note for note in table.notes)


def test_dicom_files_of_all_kinds_are_prepared(tmp_path: Path) -> None:
    tree.make(tmp_path)
    assert open_images(read(tmp_path), 32).take().shape == (20, 32, 32)
