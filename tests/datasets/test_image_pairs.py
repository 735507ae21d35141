"""Lists of image pairs with their labels."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from datasets.image_pairs import check_image_pairs, read_image_pairs
from datasets.split import Split


def table(patients: dict[str, str]) -> Split:
    frame = pd.DataFrame(
        {"image_id": list(patients), "path": list(patients), "patient_id": list(patients.values())}
    )
    return Split("set", frame.assign(origin="real"), Path(), (), ())


def pairs(*rows: tuple[str, str, bool]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image_a", "image_b", "same_patient"])


def test_list_is_read_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("1_000.png\t1_001.png\t1.0\n2_000.png\t3_000.png\t0.0")
    read = read_image_pairs(path)
    assert read.to_numpy().tolist() == [
        ["1_000.png", "1_001.png", True],
        ["2_000.png", "3_000.png", False],
    ]


@pytest.mark.parametrize("line", ["a.png\tb.png", "a.png b.png 1.0", "a.png\tb.png\t2", "\tb\t1"])
def test_line_that_is_no_pair_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(f"a.png\tb.png\t1.0\n\n{line}\n")
    with pytest.raises(ValueError, match=r"line 3 of .*pairs\.txt"):
        read_image_pairs(path)


def test_absent_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"pairs\.txt is not there"):
        read_image_pairs(tmp_path / "pairs.txt")


def test_labels_that_are_true_of_the_patients_pass() -> None:
    people = table({"a": "1", "b": "1", "c": "2"})
    check_image_pairs(pairs(("a", "b", True), ("b", "c", False)), people)


@pytest.mark.parametrize(
    ("pair", "says"), [(("a", "b", False), "two patients"), (("a", "c", True), "the same patient")]
)
def test_label_that_is_not_true_is_told(pair: tuple[str, str, bool], says: str) -> None:
    people = table({"a": "1", "b": "1", "c": "2"})
    with pytest.raises(ValueError, match=f"1 of 2 do not, such as {pair[0]} and .*{says}"):
        check_image_pairs(pairs(("b", "c", False), pair), people)


def test_image_that_is_not_in_the_table_is_told() -> None:
    with pytest.raises(ValueError, match="2 of their images are not in it, such as 'x'"):
        check_image_pairs(pairs(("x", "y", True)), table({"a": "1"}))
