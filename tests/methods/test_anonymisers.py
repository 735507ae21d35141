"""Anonymisers: what each does to pixels, one image at a time, and nothing beyond."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from methods.anonymisers.base import Anonymiser, Unfitted
from methods.anonymisers.blur import Blur
from methods.anonymisers.identity import Identity
from methods.anonymisers.pixelate import Pixelate
from methods.anonymisers.random_warp import RandomWarp
from registry import ANONYMISERS, ROOT

OURS = [name for name, entry in ANONYMISERS.entries().items() if entry.file.is_relative_to(ROOT)]
SIMPLE = [name for name in OURS if issubclass(ANONYMISERS.get(name), Unfitted)]


def noise(n: int = 6, side: int = 45) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (n, side, side)).astype(np.uint8)


def smooth(n: int = 4, side: int = 64) -> np.ndarray:
    """Images whose grey level rises by 3 per row and 1 per column."""
    rows, columns = np.indices((side, side))
    return np.repeat((3 * rows + columns)[None] % 256, n, axis=0).astype(np.uint8)


def test_the_first_set_is_registered() -> None:
    assert set(OURS) >= {"identity", "blur", "pixelate", "random_warp", "inpaint"}


@pytest.mark.parametrize("name", OURS)
def test_every_anonymiser_cites_a_source_and_is_named_as_its_file(name: str) -> None:
    assert "Source:" in (ANONYMISERS.get(name).__doc__ or "")
    assert ANONYMISERS.entries()[name].file.stem == name


@pytest.mark.parametrize("name", SIMPLE)
def test_images_keep_shape_and_type(name: str) -> None:
    for images in (noise(), noise(0)):
        changed = ANONYMISERS.get(name)().transform(images)
        assert changed.shape == images.shape
        assert changed.dtype == np.uint8


@pytest.mark.parametrize("name", SIMPLE)
def test_strength_0_changes_nothing_up_to_the_border(name: str) -> None:
    images = noise()
    assert np.array_equal(ANONYMISERS.get(name)(strength=0.0).transform(images), images)


@pytest.mark.parametrize("name", sorted(set(SIMPLE) - {"identity"}))
def test_strength_1_changes_every_image(name: str) -> None:
    images = noise()
    changed = ANONYMISERS.get(name)().transform(images)
    assert (changed != images).any(axis=(1, 2)).all()


def test_identity_changes_nothing_whatever_its_strength() -> None:
    images = noise()
    assert np.array_equal(Identity(strength=7).transform(images), images)


@pytest.mark.parametrize("name", SIMPLE)
def test_an_image_does_not_depend_on_its_neighbours(name: str) -> None:
    images, anonymiser = noise(), ANONYMISERS.get(name)()
    whole = anonymiser.transform(images)
    assert np.array_equal(anonymiser.transform(images[::-1]), whole[::-1])
    for i, image in enumerate(images):
        assert np.array_equal(anonymiser.transform(image[None])[0], whole[i])


@pytest.mark.parametrize("name", SIMPLE)
def test_the_input_is_left_alone(name: str) -> None:
    images = noise()
    before = images.copy()
    ANONYMISERS.get(name)().transform(images)
    assert np.array_equal(images, before)


@pytest.mark.parametrize("name", SIMPLE)
def test_kept_pixels_stay_and_others_change(name: str) -> None:
    images, anonymiser = noise(), ANONYMISERS.get(name)()
    keep = np.zeros(images.shape, dtype=bool)
    keep[:, 10:20, 5:40] = True
    changed = anonymiser.transform(images, keep)
    assert np.array_equal(changed[keep], images[keep])
    assert np.array_equal(changed[~keep], anonymiser.transform(images)[~keep])


@pytest.mark.parametrize("name", SIMPLE)
def test_an_unfitted_anonymiser_is_the_same_after_saving_and_loading(
    name: str, tmp_path: Path
) -> None:
    images, anonymiser = noise(), ANONYMISERS.get(name)()
    anonymiser.save(tmp_path)
    again = ANONYMISERS.get(name)().load(tmp_path, "cpu")
    assert np.array_equal(again.transform(images), anonymiser.transform(images))


@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf")])
def test_a_strength_outside_its_limits_is_refused(strength: float) -> None:
    with pytest.raises(ValueError, match="strength must be a finite number from 0"):
        Blur(strength=strength)


def test_a_flat_image_stays_flat() -> None:
    flat = np.full((2, 32, 32), 77, np.uint8)
    for anonymiser in (Blur(), Pixelate(), RandomWarp()):
        assert np.array_equal(anonymiser.transform(flat), flat)


def test_blur_spreads_a_point_as_a_gaussian() -> None:
    image = np.zeros((1, 64, 64), np.uint8)
    image[0, 32, 32] = 255
    # A deviation of 1/16 of 64 px times a quarter is 1 px: 255 / (2 pi) in the middle, and
    # exp(-1/2) of that one pixel away.
    spread = Blur(strength=0.25).transform(image)[0].astype(int)
    assert spread[32, 32] == pytest.approx(255 / (2 * np.pi), abs=1)
    assert spread[32, 33] == pytest.approx(255 / (2 * np.pi) * np.exp(-0.5), abs=1)


def test_pixels_of_a_block_become_their_mean() -> None:
    image = np.zeros((1, 32, 32), np.uint8)
    image[0, 0, :4] = [10, 20, 30, 40]  # 8 blocks per side of 4 px: 100 over 16 pixels
    blocks = Pixelate().transform(image)[0]
    assert (blocks[:4, :4] == 6).all()  # 6.25
    assert not blocks[4:].any() and not blocks[:, 4:].any()


def test_the_last_block_of_an_uneven_side_is_smaller() -> None:
    image = np.zeros((1, 33, 33), np.uint8)
    image[0, 32, 32] = 200  # alone in its block
    blocks = Pixelate().transform(image)[0]
    assert blocks[32, 32] == 200
    assert not blocks[:32, :32].any()


def test_a_warp_moves_pixels_by_the_stated_distance() -> None:
    images = noise(40, 64)
    far = [np.square(RandomWarp(strength=2).displacement(i)).mean() ** 0.5 for i in images]
    assert far == pytest.approx([2 * 64 / 20] * 40, rel=1e-4)


def test_a_warp_is_smooth() -> None:
    field = RandomWarp().displacement(noise(1, 64)[0])
    step = np.abs(np.diff(field, axis=1)).max()
    assert step < 0.2 * np.abs(field).max()


def test_a_warp_looks_where_its_displacement_says() -> None:
    warp, image = RandomWarp(), smooth(1)[0]
    down, right = warp.displacement(image)
    rows, columns = np.indices(image.shape)
    looked = np.clip(rows + down, 0, 63) * 3 + np.clip(columns + right, 0, 63)
    inside = looked < 253  # no wrap of the grey level
    warped = warp.transform(image[None])[0]
    assert np.abs(warped - looked)[inside].max() <= 0.51


def test_every_image_is_warped_in_its_own_way() -> None:
    fields = [RandomWarp().displacement(image).ravel() for image in noise(30)]
    correlation = np.corrcoef(fields)[np.triu_indices(30, 1)]
    assert abs(correlation.mean()) < 0.1


def test_another_seed_warps_otherwise() -> None:
    images = noise()
    assert not np.array_equal(
        RandomWarp(generator_seed=0).transform(images),
        RandomWarp(generator_seed=1).transform(images),
    )


def test_fields_have_defaults() -> None:
    anonymisers: list[Any] = [ANONYMISERS.get(name)() for name in OURS]
    assert all(isinstance(a, Anonymiser) for a in anonymisers)
