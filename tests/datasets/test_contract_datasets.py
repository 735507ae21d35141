"""What every registered data set must hold; those that need files are given a miniature tree."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from trees import brax, chexpert, mimic_cxr, nih_cxr14
from trees import csv as csv_tree

from datasets.base import ChestXrayDataset
from datasets.folds import assign, digest, kfold
from datasets.images import open_images, prepare
from registry import DATASETS, ROOT

OURS = [name for name, entry in DATASETS.entries().items() if entry.file.is_relative_to(ROOT)]
PATIENTS = {"train_patients": 20, "val_patients": 8, "audit_patients": 8, "test_patients": 8}


def covid_tree(root: Path) -> None:
    """Twelve people, one image each."""
    (root / "images").mkdir()
    columns = ["patientid", "offset", "sex", "age", "finding", "view", "modality", "folder",
               "filename", "url", "license"]  # fmt: skip
    rng = np.random.default_rng(0)
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for i in range(12):
            pixels = rng.integers(0, 255, (70, 60), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / f"{i}.png")
            finding = ("COVID-19", "No Finding")[i % 2]
            writer.writerow([i, 0, "MF"[i % 2], 40 + i, finding, "PA", "X-ray", "images",
                             f"{i}.png", "", "CC BY"])  # fmt: skip


TREES: dict[str, Callable[[Path], None]] = {
    "brax": brax.make,
    "chexpert": chexpert.make,
    "covid-chestxray": covid_tree,
    "csv": csv_tree.make,
    "mimic-cxr": mimic_cxr.make,
    "nih-cxr14": nih_cxr14.make,
}


@pytest.fixture(params=OURS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ChestXrayDataset, Path]:
    """Each data set in turn, small, with the directory it reads."""
    cls: Any = DATASETS.get(request.param)
    if cls.needs_root:
        TREES[request.param](tmp_path)
        return cls(), tmp_path
    return cls(**PATIENTS), tmp_path


def test_the_table_is_a_split_with_labels_and_attributes(
    made: tuple[ChestXrayDataset, Path],
) -> None:
    table = made[0].table(made[1])
    assert len(table) and table.findings and table.attributes
    assert table.frame["image_id"].is_unique
    assert (table.frame["origin"] == "simulated").all() == (made[0].kind == "simulated")


def test_the_same_fields_give_the_same_table(made: tuple[ChestXrayDataset, Path]) -> None:
    assert digest(made[0].table(made[1]).frame) == digest(made[0].table(made[1]).frame)


def test_patients_fall_into_disjoint_folds(made: tuple[ChestXrayDataset, Path]) -> None:
    table = made[0].table(made[1])
    assert {f.name for f in assign(table).all()} == {"train", "val", "audit", "test"}
    assert len(kfold(table, 3)) == 3


def test_every_image_is_prepared_at_the_size_asked_for(
    made: tuple[ChestXrayDataset, Path],
) -> None:
    table = prepare(made[0].table(made[1]), 32)
    pixels = open_images(table, 32).take()
    assert pixels.shape == (len(table), 32, 32) and pixels.dtype == np.uint8
    assert pixels.std() > 5


def test_licence_access_and_terms_are_stated(made: tuple[ChestXrayDataset, Path]) -> None:
    text = type(made[0]).__doc__ or ""
    assert "License:" in text and "Access:" in text
    assert made[0].kind in ("real", "simulated") and made[0].terms in ("open", "restricted")


def test_simulated_truth_is_complete_or_absent(made: tuple[ChestXrayDataset, Path]) -> None:
    table = made[0].table(made[1])
    if table.has_truth:
        assert set(np.unique(table.labels(true=True))) <= {0.0, 1.0}
    assert table.has_truth == (made[0].kind == "simulated")


def test_registered_contrasts_name_groups_of_the_table(
    made: tuple[ChestXrayDataset, Path],
) -> None:
    table = made[0].table(made[1])
    for attribute, pair in made[0].primary_contrasts.items():
        groups = table.groups_of(attribute)
        assert set(pair) <= set(groups)
        assert groups.index(pair[0]) > groups.index(pair[1]), "written later minus earlier"


def test_an_absent_directory_is_named(made: tuple[ChestXrayDataset, Path]) -> None:
    if made[0].needs_root:
        with pytest.raises(FileNotFoundError, match=r"nowhere|metadata"):
            made[0].table(made[1] / "nowhere")
