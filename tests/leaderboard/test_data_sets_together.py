"""Several data sets together: only where there are five, with ERM and two methods on all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_store import COVID, run_json, write_run

from leaderboard.across import Across, across
from leaderboard.board import sections
from leaderboard.collect import read_store
from leaderboard.render import render
from metrics.score import Score

AUCS = {"erm": 0.80, "upsample": 0.85, "downsample": 0.70, "fairread": 0.81}


def written(output: Path, data_sets: int, *, left_out: str = "") -> Path:
    """Runs of four methods, whose order is the same on every data set."""
    for number in range(data_sets):
        world = replace(COVID, dataset=f"set-{number}")
        for method, value in AUCS.items():
            if number == 0 and method == left_out:
                continue
            auc = value + 0.01 * number
            score = Score("auc", auc, low=auc - 0.02, high=auc + 0.02, se=0.01, n=500)
            write_run(output, run_json(world, method), [score])
    return output


def found(output: Path) -> Across | None:
    return across(sections(read_store(output)))


def test_four_data_sets_are_too_few(tmp_path: Path) -> None:
    assert found(written(tmp_path, 4)) is None


def test_five_data_sets_give_mean_ranks_and_chances(tmp_path: Path) -> None:
    made = found(written(tmp_path, 5))
    assert made is not None and len(made.data_sets) == 5
    told = [[cell.text for cell in row.cells if cell is not None] for row in made.table.rows]
    assert [row[:2] for row in told] == [
        ["upsample", "1.0"], ["fairread", "2.0"], ["erm", "3.0"], ["downsample", "4.0"],
    ]  # fmt: skip
    # Always 0.05 higher: of five signs the smallest two-sided p is 2 / 32, times 3 by Holm.
    assert told[0][2:4] == ["+0.050", f"{3 * 2 / 32:.3f}"]
    assert float(told[0][4]) > 0.95 and told[2][2:] == ["reference"] * 5


def test_a_method_that_misses_a_data_set_is_left_out(tmp_path: Path) -> None:
    made = found(written(tmp_path, 6, left_out="fairread"))
    assert made is not None
    assert "fairread" not in {row.cells[0].text for row in made.table.rows if row.cells[0]}


@pytest.mark.parametrize("data_sets", [4, 5])
def test_the_page_shows_it_only_where_it_is(tmp_path: Path, data_sets: int) -> None:
    made = render(read_store(written(tmp_path / "o", data_sets)), tmp_path / "page")
    for path in (made.page, made.markdown):
        assert ("Data sets together" in path.read_text()) == (data_sets == 5)
    assert any("together" in p.name for p in made.figures) == (data_sets == 5)
