"""Images that show the same radiograph, found among many without comparing all pairs.

Each image is reduced to 32 x 32 grey levels that are spread evenly over their range, so that a
change of brightness, contrast or gamma leaves them nearly as they are. A 64-bit hash of their low
frequencies proposes pairs; the correlation of their structure decides. Chests are alike at a
glance: the hash alone would accuse thousands of pairs of different patients.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b

import numpy as np

from datasets.images import Images

SIDE = 32
"""Side in pixels of what is compared."""
LOW = 8
"""Frequencies in the hash in each direction: 1 to 8; the constant says nothing."""
BLUR = 2.0
"""Standard deviation in pixels of the blur that is taken away: what it shows, all chests share."""
ALIKE = 0.96
"""Least correlation of two images that are called near-duplicates; docs/adding-a-dataset.md says
what was measured."""
BITS = 7
"""Most bits in which the hashes of two images differ that are compared at all."""
BANDS = 4
"""Parts of 16 bits: of two hashes within 7 bits, one part differs in at most one bit."""
EXHAUSTIVE = 1024
"""Up to so many images all pairs are compared, since medians over few images make no hash."""
CHUNK = 256
"""Images read at once."""
PAIRS = 2**21
"""Pairs of hashes held at once."""


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """What is compared of each of n images."""

    digests: np.ndarray
    """S32 `(n,)`: hex digest of the pixels."""
    low: np.ndarray
    """float32 `(n, 64)`: low frequencies, from which the hash is made."""
    structure: np.ndarray
    """int8 `(n, 1024)`: the image less its blur; largest value 127."""
    blank: np.ndarray
    """bool `(n,)`: one grey level everywhere; such an image resembles nothing."""

    def __len__(self) -> int:
        return len(self.digests)

    def of(self, rows: np.ndarray) -> Fingerprints:
        """The fingerprints at positions `rows` `(k,)`."""
        return Fingerprints(*(getattr(self, f.name)[rows] for f in fields(self)))


def fingerprints(images: Images) -> Fingerprints:
    """The fingerprints of images in their order, read a few at a time.

    Source: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, thesis, FH
        Upper Austria, Hagenberg 2010 (the hash by cosine transform: 32 x 32 pixels, 8 x 8 low
        frequencies). Differs from Zauner: grey levels are equalised first.
    """
    n = len(images)
    made = Fingerprints(
        digests=np.empty(n, "S32"),
        low=np.empty((n, LOW * LOW), np.float32),
        structure=np.empty((n, SIDE * SIDE), np.int8),
        blank=np.empty(n, bool),
    )
    shrink, cosine, blur = _shrinking(images.size), _cosines(), _blurring()
    for start in range(0, n, CHUNK):
        rows = np.arange(start, min(start + CHUNK, n))
        pixels = images.take(rows)
        # One large product first: many small ones take ten times as long.
        narrow = pixels.reshape(-1, images.size).astype(np.float32) @ shrink.T
        grey = equalised(shrink @ narrow.reshape(len(rows), images.size, SIDE))
        fine = (grey - blur @ grey @ blur.T).reshape(len(rows), -1)
        fine -= fine.mean(axis=1, keepdims=True)
        made.digests[rows] = [blake2b(p.tobytes(), digest_size=16).hexdigest() for p in pixels]
        made.low[rows] = (cosine @ grey @ cosine.T).reshape(len(rows), -1)
        made.structure[rows] = np.rint(127 * fine / _or_one(np.abs(fine).max(axis=1)))
        made.blank[rows] = pixels.min(axis=(1, 2)) == pixels.max(axis=(1, 2))
    return made


def joined(parts: Sequence[Fingerprints]) -> Fingerprints:
    """The fingerprints of several sets of images, one after the other."""
    return Fingerprints(
        *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Fingerprints))
    )


def equalised(grey: np.ndarray) -> np.ndarray:
    """Each grey level's mean rank in its image, float32 in [0, 1]; `grey` is `(n, h, w)`, 0 to 255.

    Images that differ by a rising curve of grey levels become equal.
    """
    level = np.rint(grey).astype(np.int64) + 256 * np.arange(len(grey))[:, None, None]
    counts = np.bincount(level.ravel(), minlength=256 * len(grey)).reshape(-1, 256)
    rank = (counts.cumsum(axis=1) - counts / 2) / max(1, grey[:1].size)
    found: np.ndarray = rank.astype(np.float32).ravel()[level]
    return found


def hashes(low: np.ndarray) -> np.ndarray:
    """A 64-bit hash of each image, uint64 `(n,)`: which of its `(n, 64)` low frequencies are large.

    Differs from Zauner: a frequency is compared with its median over all images, not with the
    median of the image, so that what all chests share sets no bit. Of pairs of different patients
    among 11,034 phantom images 2 in 100,000 are then within 7 bits, instead of 1 in 1,000.
    """
    bits = np.packbits(low > np.median(low, axis=0), axis=1)
    found: np.ndarray = np.ascontiguousarray(bits).view(np.uint64)[:, 0]
    return found


def within(hashed: np.ndarray, bits: int = BITS) -> np.ndarray:
    """All pairs of positions `(k, 2)`, first < second and sorted, whose hashes differ in <= `bits`.

    Hashes are cut into four parts. Two hashes that differ in at most 7 bits differ in at most one
    bit in some part, so only those are compared that share a part but for one bit: of n random
    hashes n / 470 each instead of n.

    Raises:
        ValueError: more bits are asked for than the parts can promise.

    Source: Norouzi, Punjani, Fleet, Fast Search in Hamming Space with Multi-Index Hashing, CVPR
        2012, proposition 1.
    """
    if not 0 <= bits < 2 * BANDS:
        raise ValueError(f"bits must lie between 0 and {2 * BANDS - 1}, but got {bits}")
    n = len(hashed)
    found = [np.empty(0, np.int64)]
    for band in range(BANDS):
        part = ((hashed >> np.uint64(16 * band)) & np.uint64(0xFFFF)).astype(np.int64)
        order = np.argsort(part, kind="stable")
        part, held = part[order], hashed[order]
        start = np.searchsorted(part, np.arange(2**16 + 1))
        for first, last in _partners(part, start):
            for a, b in _expanded(first, last):
                near = np.bitwise_count(held[a] ^ held[b]) <= bits
                i, j = order[a[near]], order[b[near]]
                found.append(np.minimum(i, j) * n + np.maximum(i, j))
    return np.column_stack(np.divmod(np.unique(np.concatenate(found)), max(1, n)))


def near_duplicates(prints: Fingerprints, patient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs `(k, 2)` of positions of near-duplicates of different patients, and their correlations.

    `patient` `(n,)` names the patient of each image in any way. Two pictures of one patient are
    never a pair, however alike they are; blank images are in none.
    """
    if len(prints) <= EXHAUSTIVE:
        pairs = np.column_stack(np.triu_indices(len(prints), 1))
    else:
        pairs = within(hashes(prints.low))
    seen = ~prints.blank[pairs].any(axis=1) & (patient[pairs[:, 0]] != patient[pairs[:, 1]])
    pairs = pairs[seen]
    alike = correlations(prints.structure, pairs)
    return pairs[alike >= ALIKE], alike[alike >= ALIKE]


def correlations(structure: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Correlation of the two images of each pair, float32 `(k,)`; 0 where one has no structure."""
    whole = np.einsum("ij,ij->i", structure, structure, dtype=np.float32)
    result = np.empty(len(pairs), np.float32)
    for at in range(0, len(pairs), 64 * CHUNK):
        a, b = pairs[at : at + 64 * CHUNK].T
        shared = np.einsum("ij,ij->i", structure[a], structure[b], dtype=np.float32)
        result[at : at + 64 * CHUNK] = shared / _or_one(np.sqrt(whole[a] * whole[b]))[:, 0]
    return result


def _partners(part: np.ndarray, start: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each position, where those begin and end whose part is equal, or differs in one bit.

    `part` is sorted, `start[v]` is where value v begins. Each pair is met once.
    """
    yield np.arange(1, len(part) + 1), start[part + 1]
    for bit in 1 << np.arange(16):
        other = part | bit
        first = start[other]
        yield first, np.where(part & bit, first, start[other + 1])


def _expanded(first: np.ndarray, last: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of each position with all of `first` to `last`, a bounded number at once."""
    count = last - first
    ends = count.cumsum()
    begin = 0
    while begin < len(count):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + PAIRS, side="right")))
        some = count[begin:end]
        a = np.repeat(np.arange(begin, end), some)
        step = np.arange(some.sum()) - np.repeat(some.cumsum() - some, some)
        yield a, first[a] + step
        begin = end


def _shrinking(size: int) -> np.ndarray:
    """Matrix `(32, size)` that averages over areas: each of its rows is one pixel's share."""
    edge = np.linspace(0, size, SIDE + 1)[:, None]
    left = np.arange(size)
    shared = np.minimum(edge[1:], left + 1) - np.maximum(edge[:-1], left)
    return (shared.clip(0) * SIDE / size).astype(np.float32)


def _cosines() -> np.ndarray:
    """Matrix `(8, 32)` of the discrete cosine transform (type II), frequencies 1 to 8."""
    frequency, place = np.arange(1, LOW + 1)[:, None], 2 * np.arange(SIDE) + 1
    return np.cos(np.pi * frequency * place / (2 * SIDE)).astype(np.float32)


def _blurring() -> np.ndarray:
    """Matrix `(32, 32)` of a Gaussian blur that weighs only what lies in the image."""
    place = np.arange(SIDE)
    weight = np.exp(-(((place[:, None] - place) / BLUR) ** 2) / 2)
    return (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


def _or_one(value: np.ndarray) -> np.ndarray:
    """Divisors `(n, 1)`, 1 in the place of 0."""
    return np.where(value > 0, value, 1)[:, None]
