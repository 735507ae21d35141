"""Methods whose folds share persons or pictures are marked wherever they stand."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_store import COVID, run_json, scores, write_run

from leaderboard.aggregate import aggregate
from leaderboard.board import sections
from leaderboard.collect import read_store, tidy
from leaderboard.render import build, html, markdown
from leaderboard.tables import LEAKING, headline_tables

REASON = "a published split, kept as it is"
ALLOWED = {
    "data_variant": "leakage=allowed",
    "leakage": {"same image": 3},
    "allowed_leakage": REASON,
    "notes": [f"LEAKAGE ALLOWED: 3 pairs (same image); reason: {REASON}"],
}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """ERM on clean folds, and ERM and one more method on leaking ones."""
    made = scores(COVID, "erm", 0)
    write_run(tmp_path, run_json(COVID, "erm"), made)
    for method in ("erm", "upsample"):
        content = run_json(COVID, method, key=f"leaking{method}", **ALLOWED)
        write_run(tmp_path, content, made)
    return tmp_path


def test_leaking_runs_are_compared_with_each_other_only(output: Path) -> None:
    found = {section.title: section.entrants for section in sections(read_store(output))}
    assert {title: [e.leaking for e in entrants] for title, entrants in found.items()} == {
        "covid-chestxray": [False],
        "covid-chestxray leakage=allowed": [True, True],
    }


def test_the_mark_stands_beside_the_method_in_each_table(output: Path) -> None:
    for section in sections(read_store(output)):
        for table in headline_tables(section):
            marks = {row.cells[0].mark for row in table.rows if row.cells[0] is not None}
            assert marks == ({LEAKING} if section.entrants[0].leaking else {""})


def test_page_and_markdown_say_what_the_mark_means_and_why(output: Path) -> None:
    store = read_store(output)
    page = build(store, aggregate(tidy(store)))
    assert f'<span class="mark">{LEAKING}</span>' in html(page)
    assert f"upsample **{LEAKING}**" in markdown(page)
    for text in (html(page), markdown(page)):
        assert REASON in text and "promise too much" in text


def test_without_leakage_nothing_is_said_of_it(tmp_path: Path) -> None:
    write_run(tmp_path, run_json(COVID, "erm"), scores(COVID, "erm", 0))
    store = read_store(tmp_path)
    page = build(store, aggregate(tidy(store)))
    assert LEAKING not in html(page) and LEAKING not in markdown(page)
