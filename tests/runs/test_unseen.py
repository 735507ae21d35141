"""Whom stored weights know: by the same name, in a union, and as another data set of a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from toy import toy_split

from datasets.folds import Folds, as_folds
from datasets.union import joined
from runs.unseen import called, check_others_unseen, check_unseen
from tracking.pseudonyms import Pseudonyms

NAMES = np.array(["train", "val", "test", "train"], dtype=object)


def trained(root: Path, dataset: str, patients: list[str], fold: str = "train") -> Any:
    """A stored run on `dataset` that learnt from these patients."""
    path = root / dataset / "erm" / "key"
    path.mkdir(parents=True)
    hidden = Pseudonyms(root, dataset).of(pd.Series(patients))
    pd.DataFrame({"part": 0, "fold": fold, "patient_id": hidden}).to_csv(path / "split.csv")
    return SimpleNamespace(path=path, record=lambda: SimpleNamespace(dataset=dataset))


def plan(dataset: str) -> Any:
    return SimpleNamespace(dataset=SimpleNamespace(registered_name=dataset, kind="real"))


def folds(root: Path, name: str) -> Folds:
    """Of four patients p0 to p3; p2 is tested."""
    (root / name).mkdir()
    table = toy_split(root / name, name, range(0, 4))
    place = table.frame["patient_id"].str[1:].astype(int)
    return as_folds(table, NAMES[place])


def test_weights_know_their_patients_under_the_same_name(tmp_path: Path) -> None:
    parted = [folds(tmp_path, "one")]
    check_unseen(plan("one"), trained(tmp_path / "a", "one", ["p0", "p1", "p3"]), parted)
    with pytest.raises(ValueError, match="1 of 1 test patients of part 1 are among them"):
        check_unseen(plan("one"), trained(tmp_path / "b", "one", ["p2"]), parted)
    check_unseen(plan("other"), trained(tmp_path / "c", "one", ["p2"]), parted)


def test_weights_know_their_patients_in_a_union_and_out_of_it(tmp_path: Path) -> None:
    one = folds(tmp_path, "one")
    both = joined("one+two", {"one": one.test, "two": folds(tmp_path, "two").train}, tmp_path)
    place = np.where(both.frame["patient_id"] == "one/p2", "test", "train").astype(object)
    place[(both.frame["patient_id"] == "two/p0").to_numpy()] = "val"
    parted = [as_folds(both, place)]
    with pytest.raises(ValueError, match="must be tested on patients"):
        check_unseen(plan("one+two"), trained(tmp_path / "a", "one", ["p2"]), parted)
    check_unseen(plan("one+two"), trained(tmp_path / "b", "two", ["p2"]), parted)
    with pytest.raises(ValueError, match="must be tested on patients"):
        check_unseen(plan("one"), trained(tmp_path / "c", "one+two", ["one/p2"]), [one])


def test_weights_know_patients_of_another_data_set_of_the_run(tmp_path: Path) -> None:
    one = folds(tmp_path, "one")
    spaced = [f.with_frame(f.frame.assign(patient_id="one/" + f.frame["patient_id"]))
              for f in (one.val, one.test)]  # fmt: skip
    foreign: Any = SimpleNamespace(
        name="one", val=spaced[0], test=spaced[1],
        placed=SimpleNamespace(dataset=SimpleNamespace(kind="real")),
    )  # fmt: skip
    check_others_unseen(trained(tmp_path / "a", "one", ["p0"]), [foreign])
    with pytest.raises(ValueError, match="1 of 1 test patients of one are among them"):
        check_others_unseen(trained(tmp_path / "b", "one", ["p2"]), [foreign])
    with pytest.raises(ValueError, match="1 of 1 val patients of one"):
        check_others_unseen(trained(tmp_path / "c", "one+two", ["one/p1"]), [foreign])
    # It validated the run in place of the run's own patients, and has others to be tested on.
    check_others_unseen(trained(tmp_path / "d", "two", ["one/p1"], "val"), [foreign])
    with pytest.raises(ValueError, match="1 of 1 test patients of one"):
        check_others_unseen(trained(tmp_path / "e", "two", ["one/p2"], "val"), [foreign])


@pytest.mark.parametrize(
    ("given", "name", "earlier", "expected"),
    [
        ("7", "a", "b", "a/7"),
        ("a/7", "a+b", "a", "7"),
        ("b/7", "a+b", "a", "b/7"),
        ("b/7", "a+b", "b+c", "b/7"),
    ],
)
def test_ids_are_called_as_the_earlier_run_calls_them(
    given: str, name: str, earlier: str, expected: str
) -> None:
    assert called(pd.Series([given]), name, earlier).tolist() == [expected]
