"""Deep grey values, 16 bits or floating point, as 8-bit levels between two percentiles.

Values of at most 16 bits are counted and looked up, so that a large picture takes few copies.
"""

from __future__ import annotations

import numpy as np

TAILS = (0.5, 99.5)
"""Percentiles that deep grey values are stretched between: 12-bit films in 16-bit files would
otherwise be nearly black, and a burned-in marker at full white would set the scale alone."""
BLOCK = 2**18
"""Values that are worked on at once."""


def stretched(values: np.ndarray) -> np.ndarray:
    """The levels, uint8 `(h, w)`, of integer or floating-point values `(h, w)`.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    if values.dtype.kind in "iu" and values.min() >= 0 and values.max() < 2**16:
        short = values.astype(np.uint16, copy=False)
        every = np.arange(2**16, dtype=np.float32)
        return looked_up(short, stretched_levels(every, counts_of(short)))
    values = values.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise ValueError("grey values must be finite, but some are NaN or infinite")
    low, high = np.percentile(values, TAILS)
    if low == high:
        low, high = float(values.min()), float(values.max())
    shown = np.empty(values.shape, np.uint8)
    rows = max(1, BLOCK // values.shape[1])
    for start in range(0, len(values), rows):
        shown[start : start + rows] = _levels(values[start : start + rows], low, high)
    return shown


def stretched_levels(
    values: np.ndarray, counts: np.ndarray, tails: tuple[float, float] = TAILS
) -> np.ndarray:
    """The level, uint8 `(k,)`, of each of `values` `(k,)`, of which there are `counts` `(k,)`.

    Black and white are the percentiles `tails`, or the ends where these are equal.
    """
    there = np.flatnonzero(counts)
    there = there[np.argsort(values[there], kind="stable")]
    ranked, upto = values[there], np.cumsum(counts[there])
    low, high = (_percentile(ranked, upto, tail) for tail in tails)
    if low == high:
        low, high = float(ranked[0]), float(ranked[-1])
    return _levels(values, low, high)


def counts_of(values: np.ndarray) -> np.ndarray:
    """How often each possible value of 8 or 16 bits occurs, int64, from the lowest on."""
    flat = _unsigned(values).ravel()
    counts = np.zeros(2 ** (8 * values.dtype.itemsize), np.int64)
    for start in range(0, len(flat), BLOCK):
        counts += np.bincount(flat[start : start + BLOCK], minlength=len(counts))
    return np.roll(counts, -int(np.iinfo(values.dtype).min))


def looked_up(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """`values` of 8 or 16 bits replaced by the `levels` of all possible ones, the lowest first."""
    flat, levels = _unsigned(values).ravel(), np.roll(levels, int(np.iinfo(values.dtype).min))
    found = np.empty(flat.shape, levels.dtype)
    for start in range(0, len(flat), BLOCK):
        block = slice(start, start + BLOCK)
        # There is a level for every value, so nothing wraps: it spares numpy the check.
        np.take(levels, flat[block], mode="wrap", out=found[block])
    return found.reshape(values.shape)


def _unsigned(values: np.ndarray) -> np.ndarray:
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    return np.ascontiguousarray(native).view(f"u{values.dtype.itemsize}")


def _percentile(ranked: np.ndarray, upto: np.ndarray, percent: float) -> float:
    """What `np.percentile` gives, to the bit; of `ranked`, those up to i occur `upto[i]` times."""
    last = int(upto[-1]) - 1
    place = np.float64(last * (percent / 100))
    below = int(place)
    a, b = (ranked[np.searchsorted(upto, min(at, last), side="right")] for at in (below, below + 1))
    share = place - below
    return np.float64(a + (b - a) * share if share < 0.5 else b - (b - a) * (1 - share))


def _levels(values: np.ndarray, low: float, high: float) -> np.ndarray:
    span = max(high - low, 1e-12)
    return np.round(255 * np.clip((values - low) / span, 0, 1)).astype(np.uint8)
