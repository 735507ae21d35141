"""Findings under other names: never by guess, and never two of one data set in one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datasets.align import aligned, check_renamed, namespaced, pairs_of, renamed
from datasets.split import Split
from registry import UnknownName


def split(**columns: list[float]) -> Split:
    frame = pd.DataFrame(columns)
    frame["image_id"] = frame["path"] = [f"{i}.png" for i in range(len(frame))]
    frame["patient_id"] = "p"
    frame["origin"] = "simulated"
    frame["sex"] = "Male"
    findings = tuple(c for c in columns if not c.startswith("true:"))
    return Split("toy", frame, Path(), findings, ("sex",))


def test_a_renamed_finding_takes_its_simulated_truth_along() -> None:
    table = renamed(
        split(Effusion=[0.0, 1.0], **{"true:Effusion": [1.0, 1.0]}), {"Effusion": "Fluid"}
    )
    assert table.findings == ("Fluid",) and table.has_truth
    assert table.labels(true=True).tolist() == [[1.0], [1.0]]


def test_two_findings_of_one_data_set_are_not_united() -> None:
    with pytest.raises(ValueError, match="has both 'Effusion' and 'Fluid'"):
        renamed(split(Effusion=[0.0], Fluid=[1.0]), {"Effusion": "Fluid"})


def test_findings_of_two_parts_are_united_row_by_row() -> None:
    both = split(Effusion=[1.0, np.nan], Fluid=[np.nan, 0.0])
    parts = both.with_frame(both.frame.assign(source=["a", "b"]))
    table = renamed(parts, {"Effusion": "Fluid"})
    assert table.findings == ("Fluid",) and table.frame["Fluid"].tolist() == [1.0, 0.0]


def test_a_name_that_is_another_column_is_refused() -> None:
    with pytest.raises(ValueError, match="a column 'sex' that is no finding"):
        renamed(split(Effusion=[0.0]), {"Effusion": "sex"})


def test_what_a_table_lacks_is_blank_and_unknown() -> None:
    table = aligned(split(Edema=[1.0, 0.0]), ("Fracture", "Edema"), ("race", "sex"))
    assert np.isnan(table.labels()[:, 0]).all() and table.labels()[:, 1].tolist() == [1.0, 0.0]
    assert table.frame["race"].tolist() == ["Unknown"] * 2
    assert table.frame["sex"].tolist() == ["Male"] * 2


def test_a_column_that_is_no_finding_is_not_taken_for_one() -> None:
    table = split(Edema=[1.0])
    hidden = replace(table, frame=table.frame.assign(Fracture=[1.0], race=["A"]))
    found = aligned(hidden, ("Edema", "Fracture"), ("race",))
    assert np.isnan(found.frame["Fracture"]).all() and found.frame["race"].tolist() == ["Unknown"]


def test_ids_stand_under_the_name_of_their_data_set() -> None:
    table = namespaced(split(Edema=[1.0]), "here")
    assert table.frame.loc[0, ["image_id", "patient_id", "source"]].tolist() == [
        "here/0.png", "here/p", "here",
    ]  # fmt: skip


@pytest.mark.parametrize("texts", [["Effusion"], ["=x"], ["a=b", "b=c"], ["a=b", "a=c"]])
def test_a_rename_must_read_old_and_new_once(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="--rename-finding must"):
        pairs_of(texts, "--rename-finding")


def test_an_unknown_finding_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'Effusion'"):
        check_renamed(["Efusion"], ["Effusion", "Edema"])
