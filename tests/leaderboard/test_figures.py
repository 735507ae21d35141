"""The pictures: what they show, and that they are the same each time."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from synthetic_store import PHANTOM, run_json, write_run

from leaderboard.board import Section, sections
from leaderboard.collect import Store, read_store
from leaderboard.drawing import reach
from leaderboard.figures import contrast_forest, finding_forest
from leaderboard.tradeoff import tradeoff
from metrics.score import Score


@pytest.fixture(scope="module")
def phantom(store: Store) -> Section:
    return next(section for section in sections(store) if section.simulated)


def words(svg: bytes) -> str:
    return " ".join(ElementTree.fromstring(svg).itertext())


def test_every_picture_of_simulated_data_says_so(phantom: Section) -> None:
    for svg in (
        tradeoff(phantom),
        contrast_forest(phantom),
        finding_forest(phantom, phantom.entrants[0]),
    ):
        assert svg is not None
        assert "SIMULATED" in words(svg)


def test_no_picture_of_real_data_says_simulated(store: Store) -> None:
    real = next(section for section in sections(store) if not section.simulated)
    for svg in (tradeoff(real), contrast_forest(real)):
        assert svg is not None
        assert "SIMULATED" not in words(svg)


def test_all_methods_are_named_in_the_overview(phantom: Section) -> None:
    svg = tradeoff(phantom)
    assert svg is not None
    for entrant in phantom.entrants:
        assert entrant.name in words(svg)


def test_pictures_are_gray(phantom: Section) -> None:
    import re

    svg = tradeoff(phantom)
    assert svg is not None
    colours = set(re.findall(rb"#([0-9a-f]{6})", svg))
    assert colours
    assert all(c[0:2] == c[2:4] == c[4:6] for c in colours)


def test_a_picture_drawn_twice_has_equal_bytes(phantom: Section) -> None:
    assert contrast_forest(phantom) == contrast_forest(phantom)


def test_a_method_named_like_mathematics_is_written_as_it_is(tmp_path: Path) -> None:
    contrast = Score("fnr_contrast", 0.1, attribute="race", group="B - A", low=0.0, high=0.2)
    for method in ("erm", "a$b_{c}$"):
        made = [Score("auc", 0.8, low=0.7, high=0.9), contrast]
        write_run(tmp_path, run_json(PHANTOM, method), made)
    (section,) = sections(read_store(tmp_path))
    svg = tradeoff(section)
    assert svg is not None
    assert "a$b_{c}$" in words(svg)


def test_without_contrasts_there_is_no_picture(tmp_path: Path) -> None:
    write_run(tmp_path, run_json(PHANTOM, "erm", primary_contrasts={}), [Score("auc", 0.8)])
    (section,) = sections(read_store(tmp_path))
    assert tradeoff(section) is None
    assert contrast_forest(section) is None


def test_an_axis_reaches_the_farthest_end() -> None:
    from leaderboard.aggregate import Estimate

    far = Estimate(-0.2, -0.5, 0.1, "patients", 1, 0, 1, 0.0, 0.0, 0.0, "")
    assert reach([far, None]) == pytest.approx(1.08 * 0.5)
