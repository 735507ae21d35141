"""The cells of the tables."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from synthetic_store import NOBODY, PHANTOM, SMALL, run_json, write_card, write_run

from leaderboard.against import Measure
from leaderboard.aggregate import Estimate
from leaderboard.board import REID, Section, sections
from leaderboard.collect import Store, read_store
from leaderboard.tables import (
    ATTACKERS,
    ATTRIBUTE,
    EMBEDDING_REID,
    EPSILON,
    EPSILON_BOUND,
    Cell,
    Table,
    better,
    cell,
    finding_table,
    headline_tables,
    pair_table,
    privacy_table,
    uncompared,
)
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
    for table in headline_tables(phantom)[:2]:
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
    table = headline_tables(phantom)[0]
    column = [c.title for c in table.columns].index("worst attacker")
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
    shown |= {REID, EMBEDDING_REID, EPSILON, EPSILON_BOUND, ATTRIBUTE}
    assert shown | {metric for metric, _ in ATTACKERS} <= set(METRICS.names())


def test_an_undefined_number_and_not_a_missing_run_is_why_there_is_no_difference(
    tmp_path: Path,
) -> None:
    undefined = Score("fnr_contrast", math.nan, attribute="race", group="B - A", note=SMALL)
    for method in ("erm", "upsample"):
        write_run(tmp_path, run_json(PHANTOM, method), [Score("auc", 0.8), undefined])
    (section,) = sections(read_store(tmp_path))
    entrant = section.entrants[1]
    contrast = Measure("fnr_contrast", "race", "B - A")
    said = uncompared(entrant, contrast, "recorded").small
    assert said == cell(entrant.get("fnr_contrast", "recorded", attribute="race",
                                    group="B - A")).small  # fmt: skip
    other = uncompared(entrant, Measure("fpr_contrast", "race", "B - A"), "recorded")
    assert other.small == ("(no ERM run with its seeds and patients)",)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Section:
    """A section with every method of the suite and every column filled."""
    output = tmp_path_factory.mktemp("card")
    write_card(output, seeds=2)
    (found,) = sections(read_store(output))
    return found


def cells_of(table: Table, title: str) -> dict[str, Cell]:
    """The cells of one column by the name of their row."""
    column = [c.title for c in table.columns].index(title)
    found = {}
    for row in table.rows:
        first, held = row.cells[0], row.cells[column]
        if first is not None and held is not None:
            found[" ".join((first.text, *first.small))] = held
    return found


def test_privacy_has_every_attacker_the_worst_and_what_each_is(card: Section) -> None:
    table = privacy_table(card)
    titles = [column.title for column in table.columns]
    assert titles == [
        "method", "released images", "static, on originals", "retrained, on released",
        "cross, on both", "worst attacker", "model features", "synthetic images",
        "of training", "race", "sex",
    ]  # fmt: skip
    worst = cells_of(table, "worst attacker")
    assert worst["anonymized anonymiser=blur"].text == "0.930"
    assert worst["anonymized anonymiser=blur"].small[-1] == "retrained"
    assert worst["anonymized anonymiser=pixelate"].small[-1] == "cross"
    originals = cells_of(table, "static, on originals")
    assert float(originals["anonymized anonymiser=blur"].text) < 0.65


def test_privacy_says_why_a_cell_is_empty(card: Section) -> None:
    table = privacy_table(card)
    originals, worst = (cells_of(table, t) for t in ("static, on originals", "worst attacker"))
    assert originals["erm"].small == ("(one attacker)",)
    assert originals["anonymized anonymiser=identity"].small == ("(one attacker)",)
    assert (
        originals["synthetic ratio=1.0"].small
        == worst["synthetic ratio=1.0"].small
        == ("(shows nobody)",)
    )
    assert worst["synthetic ratio=1.0"].title == NOBODY
    assert cells_of(table, "synthetic images")["erm"].small == ("(not synthetic)",)
    assert cells_of(table, "of training")["erm"].small == ("(no guarantee)",)


def test_privacy_says_what_is_released(card: Section) -> None:
    found = cells_of(privacy_table(card), "released images")
    kinds = [found[n].text for n in ("erm", "anonymized anonymiser=blur", "synthetic ratio=1.0")]
    assert kinds == ["originals", "changed", "synthetic"]
    assert found["anonymized anonymiser=blur"].small == ("by blur",)


def test_epsilon_shows_delta_and_the_looser_bound(card: Section) -> None:
    spent = cells_of(privacy_table(card), "of training")
    assert (spent["dpsgd epsilon=3.0"].text, spent["dpsgd epsilon=3.0"].small) == (
        "2.980",
        ("delta 7.1e-05", "Rényi 3.129"),
    )
    assert (spent["dpsgd epsilon=none"].text, spent["dpsgd epsilon=none"].small) == (
        "∞",
        ("no noise",),
    )


def test_privacy_leaves_out_columns_that_nobody_has(store: Store) -> None:
    phantom = next(s for s in sections(store) if s.simulated)
    titles = [column.title for column in privacy_table(phantom).columns]
    assert titles == ["method", "released images", "worst attacker", "model features"]


def test_without_any_audit_privacy_is_only_names(tmp_path: Path) -> None:
    write_run(tmp_path, run_json(PHANTOM, "erm"), [Score("auc", 0.8)])
    (section,) = sections(read_store(tmp_path))
    assert [column.title for column in privacy_table(section).columns] == ["method"]


def test_a_difference_stands_in_brackets_where_its_interval_holds_zero(tmp_path: Path) -> None:
    for method, value in (("erm", 0.8), ("near", 0.81), ("far", 0.9)):
        made = [Score("auc", value, low=value - 0.02, high=value + 0.02)]
        write_run(tmp_path, run_json(PHANTOM, method), made)
    (section,) = sections(read_store(tmp_path))
    shown = cells_of(headline_tables(section)[0], "minus ERM's")
    assert shown["erm"].text == "reference"
    assert shown["near"].text == "(+0.010)"
    assert shown["far"].text == "+0.100"
    assert "unpaired" in shown["far"].title


def test_a_difference_without_an_interval_is_in_brackets(tmp_path: Path) -> None:
    for method, value in (("erm", 0.8), ("far", 0.9)):
        write_run(tmp_path, run_json(PHANTOM, method), [Score("auc", value)])
    (section,) = sections(read_store(tmp_path))
    assert cells_of(headline_tables(section)[0], "minus ERM's")["far"].text == "(+0.100)"


def test_without_a_common_seed_there_is_no_difference(tmp_path: Path) -> None:
    write_run(tmp_path, run_json(PHANTOM, "erm", 0), [Score("auc", 0.8)])
    write_run(tmp_path, run_json(PHANTOM, "far", 1), [Score("auc", 0.9)])
    (section,) = sections(read_store(tmp_path))
    found = cells_of(headline_tables(section)[0], "minus ERM's")["far"]
    assert (found.text, found.small) == ("n/a", ("(no ERM run with its seeds and patients)",))


def test_without_erm_no_column_compares_with_it(tmp_path: Path) -> None:
    write_run(tmp_path, run_json(PHANTOM, "far"), [Score("auc", 0.9)])
    (section,) = sections(read_store(tmp_path))
    for table in headline_tables(section):
        assert not any("ERM" in column.title + column.group for column in table.columns)


def test_the_difference_of_a_contrast_has_no_better_direction(card: Section) -> None:
    (column,) = [c for c in headline_tables(card)[1].columns if "minus" in c.group]
    assert (column.title, column.better) == ("race: B − A", "")
