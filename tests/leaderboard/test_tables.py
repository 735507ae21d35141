"""The cells of the tables."""

from __future__ import annotations

import math
from pathlib import Path

from synthetic_store import PHANTOM, SMALL, run_json, write_run

from leaderboard.aggregate import Estimate
from leaderboard.board import sections
from leaderboard.collect import Store, read_store
from leaderboard.tables import REID, Cell, better, cell, finding_table, headline_tables, pair_table
from metrics.score import Score
from registry import METRICS


def estimate(value: float, *, runs: int = 1, undefined: int = 0, note: str = "") -> Estimate:
    return Estimate(
        value, value - 0.1, value + 0.1, "patients", runs, undefined, 1, 50.0, 20.0, 30.0, note
    )


def test_a_cell_says_value_interval_and_of_what() -> None:
    found = cell(estimate(0.5))
    assert found == Cell("0.500", ("0.400–0.600",), "95 % interval over patients; 50 patients")


def test_an_undefined_cell_gives_the_reason() -> None:
    found = cell(estimate(math.nan, note="no positives"))
    assert (found.text, found.small) == ("n/a", ("(no positives)",))


def test_an_absent_cell_is_not_measured() -> None:
    assert cell(None).small == ("(not measured)",)


def test_a_cell_says_where_fewer_runs_define_it() -> None:
    assert cell(estimate(0.5, runs=3, undefined=1), runs=3).small[1] == "2 of 3 runs"


def test_directions_come_from_the_registry() -> None:
    assert better("auc") == "↑ higher is better"
    assert better("image_reid_auc") == "↓ lower is better"
    assert better("fnr_contrast") == "→0← closer to zero is better"
    assert better("unheard_of") == ""


def test_headline_has_a_line_per_label_set_where_truth_is_simulated(store: Store) -> None:
    phantom = next(s for s in sections(store) if s.simulated)
    for table in headline_tables(phantom):
        assert len(table.rows) == 2 * len(phantom.entrants)
        assert [row.cells[1].text for row in table.rows[:2] if row.cells[1]] == ["true", "recorded"]


def test_all_rows_are_as_wide_as_the_header(store: Store) -> None:
    for section in sections(store):
        entrant = section.entrants[0]
        tables = (*headline_tables(section), finding_table(section, entrant))
        for table in (*tables, pair_table(section, entrant)):
            assert {len(row.cells) for row in table.rows} == {len(table.columns)}
            assert sum(width for *_, width in table.groups) == len(table.columns)


def test_what_is_released_stands_beside_image_reidentification(store: Store) -> None:
    phantom = next(s for s in sections(store) if s.simulated)
    table, _ = headline_tables(phantom)
    column = [c.title for c in table.columns].index("images")
    said = {row.cells[0].text: row.cells[column] for row in table.rows if row.cells[0]}
    assert said["erm"] is not None
    assert said["anonymized"] is not None
    assert "originals released" in said["erm"].small
    assert "images changed" in said["anonymized"].small


def test_findings_with_too_few_patients_keep_their_counts(tmp_path: Path) -> None:
    thin = Score("auc", math.nan, "Fracture", n=60, positives=12, negatives=48, note=SMALL)
    write_run(tmp_path, run_json(PHANTOM, "erm"), [thin, Score("auc", 0.8)])
    (section,) = sections(read_store(tmp_path))
    row = finding_table(section, section.entrants[0]).rows[0]
    assert [c.text for c in row.cells if c] == ["Fracture", "n/a", "60", "12", "48", SMALL]


def test_every_metric_on_the_page_is_registered() -> None:
    shown = {"auc", "worst_group_auc", "fnr", "fpr", "fnr_contrast", "fpr_contrast"}
    assert shown | {metric for metric, _ in REID} <= set(METRICS.names())
