"""Splits and folds: what construction refuses, and what patients do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datasets.folds import SHARES, assign, digest, kfold, manifest
from datasets.split import Folds, Split


def table(patients: int = 40, visits: int = 2) -> Split:
    """A table without pixels."""
    ids = [f"p{i:03d}" for i in range(patients) for _ in range(visits)]
    frame = pd.DataFrame(
        {
            "image_id": [f"{p}-{i}" for i, p in enumerate(ids)],
            "patient_id": ids,
            "path": [f"{i}.png" for i in range(len(ids))],
            "origin": "real",
            "sex": ["F", "M"] * (len(ids) // 2),
            "Edema": [0.0, 1.0] * (len(ids) // 2),
        }
    )
    return Split("all", frame, Path("/data"), ("Edema",), ("sex",))


def changed(column: str, row: int, value: object) -> Split:
    split = table()
    frame = split.frame.astype({column: object})
    frame.loc[row, column] = value
    if column == "Edema":
        frame[column] = frame[column].infer_objects()
    return replace(split, frame=frame)


@pytest.mark.parametrize(
    ("column", "row", "value", "told"),
    [
        ("Edema", 3, -1.0, r"'Edema'.*-1\.0.*row 3"),
        ("Edema", 2, "yes", r"'Edema'.*yes.*row 2"),
        ("patient_id", 5, None, r"'patient_id'.*blank at row 5"),
        ("image_id", 0, "  ", r"'image_id'.*row 0"),
        ("sex", 4, None, r"'sex'.*blank at row 4.*'Unknown'"),
        ("origin", 1, "guessed", "origin must be one of"),
        ("path", 1, "../secret.png", r"\.\./secret\.png"),
        ("path", 1, "/etc/passwd", "/etc/passwd"),
    ],
)
def test_a_bad_value_is_named_with_column_and_row(
    column: str, row: int, value: object, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        changed(column, row, value)


def test_a_missing_column_is_named() -> None:
    split = table()
    with pytest.raises(ValueError, match=r"must have the columns 'Edema'"):
        replace(split, frame=split.frame.drop(columns="Edema"))


def test_an_unknown_label_is_kept_as_nan() -> None:
    labels = changed("Edema", 0, float("nan")).labels()
    assert np.isnan(labels[0, 0]) and labels.shape == (80, 1)


def test_groups_keep_the_order_of_the_data_set() -> None:
    split = table()
    ordered = split.frame.assign(sex=pd.Categorical(split.frame["sex"], categories=["M", "F", "X"]))
    assert replace(split, frame=ordered).groups_of("sex") == ("M", "F", "X")
    assert split.groups_of("sex") == ("F", "M")


def folds_of(split: Split, **rows: range) -> Folds:
    return Folds(**{name: split.with_frame(split.frame.iloc[r], name) for name, r in rows.items()})


def test_patients_shared_by_two_folds_are_named() -> None:
    with pytest.raises(ValueError, match=r"'train' and 'test' share 1: p009"):
        folds_of(table(), train=range(20), val=range(40, 50), audit=range(50, 60),
                 test=range(19, 40))  # fmt: skip


def test_an_empty_fold_is_named() -> None:
    with pytest.raises(ValueError, match="'val' is empty"):
        folds_of(table(), train=range(20), val=range(0), audit=range(50, 60), test=range(60, 80))


def test_only_training_rows_may_repeat() -> None:
    split = table()
    twice = split.with_frame(split.frame.iloc[[0, 0, 1]], "train")
    rest = {n: split.with_frame(split.frame.iloc[r], n)
            for n, r in (("val", [10]), ("audit", [20]), ("test", [30]))}  # fmt: skip
    Folds(train=twice, **rest)
    with pytest.raises(ValueError, match=r"fold 'test'.*p015-30"):
        Folds(**{**rest, "train": twice, "test": split.with_frame(split.frame.iloc[[30, 30]])
                 .with_frame(split.frame.iloc[[30, 30]], "test")})  # fmt: skip


def test_audit_may_reuse_all_of_train_but_not_part_of_it() -> None:
    folds = folds_of(
        table(), train=range(20), val=range(20, 30), audit=range(20), test=range(30, 40)
    )
    assert folds.audit_reuses_train
    with pytest.raises(ValueError, match="'train' and 'audit' share"):
        folds_of(table(), train=range(20), val=range(20, 30), audit=range(10), test=range(30, 40))


def test_patients_are_shuffled_into_disjoint_folds_of_the_stated_shares() -> None:
    folds = assign(table(2000, 1))
    sizes = {f.name: len(f.patients) for f in folds.all()}
    assert sizes == {name: round(2000 * share) for name, share in SHARES.items()}


def test_a_small_data_set_reuses_train_as_audit() -> None:
    folds = assign(table(40))
    assert folds.audit_reuses_train
    assert len(folds.train.patients) == 28  # 60 % and the 10 % of audit


def test_folds_of_the_data_set_are_kept() -> None:
    split = table(400)
    names = np.repeat(["train", "val", "audit", "test"], 200)
    folds = assign(replace(split, frame=split.frame.assign(fold=names)))
    assert all((f.frame["fold"] == f.name).all() for f in folds.all())


def test_an_unknown_fold_name_is_refused() -> None:
    split = table()
    with pytest.raises(ValueError, match="'holdout'"):
        assign(replace(split, frame=split.frame.assign(fold="holdout")))


def test_every_patient_is_tested_once_in_k_folds() -> None:
    parts = kfold(table(41), 5, seed=1)
    tested = np.concatenate([f.test.patients for f in parts])
    assert sorted(tested) == sorted(table(41).patients)
    assert all(f.audit_reuses_train for f in parts)


@pytest.mark.parametrize("k", [1, 41, 100])
def test_a_number_of_folds_that_cannot_be_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"--folds must lie between 2 and .* but got {k}"):
        kfold(table(40), k)


def test_the_same_seed_splits_alike_and_another_does_not() -> None:
    tests = [assign(table(200), seed=s).test.patients.tolist() for s in (0, 0, 1)]
    assert tests[0] == tests[1] != tests[2]


def test_the_manifest_names_every_image_of_every_fold() -> None:
    listed = manifest(assign(table(2000, 1)))
    assert list(listed) == ["fold", "patient_id", "image_id"]
    assert listed["image_id"].is_unique and len(listed) == 2000


def test_the_digest_sees_values_and_order() -> None:
    frame = table().frame
    assert digest(frame) == digest(frame.copy())
    assert digest(frame) != digest(frame.iloc[::-1])
    assert digest(frame) != digest(frame.assign(Edema=0.0))
