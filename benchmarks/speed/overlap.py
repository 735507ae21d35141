"""Seconds and memory of the search for copies among very many images."""

from __future__ import annotations

import resource
import time

import numpy as np

from datasets.images import Images
from datasets.near_duplicates import SIDE, Fingerprints, fingerprints, hashes, near_duplicates

IMAGES = 400_000
PLANTED = 1_000
FACTORS, NOISE = 6, 0.4
SIZE, READ = 224, 2_048


def measure() -> list[str]:
    """Lines: the search among 400,000 images, and what reading an image for it costs."""
    return [_search(), _reading()]


def _search() -> str:
    """Time of hashing, banding and comparing random images, some of which are near-duplicates."""
    rng = np.random.default_rng(0)
    prints, patient = _drawn(rng), np.arange(IMAGES)
    started = time.process_time()
    pairs, _ = near_duplicates(prints, patient)
    seconds = time.process_time() - started
    planted = set(zip(range(PLANTED), range(IMAGES - PLANTED, IMAGES), strict=True))
    found = len(planted & {(int(a), int(b)) for a, b in pairs})
    shared = np.bincount((hashes(prints.low) & np.uint64(0xFFFF)).astype(np.int64))
    likely = (shared.astype(float) ** 2).sum() / IMAGES**2 * 2**16
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return (
        f"copies among {IMAGES} images: {seconds:.1f} s of CPU on one core, peak of the process "
        f"{peak:.2f} GiB; {found} of {PLANTED} planted pairs found, {len(pairs) - found} others; "
        f"two images share a part of the hash {likely:.0f} x as often as by chance"
    )


def _drawn(rng: np.random.Generator) -> Fingerprints:
    """Fingerprints whose low frequencies depend on each other as those of chests do.

    Common factors make two images share a part of their hash some 25 times as often as random
    ones, which is what the phantom's do.
    """
    mixing = rng.normal(size=(FACTORS, 64)).astype(np.float32)
    low = rng.normal(size=(IMAGES, FACTORS)).astype(np.float32) @ mixing / FACTORS**0.5
    low += NOISE * rng.normal(size=low.shape).astype(np.float32)
    structure = rng.integers(-127, 128, (IMAGES, SIDE * SIDE), np.int8)
    copy, original = slice(IMAGES - PLANTED, IMAGES), slice(0, PLANTED)
    low[copy] = low[original] + 0.02 * rng.normal(size=(PLANTED, 64))
    structure[copy] = np.clip(
        structure[original] + rng.normal(0, 10, (PLANTED, SIDE * SIDE)), -127, 127
    )
    return Fingerprints(np.arange(IMAGES).astype("S32"), low, structure, np.zeros(IMAGES, bool))


def _reading() -> str:
    """Microseconds per image of making fingerprints from pixels in memory."""
    pixels = np.random.default_rng(0).integers(0, 256, (READ, SIZE, SIZE), np.uint8)
    zeros = np.zeros(READ, int)
    images = Images((pixels,), zeros, np.arange(READ), zeros.astype("S32"), SIZE)
    started = time.process_time()
    fingerprints(images)
    each = (time.process_time() - started) / READ
    return f"fingerprints of images at {SIZE} px: {1e6 * each:.0f} microseconds of CPU each"
