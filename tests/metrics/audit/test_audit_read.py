"""What a table of somebody's predictions is taken to say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metrics.audit.columns import Named, resolve
from metrics.audit.groups import group
from metrics.audit.read import load
from metrics.audit.source import read

Make = Callable[..., pd.DataFrame]


def test_findings_and_attributes_are_found_by_their_names() -> None:
    names = ["patient", "label_A b", "score_A b", "decision_A b", "Sex", "weight", "image"]
    found = resolve(names, Named(), "t")
    assert [f.name for f in found.findings] == ["A b"]
    assert found.findings[0].decision == "decision_A b"
    assert (found.patient, found.image, found.attributes) == ("patient", "image", ("Sex",))
    assert found.unused == ("weight",)


def test_named_columns_take_the_place_of_the_convention() -> None:
    names = ["pid", "y_Edema", "p", "sex", "ward"]
    named = Named(patient="pid", label=("y_Edema",), score=("p",), attributes=("ward",))
    found = resolve(names, named, "t")
    assert [(f.name, f.label, f.score) for f in found.findings] == [("Edema", "y_Edema", "p")]
    assert found.attributes == ("ward",)
    assert found.unused == ("sex",)


def test_age_in_years_is_put_into_the_fixed_bands() -> None:
    frame = pd.DataFrame({"age": [39.9, 40, 59, 60, 79, 80, np.nan]})
    made = group(read(frame), "age")
    expected = ["<40", "40-59", "40-59", "60-79", "60-79", ">=80", "Unknown"]
    assert list(made.values) == expected
    assert made.order == ("<40", "40-59", "60-79", ">=80", "Unknown")
    assert "fixed bands" in made.note


def test_a_missing_group_is_unknown_and_said() -> None:
    frame = pd.DataFrame({"sex": ["M", " F", None, "", "F"]})
    made = group(read(frame), "sex")
    assert list(made.values) == ["M", "F", "Unknown", "Unknown", "F"]
    assert made.order == ("F", "M", "Unknown")
    assert "2 images without 'sex'" in made.note


def test_numbers_as_groups_are_spelled_without_a_point() -> None:
    made = group(read(pd.DataFrame({"site": [1.0, 2.0, np.nan]})), "site")
    assert made.order == ("1", "2", "Unknown")


def test_crossed_attributes_hold_only_groups_that_occur() -> None:
    frame = pd.DataFrame({"sex": ["F", "M", "M"], "race": ["A", "A", "B"]})
    made = group(read(frame), "sex & race")
    assert made.order == ("F & A", "M & A", "M & B")
    assert list(made.values) == ["F & A", "M & A", "M & B"]


def test_a_patient_keeps_leading_zeros(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("patient,label,score\n007,1,0.5\n7,0,0.1\n")
    material = load(tmp_path / "t.csv", Named())
    assert list(material.test.frame["patient"]) == ["007", "7"]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "csv.gz", "parquet"])
def test_every_kind_of_file_gives_the_same_predictions(
    suffix: str, make_two: Make, tmp_path: Path
) -> None:
    frame, path = make_two(), tmp_path / f"t.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    expected, found = load(frame, Named()).test, load(path, Named()).test
    pd.testing.assert_frame_equal(expected.frame, found.frame)


def test_labels_may_be_truth_values_and_may_be_missing() -> None:
    frame = pd.DataFrame({"patient": ["a", "b"], "label": [True, False], "score": [0.2, 0.3]})
    assert load(frame, Named()).test.labels().tolist() == [[1], [0]]
    unknown = frame.assign(label=[1, None])
    assert np.isnan(load(unknown, Named()).test.labels()[1, 0])


def test_rows_of_other_folds_are_left_out_and_val_is_validation(make_frame: Make) -> None:
    frame = pd.concat(
        [make_frame().assign(fold="test"), make_frame(seed=1).assign(fold="val"),
         make_frame(seed=2).assign(fold="train")]
    )  # fmt: skip
    material = load(frame, Named())
    assert set(material.test.frame["patient"].str[:2]) == {"p0"}
    assert material.validation is not None
    assert set(material.validation.frame["patient"].str[:2]) == {"p1"}
    assert any("600 of other folds left out" in note for note in material.notes)


def test_a_run_of_the_suite_is_read_as_it_is() -> None:
    frame = pd.DataFrame(
        {
            "image": ["i", "j"], "patient": ["a", "b"], "part": [0, 0], "sex": ["F", "M"],
            "y:Edema": [1.0, 0.0], "true:Edema": [1.0, 1.0], "logit:Edema": [0.2, 0.7],
            "decision:Edema": [0.0, 1.0], "fold": ["test", "test"],
        }
    )  # fmt: skip
    material = load(frame, Named())
    assert material.test.has_truth
    assert material.decided
    assert material.scale.kind == "logit"
    assert material.test.logits()[:, 0].tolist() == pytest.approx([0.2, 0.7])


def test_every_image_of_another_patient_is_doubted(make_frame: Make) -> None:
    alone = make_frame().assign(patient=range(600))
    assert any("intervals are too narrow" in note for note in load(alone, Named()).notes)
    assert not any("too narrow" in note for note in load(make_frame(), Named()).notes)
