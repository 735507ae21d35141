"""Persons under two ids in a part of a union: listed below the folder of that part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from toy import toy_split

from datasets.folds import as_folds
from datasets.union import joined
from inspection.checking.leaks import check_persons


def test_a_person_in_two_folds_is_found_in_a_part_of_a_union(tmp_path: Path) -> None:
    parts = {}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        parts[name] = toy_split(tmp_path / name, name, range(0, 4))
    table = joined("one+two", parts, tmp_path)
    names = np.array(["train", "train", "val", "test"], dtype=object)
    folds = as_folds(table, names[table.frame["patient_id"].str[-1].astype(int)])
    assert not [*check_persons(table, folds)]
    (tmp_path / "two" / "same_person.csv").write_text("patientid_a,patientid_b\np0,p3\n")
    assert len([*check_persons(table, folds)]) == 1
