"""Embeddings: vectors that stand for images, read from memory-mapped stacks.

A row's `path` names a row of a stack (`file.npy#7`, `(n, width)`), a file of one vector (`.npy`,
`.tfrecord`), or a vector of an archive (`file.npz#name`). Stacks are read as they lie. `prepare`
gathers the others once into stacks below the cache; `open_vectors` reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pandas as pd

from datasets import vector_search
from datasets.faults import complaint, image_names, without
from datasets.shards import Progress
from datasets.sources import hexdigest
from datasets.split import Split
from datasets.stacks import Stacks
from datasets.vector_search import VERSION, Found, find

MUST = "embedding … usable"
TOGETHER = 4096
"""Vectors read at once."""


@dataclass(frozen=True, eq=False)
class Vectors(Stacks):
    """The embeddings of a split, in its order, read on demand."""

    width: int

    def take(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Vectors float32 `(k, width)` of the images at positions `rows`, or of all."""
        return self.gathered(rows, (self.width,), np.float32)

    def digest(self) -> str:
        """16 hex digits over width, version and the content of all vectors in order."""
        return hexdigest(VERSION, self.width, *self.digests.astype(str))[:16]


def prepare(table: Split, *, on_bad: str = "error", progress: Progress | None = None) -> Split:
    """The table, once all its vectors lie in stacks and are checked; without bad rows on "drop".

    Work goes on where an earlier call was stopped.

    Raises:
        ValueError: an embedding is missing or unusable and `on_bad` is "error", or none is left;
            or the embeddings differ in width.
    """
    found = find(table, progress)
    table = without(table, found.faults, on_bad=on_bad, must=MUST)
    _joined(table, found)
    return table


def open_vectors(split: Split) -> Vectors:
    """The embeddings of `split` in order; what is not gathered yet is gathered first.

    Raises:
        ValueError: an embedding is missing or unusable, or they differ in width.
    """
    found = find(split)
    if found.faults:
        raise complaint(split, found.faults, must=MUST)
    return _joined(split, found)


def width_of(table: Split) -> int:
    """Width of the first embedding of a table that can be read.

    Raises:
        ValueError: none can.
    """
    width, faults = vector_search.width_of(table)
    if not width:
        raise complaint(table, faults, must=MUST)
    return width


def row_digests(vectors: Vectors) -> np.ndarray:
    """Hex digest S32 `(n,)` of the numbers of each vector, wherever it lies."""
    result = np.empty(len(vectors), "S32")
    for start in range(0, len(vectors), TOGETHER):
        rows = np.arange(start, min(start + TOGETHER, len(vectors)))
        # Adding 0 makes equal numbers equal bytes: -0.0 becomes 0.0.
        taken = vectors.take(rows) + 0.0
        result[rows] = [blake2b(v.tobytes(), digest_size=16).hexdigest() for v in taken]
    return result


def _joined(split: Split, found: Found) -> Vectors:
    codes, distinct = pd.factorize(image_names(split))
    places = [found.places[path] for path in distinct]
    stack, opened = pd.factorize(np.array([place.file for place in places], dtype=object))
    stacks = tuple(np.load(file, mmap_mode="r", allow_pickle=False) for file in opened)
    widths = np.array([held.shape[1] for held in stacks])
    if len(set(widths)) > 1:
        of_path = widths[stack]
        first = {w: distinct[int(np.argmax(of_path == w))] for w in dict.fromkeys(of_path)}
        told = ", ".join(f"{w} ({path}, …)" for w, path in first.items())
        raise ValueError(
            f"all embeddings of {split.name!r} must have one width, but they have {told}; "
            "keep those of one encoder"
        )
    return Vectors(
        width=int(widths[0]),
        stacks=stacks,
        stack=stack[codes],
        row=np.array([place.row for place in places], dtype=np.int64)[codes],
        digests=np.array([place.digest for place in places], dtype="S32")[codes],
    )
