"""The nih-cxr14 loader on the real table of 112,120 images, with made files and made lists.

The table is there without its images and without the official lists. The lists made here have as
many images and patients as the official ones are known to have, of the real table's ids, so they
test what becomes of lists, not which patients the official ones name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from trees import nih_cxr14 as tree

from datasets.folds import assign
from datasets.image_pairs import check_image_pairs, read_image_pairs
from datasets.images import open_images, prepare
from datasets.nih_cxr14 import NihCxr14
from datasets.split import Split

TABLE = "Data_Entry_2017_v2020.csv.gz"
TRAIN_IMAGES, TRAIN_PATIENTS = 86_524, 28_008
TEST_IMAGES, TEST_PATIENTS = 25_596, 2_797
COUNTS = {
    "No Finding": 60_361, "Infiltration": 19_894, "Effusion": 13_317, "Atelectasis": 11_559,
    "Nodule": 6_331, "Mass": 5_782, "Pneumothorax": 5_302, "Consolidation": 4_667,
    "Pleural_Thickening": 3_385, "Cardiomegaly": 2_776, "Emphysema": 2_516, "Edema": 2_303,
    "Fibrosis": 1_686, "Pneumonia": 1_431, "Hernia": 227,
}  # fmt: skip
BY_AGE = {
    "0-19": (4_080, 2_966), "20-39": (16_359, 13_034), "40-59": (27_013, 22_230),
    "60-79": (15_312, 10_107), "80+": (576, 443),
}  # fmt: skip
"""Images of patients recorded as male, and as female."""


@dataclass(frozen=True)
class Made:
    """The real table in a folder with a file for each image and with made lists."""

    root: Path
    table: Split


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    named = os.environ.get("TRILEMMA_DATA")
    if not named:
        pytest.skip("TRILEMMA_DATA is not set: the tests on real data need the directory it names")
    root = tmp_path_factory.mktemp("nih")
    shutil.copy(Path(named) / "nih-cxr14" / TABLE, root)
    rows = NihCxr14().table(root).frame
    write_files(root, rows["image_id"])
    test = made_test_patients(rows["patient_id"])
    is_test = rows["patient_id"].isin(test)
    tree.write_lists(root, [*rows["image_id"][~is_test]], [*rows["image_id"][is_test]])
    yield Made(root, NihCxr14().table(root))
    shutil.rmtree(root)


def write_files(root: Path, images: pd.Series) -> None:
    """Twelve folders of links to a few pictures each: a disk does not notice."""
    rng = np.random.default_rng(0)
    for folder, names in images.groupby(np.arange(len(images)) // 10_000):
        inside = root / f"images_{int(folder) + 1:03d}" / "images"
        inside.mkdir(parents=True)
        noise = rng.integers(0, 255, (64, 64), np.uint8)
        first, *others = names
        Image.fromarray(noise).save(inside / first)
        for name in others:
            os.link(inside / first, inside / name)


def made_test_patients(patients: pd.Series) -> set[str]:
    """As many patients, of as many images, as the official test list has.

    Those with most images first, while what is left can still be filled by patients with one.
    """
    images = patients.value_counts()
    chosen: list[str] = []
    left = TEST_IMAGES
    for patient, n in images.items():
        if len(chosen) < TEST_PATIENTS and left - n >= TEST_PATIENTS - len(chosen) - 1:
            chosen.append(str(patient))
            left -= n
    assert left == 0 and len(chosen) == TEST_PATIENTS
    return set(chosen)


def test_every_row_of_the_real_table_is_an_image_of_a_patient(made: Made) -> None:
    assert len(made.table) == 112_120 and len(made.table.patients) == 30_805
    assert made.table.dropped == {}
    name = made.table.frame["image_id"].str[:8].str.lstrip("0")
    assert (name == made.table.frame["patient_id"]).all()


def test_every_file_in_twelve_folders_is_found(made: Made) -> None:
    paths = made.table.frame["path"]
    assert paths.str.split("/").str[0].nunique() == 12
    assert all((made.root / path).is_file() for path in paths[::1000])
    assert not paths.str.startswith("images/").any()


def test_lists_of_the_official_sizes_give_folds_that_share_no_patient(made: Made) -> None:
    folds = made.table.frame.groupby("fold")["patient_id"]
    assert folds.size().to_dict() == {"train": TRAIN_IMAGES, "test": TEST_IMAGES}
    assert folds.nunique().to_dict() == {"train": TRAIN_PATIENTS, "test": TEST_PATIENTS}
    assert len(made.table.patients) == TRAIN_PATIENTS + TEST_PATIENTS


def test_without_lists_the_real_table_is_split_by_patient(made: Made) -> None:
    table = made.table.with_frame(made.table.frame.drop(columns="fold"))
    folds = assign(table)
    assert sum(len(fold) for fold in folds.all()) == 112_120
    assert sum(len(fold.patients) for fold in folds.all()) == 30_805


def test_findings_are_as_often_as_published(made: Made) -> None:
    labels = pd.DataFrame(made.table.labels(), columns=list(made.table.findings))
    assert labels.sum().astype(int).to_dict() == COUNTS
    assert labels.notna().all(axis=None)


def test_sex_and_age_are_as_often_as_counted_in_the_table(made: Made) -> None:
    counted = pd.crosstab(made.table.frame["age_band"], made.table.frame["sex"])
    assert {band: (row["Male"], row["Female"]) for band, row in counted.iterrows()} == BY_AGE
    assert made.table.frame["sex"].value_counts().to_dict() == {"Male": 63_340, "Female": 48_780}
    assert made.table.frame.groupby("sex", observed=True)["patient_id"].nunique().to_dict() == {
        "Male": 16_630,
        "Female": 14_175,
    }


def test_ages_and_views_of_the_release_of_2020(made: Made) -> None:
    frame = made.table.frame
    assert frame["age"].min() == 0 and frame["age"].max() == 95
    assert (frame["age"] == 0).sum() == 14 and (frame["age"] < 18).sum() == 5_402
    assert frame["view"].value_counts().to_dict() == {"PA": 67_310, "AP": 44_810}


def test_follow_up_orders_a_patient_and_the_file_name_does_not(made: Made) -> None:
    frame = made.table.frame
    in_order = frame.sort_values(["patient_id", "visit"])
    same = in_order["patient_id"].eq(in_order["patient_id"].shift())
    assert (in_order["age"].diff()[same] >= 0).all()
    number = frame["image_id"].str[9:12].astype(int)
    assert (number != frame["visit"]).mean() == pytest.approx(0.215, abs=0.0005)


def test_one_image_per_patient_is_the_first_follow_up(made: Made) -> None:
    table = NihCxr14(one_image_per_patient=True).table(made.root)
    assert len(table) == 30_805
    assert table.dropped == {"later image of the patient": 112_120 - 30_805}
    earliest = made.table.frame.groupby("patient_id")["visit"].min().reindex(table.patients)
    first = table.frame.set_index("patient_id")["visit"]
    assert first.reindex(table.patients).equals(earliest)


def test_made_pictures_behind_the_real_names_are_prepared(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRILEMMA_CACHE", str(tmp_path))
    some = made.table.where(np.arange(len(made.table)) % 4_000 == 0)
    assert open_images(prepare(some, 32, workers=0), 32).take().std() > 5


def test_pairs_made_of_real_names_agree_with_the_patients(made: Made, tmp_path: Path) -> None:
    frame = made.table.frame
    follow = frame["patient_id"].eq(frame["patient_id"].shift(-1))
    a, b = frame["image_id"], frame["image_id"].shift(-1)
    lines = [f"{x}\t{y}\t{float(s)}" for x, y, s in zip(a[:5000], b[:5000], follow, strict=False)]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    pairs = read_image_pairs(tmp_path / "pairs.txt")
    check_image_pairs(pairs, made.table)
    wrong = pairs.assign(same_patient=~pairs["same_patient"])
    with pytest.raises(ValueError, match="5000 of 5000 do not"):
        check_image_pairs(wrong, made.table)
