"""Embeddings of MIMIC-CXR: where they lie, and that each meets its own image."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trees import cxr_embeddings as tree

from datasets.cxr_embeddings import CxrEmbeddings
from datasets.mimic_cxr import MimicCxr
from datasets.split import Split
from datasets.vectors import open_vectors, prepare


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature tree, made once; tests that change it take a copy."""
    root = tmp_path_factory.mktemp("cxr")
    tree.make(root)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy of the tree."""
    return Path(shutil.copytree(made, tmp_path / "root"))


def vectors_by_image(table: Split) -> dict[str, np.ndarray]:
    return dict(zip(table.frame["image_id"], open_vectors(table).take(), strict=True))


def expected(root: Path) -> dict[str, np.ndarray]:
    images = MimicCxr().table(root).frame["image_id"]
    return {image: tree.vector(row) for row, image in enumerate(images)}


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_every_image_has_its_own_embedding(made: Path) -> None:
    table = CxrEmbeddings().table(made)
    assert same(vectors_by_image(table), expected(made))
    assert CxrEmbeddings().holds == "embeddings" and CxrEmbeddings().terms == "restricted"


def test_labels_and_people_are_those_of_mimic(made: Path) -> None:
    ours, theirs = CxrEmbeddings().table(made).frame, MimicCxr().table(made).frame
    assert ours.drop(columns="path").equals(theirs.drop(columns="path"))


def test_the_fields_of_mimic_are_policies_here_too(made: Path) -> None:
    table = CxrEmbeddings(one_image_per_patient=True, findings=("Edema",)).table(made)
    assert table.findings == ("Edema",)
    assert table.frame["patient_id"].is_unique


def flat(root: Path, ending: str) -> Path:
    """The embeddings in one folder, and no longer in the tree."""
    below = root / "flat"
    below.mkdir()
    for file in (root / tree.RELEASE).rglob("*.tfrecord"):
        if ending == ".tfrecord":
            file.rename(below / file.name)
    if ending == ".npy":
        for image, vector in expected(root).items():
            np.save(below / f"{image}.npy", vector)
    if ending == ".npz":
        np.savez(below / "all.npz", **expected(root))
    shutil.rmtree(root / tree.RELEASE)
    return below


@pytest.mark.parametrize("ending", [".tfrecord", ".npy", ".npz"])
@pytest.mark.parametrize("absolute", [False, True])
def test_flat_files_and_archives_are_taken_by_their_names(
    root: Path, ending: str, absolute: bool
) -> None:
    below = flat(root, ending)
    named = str(below) if absolute else "flat"
    assert same(vectors_by_image(CxrEmbeddings(embeddings=named).table(root)), expected(root))


def test_an_archive_is_named_as_a_file_or_found(root: Path) -> None:
    file = flat(root, ".npz") / "all.npz"
    table = CxrEmbeddings(embeddings="flat/all.npz").table(root)
    assert same(vectors_by_image(table), expected(root))
    file.rename(root / "all.npz")
    assert same(vectors_by_image(CxrEmbeddings().table(root)), expected(root))


def test_two_archives_are_not_chosen_from(root: Path) -> None:
    np.savez(flat(root, ".npz") / "more.npz", a=np.ones(3))
    with pytest.raises(ValueError, match=r"2: all.npz, more.npz"):
        CxrEmbeddings(embeddings="flat").table(root)


def test_a_tree_without_the_folder_of_the_release_is_found(root: Path) -> None:
    shutil.rmtree(root / "files")  # the pixels, which lie there in the miniature
    (root / tree.RELEASE / "files").rename(root / "files")
    assert same(vectors_by_image(CxrEmbeddings().table(root)), expected(root))


def test_pixels_are_not_taken_for_embeddings(root: Path) -> None:
    shutil.rmtree(root / tree.RELEASE)
    with pytest.raises(FileNotFoundError, match=r"p10 to p19.*physionet"):
        CxrEmbeddings().table(root)


def test_an_image_without_embedding_is_a_missing_file(root: Path) -> None:
    lost = next((root / tree.RELEASE).rglob("*.tfrecord"))
    lost.unlink()
    table = CxrEmbeddings().table(root)
    with pytest.raises(ValueError, match="embedding file missing"):
        prepare(table)
    kept = prepare(table, on_bad="drop")
    assert set(table.frame["image_id"]) - set(kept.frame["image_id"]) == {lost.stem}
    assert kept.dropped["embedding file missing"] == 1


def test_a_folder_of_images_is_not_asked_for() -> None:
    with pytest.raises(ValueError, match="embeddings=DIR"):
        CxrEmbeddings(image_folder="files")


def test_tables_stay_needed(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", a=np.ones(3))
    with pytest.raises(FileNotFoundError, match="metadata"):
        CxrEmbeddings().table(tmp_path)


def test_ids_that_pandas_would_read_as_numbers_stay_texts(made: Path) -> None:
    frame = CxrEmbeddings().table(made).frame
    assert all(pd.api.types.is_object_dtype(frame[c]) or pd.api.types.is_string_dtype(frame[c])
               for c in ("image_id", "patient_id", "path"))  # fmt: skip
