"""Pictures of one radiograph are found again, pictures of different people are not accused."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import near_duplicates as module
from datasets.images import Images, open_images
from datasets.near_duplicates import (
    ALIKE,
    correlations,
    equalised,
    fingerprints,
    hashes,
    joined,
    near_duplicates,
    within,
)
from datasets.phantom import Phantom

SIDE = 128


def images(pixels: np.ndarray) -> Images:
    n = len(pixels)
    return Images((pixels,), np.zeros(n, int), np.arange(n), np.zeros(n, "S32"), pixels.shape[1])


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """Radiographs of 12 phantom patients, one each, and the patients' ids."""
    folder = tmp_path_factory.mktemp("phantom")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRILEMMA_CACHE", str(folder / "cache"))
        table = Phantom().table(folder)
        table = table.where(~table.frame["patient_id"].duplicated().to_numpy())
        some = table.where(np.arange(len(table)) < 12)
        return open_images(some, SIDE).take(), some.frame["patient_id"].to_numpy(dtype=str)


def jpeg(pixels: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=30)
    return np.array(Image.open(file))


def cropped(pixels: np.ndarray) -> np.ndarray:
    inner = Image.fromarray(pixels[1:-1, 1:-1])
    return np.array(inner.resize(pixels.shape, Image.Resampling.BILINEAR))


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "brighter": lambda p: np.clip(p.astype(int) + 40, 0, 255).astype(np.uint8),
    "less contrast": lambda p: (p * 0.5 + 30).astype(np.uint8),
    "more contrast": lambda p: np.clip((p - 128.0) * 1.3 + 128, 0, 255).astype(np.uint8),
    "gamma": lambda p: (255 * (p / 255) ** 0.6).astype(np.uint8),
    "recompressed": jpeg,
    "cropped by one pixel": cropped,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(cohort: tuple[np.ndarray, np.ndarray], change: str) -> None:
    pixels, patients = cohort
    planted = np.concatenate([pixels, CHANGES[change](pixels[7])[None]])
    pairs, alike = near_duplicates(fingerprints(images(planted)), np.append(patients, "other"))
    assert pairs.tolist() == [[7, 12]] and alike[0] >= ALIKE


def test_different_patients_are_not_accused(cohort: tuple[np.ndarray, np.ndarray]) -> None:
    pixels, patients = cohort
    pairs, _ = near_duplicates(fingerprints(images(pixels)), patients)
    assert len(pairs) == 0


def test_alike_pictures_of_one_patient_are_no_pair(cohort: tuple[np.ndarray, np.ndarray]) -> None:
    pixels = np.stack([cohort[0][0], jpeg(cohort[0][0])])
    pairs, _ = near_duplicates(fingerprints(images(pixels)), np.array(["a", "a"]))
    assert len(pairs) == 0


def test_the_hash_finds_what_all_pairs_find(
    cohort: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, patients = cohort
    prints = fingerprints(images(np.concatenate([pixels, np.stack([*map(jpeg, pixels)])])))
    names = np.concatenate([patients, np.char.add(patients, "'")])
    everything, _ = near_duplicates(prints, names)
    monkeypatch.setattr(module, "EXHAUSTIVE", 0)
    hashed, _ = near_duplicates(prints, names)
    assert everything.tolist() == [[k, k + 12] for k in range(12)]
    assert {*map(tuple, hashed.tolist())} <= {*map(tuple, everything.tolist())}
    assert len(hashed) >= 9  # medians over so few images lose some: hence all pairs for few


def test_blank_images_resemble_nothing() -> None:
    pixels = np.repeat(np.array([0, 0, 200], np.uint8), 64 * 64).reshape(3, 64, 64)
    prints = fingerprints(images(pixels))
    assert prints.blank.all() and len(near_duplicates(prints, np.arange(3))[0]) == 0


def test_equal_pixels_have_equal_digests(cohort: tuple[np.ndarray, np.ndarray]) -> None:
    digests = fingerprints(images(cohort[0][[0, 1, 0]])).digests
    assert digests[0] == digests[2] != digests[1]


def test_fingerprints_of_parts_are_those_of_the_whole(
    cohort: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, _ = cohort
    whole = fingerprints(images(pixels))
    monkeypatch.setattr(module, "CHUNK", 5)
    parts = joined([fingerprints(images(pixels[:4])), fingerprints(images(pixels[4:]))])
    assert np.array_equal(parts.digests, whole.digests)
    assert np.array_equal(parts.structure, whole.structure)


def test_correlation_is_that_of_numpy() -> None:
    half = np.random.default_rng(0).integers(-127, 128, (4, 512)).astype(np.int8)
    structure = np.concatenate([half, -half[:, ::-1]], axis=1)  # of mean 0
    pairs = np.array([[0, 1], [2, 3], [1, 1]])
    expected = [np.corrcoef(structure[a], structure[b])[0, 1] for a, b in pairs]
    np.testing.assert_allclose(correlations(structure, pairs), expected, atol=1e-4)


def test_equalised_levels_are_mean_ranks() -> None:
    # Sorted 0, 10, 10, 200: half of the first quarter, the middle of the next two, then the last.
    grey = np.array([[[10.0, 0.0], [200.0, 10.0]]])
    assert equalised(grey).ravel().tolist() == [0.5, 0.125, 0.875, 0.5]


def test_a_rising_curve_leaves_equalised_levels_as_they_are() -> None:
    grey = np.random.default_rng(0).integers(0, 100, (2, 8, 8)).astype(float)
    assert np.array_equal(equalised(grey), equalised(2 * grey + 7))


def test_areas_keep_the_mean() -> None:
    shrink = module._shrinking(45)
    np.testing.assert_allclose(shrink.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(shrink.sum(axis=0), 32 / 45, rtol=1e-5)


def test_cosines_are_those_of_scipy() -> None:
    from scipy.fft import dct

    signal = np.random.default_rng(0).normal(size=32)
    expected = dct(signal, type=2)[1:9] / 2  # scipy's has a factor of 2
    np.testing.assert_allclose(module._cosines() @ signal, expected, rtol=1e-4, atol=1e-5)


def test_a_hash_sets_half_of_the_images_in_every_bit() -> None:
    low = np.random.default_rng(0).normal(size=(10, 64)).astype(np.float32)
    bits = np.unpackbits(hashes(low).view(np.uint8).reshape(10, 8), axis=1)
    assert bits.sum(axis=0).tolist() == [5] * 64


@pytest.mark.parametrize("bits", [0, 3, 7])
@pytest.mark.parametrize("held", [2**21, 7])
def test_bands_find_what_all_pairs_find(
    bits: int, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAIRS", held)
    rng = np.random.default_rng(bits)
    hashed = rng.integers(0, 2**64, 60, dtype=np.uint64)
    flips = [
        sum(1 << int(b) for b in rng.choice(64, rng.integers(0, 10), replace=False))
        for _ in range(60)
    ]
    hashed = np.concatenate([hashed, hashed ^ np.array(flips, dtype=np.uint64), hashed[:3]])
    values = [int(h) for h in hashed]
    expected = [
        [i, j]
        for i, j in combinations(range(len(values)), 2)
        if (values[i] ^ values[j]).bit_count() <= bits
    ]
    assert within(hashed, bits).tolist() == expected and len(expected) >= 3


def test_more_bits_than_bands_promise_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 7, but got 8"):
        within(np.zeros(2, np.uint64), 8)


def test_no_image_makes_no_pair() -> None:
    assert within(np.empty(0, np.uint64)).shape == (0, 2)


@pytest.mark.slow
def test_real_radiographs_of_different_patients_are_not_accused(real_data: Path) -> None:
    from datasets.covid_chestxray import CovidChestxray
    from datasets.images import prepare

    table = CovidChestxray().table(real_data / "covid-chestxray")
    table = prepare(table, 64, on_bad="drop", workers=1)
    prints = fingerprints(open_images(table, 64))
    pairs, _ = near_duplicates(prints, table.frame["patient_id"].to_numpy(dtype=str))
    assert len(table) > 150 and len(pairs) == 0
