"""Embedding data sets that were made here: what they take over, and what they refuse."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trees import embeddings as tree

from datasets.embeddings import Embeddings
from datasets.folds import assign


def test_groups_keep_their_order_and_empty_ones_stay(tmp_path: Path) -> None:
    tree.make(tmp_path)
    table = Embeddings().table(tmp_path)
    # Nobody is in C, and pandas wrote only A and B.
    assert table.groups_of("race") == ("A", "B", "C")
    assert table.frame["path"].tolist()[:2] == ["embeddings.npy#0", "embeddings.npy#1"]
    assert table.dropped == {"lateral view": 3}


def test_folds_are_those_of_the_source(tmp_path: Path) -> None:
    tree.make(tmp_path)
    folds = assign(Embeddings().table(tmp_path))
    assert [len(f) for f in folds.all()] == [52, 16, 52, 12]  # too few for an audit of its own


def test_nothing_is_allowed_before_the_folder_is_known() -> None:
    assert Embeddings().terms == "restricted"
    assert not Embeddings().reidentification_allowed


@pytest.mark.parametrize("terms", ["open", "restricted"])
def test_terms_kind_and_contrasts_are_those_of_the_source(tmp_path: Path, terms: str) -> None:
    tree.make(tmp_path, terms=terms, kind="simulated", reidentification_allowed=terms == "open",
              intersections=[["sex", "race"]], unlearnable=["No Finding"])  # fmt: skip
    known = Embeddings().at(tmp_path)
    assert (known.terms, known.kind) == (terms, "simulated")
    assert known.reidentification_allowed == (terms == "open")
    assert known.primary_contrasts == {"sex": ("Male", "Female")}
    assert known.intersections == (("sex", "race"),)
    assert known.unlearnable(64) == ("No Finding",)
    assert known.variant == ("of=somewhere", "encoder=densenet121:abababab")
    # Another instance is not touched, and a second process knows the same.
    assert Embeddings().kind == "real"
    assert pickle.loads(pickle.dumps(known)).terms == terms


def change(root: Path, **changes: object) -> None:
    held = json.loads((root / "meta.json").read_text())
    (root / "meta.json").write_text(json.dumps(held | changes))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": 2}, "its format is 2"),
        ({"terms": "Open"}, "'Open'"),
        ({"images": 81}, "a row for each of 81"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_folder_that_was_tampered_with_is_refused(
    tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    tree.make(tmp_path)
    change(tmp_path, **changes)
    with pytest.raises(ValueError, match=told):
        Embeddings().table(tmp_path)


@pytest.mark.parametrize("name", ["meta.json", "table.parquet", "embeddings.npy"])
def test_an_incomplete_folder_is_refused(tmp_path: Path, name: str) -> None:
    tree.make(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"must hold {name}.*python -m datasets embed"):
        Embeddings().at(tmp_path)


@pytest.mark.parametrize("name", ["meta.json", "table.parquet"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str) -> None:
    tree.make(tmp_path)
    (tmp_path / name).write_bytes(b"PAR1 but not really")
    with pytest.raises(ValueError, match=name):
        Embeddings().table(tmp_path)


def test_a_label_that_is_none_is_refused(tmp_path: Path) -> None:
    tree.make(tmp_path)
    frame = pd.read_parquet(tmp_path / "table.parquet")
    frame["Cardiomegaly"] = np.float32(-1)
    frame.to_parquet(tmp_path / "table.parquet")
    with pytest.raises(ValueError, match="labels must be 0, 1 or blank"):
        Embeddings().table(tmp_path)
