"""Up- and down-sampling: row counts by cell, worked by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from datasets.split import Folds, Split
from methods.base import Context, Task
from methods.cells import rows_of_cells
from methods.downsample import Downsample
from methods.upsample import Upsample
from registry import METHODS


@pytest.fixture
def skewed(folds: Folds) -> Split:
    """7 rows of A, 3 of B, 2 of C."""
    frame = folds.train.frame.copy()
    keep = [
        i
        for group, count in (("A", 7), ("B", 3), ("C", 2))
        for i in frame.index[frame["race"].astype(str) == group][:count]
    ]
    return folds.train.with_frame(frame.loc[keep])


def counts(split: Split) -> dict[str, int]:
    return dict(Counter(split.frame["race"].astype(str)))


def test_upsampling_brings_every_group_to_the_largest(skewed: Split, ctx: Context) -> None:
    rows = Upsample(attribute="race").data(skewed, ctx)
    assert counts(rows) == {"A": 7, "B": 7, "C": 7}
    assert set(rows.frame["image_id"]) == set(skewed.frame["image_id"])


def test_upsampling_repeats_rows_evenly(skewed: Split, ctx: Context) -> None:
    rows = Upsample(attribute="race").data(skewed, ctx)
    times = Counter(rows.frame["image_id"])
    assert {times[i] for i in skewed.frame["image_id"][7:10]} == {2, 3}
    assert {times[i] for i in skewed.frame["image_id"][10:]} == {3, 4}


def test_downsampling_brings_every_group_to_the_smallest(skewed: Split, ctx: Context) -> None:
    rows = Downsample(attribute="race").data(skewed, ctx)
    assert counts(rows) == {"A": 2, "B": 2, "C": 2}
    assert rows.frame["image_id"].is_unique


@pytest.mark.parametrize("method", [Upsample, Downsample])
@pytest.mark.parametrize("cells", ["group", "label", "group_label"])
def test_cells_end_up_equal(method: Any, cells: str, folds: Folds, ctx: Context) -> None:
    one = method(cells=cells, attribute="race", finding="Cardiomegaly")
    sizes = {len(c) for c in rows_of_cells(one.data(folds.train, ctx), one)}
    assert len(sizes) == 1


def test_an_unknown_label_is_a_cell_of_its_own(skewed: Split) -> None:
    frame = skewed.frame.copy()
    frame.loc[:1, "Cardiomegaly"] = float("nan")
    cells = rows_of_cells(skewed.with_frame(frame), Upsample(cells="label", finding="Cardiomegaly"))
    assert sum(map(len, cells)) == len(skewed)


def test_another_seed_draws_other_rows(folds: Folds, ctx: Context) -> None:
    method = Downsample(attribute="race")
    drawn = [
        tuple(method.data(folds.train, replace(ctx, seed=s)).frame["image_id"]) for s in (0, 1)
    ]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("name", ["upsample", "downsample", "group_thresholds"])
def test_an_attribute_that_is_not_there_is_a_reason_to_skip(name: str, task: Task) -> None:
    reason = METHODS.get(name)(attribute="income").skip(task)
    assert reason and "'income'" in reason and "sex, race" in reason


def test_a_finding_that_is_not_there_is_a_reason_to_skip(task: Task) -> None:
    reason = Upsample(cells="label", finding="Gout").skip(task)
    assert reason and "'Gout'" in reason


def test_unknown_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="cells must be one of"):
        Upsample(cells="everything")
