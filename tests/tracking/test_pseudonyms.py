"""Pseudonyms: stable within a store and data set, useless outside."""

from __future__ import annotations

import multiprocessing
import stat
from pathlib import Path

import pandas as pd

from tracking.pseudonyms import Pseudonyms

IDS = pd.Series(["p1", "p2", "p1"], index=[7, 8, 9])


def test_equal_ids_get_equal_pseudonyms(tmp_path: Path) -> None:
    hidden = Pseudonyms(tmp_path, "phantom").of(IDS)
    assert hidden.index.tolist() == [7, 8, 9]
    assert hidden[7] == hidden[9] != hidden[8]
    assert not hidden.isin(IDS).any()


def test_a_store_keeps_its_secret(tmp_path: Path) -> None:
    first, second = (Pseudonyms(tmp_path, "phantom").of(IDS) for _ in range(2))
    assert first.equals(second)


def test_another_store_or_data_set_gives_others(tmp_path: Path) -> None:
    here = Pseudonyms(tmp_path / "a", "phantom").of(IDS)
    assert not here.isin(Pseudonyms(tmp_path / "b", "phantom").of(IDS)).any()
    assert not here.isin(Pseudonyms(tmp_path / "a", "other").of(IDS)).any()


def test_the_secret_is_for_its_owner_only(tmp_path: Path) -> None:
    Pseudonyms(tmp_path, "phantom")
    (key,) = (tmp_path / ".pseudonyms").glob("*.key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_bytes()) == 32


def _first(store: Path) -> str:
    return str(Pseudonyms(store, "phantom").of(pd.Series(["p1"]))[0])


def test_runners_that_start_together_agree_on_the_secret(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert len(set(pool.map(_first, [tmp_path] * 16))) == 1


def test_only_the_named_columns_are_hidden(tmp_path: Path) -> None:
    frame = pd.DataFrame({"patient": ["p1"], "race": ["A"]})
    hidden = Pseudonyms(tmp_path, "phantom").hide(frame, ("patient",))
    assert hidden["race"].tolist() == ["A"] and hidden["patient"].tolist() != ["p1"]


def test_a_draft_that_a_killed_process_left_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".pseudonyms").mkdir()
    (tmp_path / ".pseudonyms" / "phantom.draft").touch()
    assert len(Pseudonyms(tmp_path, "phantom").of(IDS)[7]) == 16
