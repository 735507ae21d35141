"""Persons and pictures on two sides are named."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datasets import overlap
from datasets.folds import assign, kfold
from datasets.near_duplicates import fingerprints
from datasets.overlap import (
    NEAR,
    PATIENT,
    PERSON,
    SAME,
    Overlap,
    between_folds,
    between_sets,
    copies,
)
from datasets.split import Folds, Split

SIDE = 32
FOLDS = ("train", "train", "train", "val", "audit", "test")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRILEMMA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.folds.SMALLEST_AUDIT", 1)
    return tmp_path / "cache"


def pictures(shown: Mapping[int, np.ndarray] | None = None) -> np.ndarray:
    """Twelve pictures of noise, some replaced."""
    made = np.random.default_rng(0).integers(0, 255, (12, SIDE, SIDE)).astype(np.uint8)
    for row, picture in (shown or {}).items():
        made[row] = picture
    return made


def table(root: Path, pixels: np.ndarray, name: str = "toy", patients: str = "p") -> Split:
    """Six patients with two images each: three in train, one in each other fold."""
    root.mkdir(exist_ok=True)
    np.save(root / "pixels.npy", pixels)
    rows = [
        (f"i{k}", f"{patients}{k // 2}", f"pixels.npy#{k}", "real", FOLDS[k // 2])
        for k in range(12)
    ]
    columns = ["image_id", "patient_id", "path", "origin", "fold"]
    return Split(name, pd.DataFrame(rows, columns=columns), root, (), ())


def found(split: Split, same_person: list[tuple[str, str]] | None = None) -> Overlap:
    return between_folds([assign(split)], split, copies(split, size=SIDE), same_person or ())


def test_disjoint_folds_leak_nothing(tmp_path: Path) -> None:
    nothing = found(table(tmp_path / "d", pictures()))
    assert nothing == Overlap() and nothing.counts == {}
    nothing.refuse("toy")


def test_an_equal_picture_in_another_fold_is_named(tmp_path: Path) -> None:
    made = pictures()
    (leak,) = found(table(tmp_path / "d", pictures({10: made[1]}))).leaks
    assert (leak.kind, leak.image_a, leak.image_b) == (SAME, "i1", "i10")
    assert (leak.fold_a, leak.fold_b) == ("train", "test")
    assert (leak.patient_a, leak.patient_b, leak.distance) == ("p0", "p5", 0.0)


def test_a_changed_picture_in_another_fold_is_named(tmp_path: Path) -> None:
    made = pictures()
    dimmed = (made[1] * 0.6 + 10).astype(np.uint8)
    (leak,) = found(table(tmp_path / "d", pictures({6: dimmed}))).leaks
    assert (leak.kind, leak.image_a, leak.image_b, leak.fold_b) == (NEAR, "i1", "i6", "val")
    assert 0 <= leak.distance < 0.04


def test_equal_pictures_in_one_fold_are_no_leakage(tmp_path: Path) -> None:
    assert found(table(tmp_path / "d", pictures({2: pictures()[0]}))) == Overlap()


def test_a_picture_in_every_fold_makes_a_pair_per_copy(tmp_path: Path) -> None:
    one = pictures()[0]
    leaks = found(table(tmp_path / "d", pictures({3: one, 6: one, 8: one, 10: one}))).leaks
    assert [(leak.image_a, leak.image_b) for leak in leaks] == [
        ("i0", "i6"), ("i0", "i8"), ("i0", "i10"),
    ]  # fmt: skip


def test_blank_pictures_are_no_copies(tmp_path: Path) -> None:
    blank = np.zeros((SIDE, SIDE), np.uint8)
    assert found(table(tmp_path / "d", pictures({0: blank, 6: blank, 10: blank}))) == Overlap()


def test_listed_persons_in_two_folds_are_named(tmp_path: Path) -> None:
    (*_, leak) = leaks = found(table(tmp_path / "d", pictures()), [("p5", "p0")]).leaks
    assert [one.kind for one in leaks] == [PERSON, PERSON]
    assert (leak.patient_a, leak.patient_b, leak.image_b) == ("p0", "p5", "i11")
    assert math.isnan(leak.distance)


def test_listed_persons_in_one_fold_are_no_leakage(tmp_path: Path) -> None:
    assert found(table(tmp_path / "d", pictures()), [("p0", "p1")]) == Overlap()


def test_an_id_without_images_joins_two_that_have_some(tmp_path: Path) -> None:
    pairs = [("p0", "gone"), ("gone", "p3")]
    assert found(table(tmp_path / "d", pictures()), pairs).counts == {PERSON: 2}


def test_an_audit_fold_that_is_the_train_fold_is_no_leakage(tmp_path: Path) -> None:
    split = table(tmp_path / "d", pictures())
    parts = assign(split)
    shared = Folds(parts.train, parts.val, replace(parts.train, name="audit"), parts.test)
    rest = split.where(split.frame["fold"].ne("audit").to_numpy())
    assert between_folds([shared], rest, copies(rest, size=SIDE)) == Overlap()


def test_a_pair_that_crosses_in_several_parts_counts_once(tmp_path: Path) -> None:
    split = table(tmp_path / "d", pictures({10: pictures()[1]}))
    split = split.with_frame(split.frame.drop(columns="fold"))
    result = between_folds(kfold(split, 6), split, copies(split, size=SIDE))
    assert result.counts == {SAME: 1}


def test_a_refusal_names_five_pairs_counts_and_ways_out(tmp_path: Path) -> None:
    one = pictures()[0]
    split = table(tmp_path / "d", pictures(dict.fromkeys(range(1, 12), one)))
    result = found(split, [("p0", "p5")])
    assert result.counts == {PERSON: 2, SAME: 6}
    with pytest.raises(ValueError, match="toy") as refused:
        result.refuse("toy")
    message = str(refused.value)
    assert message.count("(train) and") == 5
    assert "'i0' of patient 'p0' (train) and 'i10' of patient 'p5' (test)" in message
    assert "2 pairs (same person under two ids) and 6 pairs (same image)" in message
    assert "--allow-leakage REASON" in message and "as_persons" in message


def test_copies_are_looked_for_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = table(tmp_path / "d", pictures({10: pictures()[1]}))
    first = copies(split, size=SIDE)
    monkeypatch.setattr(overlap, "fingerprints", None)
    again = copies(split, size=SIDE)
    assert np.array_equal(first.picture, again.picture)
    assert [path.suffix for path in sorted((cache / "overlap").iterdir())].count(".npz") == 1


def test_other_patients_are_looked_at_anew(tmp_path: Path) -> None:
    made = pictures()
    split = table(tmp_path / "d", pictures({1: (made[0] * 0.6).astype(np.uint8)}))
    assert len(copies(split, size=SIDE).near) == 0
    apart = split.with_frame(split.frame.assign(patient_id=[f"q{k}" for k in range(12)]))
    assert copies(apart, size=SIDE).near.tolist() == [[0, 1]]


def test_two_data_sets_share_a_picture(tmp_path: Path) -> None:
    first = table(tmp_path / "a", pictures(), "first")
    other = np.random.default_rng(1).integers(0, 255, (12, SIDE, SIDE)).astype(np.uint8)
    other[3] = pictures()[5]
    second = table(tmp_path / "b", other, "second")
    (leak,) = between_sets(first, second, size=SIDE).leaks
    assert (leak.kind, leak.image_a, leak.image_b) == (SAME, "i5", "i3")
    assert (leak.fold_a, leak.fold_b) == ("first", "second")


@pytest.mark.parametrize(("same_ids", "counts"), [(False, {}), (True, {PATIENT: 12})])
def test_equal_ids_are_one_patient_only_where_said(
    tmp_path: Path, same_ids: bool, counts: dict[str, int]
) -> None:
    other = np.random.default_rng(1).integers(0, 255, (12, SIDE, SIDE)).astype(np.uint8)
    first = table(tmp_path / "a", pictures(), "first")
    second = table(tmp_path / "b", other, "second")
    assert between_sets(first, second, size=SIDE, same_ids=same_ids).counts == counts


def test_a_listed_pair_joins_two_data_sets(tmp_path: Path) -> None:
    other = np.random.default_rng(1).integers(0, 255, (12, SIDE, SIDE)).astype(np.uint8)
    first = table(tmp_path / "a", pictures(), "first")
    second = table(tmp_path / "b", other, "second", patients="q")
    result = between_sets(first, second, size=SIDE, same_person=[("p0", "q4")])
    assert result.counts == {PERSON: 2}
    assert {leak.patient_b for leak in result.leaks} == {"q4"}


def test_two_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    split = table(tmp_path / "a", pictures())
    with pytest.raises(ValueError, match="differ in name"):
        between_sets(split, split, size=SIDE)


def test_fingerprints_follow_the_order_of_the_table(tmp_path: Path) -> None:
    from datasets.images import open_images

    split = table(tmp_path / "d", pictures())
    turned = split.with_frame(split.frame.iloc[::-1])
    digests = fingerprints(open_images(split, SIDE)).digests
    assert fingerprints(open_images(turned, SIDE)).digests.tolist() == digests[::-1].tolist()
