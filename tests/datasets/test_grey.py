"""Deep grey values become levels as plain numpy makes them, in less memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from datasets.grey import TAILS, counts_of, looked_up, stretched, stretched_levels


def plainly(values: np.ndarray) -> np.ndarray:
    """The levels by `np.percentile` over all values."""
    values = values.astype(np.float32)
    low, high = np.percentile(values, TAILS)
    if low == high:
        low, high = float(values.min()), float(values.max())
    return np.round(255 * np.clip((values - low) / max(high - low, 1e-12), 0, 1)).astype(np.uint8)


def cases() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    rare = np.full((40, 30), 700, np.uint16)
    rare[0, :2] = 3, 60000
    return {
        "16 bits": rng.integers(0, 2**16, (57, 43)).astype(np.uint16),
        "12 bits": np.clip(rng.normal(2000, 600, (90, 31)), 0, 4095).astype(np.uint16),
        "big endian": rng.integers(0, 4096, (33, 33)).astype(">u2"),
        "two values": (rng.integers(0, 2, (20, 20)) * 999).astype(np.uint16),
        "all but two equal": rare,
        "constant": np.full((20, 20), 5, np.uint16),
        "wide integers": rng.integers(0, 60000, (30, 30)).astype(np.int32),
        "negative integers": rng.integers(-1000, 1000, (30, 30)).astype(np.int32),
        "very wide integers": rng.integers(0, 2**30, (30, 30)).astype(np.int32),
        "floating point": rng.normal(size=(30, 30)).astype(np.float32),
    }


@pytest.mark.parametrize("name", cases())
def test_levels_are_those_of_numpy_to_the_bit(name: str) -> None:
    values = cases()[name]
    assert np.array_equal(stretched(values), plainly(values))


def test_levels_are_those_of_numpy_at_every_number_of_values() -> None:
    rng = np.random.default_rng(1)
    for n in range(16, 300):
        values = rng.integers(0, 5000, (1, n)).astype(np.uint16)
        assert np.array_equal(stretched(values), plainly(values))


def test_picture_of_many_blocks_is_the_same_as_one() -> None:
    values = np.random.default_rng(0).normal(size=(2100, 1100)).astype(np.float32)
    assert np.array_equal(stretched(values), plainly(values))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        stretched(np.array([[1.0, bad]], np.float32))


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", ">u2", ">i2"])
def test_counts_and_levels_stand_from_the_lowest_value_on(kind: str) -> None:
    bounds = np.iinfo(kind)
    values = np.array([[bounds.min, bounds.min, bounds.max]], dtype=kind)
    counts = counts_of(values)
    assert counts[0] == 2 and counts[-1] == 1 and counts.sum() == 3
    levels = np.zeros(len(counts), np.uint8)
    levels[0], levels[-1] = 9, 200
    assert looked_up(values, levels).tolist() == [[9, 9, 200]]


def test_levels_of_falling_values_fall() -> None:
    levels = stretched_levels(np.arange(100.0)[::-1], np.ones(100, np.int64), (0, 100))
    assert levels[0] == 255 and levels[-1] == 0 and (np.diff(levels.astype(int)) < 0).all()


def test_sixteen_bit_picture_takes_few_copies() -> None:
    values = np.random.default_rng(0).integers(0, 4096, (4000, 4000)).astype(np.uint16)
    tracemalloc.start()
    stretched(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The result has half the bytes of the picture; all else is tables and blocks.
    assert peak < values.nbytes
