"""Ids of one person become one, and each picture stands once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from datasets.folds import assign
from datasets.people import as_persons, listed_pairs, unite
from datasets.split import Split


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRILEMMA_CACHE", str(tmp_path / "cache"))


def split(root: Path, rows: Sequence[tuple[str, str]]) -> Split:
    """Rows are (patient, path)."""
    frame = pd.DataFrame(rows, columns=["patient_id", "path"])
    frame = frame.assign(image_id=frame["path"], origin="real")
    return Split("all", frame, root, (), ())


def noise(seed: int, side: int = 80) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side, side), np.uint8))


def test_chain_of_pairs_is_one_person() -> None:
    assert unite("abcd", [("d", "c"), ("c", "b")]) == {"a": "a", "b": "b", "c": "b", "d": "b"}


def test_first_id_stands_for_the_person() -> None:
    assert unite(["9", "10"], [("10", "9")]) == {"9": "9", "10": "9"}


def test_pairs_of_unknown_ids_are_passed_over() -> None:
    assert unite("ab", [("a", "z"), ("y", "z"), ("z", "b")]) == {"a": "a", "b": "b"}


def test_listed_pair_is_one_patient_and_keeps_both_pictures(tmp_path: Path) -> None:
    noise(0).save(tmp_path / "a.png")
    noise(1).save(tmp_path / "b.png")
    united = as_persons(split(tmp_path, [("1", "a.png"), ("2", "b.png")]), [("2", "1")])
    assert united.frame["patient_id"].tolist() == ["1", "1"] and united.dropped == {}


def test_same_pixels_in_other_files_unite_ids_and_drop_the_copy(tmp_path: Path) -> None:
    noise(0).save(tmp_path / "a.png")
    noise(0).save(tmp_path / "b.png", compress_level=0)
    noise(1).save(tmp_path / "c.png")
    rows = [("1", "a.png"), ("2", "b.png"), ("2", "c.png")]
    united = as_persons(split(tmp_path, rows))
    assert united.frame["path"].tolist() == ["a.png", "c.png"]
    assert united.frame["patient_id"].tolist() == ["1", "1"]
    assert united.dropped == {"copy of another image": 1}


def test_picture_that_differs_in_one_small_place_is_no_copy(tmp_path: Path) -> None:
    picture = np.asarray(noise(0, 64)).copy()
    Image.fromarray(picture).save(tmp_path / "a.png")
    picture[10, 10] ^= 255
    Image.fromarray(picture).save(tmp_path / "b.png")
    assert len(as_persons(split(tmp_path, [("1", "a.png"), ("2", "b.png")])).patients) == 2


def test_empty_pictures_are_not_one_person(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("L", (40, 40), 0).save(tmp_path / name)
    assert len(as_persons(split(tmp_path, [("1", "a.png"), ("2", "b.png")])).patients) == 2


def test_absent_file_on_two_rows_is_one_row_and_one_person(tmp_path: Path) -> None:
    united = as_persons(split(tmp_path, [("1", "a.png"), ("2", "a.png"), ("3", "b.png")]))
    assert united.frame["patient_id"].tolist() == ["1", "3"]


def test_folds_keep_united_ids_together(tmp_path: Path) -> None:
    for k in range(40):
        noise(k).save(tmp_path / f"{k}.png")
    table = split(tmp_path, [(str(k), f"{k}.png") for k in range(40)])
    pairs = [(str(k), str(k + 20)) for k in range(20)]
    for fold in assign(as_persons(table, pairs)).all():
        images = {int(path.removesuffix(".png")) for path in fold.frame["path"]}
        assert {(k + 20) % 40 for k in images} == images


def test_no_list_means_no_pairs(tmp_path: Path) -> None:
    assert listed_pairs(tmp_path) == []


def test_list_with_other_columns_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "same_person.csv").write_text("patient_a,patientid_b\n1,2\n")
    with pytest.raises(ValueError, match=r"column 'patientid_a', .* nearest: .*'patient_a'"):
        listed_pairs(tmp_path)


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (b"patientid_a,patientid_b\n1,2\n3,\n", r"row 2 \(line 3\) holds '3' and ''"),
        (b'patientid_a,patientid_b\n1,"' + b"2" * 200_000, "could not be read"),
        (b"\xff\xfe\x00" * 50, "must be a csv file, but it is text in UTF-16"),
    ],
    ids=["half a pair", "a quote that is never closed", "no text"],
)
def test_a_damaged_list_is_refused_in_a_sentence(tmp_path: Path, held: bytes, told: str) -> None:
    (tmp_path / "same_person.csv").write_bytes(held)
    with pytest.raises(ValueError, match=told):
        listed_pairs(tmp_path)
