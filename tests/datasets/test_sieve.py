"""Rows that are left out are counted, each once and by its reason."""

from __future__ import annotations

import numpy as np
import pandas as pd

from datasets.sieve import Sieve

ROWS = pd.DataFrame({"view": ["PA", "L", "AP", "L"]}, index=[10, 11, 12, 13])


def test_rows_are_kept_in_order_with_their_index() -> None:
    kept = Sieve(ROWS).keep(ROWS["view"] != "L", "lateral")
    assert list(kept.frame.index) == [10, 12] and dict(kept.dropped) == {"lateral": 2}


def test_a_reason_without_rows_is_not_counted() -> None:
    assert dict(Sieve(ROWS).keep(np.ones(4, dtype=bool), "none").dropped) == {}
    assert dict(Sieve(ROWS).drop(np.array(["", "", "", ""])).dropped) == {}


def test_masks_count_by_place_and_not_by_index() -> None:
    mask = pd.Series([False, True, True, True], index=[13, 12, 11, 10])
    assert list(Sieve(ROWS).keep(mask, "x").frame.index) == [11, 12, 13]


def test_counts_of_one_reason_add_up() -> None:
    rows = Sieve(ROWS).keep(np.array([True, True, True, False]), "x")
    rows = rows.keep(np.array([False, True, True]), "x").keep(np.array([True, False]), "y")
    assert dict(rows.dropped) == {"x": 2, "y": 1} and list(rows.frame.index) == [11]


def test_reasons_are_counted_row_by_row() -> None:
    rows = Sieve(ROWS).drop(pd.Series(["", "a", "b", "a"])).drop(np.array(["b"]))
    assert dict(rows.dropped) == {"a": 2, "b": 2} and rows.frame.empty


def test_the_first_sieve_is_left_as_it_is() -> None:
    first = Sieve(ROWS)
    first.keep(ROWS["view"] == "PA", "x")
    assert len(first.frame) == 4 and dict(first.dropped) == {}


def test_kept_and_dropped_rows_are_all_rows() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": range(1_000)})
    rows = Sieve(frame)
    for reason in ("a", "b", "a"):
        rows = rows.keep(rng.random(len(rows.frame)) < 0.8, reason)
    assert len(rows.frame) + sum(rows.dropped.values()) == 1_000


def test_counts_stay_with_another_table() -> None:
    rows = Sieve(ROWS).keep(ROWS["view"] == "PA", "x")
    wider = rows.with_frame(rows.frame.assign(n=1))
    assert dict(wider.dropped) == {"x": 3} and list(wider.frame) == ["view", "n"]
