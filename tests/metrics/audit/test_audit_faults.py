"""Malformed tables: one sentence that names file, row, column, value and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metrics.__main__ import main

Change = Callable[[pd.DataFrame], pd.DataFrame]


def put(frame: pd.DataFrame, row: int, column: str, value: object) -> pd.DataFrame:
    """The frame with one other cell."""
    changed = frame.astype({column: object})
    changed.loc[row, column] = value
    return changed


CELLS: dict[str, tuple[Change, tuple[str, ...]]] = {
    "no column of patients": (
        lambda f: f.rename(columns={"patient": "patient_id"}),
        ("column of patients", "--patient", "did you mean 'patient_id'?"),
    ),
    "no score": (
        lambda f: f.rename(columns={"score": "scores"}),
        ("'label' and no 'score'", "did you mean 'scores'?"),
    ),
    "neither label nor score": (
        lambda f: f.drop(columns=["label", "score"]),
        ("no column is called 'label' and 'score'", "--label and --score"),
    ),
    "label of 2": (
        lambda f: put(f, 3, "label", 2),
        ("labels must be 0, 1 or empty", "has 2", "column 'label'", "line 5", "correct"),
    ),
    "label of -1": (
        lambda f: put(f, 0, "label", -1),
        ("has -1", "line 2", "uncertain: leave it empty"),
    ),
    "score is empty": (
        lambda f: put(f, 5, "score", np.nan),
        ("finite", "an empty cell (NaN)", "column 'score'", "line 7", "score every image"),
    ),
    "score is infinite": (
        lambda f: put(f, 5, "score", np.inf),
        ("finite", "has inf", "line 7", "clip"),
    ),
    "text in score": (
        lambda f: put(f, 1, "score", "high"),
        ("the text 'high'", "column 'score'", "line 3", "write a number"),
    ),
    "patient is empty": (
        lambda f: put(f, 2, "patient", None),
        ("every row must name its patient", "line 4", "fill it"),
    ),
    "image twice": (
        lambda f: put(f.assign(image=[f"i{i}" for i in range(len(f))]), 4, "image", "i1"),
        ("one row", "image 'i1'", "lines 3, 6", "keep one"),
    ),
    "percentages": (
        lambda f: f.assign(score=f["score"] * 100),
        ("probabilities in [0, 1] or logits", "divide percentages by 100", "--scores logit"),
    ),
    "one patient": (
        lambda f: f.assign(patient="p1"),
        ("at least 2 patients", "has 1 ('p1')", "--patient"),
    ),
    "age of 414": (
        lambda f: f.assign(age=[414] + [50] * (len(f) - 1)),
        ("ages must be 0 to 120", "has 414", "column 'age'", "line 2"),
    ),
    "too many groups": (
        lambda f: f.assign(site=[f"s{i}" for i in range(len(f))]),
        ("at most 16 groups", "'site' has 600", "--attributes"),
    ),
}


def refused(arguments: list[str], out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence of an audit that is refused and writes nothing."""
    assert main(["audit", *arguments, "--out", str(out), "--replicates", "20"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert not out.exists()
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert captured.err.splitlines()[-1] == errors[0]
    return errors[0]


@pytest.mark.parametrize("case", CELLS)
def test_a_faulty_table_is_one_sentence(
    case: str, make_frame: Callable[..., pd.DataFrame], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    change, expected = CELLS[case]
    file = tmp_path / "given.csv"
    change(make_frame()).to_csv(file, index=False)
    message = refused([str(file)], tmp_path / "out", capsys)
    assert str(file) in message
    for part in expected:
        assert part in message


BYTES = {
    "empty": (b"", "given.csv", ("empty", "write it again")),
    "only a header": (b"patient,label,score\n", "given.csv", ("a row per image", "fill it")),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "given.csv", ("no text", "to_csv")),
    "prose": (b"dear all\nhere they are\n", "given.csv", ("no comma", "to_csv")),
    "not UTF-8": (b"patient,label,score\n\xff\xfe,1,0.5\n", "given.csv", ("UTF-8", "to_csv")),
    "a row too long": (b"patient,label,score\na,1,0.5\nb,0,0.1,9\n", "given.csv", ("line 3",)),
    "a name twice": (b"patient,label,score,score\na,1,1,1\n", "given.csv", ("'score' 2 times",)),
    "no parquet": (b"PAR1 and no more", "given.parquet", ("readable parquet", "to_parquet")),
}


@pytest.mark.parametrize("case", BYTES)
def test_a_file_that_is_no_table_is_one_sentence(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, name, expected = BYTES[case]
    (tmp_path / name).write_bytes(content)
    message = refused([str(tmp_path / name)], tmp_path / "out", capsys)
    for part in (str(tmp_path / name), *expected):
        assert part in message


def test_a_missing_file_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused([str(tmp_path / "none.csv")], tmp_path / "out", capsys)
    assert "none.csv" in message
    assert "check the path" in message


OPTIONS = {
    "attribute that is not there": (["--attributes", "sexx"], ("'sexx'", "did you mean 'sex'?")),
    "patient that is not there": (["--patient", "pid"], ("'pid'", "its columns: patient")),
    "more labels than scores": (
        ["--label", "label,sex", "--score", "score"],
        ("--label names 2", "--score names 1", "same order"),
    ),
    "operating point without validation": (
        ["--operating-point", "youden"],
        ("fitted on validation patients", "--validation FILE"),
    ),
    "unknown operating point": (
        ["--operating-point", "best"],
        ("'best'", "specificity:0.80"),
    ),
    "threshold that is no number": (["--threshold", "half"], ("'half'", "0.5")),
    "threshold of another scale": (["--threshold", "3"], ("of kind probability", "is 3")),
    "threshold of another finding": (["--threshold", "Edema=0.5"], ("'Edema'", "known: finding")),
    "unknown macro finding": (["--macro", "Edema"], ("'Edema'", "known: finding")),
    "replicates": (["--replicates", "many"], ("--replicates", "'many'", "whole number")),
    "unknown kind of score": (["--scores", "percent"], ("--scores", "probability", "'percent'")),
    "unknown option": (["--thresh", "0.5", "--bogus"], ("--bogus", "--help")),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS)
def test_a_wrong_option_is_one_sentence(
    case: str, make_frame: Callable[..., pd.DataFrame], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    options, expected = OPTIONS[case]
    file = tmp_path / "given.csv"
    make_frame().to_csv(file, index=False)
    out = tmp_path / "out"
    assert main(["audit", str(file), "--out", str(out), *options]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ")
    assert not out.exists()
    for part in expected:
        assert part in message


def test_findings_of_different_scales_are_refused(
    make_two: Callable[..., pd.DataFrame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "given.csv"
    make_two().assign(score_Mass=0.5).to_csv(file, index=False)
    message = refused([str(file)], tmp_path / "out", capsys)
    for part in ("'score_Mass' lies in [0, 1]", "'score_Edema' runs from", "one scale"):
        assert part in message


def test_shared_patients_of_validation_are_refused(
    make_frame: Callable[..., pd.DataFrame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = make_frame()
    other = pd.concat([make_frame(seed=1), frame.head(2)])
    frame.to_csv(tmp_path / "test.csv", index=False)
    other.to_csv(tmp_path / "val.csv", index=False)
    arguments = [str(tmp_path / "test.csv"), "--validation", str(tmp_path / "val.csv")]
    message = refused(arguments, tmp_path / "out", capsys)
    for part in ("no patient may be in both", "val.csv", "'p0-0'", "leave them out"):
        assert part in message


def test_validation_without_a_finding_is_refused(
    make_two: Callable[..., pd.DataFrame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_two().to_csv(tmp_path / "test.csv", index=False)
    other = make_two(seed=1).drop(columns=["label_Mass", "score_Mass"])
    other.to_csv(tmp_path / "val.csv", index=False)
    arguments = [str(tmp_path / "test.csv"), "--validation", str(tmp_path / "val.csv")]
    message = refused(arguments, tmp_path / "out", capsys)
    for part in ("every finding that is tested", "val.csv", "no 'label_Mass'"):
        assert part in message


def test_a_place_that_cannot_be_written_to_is_refused_first(
    make_frame: Callable[..., pd.DataFrame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "given.csv"
    make_frame().to_csv(file, index=False)
    assert main(["audit", str(file), "--out", str(file / "out")]) == 2
    captured = capsys.readouterr()
    assert "--out must be a directory" in captured.err
    assert "scoring" not in captured.err


def test_one_class_is_no_error(
    make_frame: Callable[..., pd.DataFrame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "given.csv"
    make_frame().assign(label=0).to_csv(file, index=False)
    out = tmp_path / "out"
    assert main(["audit", str(file), "--out", str(out), "--replicates", "20"]) == 0
    scores = pd.read_csv(out / "scores.csv")
    auc = scores[scores["metric"] == "auc"]
    assert auc["value"].isna().all()
    assert auc["note"].notna().all()
    assert "undefined" in capsys.readouterr().out


def test_faults_of_a_frame_name_its_rows(make_frame: Callable[..., pd.DataFrame]) -> None:
    from metrics.audit import audit

    with pytest.raises(ValueError, match=r"the frame has 7 in column 'label' \(row 3, counted"):
        audit(put(make_frame(), 3, "label", 7))
