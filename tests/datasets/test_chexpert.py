"""Traps of CheXpert v1.0, on miniature trees of made-up people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trees import chexpert as tree

from datasets.chexpert import Chexpert
from datasets.folds import official
from datasets.images import open_images, prepare
from datasets.split import Split
from registry import UnknownName


def loaded(root: Path, rows: list[tree.Row], **fields: object) -> Split:
    """The table of a train.csv with these rows."""
    tree.table(root / "train.csv", rows)
    return Chexpert(**fields).table(root)  # type: ignore[arg-type]


def column(table: Split, name: str) -> list[object]:
    """A column in the order of the table."""
    return list(table.frame[name])


def test_the_release_folder_and_its_parent_are_both_data_roots(tmp_path: Path) -> None:
    tree.make(tmp_path)
    outer = Chexpert().table(tmp_path)
    inner = Chexpert().table(tmp_path / "CheXpert-v1.0-small")
    assert column(outer, "image_id") == column(inner, "image_id")
    assert column(outer, "race") == column(inner, "race")
    for table in (outer, inner):
        assert all((table.root / path).is_file() for path in table.frame["path"])


@pytest.mark.parametrize("folder", ["CheXpert-v1.0", "CheXpert-v1.0-small", "archive", "."])
def test_the_prefix_of_the_list_is_not_trusted(tmp_path: Path, folder: str) -> None:
    root = tmp_path / folder
    root.mkdir(exist_ok=True)
    table = loaded(root, [tree.image(1, release="CheXpert-v1.0"), tree.image(2, release="../..")])
    assert column(table, "patient_id") == ["patient00001", "patient00002"]
    assert column(table, "path")[1] == "train/patient00002/study1/view1_frontal.jpg"


def test_patients_are_told_by_their_name_and_not_by_its_position(tmp_path: Path) -> None:
    # Characters 26 to 38 are the patient in v1.0-small alone.
    rows = [tree.image(64540, release=r, study=s)
            for s, r in enumerate(("CheXpert-v1.0", "a/much/longer/folder"), start=1)]  # fmt: skip
    assert column(loaded(tmp_path, rows), "patient_id") == ["patient64540"] * 2


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("at_parent", [False, True])
def test_patients_of_a_repack_in_batches_are_found(
    tmp_path: Path, nested: bool, at_parent: bool
) -> None:
    lists = tmp_path / "CheXpert-v1.0 batch 1 (validate & csv)"
    rows = [tree.image(i, release="CheXpert-v1.0") for i in (1, 2)]
    valid = [tree.image(3, fold="valid", release="CheXpert-v1.0")]
    tree.table(lists / "train.csv", rows)
    tree.table(lists / "valid.csv", valid)
    tree.pixels(lists, [{"Path": "valid/patient00003/study1/view1_frontal.jpg"}])
    for i, folder in (
        (1, "CheXpert-v1.0 batch 2 (train 1)"),
        (2, "CheXpert-v1.0 batch 3 (train 2)"),
    ):
        place = f"{folder}/train" if nested else folder
        tree.pixels(tmp_path, [{"Path": f"{place}/patient0000{i}/study1/view1_frontal.jpg"}])
    table = Chexpert().table(tmp_path if at_parent else lists)
    assert len(table) == 3
    assert all((table.root / path).is_file() for path in table.frame["path"])


def test_images_that_lie_nowhere_are_not_the_loaders_business(tmp_path: Path) -> None:
    assert len(loaded(tmp_path, [tree.image(1)])) == 1


def test_pngs_keep_their_ending(tmp_path: Path) -> None:
    row = {**tree.image(1), "Path": "CheXpert-v1.0-png/train/patient00001/study1/view1_frontal.png"}
    assert column(loaded(tmp_path, [row]), "path")[0].endswith("/view1_frontal.png")  # type: ignore[attr-defined]


def test_compressed_lists_are_read(tmp_path: Path) -> None:
    tree.table(tmp_path / "train.csv.gz", [tree.image(1)])
    assert len(Chexpert().table(tmp_path)) == 1


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    rows = [tree.image(1, Edema=1.0, Fracture=0.0, Sex="Male")]
    tree.table(tmp_path / "train.csv", rows, tree.COLUMNS[::-1])
    frame = Chexpert(findings=("Fracture", "Edema")).table(tmp_path).frame
    assert frame.loc[0, ["Edema", "Fracture", "sex"]].tolist() == [1.0, 0.0, "Male"]


def test_laterals_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [tree.image(1), tree.image(1, view="view2_lateral")]
    table = loaded(tmp_path, rows)
    assert column(table, "view") == ["AP"] and table.dropped == {"lateral view": 1}
    both = Chexpert(views=("AP", "Lateral")).table(tmp_path)
    assert column(both, "view") == ["AP", "Lateral"] and not both.dropped


def test_frontal_rows_of_a_lateral_projection_have_a_reason_of_their_own(tmp_path: Path) -> None:
    rows = [tree.image(1), tree.image(2, projection="LL"), tree.image(3, projection="RL"),
            tree.image(4, projection="")]  # fmt: skip
    table = loaded(tmp_path, rows)
    assert table.dropped == {"recorded as frontal, but LL or RL": 2}
    assert column(table, "view") == ["AP", "Unknown"]
    kept = Chexpert(views=("AP", "LL")).table(tmp_path)
    assert column(kept, "view") == ["AP", "LL"]
    assert kept.dropped == {"recorded as frontal, but LL or RL": 1, "view not recorded": 1}


def test_a_projection_of_another_kind_is_told(tmp_path: Path) -> None:
    table = loaded(tmp_path, [tree.image(1), tree.image(2, projection="LAO")])
    assert column(table, "view") == ["AP", "Unknown"]
    assert "1 frontal images have an unknown word as projection: Unknown" in table.notes


def test_a_band_without_anybody_stays_a_group(tmp_path: Path) -> None:
    table = loaded(tmp_path, [tree.image(1, Age=50)])
    assert table.groups_of("age_band") == ("0-19", "20-39", "40-59", "60-79", "80+")


def test_a_patient_ages_between_studies(tmp_path: Path) -> None:
    table = loaded(tmp_path, [tree.image(1, Age=39), tree.image(1, study=2, Age=41)])
    assert column(table, "age_band") == ["20-39", "40-59"]


def test_bands_above_the_cap_are_refused() -> None:
    with pytest.raises(ValueError, match="age_edges must end at 90"):
        Chexpert(age_edges=(40, 95))


def test_sex_that_is_not_recorded_is_a_group(tmp_path: Path) -> None:
    rows = [tree.image(i, Sex=sex) for i, sex in enumerate(("Female", "Unknown", "Male", ""))]
    table = loaded(tmp_path, rows)
    assert column(table, "sex") == ["Female", "Unknown", "Male", "Unknown"]
    assert table.groups_of("sex") == ("Male", "Female", "Unknown")


@pytest.mark.parametrize(
    ("uncertain", "expected"),
    [
        (("ignore",), [1.0, 0.0, np.nan, 0.0]),
        (("zeros",), [1.0, 0.0, 0.0, 0.0]),
        (("ones",), [1.0, 0.0, 1.0, 0.0]),
        (("zeros", "Edema=ones"), [1.0, 0.0, 1.0, 0.0]),
    ],
)
def test_uncertain_labels_follow_the_policy(
    tmp_path: Path, uncertain: tuple[str, ...], expected: list[float]
) -> None:
    rows = [tree.image(i, Edema=said) for i, said in enumerate(("1.0", "0.0", "-1.0", ""))]
    table = loaded(tmp_path, rows, uncertain=uncertain)
    np.testing.assert_array_equal(table.frame["Edema"], expected)


@pytest.mark.parametrize(
    ("blank", "expected"),
    [("zero", [0, 0]), ("ignore", [np.nan, np.nan]), ("zero-if-no-finding", [0, np.nan])],
)
def test_blank_labels_follow_the_policy(tmp_path: Path, blank: str, expected: list[float]) -> None:
    rows = [tree.image(1, No_Finding=1.0), tree.image(2, Fracture=1.0)]
    table = loaded(tmp_path, rows, blank=blank, findings=("Edema",))
    np.testing.assert_array_equal(table.frame["Edema"], expected)


def test_another_label_is_named_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'Edema' of .*train.csv .* row 2 \(line 3\) holds '2'"):
        loaded(tmp_path, [tree.image(1), tree.image(2, Edema=2)])


def test_a_path_of_another_kind_is_named_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"row 2 \(line 3\) holds 'a/train/p1/x.jpg'"):
        loaded(tmp_path, [tree.image(1), {**tree.image(2), "Path": "a/train/p1/x.jpg"}])


def test_another_view_is_named_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'Frontal/Lateral' .* row 1 \(line 2\) holds 'Oblique'"):
        loaded(tmp_path, [tree.image(1, side="Oblique")])


def test_a_missing_column_is_answered_with_the_nearest(tmp_path: Path) -> None:
    columns = ["Gender" if c == "Sex" else "AP PA" if c == "AP/PA" else c for c in tree.COLUMNS]
    tree.table(tmp_path / "train.csv", [tree.image(1)], columns)
    with pytest.raises(ValueError, match="must have the column 'Sex'"):
        Chexpert().table(tmp_path)


def test_an_image_listed_again_is_counted(tmp_path: Path) -> None:
    table = loaded(tmp_path, [tree.image(1), tree.image(1)])
    assert len(table) == 1 and table.dropped == {"listed again": 1}


def test_pictures_of_one_name_of_two_patients_stay_apart(tmp_path: Path) -> None:
    table = loaded(tmp_path, [tree.image(1), tree.image(2)])
    assert table.frame["image_id"].is_unique and len(table) == 2


def test_studies_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    rows = [tree.image(1, study=s) for s in (10, 2, 1)]
    assert column(loaded(tmp_path, rows), "visit") == [2, 1, 0]


def test_one_image_per_patient_is_the_first(tmp_path: Path) -> None:
    rows = [tree.image(1, study=10), tree.image(1, study=2, view="view3_frontal"),
            tree.image(1, study=2, view="view1_lateral"), tree.image(2)]  # fmt: skip
    table = loaded(tmp_path, rows, one_image_per_patient=True)
    assert column(table, "image_id") == [
        "train/patient00001/study2/view3_frontal", "train/patient00002/study1/view1_frontal"
    ]  # fmt: skip
    assert table.dropped["not the first image of the patient"] == 1


def test_valid_is_the_test_fold_where_the_test_set_is_not_there(tmp_path: Path) -> None:
    tree.table(tmp_path / "valid.csv", [tree.image(9, fold="valid")])
    table = loaded(tmp_path, [tree.image(1)])
    assert column(table, "fold") == ["train", "test"]
    assert Chexpert().default_split == "patient"


@pytest.mark.parametrize("name", ["test.csv", "test_labels.csv"])
def test_valid_is_the_val_fold_where_the_test_set_is_there(tmp_path: Path, name: str) -> None:
    tree.table(tmp_path / "valid.csv", [tree.image(9, fold="valid")])
    # The radiologists' list has neither people nor views.
    rows = [
        tree.image(10, fold="test", release="."),
        tree.image(10, fold="test", view="view2_lateral"),
    ]
    tree.table(tmp_path / name, rows, ["Path", *tree.FINDINGS])
    table = loaded(tmp_path, [tree.image(1)])
    assert column(table, "fold") == ["train", "val", "test"]
    assert column(table, "sex")[2] == "Unknown" and column(table, "view")[2] == "Unknown"
    assert table.dropped == {"lateral view": 1}


def test_the_rows_of_a_split_file_are_those_of_train(tmp_path: Path) -> None:
    tree.table(tmp_path / "valid.csv", [tree.image(9, fold="valid")])
    rows = [tree.image(1, view="view1_lateral"), *(tree.image(i) for i in range(2, 6))]
    pd.DataFrame({"index": [4, 1, 2], "split": ["train", "validate", "test"]}).to_csv(
        tmp_path / "chexpert_split_2021_08_20.csv"
    )
    table = loaded(tmp_path, rows, split_file="chexpert_split_2021_08_20.csv")
    folds = dict(zip(column(table, "patient_id"), column(table, "fold"), strict=True))
    assert folds == {"patient00002": "val", "patient00003": "test", "patient00005": "train"}
    assert table.dropped == {"lateral view": 1, "not in the split file": 2}
    assert Chexpert(split_file="a.csv").default_split == "official"
    assert official(table).tolist() == ["val", "test", "train"]


@pytest.mark.parametrize(
    ("index", "split", "told"),
    [
        ([0, 7], ["train", "test"], "whole numbers from 0 to 1"),
        ([0, 0.5], ["train", "test"], "whole numbers from 0 to 1"),
        ([0, 0], ["train", "test"], "each row of train.csv once"),
        ([0, 1], ["train", "dev"], "train, validate or test.*row 2.*'dev'"),
    ],
)
def test_a_split_file_of_another_release_is_refused(
    tmp_path: Path, index: list[float], split: list[str], told: str
) -> None:
    pd.DataFrame({"index": index, "split": split}).to_csv(tmp_path / "s.csv")
    with pytest.raises(ValueError, match=told):
        loaded(tmp_path, [tree.image(1), tree.image(2)], split_file="s.csv")


def test_a_split_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"split_file.*nowhere\.csv"):
        loaded(tmp_path, [tree.image(1)], split_file="nowhere.csv")


def test_two_releases_side_by_side_are_not_chosen_between(tmp_path: Path) -> None:
    for name in ("CheXpert-v1.0", "CheXpert-v1.0-small"):
        tree.table(tmp_path / name / "train.csv", [tree.image(1)])
    with pytest.raises(ValueError, match=r"CheXpert-v1.0, CheXpert-v1.0-small; name one"):
        Chexpert().table(tmp_path)


def test_a_folder_of_something_else_is_answered_with_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"train.csv or df_chexpert_plus.*aimi.stanford"):
        Chexpert().table(tmp_path)


def test_views_that_leave_nothing_are_refused_with_the_counts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"its 1 were left out: {'view not chosen': 1}"):
        loaded(tmp_path, [tree.image(1)], views=("PA",))


@pytest.mark.parametrize(
    "fields",
    [{"views": ("PAA",)}, {"views": ()}, {"findings": ("Cardiomegalie",)}, {"release": "v2"},
     {"section": "summary"}, {"curation": "fairreed"}, {"race_groups": "x"},
     {"uncertain": ("one",)}],
)  # fmt: skip
def test_wrong_values_of_fields_are_answered_with_the_known_ones(fields: dict[str, object]) -> None:
    with pytest.raises(UnknownName, match="known: "):
        Chexpert(**fields)  # type: ignore[arg-type]


def test_damaged_pictures_are_left_to_the_preparation(tmp_path: Path) -> None:
    rows = [tree.image(i) for i in (1, 2, 3)]
    table = loaded(tmp_path, rows)
    tree.pixels(tmp_path, [{"Path": path} for path in table.frame["path"][:2]])
    first = tmp_path / str(table.frame["path"][0])
    first.write_bytes(first.read_bytes()[:200])
    kept = prepare(table, 32, on_bad="drop")
    assert column(kept, "patient_id") == ["patient00002"]
    assert sum(kept.dropped.values()) == 2
    assert open_images(kept, 32).take().shape == (1, 32, 32)
