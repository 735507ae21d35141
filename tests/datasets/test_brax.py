"""The loader of BRAX on miniature trees with every trap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trees import brax as tree

from datasets.brax import Brax
from datasets.images import open_images, prepare
from datasets.split import Split
from registry import UnknownName


def load(root: Path, rows: list[tree.Row], **fields: object) -> Split:
    return Brax(**fields).table(tree.spreadsheet(root, rows))  # type: ignore[arg-type]


def values(table: Split, column: str) -> list[object]:
    return table.frame[column].tolist()


def test_a_row_becomes_an_image_with_all_that_is_recorded(tmp_path: Path) -> None:
    table = load(tmp_path, [tree.image(1, 7, PatientSex="M", PatientAge="60", view="AP")])
    row = table.frame.iloc[0]
    person = "id_00000007-0000-4000-8000-000000000000"
    assert row["patient_id"] == person
    assert row["path"] == f"images/{person}/Study_1.1/Series_1.1/image-1.png"
    assert row["image_id"] == f"{person}/Study_1.1/Series_1.1/image-1.png"
    assert (row["sex"], row["age_band"], row["view"], row["age"]) == ("Male", "60-79", "AP", 60.0)
    assert table.attributes == ("sex", "age_band", "view")
    assert Brax.terms == "restricted"


def test_an_image_listed_twice_stays_once(tmp_path: Path) -> None:
    table = load(tmp_path, [tree.image(1, 1), tree.image(2, 1), tree.image(1, 1)])
    assert len(table) == 2 and table.dropped == {"image listed before": 1}


def test_labels_are_read_by_name_whatever_the_order(tmp_path: Path) -> None:
    rows = [tree.image(1, 1, Edema=1, Lung_Opacity=0)]
    header = [*reversed(tree.HEADER)]
    table = Brax().table(tree.spreadsheet(tmp_path, rows, header=header))
    assert values(table, "Edema") == [1.0] and values(table, "Lung Opacity") == [0.0]
    assert table.findings[0] == "No Finding" and len(table.findings) == 14


def test_uncertain_is_left_out_and_blank_is_absent_unless_chosen(tmp_path: Path) -> None:
    rows = [tree.image(1, 1, Edema=-1, Fracture=1)]
    default, other = load(tmp_path, rows), load(tmp_path, rows, uncertain=("ones",), blank="ignore")
    assert np.isnan(values(default, "Edema")[0]) and values(default, "Pneumonia") == [0.0]
    assert values(other, "Edema") == [1.0] and np.isnan(values(other, "Pneumonia")[0])


def test_age_is_text_and_its_top_group_has_words(tmp_path: Path) -> None:
    texts = ["45", "85 or more", "", "0", "80"]
    table = load(tmp_path, [tree.image(i, i, PatientAge=age) for i, age in enumerate(texts)])
    assert values(table, "age_band") == ["40-59", "80+", "Unknown", "0-19", "80+"]
    np.testing.assert_array_equal(table.frame["age"], [45.0, 85.0, np.nan, 0.0, 80.0])
    assert table.groups_of("age_band") == ("0-19", "20-39", "40-59", "60-79", "80+", "Unknown")
    assert any("85 and more (1 images)" in note for note in table.notes)


@pytest.mark.parametrize("edges", [(18, 65), (20, 90)])
def test_bands_that_the_recorded_groups_cannot_tell_are_refused(edges: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiples of 5 up to 85"):
        Brax(age_edges=edges)


def test_other_and_blank_sex_are_unknown(tmp_path: Path) -> None:
    rows = [tree.image(i, i, PatientSex=sex) for i, sex in enumerate(["M", "F", "O", ""])]
    assert values(load(tmp_path, rows), "sex") == ["Male", "Female", "Unknown", "Unknown"]


def test_views_left_out_are_counted_by_reason(tmp_path: Path) -> None:
    views = ["AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO", ""]
    table = load(tmp_path, [tree.image(i, i, view=view) for i, view in enumerate(views)])
    assert values(table, "view") == ["AP", "PA"]
    assert table.dropped == {"lateral view": 2, "view not chosen": 4, "view not recorded": 1}


def test_other_views_can_be_chosen_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    rows = [tree.image(1, 1, view="LL"), tree.image(2, 2, view=""), tree.image(3, 3)]
    assert values(load(tmp_path, rows, views=("LL", "Unknown")), "view") == ["LL", "Unknown"]
    with pytest.raises(UnknownName, match="LATERAL"):
        Brax(views=("LATERAL",))


@pytest.mark.parametrize("recorded", [
    r"images\id_1\Study_1\image-1.png", "./images/id_1/Study_1/image-1.png",
    "/data/brax/images/id_1/Study_1/image-1.png", "id_1/Study_1/image-1.png",
    r"C:\images\brax\images\id_1\Study_1\image-1.png",
])  # fmt: skip
def test_paths_lie_below_images_however_they_are_written(tmp_path: Path, recorded: str) -> None:
    table = load(tmp_path, [tree.image(1, 1, PngPath=recorded)])
    assert values(table, "path") == ["images/id_1/Study_1/image-1.png"]


def test_a_path_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must lie below"):
        load(tmp_path, [tree.image(1, 1, PngPath="images/../../secret.png")])


def test_rows_without_image_or_patient_are_left_out_and_counted(tmp_path: Path) -> None:
    table = load(tmp_path, [tree.image(1, 1, PngPath=""), tree.image(2, 2, PatientID=""),
                            tree.image(3, 3)])  # fmt: skip
    assert len(table) == 1
    assert table.dropped == {"no image file named": 1, "no patient id": 1}


def test_visits_count_studies_by_date_and_the_first_image_can_stand_alone(tmp_path: Path) -> None:
    rows = [tree.image(1, 1, 8, StudyDate=20190101), tree.image(2, 1, 9, StudyDate=20180101),
            tree.image(3, 1, 9, StudyDate=20180101), tree.image(4, 2)]  # fmt: skip
    assert values(load(tmp_path, rows), "visit") == [1, 0, 0, 0]
    alone = load(tmp_path, rows, one_image_per_patient=True)
    assert [str(path)[-22:-12] for path in values(alone, "path")] == ["Series_2.1", "Series_4.1"]
    assert alone.dropped == {"not the first image of the patient": 2}


def test_the_older_name_and_a_compressed_file_are_read(tmp_path: Path) -> None:
    for name in ("master_spreadsheet.csv", "master_spreadsheet_update.csv.gz"):
        (tmp_path / name).mkdir()
        folder = tree.spreadsheet(tmp_path / name, [tree.image(1, 1)], name=name)
        assert len(Brax().table(folder)) == 1


def test_the_updated_spreadsheet_goes_before_the_older_one(tmp_path: Path) -> None:
    tree.spreadsheet(tmp_path, [tree.image(1, 1)], name="master_spreadsheet.csv")
    assert len(load(tmp_path, [tree.image(1, 1), tree.image(2, 2)])) == 2


def test_missing_files_columns_and_wrong_labels_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"master_spreadsheet_update\.csv"):
        Brax().table(tmp_path)
    header = ["Pleural effusions" if c == "Pleural Effusion" else c for c in tree.HEADER]
    tree.spreadsheet(tmp_path, [tree.image(1, 1)], header=header)
    with pytest.raises(ValueError, match=r"nearest: 'Pleural effusions'"):
        Brax().table(tmp_path)
    with pytest.raises(ValueError, match=r"'Edema' .* row 2 .*'2'"):
        load(tmp_path, [tree.image(1, 1), tree.image(2, 2, Edema=2)])
    with pytest.raises(ValueError, match="choose other views"):
        load(tmp_path, [tree.image(1, 1, view="LL")])


def test_pixels_of_16_and_8_bits_are_brought_to_one_range(tmp_path: Path) -> None:
    rows = [tree.image(i, i) for i in range(4)]
    tree.pixels(tmp_path, rows)
    pixels = open_images(prepare(load(tmp_path, rows), 32), 32).take()
    # Noise over the whole range of either depth has its mean in the middle of what it shows.
    shown = [picture[:, 8:24].mean() for picture in pixels]
    assert max(shown) - min(shown) < 20
