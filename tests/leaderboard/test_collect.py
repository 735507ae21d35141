"""Reading stored results."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import pandas as pd
import pytest
from synthetic_store import PHANTOM, run_json, scores, write_run

from leaderboard.collect import Store, collect, default_output, read_store
from leaderboard.render import render
from metrics.score import Score
from registry import ROOT, UnknownName

ONE = [Score("auc", 0.8, low=0.75, high=0.85, n=100)]


def test_collect_has_one_row_per_finished_run_and_score(output: Path) -> None:
    frame = collect(output)
    counts = frame.groupby(["dataset", "method", "method_variant"])["key"].nunique()
    assert counts["phantom", "erm", ""] == 3
    assert counts["phantom", "erm", "lr=0.01 epochs=3"] == 1
    assert counts["covid-chestxray", "downsample", ""] == 1
    assert not frame.duplicated(["key", "metric", "finding", "attribute", "group", "labels"]).any()
    assert len(frame) == 13 * len(scores(PHANTOM, "erm", 0)) + (len(frame[frame.kind == "real"]))


def test_collect_joins_the_columns_of_the_run(output: Path) -> None:
    frame = collect(output)
    row = frame[(frame.method == "upsample") & (frame.seed == 2)].iloc[0]
    assert (row.dataset, row.kind, row.train_seconds) == ("phantom", "simulated", 63.2)


def test_failed_and_running_runs_have_no_rows(output: Path) -> None:
    assert not set(collect(output)["method"]) & {"dpsgd", "fairread"}


def test_failed_runs_are_listed(store: Store) -> None:
    listed = {(run.method, run.status): run.error for run in store.unfinished}
    assert listed == {
        ("dpsgd", "FAILED"): "ValueError: epsilon must be > 0",
        ("fairread", "RUNNING"): "",
    }


def test_malformed_runs_are_skipped_with_a_warning_naming_the_file(
    output: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = read_store(output)
    assert len(found.left_out) == 3
    for method in ("broken_json", "lacking_keys", "lost_scores"):
        assert f"{method}/" in caplog.text
        assert f"{method}" not in {run.method for run in found.runs}
    assert "lacks test_digest" in caplog.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "DONE"}, "status must be one of"),
        ({"kind": "synthetic"}, "kind must be one of"),
        ({"seed": "zero"}, "seed must be of type int"),
        ({"seed": True}, "seed must be of type int"),
        ({"notes": "text"}, "notes must be of type list"),
    ],
)
def test_a_key_of_a_wrong_type_or_value_is_malformed(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    write_run(tmp_path, run_json(PHANTOM, "erm") | change, ONE)
    found = read_store(tmp_path)
    assert not found.runs
    assert said in found.left_out[0]


def test_a_score_that_stands_twice_makes_the_run_malformed(tmp_path: Path) -> None:
    write_run(tmp_path, run_json(PHANTOM, "erm"), ONE * 2)
    assert "must stand once" in read_store(tmp_path).left_out[0]


def test_a_parquet_file_cut_short_makes_the_run_malformed(tmp_path: Path) -> None:
    directory = write_run(tmp_path, run_json(PHANTOM, "erm"), ONE)
    whole = (directory / "scores.parquet").read_bytes()
    (directory / "scores.parquet").write_bytes(whole[: len(whole) // 2])
    found = read_store(tmp_path)
    assert not found.runs
    assert len(found.left_out) == 1


def test_what_an_interrupted_run_does_not_know_may_be_null(tmp_path: Path) -> None:
    nothing = {"parameters": None, "seconds": {"train": None, "total": None}, "finished": None}
    write_run(tmp_path, run_json(PHANTOM, "erm", status="FAILED") | nothing)
    (run,) = read_store(tmp_path).runs
    assert run.parameters == 0
    assert math.isnan(run.train_seconds)


def test_two_directories_of_one_key_count_once(tmp_path: Path) -> None:
    content = run_json(PHANTOM, "erm")
    write_run(tmp_path, content, ONE)
    copy = tmp_path / "phantom" / "erm" / "a_copy"
    copy.mkdir()
    (copy / "run.json").write_text(json.dumps(content))
    pd.read_parquet(tmp_path / "phantom" / "erm" / content["key"] / "scores.parquet").to_parquet(
        copy / "scores.parquet"
    )
    assert len(read_store(tmp_path).runs) == 1
    assert len(collect(tmp_path)) == 1


def test_a_later_run_of_the_same_settings_replaces_the_earlier(tmp_path: Path) -> None:
    old = run_json(PHANTOM, "erm", key="a" * 16, finished="2026-01-01T00:00:00")
    new = run_json(PHANTOM, "erm", key="b" * 16, finished="2026-01-02T00:00:00")
    write_run(tmp_path, old, ONE)
    write_run(tmp_path, new, ONE)
    found = read_store(tmp_path)
    assert [run.key for run in found.runs] == ["b" * 16]
    assert "replaced by a later run" in found.left_out[0]


def test_other_test_patients_are_no_repetition(tmp_path: Path) -> None:
    for i in range(2):
        write_run(tmp_path, run_json(PHANTOM, "erm", key=f"{i}" * 16, test_digest=str(i)), ONE)
    assert len(read_store(tmp_path).runs) == 2


def test_a_failure_is_not_listed_once_the_same_settings_have_finished(tmp_path: Path) -> None:
    write_run(tmp_path, run_json(PHANTOM, "erm", key="a" * 16, status="FAILED"))
    write_run(tmp_path, run_json(PHANTOM, "erm", key="b" * 16), ONE)
    assert read_store(tmp_path).unfinished == ()


def test_an_experiment_selects_its_runs(tmp_path: Path) -> None:
    write_run(tmp_path, run_json(PHANTOM, "erm", experiment="first"), ONE)
    write_run(tmp_path, run_json(PHANTOM, "upsample", experiment="second"), ONE)
    assert set(collect(tmp_path, "second")["method"]) == {"upsample"}


def test_an_unknown_experiment_names_the_nearest(tmp_path: Path) -> None:
    write_run(tmp_path, run_json(PHANTOM, "erm", experiment="first"), ONE)
    with pytest.raises(UnknownName, match="did you mean 'first'"):
        read_store(tmp_path, "frist")


def test_a_missing_output_directory_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make a first run"):
        read_store(tmp_path / "absent")


def test_an_empty_store_has_the_columns_of_a_full_one(tmp_path: Path, output: Path) -> None:
    assert list(collect(tmp_path).columns) == list(collect(output).columns)


def test_the_environment_names_the_output_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRILEMMA_OUTPUT", str(tmp_path))
    assert default_output() == tmp_path
    monkeypatch.delenv("TRILEMMA_OUTPUT")
    assert default_output() == ROOT / "output"


def test_an_undefined_score_without_a_note_says_so(tmp_path: Path) -> None:
    directory = write_run(tmp_path, run_json(PHANTOM, "erm"), ONE)
    table = pd.read_parquet(directory / "scores.parquet").assign(value=math.nan)
    table.to_parquet(directory / "scores.parquet")
    assert collect(tmp_path)["note"].tolist() == ["no reason recorded"]


def test_what_an_oracle_chose_is_listed_with_its_reason_and_never_compared(tmp_path: Path) -> None:
    told = "epoch chosen by an oracle (oracle)"
    flagged = {"oracle": told, "method_variant": "selection=oracle"}
    write_run(tmp_path, run_json(PHANTOM, "erm"), ONE)
    write_run(tmp_path, run_json(PHANTOM, "erm", **flagged), ONE)
    store = read_store(tmp_path)
    assert [run.method_variant for run in store.finished] == [""]
    assert set(collect(tmp_path)["method_variant"]) == {""}
    written = render(store, tmp_path / "board")
    for page in (written.page, written.markdown):
        text = page.read_text()
        assert text.rpartition("Runs not compared")[2].count(told) == 1
