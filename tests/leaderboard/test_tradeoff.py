"""The picture of the trade-offs: which panels, which methods, and names that can be told apart."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from synthetic_store import PHANTOM, run_json, write_card, write_run

from leaderboard.board import Section, sections
from leaderboard.collect import read_store
from leaderboard.tradeoff import GRAYS, label_offsets, panels_of, tradeoff
from metrics.score import Score

ENDLESS = Score("epsilon", math.nan, note="no noise, so no guarantee (infinite)")


def words(svg: bytes | None) -> str:
    assert svg is not None
    return " ".join(ElementTree.fromstring(svg).itertext())


def made(output: Path, **extra: list[Score]) -> Section:
    """One run of each method, with a macro AUC and what else is given."""
    for i, (method, scores) in enumerate(extra.items()):
        auc = Score("auc", 0.8 + i / 100, low=0.75, high=0.9)
        write_run(output, run_json(PHANTOM, method), [auc, *scores])
    (found,) = sections(read_store(output))
    return found


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Section:
    output = tmp_path_factory.mktemp("card")
    write_card(output, seeds=2)
    (found,) = sections(read_store(output))
    return found


def test_a_full_comparison_has_all_three_panels(card: Section) -> None:
    assert len(panels_of(card)) == 3
    text = words(tradeoff(card))
    for said in ("re-identification AUC", "FNR contrast, race: B − A", "privacy loss epsilon", "∞"):
        assert said in text


def test_many_methods_are_numbered_with_a_key(card: Section) -> None:
    text = words(tradeoff(card))
    for entrant in card.entrants:
        assert entrant.name in text
    assert str(len(card.entrants)) in text


def test_a_panel_needs_two_methods_with_both_numbers(tmp_path: Path) -> None:
    reid = [Score("image_reid_auc", 0.9)]
    assert panels_of(made(tmp_path / "one", erm=reid, upsample=[])) == ()
    assert tradeoff(made(tmp_path / "again", erm=reid, upsample=[])) is None
    assert len(panels_of(made(tmp_path / "two", erm=reid, upsample=reid))) == 1


def test_contrasts_keep_their_sign(tmp_path: Path) -> None:
    signed = [
        [Score("fnr_contrast", value, attribute="race", group="B - A")] for value in (0.2, -0.1)
    ]
    (panel,) = panels_of(made(tmp_path, erm=signed[0], upsample=signed[1]))
    assert panel.zero
    assert [x.value for _, x, _ in panel.points] == [0.2, -0.1]


def test_infinite_epsilon_stands_right_of_all_others_with_erm(tmp_path: Path) -> None:
    section = made(
        tmp_path, erm=[], a=[Score("epsilon", 3.0)], b=[Score("epsilon", 8.0)], c=[ENDLESS],
        d=[],
    )  # fmt: skip
    (panel,) = panels_of(section)
    found = {section.entrants[place].method: x.value for place, x, _ in panel.points}
    assert found == {"erm": panel.endless, "a": 3.0, "b": 8.0, "c": panel.endless}
    assert panel.endless > 8.0


def test_without_a_finite_epsilon_there_is_no_such_panel(tmp_path: Path) -> None:
    assert panels_of(made(tmp_path, erm=[], a=[ENDLESS], b=[ENDLESS])) == ()


def test_one_private_method_is_not_compared_with_erm_alone(tmp_path: Path) -> None:
    assert panels_of(made(tmp_path, erm=[], a=[Score("epsilon", 3.0)])) == ()


def test_the_picture_needs_no_colour(card: Section) -> None:
    import re

    svg = tradeoff(card)
    assert svg is not None
    colours = set(re.findall(rb"#([0-9a-f]{6})", svg))
    assert len(colours) >= len(GRAYS)
    assert all(c[0:2] == c[2:4] == c[4:6] for c in colours)


@pytest.mark.parametrize("seed", range(5))
def test_numbers_of_crowded_points_touch_neither_each_other_nor_the_edge(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dots = [(120 + rng.normal(0, 8), 140 + rng.normal(0, 30)) for _ in range(18)]
    bars = [(x - 20, y, x + 20, y) for x, y in dots] + [(x, y - 20, x, y + 20) for x, y in dots]
    frame = (0.0, 0.0, 250.0, 280.0)
    boxes = [box for *_, box in label_offsets(dots, [9.8] * 18, bars, frame)]
    for a, b in combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    for left, bottom, right, top in boxes:
        assert left > 0 and bottom > 0 and right < 250 and top < 280
