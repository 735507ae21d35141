"""The loader of MIMIC-CXR-JPG on miniature trees with every trap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trees import mimic_cxr as tree

from datasets.images import open_images, prepare
from datasets.mimic_cxr import MimicCxr
from datasets.split import Split
from registry import UnknownName


def load(root: Path, images: list[tree.Row], said: list[tree.Row], **fields: object) -> Split:
    return MimicCxr(**fields).table(tree.cxr(root, images, said))  # type: ignore[arg-type]


def by_image(table: Split, column: str) -> dict[int, object]:
    numbers = [int(name[:8], 16) for name in table.frame["image_id"]]
    return dict(zip(numbers, table.frame[column].tolist(), strict=True))


def one(root: Path, image: tree.Row, **said: object) -> Split:
    return load(root, [image], [tree.labels(1, **said)])


# Rows and paths


def test_a_row_becomes_an_image_at_the_place_of_the_release(tmp_path: Path) -> None:
    row = one(tmp_path, tree.image(1, 32, 1, "PA"), Edema=1.0).frame.iloc[0]
    assert row["patient_id"] == "10000032" and row["image_id"] == tree.dicom(1)
    assert row["path"] == f"files/p10/p10000032/s50000001/{tree.dicom(1)}.jpg"
    assert row["view"] == "PA" and row["Edema"] == 1.0
    assert len(row["image_id"]) == 44


def test_plain_and_compressed_tables_give_the_same(tmp_path: Path) -> None:
    images, said = [tree.image(1, 1, 1)], [tree.labels(1, Edema=1.0)]
    for name, ending in (("plain", ".csv"), ("packed", ".csv.gz")):
        tree.cxr(tmp_path / name, images, said, ending=ending)
    plain = MimicCxr().table(tmp_path / "plain").frame
    assert plain.equals(MimicCxr().table(tmp_path / "packed").frame)


def test_the_made_tree_has_all_attributes_and_is_restricted(tmp_path: Path) -> None:
    tree.make(tmp_path)
    table = MimicCxr().table(tmp_path)
    assert table.attributes == ("sex", "age_band", "race", "insurance", "view")
    assert MimicCxr.terms == "restricted"
    assert table.dropped == {"lateral view": 2, "view not recorded": 1, "view not chosen": 1}


def test_without_mimic_iv_a_run_has_the_view(tmp_path: Path) -> None:
    table = one(tmp_path, tree.image(1, 1, 1))
    assert table.attributes == ("view",) and "age" not in table.frame
    assert any("physionet.org/content/mimiciv" in note for note in table.notes)


@pytest.mark.parametrize("folder", ["files", "downsampled_files", "."])
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_folder_and_ending_of_the_images_are_found(
    tmp_path: Path, folder: str, ending: str
) -> None:
    images = [tree.image(1, 1, 1), tree.image(2, 2, 2)]
    # The first patient's image is missing, as in a download that was cut off.
    tree.pixels(tmp_path, images[1:], folder=folder, ending=ending)
    table = load(tmp_path, images, [tree.labels(1), tree.labels(2)])
    assert (table.root / table.frame["path"].iloc[1]).is_file()
    assert not (table.root / table.frame["path"].iloc[0]).is_file()


def test_copies_of_the_images_may_lie_elsewhere(tmp_path: Path) -> None:
    images = [tree.image(1, 1, 1)]
    tree.pixels(tmp_path / "copies", images, ending="png")
    for named in ("../copies", "../copies/files", str(tmp_path / "copies")):
        table = load(tmp_path / "cxr", images, [tree.labels(1)], image_folder=named)
        assert (table.root / table.frame["path"].iloc[0]).is_file()
        assert ".." not in table.frame["path"].iloc[0]
    with pytest.raises(FileNotFoundError, match="image_folder must name"):
        load(tmp_path / "cxr", images, [tree.labels(1)], image_folder="absent")


@pytest.mark.parametrize(
    "column, value", [("dicom_id", "../../x"), ("subject_id", "p/1"), ("study_id", "")]
)
def test_ids_that_would_make_other_paths_are_refused(
    tmp_path: Path, column: str, value: str
) -> None:
    images = [tree.image(1, 1, 1), tree.image(2, 2, 2, **{column: value})]
    with pytest.raises(ValueError, match=rf"{column} must be of .*line 3"):
        load(tmp_path, images, [tree.labels(1)])


def test_an_image_listed_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dicom_id must stand once"):
        load(tmp_path, [tree.image(1, 1, 1), tree.image(1, 1, 1)], [tree.labels(1)])


def test_missing_tables_are_named_with_the_place_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"metadata\.csv .*physionet"):
        MimicCxr().table(tmp_path)
    tree.cxr(tmp_path, [tree.image(1, 1, 1)], [tree.labels(1)])
    with pytest.raises(FileNotFoundError, match=r"negbio\.csv"):
        MimicCxr(labeler="negbio").table(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"2\.1\.0-test-set-labeled\.csv"):
        MimicCxr(test_labels="radiologist").table(tmp_path)


# Views


def test_views_left_out_are_counted_by_reason(tmp_path: Path) -> None:
    views = ["AP", "PA", "LATERAL", "LL", "", "AP AXIAL", "SWIMMERS", "XTABLE LATERAL"]
    images = [tree.image(i, i, i, view) for i, view in enumerate(views)]
    table = load(tmp_path, images, [tree.labels(0)])
    assert by_image(table, "view") == {0: "AP", 1: "PA"}
    assert table.dropped == {"lateral view": 2, "view not recorded": 1, "view not chosen": 3}


def test_other_views_can_be_chosen(tmp_path: Path) -> None:
    images = [tree.image(i, i, i, view) for i, view in enumerate(["AP", "LL", "AP AXIAL", ""])]
    table = load(tmp_path, images, [tree.labels(1)], views=("AP AXIAL", "LL", "Unknown"))
    assert by_image(table, "view") == {1: "LL", 2: "AP AXIAL", 3: "Unknown"}
    assert table.groups_of("view") == ("AP AXIAL", "LL", "Unknown")
    assert table.dropped == {"view not chosen": 1}
    with pytest.raises(UnknownName, match="LATERAL"):
        MimicCxr(views=("Lateral",))


# Labels


def test_labels_of_a_study_belong_to_all_its_images(tmp_path: Path) -> None:
    images = [tree.image(1, 1, 1), tree.image(2, 1, 1, "PA"), tree.image(3, 2, 2)]
    table = load(tmp_path, images, [tree.labels(2, Edema=0.0), tree.labels(1, Edema=1.0)])
    assert by_image(table, "Edema") == {1: 1.0, 2: 1.0, 3: 0.0}


def test_uncertain_and_blank_labels_follow_their_policies(tmp_path: Path) -> None:
    said = {"Edema": -1.0, "Atelectasis": -1.0, "No_Finding": "", "Fracture": 1.0}
    image = tree.image(1, 1, 1)
    default = one(tmp_path, image, **said).frame.iloc[0]
    assert np.isnan(default["Edema"]) and default["Pneumonia"] == 0.0
    other = load(tmp_path, [image], [tree.labels(1, **said)], blank="zero-if-no-finding",
                 uncertain=("zeros", "Atelectasis=ones")).frame.iloc[0]  # fmt: skip
    assert other["Edema"] == 0.0 and other["Atelectasis"] == 1.0
    assert np.isnan(other["Pneumonia"]), "the report does not say No Finding"


def test_studies_without_any_label_are_blank_and_not_absent(tmp_path: Path) -> None:
    images = [tree.image(i, i, i) for i in range(3)]
    table = load(tmp_path, images, [tree.labels(0, Edema=1.0), tree.labels(1)])
    assert by_image(table, "Pneumonia")[0] == 0.0
    blank = table.labels()[1:]
    assert np.isnan(blank).all() and len(table) == 3
    assert (
        "of 3 images in the chosen views, 2 have no label of chexpert at all and are blank "
        "(2 studies, 1 of them not in its file)"
    ) in table.notes


def test_negbio_is_the_other_labeler(tmp_path: Path) -> None:
    images = [tree.image(1, 1, 1)]
    tree.cxr(tmp_path, images, [tree.labels(1, Edema=1.0)])
    tree.cxr(tmp_path, images, [tree.labels(1, Edema=0.0)], labeler="negbio")
    assert MimicCxr(labeler="negbio").table(tmp_path).frame["Edema"].tolist() == [0.0]
    assert MimicCxr().table(tmp_path).frame["Edema"].tolist() == [1.0]
    with pytest.raises(UnknownName, match="negbio"):
        MimicCxr(labeler="negbios")


def test_labels_of_other_studies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of its 1 has one"):
        load(tmp_path, [tree.image(1, 1, 1)], [tree.labels(9, Edema=1.0)])


def test_a_study_labelled_twice_and_a_wrong_label_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="study_id must stand once"):
        load(tmp_path, [tree.image(1, 1, 1)], [tree.labels(1), tree.labels(1)])
    with pytest.raises(ValueError, match=r"'Edema' of .*row 1 .*'2.0'"):
        one(tmp_path, tree.image(1, 1, 1), Edema=2.0)


def test_findings_are_chosen_by_name(tmp_path: Path) -> None:
    table = load(tmp_path, [tree.image(1, 1, 1)], [tree.labels(1)], findings=("Edema",))
    assert table.findings == ("Edema",)
    with pytest.raises(UnknownName, match="Edema"):
        MimicCxr(findings=("Oedema",))


# Time


def test_hours_without_leading_zeros_are_numbers(tmp_path: Path) -> None:
    # As texts "143000.0" would stand before "80556.875".
    images = [tree.image(1, 1, 1, StudyTime=143000.0), tree.image(2, 1, 2, StudyTime=80556.875),
              tree.image(3, 1, 3, StudyDate=21790101, StudyTime=235959.0)]  # fmt: skip
    said = [tree.labels(1)]
    assert by_image(load(tmp_path, images, said), "visit") == {1: 2, 2: 1, 3: 0}
    first = load(tmp_path, images, said, one_image_per_patient=True)
    assert [*by_image(first, "visit")] == [3]
    assert first.dropped == {"not the first image of the patient": 2}


def test_visits_count_studies_of_other_views_too(tmp_path: Path) -> None:
    images = [tree.image(1, 1, 1, "LATERAL", StudyTime=1.0), tree.image(2, 1, 2, StudyTime=2.0),
              tree.image(3, 1, 2, StudyTime=3.0), tree.image(4, 2, 4)]  # fmt: skip
    assert by_image(load(tmp_path, images, [tree.labels(2)]), "visit") == {2: 1, 3: 1, 4: 0}


def test_age_takes_the_year_of_each_study(tmp_path: Path) -> None:
    images = [tree.image(1, 1, 1, StudyDate=21800506), tree.image(2, 1, 2, StudyDate=21951231),
              tree.image(3, 1, 3, StudyDate="")]  # fmt: skip
    tree.iv(tmp_path / "hosp", [tree.person(1, age=50, year=2182)], [tree.stay(1)])
    table = load(tmp_path, images, [tree.labels(1)])
    np.testing.assert_array_equal(list(by_image(table, "age").values()), [48.0, 63.0, np.nan])
    assert by_image(table, "age_band") == {1: "40-59", 2: "60-79", 3: "Unknown"}


# Policies on people


def test_people_whom_a_policy_leaves_out_are_counted_and_their_groups_go(tmp_path: Path) -> None:
    images = [tree.image(i, i, i) for i in range(3)]
    tree.iv(tmp_path, [tree.person(i) for i in range(3)],
            [tree.stay(0, "WHITE"), tree.stay(1, "ASIAN"), tree.stay(2, "OTHER")])  # fmt: skip
    table = load(tmp_path, images, [tree.labels(0)], race_groups="glocker-2023")
    assert by_image(table, "race") == {0: "White", 1: "Asian"}
    assert table.groups_of("race") == ("White", "Asian")
    assert table.dropped == {"race left out by glocker-2023": 1}


def test_when_nothing_stays_the_counts_say_why(tmp_path: Path) -> None:
    tree.iv(tmp_path, [tree.person(1)], [tree.stay(1, "OTHER")])
    with pytest.raises(ValueError, match="race left out by glocker-2023': 1"):
        load(tmp_path, [tree.image(1, 1, 1)], [tree.labels(1)], race_groups="glocker-2023")


# Folds


def test_official_folds_are_read_by_name_and_not_the_default(tmp_path: Path) -> None:
    splits = ["train", "validate", "test", ""]
    images = [tree.image(i, i, i, split=split) for i, split in enumerate(splits)]
    table = load(tmp_path, images, [tree.labels(0)])
    assert by_image(table, "fold") == {0: "train", 1: "val", 2: "test", 3: ""}
    assert MimicCxr().default_split == "patient"


def test_without_the_file_of_the_split_there_are_no_folds(tmp_path: Path) -> None:
    root = tree.cxr(tmp_path, [tree.image(1, 1, 1)], [tree.labels(1)], split=False)
    assert "fold" not in MimicCxr().table(root).frame


def test_an_unknown_fold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train, validate or test .*'valid'"):
        one(tmp_path, tree.image(1, 1, 1, split="valid"))


# Radiologists


def radiologists_tree(root: Path) -> Path:
    """Patients 3 to 5 are of the official test set; radiologists read one study of 3, one of 4."""
    images = [tree.image(1, 1, 1), tree.image(2, 2, 2, split="validate"),
              tree.image(3, 3, 3, split="test"), tree.image(33, 3, 33, split="test"),
              tree.image(4, 4, 4, split="test"), tree.image(5, 5, 5, split="test"),
              tree.image(6, 6, 6, split="")]  # fmt: skip
    said = [tree.labels(i, Lung_Opacity=0.0, Edema=1.0) for i in (1, 2, 3, 33, 4, 5)]
    tree.radiologists(root, [
        tree.labels(3, Airspace_Opacity=1.0, Edema=-1.0), tree.labels(4, Edema=0.0)
    ])  # fmt: skip
    return tree.cxr(root, images, said)


def test_radiologists_label_the_test_fold_and_their_patients_are_in_no_other(
    tmp_path: Path,
) -> None:
    table = MimicCxr(test_labels="radiologist").table(radiologists_tree(tmp_path))
    assert by_image(table, "fold") == {1: "train", 2: "val", 3: "test", 4: "test"}
    assert table.dropped == {
        "other study of a patient whom radiologists labelled": 1,
        "test fold, but not labelled by radiologists": 1,
        "not in the official split": 1,
    }
    assert MimicCxr(test_labels="radiologist").default_split == "official"


def test_airspace_opacity_is_lung_opacity_and_policies_hold(tmp_path: Path) -> None:
    root = radiologists_tree(tmp_path)
    table = MimicCxr(test_labels="radiologist").table(root)
    assert by_image(table, "Lung Opacity") == {1: 0.0, 2: 0.0, 3: 1.0, 4: 0.0}
    edema = by_image(table, "Edema")
    assert (edema[1], edema[4]) == (1.0, 0.0) and np.isnan(edema[3])  # type: ignore[arg-type]
    ones = MimicCxr(test_labels="radiologist", uncertain=("ones",)).table(root)
    assert by_image(ones, "Edema")[3] == 1.0


def test_labels_of_the_labeler_are_the_default(tmp_path: Path) -> None:
    table = MimicCxr().table(radiologists_tree(tmp_path))
    assert len(table) == 7 and by_image(table, "Lung Opacity")[3] == 0.0


def test_radiologists_need_the_official_split_and_an_image_left(tmp_path: Path) -> None:
    tree.cxr(tmp_path / "a", [tree.image(1, 1, 1)], [tree.labels(1)], split=False)
    tree.radiologists(tmp_path / "a", [tree.labels(1)])
    with pytest.raises(FileNotFoundError, match="needs the official split"):
        MimicCxr(test_labels="radiologist").table(tmp_path / "a")
    tree.cxr(tmp_path / "b", [tree.image(1, 1, 1)], [tree.labels(1)])
    tree.radiologists(tmp_path / "b", [tree.labels(7)])
    with pytest.raises(ValueError, match="none of its 1 has one"):
        MimicCxr(test_labels="radiologist").table(tmp_path / "b")


# Pixels


def test_missing_and_cut_files_are_left_to_the_policy_of_bad_images(tmp_path: Path) -> None:
    images = [tree.image(i, i, i) for i in range(3)]
    tree.pixels(tmp_path, images[:2])
    table = load(tmp_path, images, [tree.labels(0)])
    cut = table.root / table.frame["path"].iloc[1]
    cut.write_bytes(cut.read_bytes()[:200])
    kept = prepare(table, 32, on_bad="drop")
    assert len(table) == 3 and len(kept) == 1
    assert sum(kept.dropped.values()) == 2


def test_a_png_with_colours_named_jpg_is_read(tmp_path: Path) -> None:
    images = [tree.image(1, 1, 1)]
    table = load(tmp_path, images, [tree.labels(1)])
    path = tmp_path / table.frame["path"].iloc[0]
    path.parent.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (60, 50, 4), np.uint8)
    Image.fromarray(noise).save(path, "PNG")
    assert open_images(prepare(table, 32), 32).take().std() > 5
