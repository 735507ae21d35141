"""A run's directory: whole files, records that read back, runs that are found."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from metrics.score import Score
from tracking.rundir import RunDirectory, RunRecord, find, headline

RECORD = RunRecord(
    key="0123456789abcdef", status="RUNNING", experiment="default", method="erm",
    method_variant="", method_fields={"lr": 0.1}, dataset="phantom", data_variant="",
    data_fields={}, kind="simulated", terms="open", seed=0, folds=0, data_digest="d",
    split_digest="s", test_digest="t", source_digest="c",
    primary_contrasts={"race": "B - A"}, attributes_at_test=[], released="originals released",
    operating_point="specificity:0.80", command="python runner.py", tracking_uri="sqlite:///x",
    started="2026-01-01T00:00:00+00:00",
)  # fmt: skip


def stored(path: Path) -> RunDirectory:
    directory = RunDirectory(path)
    directory.write_record(RECORD)
    return directory


def test_a_record_reads_back(tmp_path: Path) -> None:
    directory = stored(tmp_path / "run")
    assert directory.record() == RECORD
    assert directory.update(status="FINISHED").status == directory.record().status == "FINISHED"


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    directory = stored(tmp_path / "run")
    (directory.path / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json must be a run's record"):
        directory.record()


def test_scores_read_back_with_nan_and_note(tmp_path: Path) -> None:
    directory = stored(tmp_path / "run")
    scores = [
        Score("auc", 0.8, n=3, low=0.7, high=0.9, se=0.05),
        Score("fnr", math.nan, note="too few"),
    ]
    directory.write_scores(scores)
    again = directory.scores()
    assert again[0] == scores[0]
    assert math.isnan(again[1].value) and again[1].note == "too few"
    assert json.loads((directory.path / "scores.json").read_text())[1]["value"] is None


def test_files_leave_out_what_only_a_run_under_way_needs(tmp_path: Path) -> None:
    directory = stored(tmp_path / "run")
    (directory.workdir(0) / "checkpoint.pt").touch()
    for name in ("x.partial", "run.lock", "figures.png"):
        (directory.path / name).touch()
    assert [f.name for f in directory.files()] == ["figures.png", "run.json"]


def test_a_run_is_found_by_directory_config_and_start_of_key(tmp_path: Path) -> None:
    directory = stored(tmp_path / "phantom" / "erm" / "0123456789abcdef")
    directory.write_config({"method": "erm"})
    for name in (str(directory.path), str(directory.path / "config.yaml"), "0123"):
        assert find(tmp_path, name) == directory


@pytest.mark.parametrize("name", ["", "ffff", "no/such/dir"])
def test_a_run_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    stored(tmp_path / "phantom" / "erm" / "0123456789abcdef")
    with pytest.raises(FileNotFoundError, match="matches"):
        find(tmp_path, name)


def test_of_single_attackers_the_headline_holds_the_auc() -> None:
    # With all their scores a run on many findings and groups has more than MLflow takes.
    scores = [
        Score(f"{name}_reid_{metric}", 0.5)
        for name in ("static", "retrained", "cross", "image") for metric in ("auc", "rank1")
    ]  # fmt: skip
    kept = [s.metric for s in headline(scores, {})]
    assert kept == [
        "static_reid_auc", "retrained_reid_auc", "cross_reid_auc", "image_reid_auc",
        "image_reid_rank1",
    ]  # fmt: skip


def test_the_headline_holds_the_registered_pair_only() -> None:
    contrast = Score("fnr_contrast", 0.1, attribute="race", group="B - A")
    scores = [
        contrast,
        dataclasses.replace(contrast, group="C - A"),
        dataclasses.replace(contrast, finding="Edema"),
        Score("auc", 0.8, finding="Edema"),
        Score("auc", 0.8, finding="Edema", attribute="race", group="A"),
        Score("auc", 0.8, attribute="race", group="A"),
    ]
    assert headline(scores, {"race": "B - A"}) == [scores[0], scores[3], scores[5]]


def repeated(tmp_path: Path) -> tuple[RunDirectory, RunDirectory]:
    """A finished run, and its finished repetition aside."""
    final = stored(tmp_path / "erm" / "0123456789abcdef")
    final.update(status="FINISHED", started="first")
    final.aside.write_record(dataclasses.replace(RECORD, status="FINISHED", started="second"))
    return final, final.aside


def test_a_repeated_run_takes_the_place_of_the_first(tmp_path: Path) -> None:
    final, aside = repeated(tmp_path)
    aside.take_the_place_of(final)
    assert final.record().started == "second" and not aside.exists()
    assert [p.name for p in (tmp_path / "erm" / ".again").iterdir()] == []


def test_an_exchange_cut_off_in_the_middle_is_finished(tmp_path: Path) -> None:
    final, _ = repeated(tmp_path)
    final.path.rename(final._outgoing)
    final.recover()
    assert final.record().started == "second" and not final._outgoing.exists()


def test_an_exchange_cut_off_before_its_last_step_is_cleaned_up(tmp_path: Path) -> None:
    final, aside = repeated(tmp_path)
    final.path.rename(final._outgoing)
    aside.path.rename(final.path)
    final.recover()
    assert final.record().started == "second" and not final._outgoing.exists()


def test_a_repetition_under_way_is_not_mistaken_for_the_run(tmp_path: Path) -> None:
    final, _ = repeated(tmp_path / "phantom")
    assert find(tmp_path, "0123") == final
