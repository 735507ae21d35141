"""The phantom's pixels, masks and pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation

from datasets import phantom_render
from datasets.phantom import Phantom
from datasets.phantom_cohort import FINDINGS, make_cohort
from datasets.phantom_pictures import caption, contact_sheet, outlined
from datasets.phantom_population import Population, write_recipe
from datasets.phantom_render import boxes_of, regions, render_population, render_rows

PEOPLE = Population(train_patients=150, val_patients=0, audit_patients=0, test_patients=0)
ROWS = np.arange(24)
LOCAL = ("Pleural Effusion", "Consolidation", "Pneumothorax", "Lung Lesion", "Edema")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(PEOPLE, tmp_path_factory.mktemp("recipe"))


@pytest.mark.parametrize("size", [32, 45, 96, 256])
def test_images_have_the_asked_size_and_are_not_flat(recipe: Path, size: int) -> None:
    images = render_rows(recipe, ROWS[:2], size)
    assert images.shape == (2, size, size)
    assert images.dtype == np.uint8
    assert images.std() > 30


@pytest.mark.parametrize("size", [33, 64])
def test_pixels_do_not_depend_on_chunks(
    recipe: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = render_rows(recipe, ROWS, size)
    monkeypatch.setattr(phantom_render, "CHUNK_PIXELS", 3 * size * size)
    assert np.array_equal(render_rows(recipe, ROWS, size), whole)
    monkeypatch.setattr(phantom_render, "CHUNK_PIXELS", 1)
    assert np.array_equal(render_rows(recipe, ROWS, size), whole)


def test_pixels_do_not_depend_on_threads(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom_render, "CHUNK_PIXELS", 4 * 32 * 32)
    one, three = (render_rows(recipe, ROWS, 32, threads=n) for n in (1, 3))
    assert np.array_equal(one, three)


def test_pixels_do_not_depend_on_which_rows_are_asked_for(recipe: Path) -> None:
    some = np.array([17, 3, 3, 20])
    assert np.array_equal(render_rows(recipe, some, 33), render_rows(recipe, ROWS, 33)[some])


def test_growing_the_cohort_changes_no_pixel() -> None:
    grown = replace(PEOPLE, test_patients=90)
    assert np.array_equal(render_population(PEOPLE, ROWS, 32), render_population(grown, ROWS, 32))


def test_no_rows_give_no_images(recipe: Path) -> None:
    assert render_rows(recipe, np.array([], dtype=int), 32).shape == (0, 32, 32)


def test_threads_and_denormals_of_the_caller_are_left_alone(recipe: Path) -> None:
    torch.set_num_threads(2)
    try:
        render_rows(recipe, ROWS[:2], 32, threads=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert float(torch.tensor(1e-39) * 1) != 0


def test_pixels_of_cohort_0_are_unchanged() -> None:
    images = render_population(Population(), np.array([0, 1000]), 32)
    expected = np.array(
        [
            [
                [28, 200, 215, 227, 31],
                [178, 84, 217, 100, 166],
                [192, 60, 234, 76, 177],
                [186, 212, 230, 131, 188],
                [194, 222, 238, 212, 161],
            ],
            [
                [18, 16, 167, 28, 21],
                [160, 59, 172, 49, 162],
                [150, 116, 213, 255, 143],
                [160, 221, 242, 178, 157],
                [152, 211, 237, 214, 143],
            ],
        ]
    )
    assert np.abs(images[:, 2::7, 2::7].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("size", [16, 31, 257])
def test_size_out_of_range_is_refused(recipe: Path, size: int) -> None:
    with pytest.raises(ValueError, match=f"32 to 256 pixels, but got size {size}"):
        render_rows(recipe, ROWS, size)


@pytest.mark.parametrize("row", [-1, 100_000])
def test_row_out_of_range_is_refused(recipe: Path, row: int) -> None:
    with pytest.raises(ValueError, match="rows must lie in"):
        render_rows(recipe, np.array([row]), 32)


def test_permuting_attributes_changes_no_pixel() -> None:
    permuted = replace(PEOPLE, permute_attributes=True)
    assert np.array_equal(
        render_population(PEOPLE, ROWS, 32), render_population(permuted, ROWS, 32)
    )


def turned(knob: str, value: float) -> Population:
    changed: dict[str, Any] = {knob: value}
    return replace(PEOPLE, **changed)


def mean_change(knob: str, value: float, race: int | None = None) -> float:
    """Mean absolute change of pixels of the first images (of one race) when a knob is turned."""
    changed = turned(knob, value)
    rows = np.arange(60)
    if race is not None:
        rows = rows[make_cohort(PEOPLE).attributes.race[:60] == race]
    before, after = (render_population(p, rows, 32).astype(int) for p in (PEOPLE, changed))
    return float(np.abs(before - after).mean())


def test_race_acquisition_moves_pixels_of_b_and_not_of_a() -> None:
    assert mean_change("race_acquisition", 0.0, race=0) == 0
    assert mean_change("race_acquisition", 0.0, race=1) > 2


@pytest.mark.parametrize("knob", ["anatomy_identity", "texture_identity"])
def test_less_identity_makes_visits_of_a_patient_less_alike(knob: str) -> None:
    cohort = make_cohort(PEOPLE)
    first = np.flatnonzero((cohort.visit[:-1] == 0) & (cohort.visit[1:] == 1))[:40]

    def distance(value: float) -> float:
        people = replace(turned(knob, value), lesion_strength=0.0, race_acquisition=0.0)
        one, two = (render_population(people, first + k, 32).astype(float) for k in (0, 1))
        return float(np.abs(one - two).mean())

    # Pose and exposure differ between visits anyway; were the knob idle, both would be equal.
    assert distance(0.0) > distance(1.0) + 0.1


def test_masks_and_boxes_are_there_exactly_where_the_finding_is(recipe: Path) -> None:
    where, truth = regions(recipe, np.arange(80), 64), make_cohort(PEOPLE).truth[:80]
    for finding in (*LOCAL, "Cardiomegaly", "Lung Opacity", "Support Devices"):
        column = FINDINGS.index(finding)
        shown = where.masks[:, column].any((1, 2))
        assert not (shown & ~truth[:, column]).any(), finding
        # A finding may be too small for a pixel, or hidden.
        assert shown.sum() >= 0.8 * truth[:, column].sum() > 0, finding
        assert np.array_equal(shown, np.isfinite(where.boxes[:, column]).all(1))
    assert not where.masks[:, FINDINGS.index("No Finding")].any()


def test_lung_findings_lie_inside_the_lungs_or_at_their_edge(recipe: Path) -> None:
    where = regions(recipe, np.arange(80), 64)
    for finding in ("Consolidation", "Pneumothorax", "Lung Lesion", "Edema"):
        mask = where.masks[:, FINDINGS.index(finding)]
        near = binary_dilation(where.lungs, np.ones((1, 3, 3)), iterations=2)
        assert (mask & near).sum() > 0.95 * mask.sum(), finding


def test_lungs_and_heart_have_plausible_sizes(recipe: Path) -> None:
    where = regions(recipe, ROWS, 64)
    assert 0.12 < where.lungs.mean() < 0.40
    assert 0.04 < where.heart.mean() < 0.20


@pytest.mark.parametrize("finding", LOCAL)
def test_a_finding_changes_pixels_mostly_inside_its_mask(finding: str, tmp_path: Path) -> None:
    cohort, column = make_cohort(PEOPLE), FINDINGS.index(finding)
    others = [FINDINGS.index(f) for f in (*LOCAL, "Cardiomegaly", "Fracture") if f != finding]
    alone = cohort.truth[:, column] & ~cohort.truth[:, others].any(1)
    rows = np.flatnonzero(alone)[:12]
    mask = regions(write_recipe(PEOPLE, tmp_path), rows, 64).masks[:, column]
    without = replace(PEOPLE, lesion_strength=0.0)
    change = np.abs(
        render_population(PEOPLE, rows, 64).astype(int)
        - render_population(without, rows, 64).astype(int)
    )
    near = binary_dilation(mask, np.ones((1, 3, 3)), iterations=2)
    assert len(rows) >= 3
    assert change[near].sum() > 0.75 * change.sum()
    assert change[mask].mean() > 4 * change[~near].mean()


def test_box_is_the_extent_of_the_mask() -> None:
    masks = np.zeros((2, 8, 8), dtype=bool)
    masks[0, 2:5, 1:7] = True
    boxes = boxes_of(masks)
    assert boxes[0].tolist() == [1, 2, 7, 5]
    assert np.isnan(boxes[1]).all()


def test_caption_adds_a_strip_and_keeps_the_picture() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    full = np.asarray(caption(image))
    assert full.shape[0] > 64
    assert np.array_equal(full[:64, :, 0], image)
    assert (full[64:] != 255).any()


def test_caption_must_say_simulated() -> None:
    with pytest.raises(ValueError, match="must contain 'SIMULATED'"):
        caption(np.zeros((64, 64), np.uint8), "a patient")


def test_contact_sheet_captions_every_picture() -> None:
    sheet = np.asarray(contact_sheet(np.zeros((3, 64, 64), np.uint8), columns=2))
    height = np.asarray(caption(np.zeros((64, 64), np.uint8))).shape[0] + 3
    assert sheet.shape == (2 * height, 2 * 67, 3)
    red = (sheet[..., 0] > 120) & (sheet[..., 1] < 60)
    for row, column in ((0, 0), (0, 1), (1, 0)):
        assert red[row * height : (row + 1) * height, column * 67 : (column + 1) * 67].any()


def test_contact_sheet_refuses_a_wrong_number_of_titles() -> None:
    with pytest.raises(ValueError, match="2 pictures and 1 titles"):
        contact_sheet(np.zeros((2, 64, 64), np.uint8), titles=["one"])


def test_outlines_leave_pictures_without_the_finding_gray(recipe: Path) -> None:
    where = regions(recipe, ROWS[:1], 64)
    images = render_rows(recipe, ROWS[:1], 64)
    drawn = outlined(images, where, ["No Finding"])
    assert not (drawn[0][~where.lungs[0]] != images[0][~where.lungs[0]][:, None]).any()


def test_the_dataset_writes_a_recipe_that_renders(tmp_path: Path) -> None:
    split = Phantom(train_patients=3, val_patients=1, audit_patients=1, test_patients=1).table(
        tmp_path
    )
    recipe, row = split.frame["path"].iloc[-1].split("#")
    assert render_rows(tmp_path / recipe, np.array([int(row)]), 32).shape == (1, 32, 32)
