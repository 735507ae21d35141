"""Divisions: what `--split` means, who is in which fold, and who is left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cohorts import cohort

from datasets.base import FOLD
from datasets.division import NOT_LISTED, OVER_LIMIT, UNUSED, Divided, Division, divide, divide_in
from datasets.folds import SHARES, SOURCE, kfold, manifest, split_digest
from datasets.split import Folds, Split


def folded(table: Split, **of: str) -> Split:
    """`table` with a column `fold`: by patient number, below each bound of `of` that fold."""
    number = table.frame["patient_id"].str.extract(r"(\d+)$")[0].astype(int)
    names = np.full(len(table), "", dtype=object)
    for bound, name in reversed(of.items()):
        names[number < int(bound.removeprefix("below_"))] = name
    return table.with_frame(table.frame.assign(**{FOLD: names}))


def official(table: Split) -> Folds:
    (folds,) = divide(table, Division.named("official")).folds
    return folds


def sizes(folds: Folds) -> dict[str, int]:
    return {fold.name: len(fold.patients) for fold in folds.all()}


@pytest.mark.parametrize("text", ["official", "patient", "fold:1/2", "fold:10/10"])
def test_a_division_is_written_as_it_is_read(text: str) -> None:
    assert str(Division.named(text)) == Division.named(text).identity == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "--split must be official, patient, fold:i/k or a csv file, but got ''"),
        ("random", "but got 'random'"),
        ("fold:0/5", "i from 1 to k, but got 'fold:0/5'"),
        ("fold:6/5", "but got 'fold:6/5'"),
        ("fold:1/1", "k from 2"),
        ("fold:1", "but got 'fold:1'"),
        ("fold:1/5000", "k from 2 to 1000"),
        ("fold:-1/5", "but got 'fold:-1/5'"),
        ("fold:١/٥", "but got 'fold:"),
    ],
)
def test_what_is_no_division_is_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Division.named(text)


def test_patients_are_dealt_by_the_stated_shares() -> None:
    (folds,) = divide(cohort(2000), Division.named("patient")).folds
    assert sizes(folds) == {name: round(2000 * share) for name, share in SHARES.items()}


def test_official_folds_are_kept() -> None:
    table = folded(cohort(400), below_150="train", below_250="val", below_360="audit",
                   below_400="test")  # fmt: skip
    assert sizes(official(table)) == {"train": 150, "val": 100, "audit": 110, "test": 40}
    assert all((f.frame[FOLD] == f.name).all() for f in official(table).all())


def test_validation_and_audit_are_carved_out_of_an_official_train_fold() -> None:
    table = folded(cohort(1000), below_850="train", below_1000="test")
    folds = official(table)
    assert sizes(folds) == {"train": 600, "val": 150, "audit": 100, "test": 150}
    assert (folds.test.frame[FOLD] == "test").all()


def test_an_official_validation_fold_stays_whole_when_audit_is_carved() -> None:
    table = folded(cohort(1000), below_700="train", below_750="val", below_1000="test")
    # 10 of 70 parts of train.
    assert sizes(official(table)) == {"train": 600, "val": 50, "audit": 100, "test": 250}


def test_patients_without_an_official_fold_are_dealt_to_all_four() -> None:
    table = folded(cohort(2000), below_700="train", below_800="val", below_900="audit",
                   below_1000="test")  # fmt: skip
    assert sizes(official(table)) == {
        "train": 700 + 600, "val": 100 + 150, "audit": 100 + 100, "test": 100 + 150,
    }  # fmt: skip


def test_patients_beside_an_official_test_fold_alone_are_all_for_training() -> None:
    table = folded(cohort(1000), below_150="test")
    assert sizes(official(table)) == {"train": 600, "val": 150, "audit": 100, "test": 150}
    assert (official(table).test.frame[FOLD] == "test").all()


def test_images_without_a_fold_go_with_their_patient() -> None:
    table = folded(cohort(400), below_300="train", below_400="test")
    blank = table.frame["patient_id"].duplicated()
    assert blank.any()
    partly = table.with_frame(table.frame.assign(fold=table.frame[FOLD].mask(blank, "")))
    assert split_digest([official(partly)]) == split_digest([official(table)])


@pytest.mark.parametrize("column", [False, True])
def test_a_data_set_without_official_folds_is_told_so(column: bool) -> None:
    table = folded(cohort(40)) if column else cohort(40)
    with pytest.raises(ValueError, match=r"'made' assigns no folds .*; use --split patient$"):
        official(table)


def test_official_folds_that_are_not_used_are_noted() -> None:
    table = folded(cohort(40), below_30="train", below_40="test")
    assert divide(table, Division.named("patient")).notes == (UNUSED,)
    assert divide(table, Division.named("official")).notes == ()


def test_official_folds_without_test_are_refused() -> None:
    with pytest.raises(ValueError, match="must have a test fold, but has only train, val"):
        official(folded(cohort(40), below_30="train", below_40="val"))


def test_a_patient_in_two_official_folds_is_named() -> None:
    table = folded(cohort(40), below_30="train", below_40="test")
    frame = table.frame.assign(fold=["test", *table.frame[FOLD].iloc[1:]])
    assert (frame["patient_id"] == "p00000").sum() > 1
    with pytest.raises(ValueError, match=r"has 1 in two: p00000 \('test' and 'train'\)"):
        official(table.with_frame(frame))


@pytest.mark.parametrize("patients", [41, 900])
def test_parts_test_every_patient_once(patients: int) -> None:
    table = cohort(patients)
    parts = [divide(table, Division.named(f"fold:{i}/4")).folds[0] for i in range(1, 5)]
    tested = np.concatenate([part.test.patients for part in parts])
    assert sorted(tested) == table.patients.tolist()
    # A quarter is tested; of the rest 10 of 85 parts are for audit, if these are 100 patients.
    assert all(part.audit_reuses_train == (patients * 3 / 4 * 10 / 85 < 100) for part in parts)


def test_a_part_tests_whom_that_of_all_folds_tests() -> None:
    table = cohort(100)
    for i, part in enumerate(kfold(table, 5), start=1):
        (one,) = divide(table, Division.named(f"fold:{i}/5")).folds
        assert one.test.patients.tolist() == part.test.patients.tolist()


def union(a: Split, b: Split) -> Split:
    """Both under one name, patients told apart by a prefix."""
    frames = [t.frame.assign(**{SOURCE: t.name}) for t in (a, b)]
    frame = pd.concat(frames, ignore_index=True).assign(Extra=np.nan)
    return replace(a, name="a+b", frame=frame, findings=("Extra", *a.findings))


@pytest.mark.parametrize("split", ["patient", "fold:2/3"])
def test_each_source_of_a_union_has_the_folds_that_it_has_alone(split: str) -> None:
    a, b = cohort(300, seed=1, name="a", prefix="a/"), cohort(500, seed=2, name="b", prefix="b/")
    b = b.with_frame(b.frame.assign(race=b.frame["race"].replace("A", "Z")))
    division = Division.named(split)
    both = divide(union(a, b), division)
    for table in (a, b):
        alone = _fold_of(divide(table, division))
        assert {p: f for p, f in _fold_of(both).items() if p in alone} == alone


def test_a_source_without_official_folds_is_dealt_by_patient_in_a_union() -> None:
    a = folded(cohort(200, name="a", prefix="a/"), below_150="train", below_200="test")
    b = cohort(1000, seed=2, name="b", prefix="b/")
    both = divide(union(a, b), Division.named("official"))
    dealt = pd.Series(_fold_of(both))
    assert dealt[[p for p in dealt.index if p.startswith("b/")]].value_counts().to_dict() == {
        "train": 600, "val": 150, "test": 150, "audit": 100,
    }  # fmt: skip
    assert (dealt[a.frame.loc[a.frame[FOLD] == "test", "patient_id"]] == "test").all()


def _fold_of(divided: Divided) -> dict[str, str]:
    return dict(zip(divided.table.frame["patient_id"], divided.names, strict=True))


def test_a_limit_keeps_shares_and_leaves_a_part_of_every_fold() -> None:
    table, division = cohort(2000), Division.named("patient")
    whole, part = divide(table, division), divide(table, division, limit=200)
    assert pd.Series(_fold_of(part)).value_counts().to_dict() == {
        "train": 120, "val": 30, "test": 30, "audit": 20,
    }  # fmt: skip
    assert _fold_of(part).items() <= _fold_of(whole).items()
    assert part.notes == ("a trial on 200 of 2000 patients (--limit-patients)",)


def test_rows_beyond_a_limit_are_counted() -> None:
    table = cohort(300)
    part = divide(table, Division.named("patient"), limit=50)
    assert part.table.dropped == {OVER_LIMIT: len(table) - len(part.table)}
    assert NOT_LISTED not in part.table.dropped


def test_a_limit_keeps_groups_together_as_they_are() -> None:
    table = cohort(2000)
    part = divide(table, Division.named("patient"), limit=400).table
    for attribute in ("race", "sex"):
        share = [t.frame.drop_duplicates("patient_id")[attribute].value_counts(normalize=True)
                 for t in (table, part)]  # fmt: skip
        assert (share[0] - share[1]).abs().max() < 0.01


def test_a_limit_above_all_patients_changes_nothing() -> None:
    table = cohort(100)
    whole, part = (divide(table, Division.named("patient"), limit=n) for n in (0, 100))
    assert split_digest(whole.folds) == split_digest(part.folds)


def test_a_limit_applies_to_k_folds_too() -> None:
    parts = divide_in(cohort(300), 3, limit=60)
    assert sum(len(f.test.patients) for f in parts.folds) == 60
    assert len(parts.table.patients) == 60


def test_a_seed_that_deals_is_not_ignored() -> None:
    table, division = cohort(200), Division.named("patient")
    digests = [split_digest(divide(table, division, seed=s).folds) for s in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


def test_a_digest_tells_folds_apart() -> None:
    table = cohort(200)
    one, other = (divide(table, Division.named(f"fold:{i}/4")).folds for i in (1, 2))
    assert split_digest(one) != split_digest(other)
    assert len(manifest(one[0])) >= len(table)
