"""What the leaderboard concludes, and how it writes it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic_store import PHANTOM, run_json, write_run

from leaderboard.against import Measure
from leaderboard.board import Entrant, Section, sections
from leaderboard.collect import read_store
from leaderboard.compared import compared
from leaderboard.concluded import concluded_table
from leaderboard.tables import Cell
from metrics.bootstrap import PatientBootstrap
from metrics.evaluate import evaluate
from metrics.predictions import Predictions
from metrics.score import Score

AUC = Measure("auc")
GROUPS = ("A", "B", "C")
REID = Score("image_reid_auc", 0.97, low=0.96, high=0.98)
APART = {
    "erm": (1.4, 1.2, 0.8),
    "same": (1.4, 1.2, 0.8),
    "leveller": (0.8, 0.8, 0.8),
    "helper": (1.4, 1.2, 1.9),
}
"""How far positive images lie above negative ones, by method and group."""


def stored(output: Path, method: str, seed: int, *, predictions: bool = True) -> None:
    """A run whose images are equally hard for every method, beside a little noise of its own."""
    rng = np.random.default_rng(7)
    patients = 900
    group = rng.integers(0, len(GROUPS), patients)
    y = (rng.random(patients) < 0.45).astype(np.float32)
    hard = rng.normal(0, 1, patients)
    named = len("erm" if method == "same" else method)  # "same" has the very outputs of ERM
    own = np.random.default_rng([seed, named]).normal(0, 0.02, patients)
    logit = np.array(APART[method])[group] * y + hard + own
    columns: dict[str, Any] = {
        "image": [f"i{i}" for i in range(patients)],
        "patient": [f"p{i:04d}" for i in range(patients)],
        "part": 0,
        "race": np.array(GROUPS)[group],
        "y:Edema": y,
        "logit:Edema": logit.astype(np.float32),
        "decision:Edema": (logit > 0.5).astype(np.float32),
    }
    frame = pd.DataFrame(columns)
    made = Predictions("test", frame, ("Edema",), ("race",), {"race": GROUPS})
    scores = evaluate(made, macro_findings=("Edema",), bootstrap=PatientBootstrap(patients, 50))
    content = run_json(PHANTOM, method, seed, primary_contrasts={"race": "B - A"})
    directory = write_run(output, content, [*scores, REID])
    if predictions:
        frame.assign(fold="test").to_parquet(directory / "predictions.parquet")


@pytest.fixture(scope="module")
def section(tmp_path_factory: pytest.TempPathFactory) -> Section:
    """Four methods with two seeds each, predictions stored."""
    output = tmp_path_factory.mktemp("conclusions")
    for method in APART:
        for seed in range(2):
            stored(output, method, seed)
    (found,) = sections(read_store(output))
    return found


def entrant(section: Section, method: str) -> Entrant:
    return next(e for e in section.entrants if e.method == method)


def row(section: Section, method: str) -> dict[str, Cell]:
    table = concluded_table(section)
    found = next(r for r in table.rows if r.cells[0] is not None and r.cells[0].text == method)
    cells = [cell for cell in found.cells if cell is not None]
    return {c.title: cell for c, cell in zip(table.columns, cells, strict=True)}


def test_the_verdict_on_each_method_is_the_true_one(section: Section) -> None:
    found = {e.method: e.conclusion.verdicts["race"] for e in section.entrants[1:]}
    assert found["leveller"].answer == "LEVEL-DOWN"
    assert set(found["leveller"].harmed) == {"A", "B"}
    assert (found["helper"].answer, found["helper"].benefited) == ("PARETO-UP", ("C",))
    assert found["same"].answer == "NEUTRAL"


def test_the_words_follow_the_corrected_intervals(section: Section) -> None:
    found = {e.method: e.conclusion.answers[AUC] for e in section.entrants[1:]}
    assert found == {"helper": "higher", "leveller": "lower", "same": "alike"}


def test_correction_counts_every_method_and_endpoint(section: Section) -> None:
    tests = [
        (entrant.differences[measure, "recorded"].p, adjusted)
        for entrant in section.entrants
        for measure, adjusted in entrant.conclusion.adjusted.items()
    ]
    assert len(tests) == 6  # three methods, two endpoints
    least = min(tests)
    assert least[1] == pytest.approx(min(6 * least[0], 1))


def test_places_tell_apart_what_differs(section: Section) -> None:
    found = {e.method: e.conclusion.place for e in section.entrants}
    places = {name: (place.first, place.last) for name, place in found.items() if place}
    assert places == {"helper": (1, 1), "erm": (2, 3), "same": (2, 3), "leveller": (4, 4)}


def test_the_front_holds_what_nothing_dominates(section: Section) -> None:
    helper, same, erm = (entrant(section, m).conclusion.on_front for m in ("helper", "same", "erm"))
    assert helper > 0.9
    assert same == erm  # equal outputs, equal chance


def test_the_table_has_a_row_per_method_and_says_it_in_words(section: Section) -> None:
    found = row(section, "leveller")
    assert list(found) == [
        "method", "macro AUC", "FNR, B − A", "race", "by macro AUC", "chance",
    ]  # fmt: skip
    assert found["macro AUC"].text == "lower"
    assert found["race"].text == "LEVEL-DOWN"
    assert found["race"].small == ("lower in A, B",)
    assert "the gap falls by +" in found["race"].title
    assert found["by macro AUC"] == Cell("4", ("of 4",), found["by macro AUC"].title)
    assert row(section, "same")["macro AUC"].small == ("the same numbers",)
    assert row(section, "erm")["race"].text == "reference"


def test_comparisons_are_rows_of_the_csv(section: Section) -> None:
    found = compared([section]).set_index(["method", "metric"]).sort_index()
    assert found.loc[("leveller", "auc_places"), "low"] == 4
    assert set(found.loc[("leveller", "auc_minus_erm"), "group"]) == {"all", "A", "B", "C"}
    p = found.loc[("helper", "auc_minus_erm_p"), "value"]
    assert p == entrant(section, "helper").conclusion.adjusted[AUC]
    assert found.loc[("helper", "on_pareto_front"), "value"] > 0.9


def test_without_predictions_there_is_no_verdict_and_no_place(tmp_path: Path) -> None:
    for method in ("erm", "helper"):
        stored(tmp_path, method, 0, predictions=False)
    (section,) = sections(read_store(tmp_path))
    found = entrant(section, "helper").conclusion
    assert (found.verdicts, found.place) == ({}, None)
    assert math.isnan(found.on_front)
    assert "no stored predictions" in found.reasons["race"]
    assert [c.title for c in concluded_table(section).columns] == [
        "method", "macro AUC", "FNR, B − A",
    ]  # fmt: skip


def test_a_method_without_the_seeds_of_erm_has_no_place(tmp_path: Path) -> None:
    for seed in range(2):
        stored(tmp_path, "erm", seed)
        stored(tmp_path, "same", seed)
    stored(tmp_path, "helper", 0)
    (section,) = sections(read_store(tmp_path))
    assert entrant(section, "helper").conclusion.place is None
    assert row(section, "helper")["by macro AUC"].text == "n/a"
    assert entrant(section, "same").conclusion.place is not None


def test_what_an_interval_with_zero_covers_is_never_called_higher(tmp_path: Path) -> None:
    for method, value in (("erm", 0.8), ("near", 0.81)):
        made = [Score("auc", value, low=value - 0.02, high=value + 0.02)]
        write_run(tmp_path, run_json(PHANTOM, method), made)
    (section,) = sections(read_store(tmp_path))
    assert row(section, "near")["macro AUC"].text == "inconclusive"


def test_without_erm_nothing_is_concluded(tmp_path: Path) -> None:
    write_run(tmp_path, run_json(PHANTOM, "far"), [Score("auc", 0.9)])
    (section,) = sections(read_store(tmp_path))
    assert [column.title for column in concluded_table(section).columns] == ["method"]
