"""What every registered data set must hold; those that need files are given a miniature tree."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trees import tree_of

from datasets.base import EMBEDDINGS, ChestXrayDataset
from datasets.contents import open_contents, prepare
from datasets.folds import assign, digest, kfold
from registry import DATASETS, ROOT

OURS = [name for name, entry in DATASETS.entries().items() if entry.file.is_relative_to(ROOT)]
PATIENTS = {"train_patients": 20, "val_patients": 8, "audit_patients": 8, "test_patients": 8}


@pytest.fixture(params=OURS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ChestXrayDataset, Path]:
    """Each data set in turn, small, with the directory it reads."""
    cls: Any = DATASETS.get(request.param)
    if cls.needs_root:
        tree_of(request.param)(tmp_path)
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
    table = prepare(made[0].table(made[1]), made[0].holds, 32)
    pixels = open_contents(table, made[0].holds, 32).take()
    if made[0].holds == EMBEDDINGS:
        assert pixels.ndim == 2 and pixels.dtype == np.float32 and pixels.std() > 0
        return
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


def test_tables_without_rows_are_refused_in_a_sentence(
    made: tuple[ChestXrayDataset, Path],
) -> None:
    tables = [p for p in made[1].rglob("*") if p.name.endswith((".csv", ".csv.gz"))]
    for path in tables:
        opened: Any = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8") as file:
            header = file.readline()
        with opened(path, "wt", encoding="utf-8") as file:
            file.write(header)
    if tables:
        with pytest.raises(ValueError, match="must list"):
            made[0].table(made[1])


def test_an_absent_directory_is_named(made: tuple[ChestXrayDataset, Path]) -> None:
    if made[0].needs_root:
        with pytest.raises(FileNotFoundError, match=r"nowhere|metadata"):
            made[0].table(made[1] / "nowhere")
