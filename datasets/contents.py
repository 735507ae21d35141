"""What the paths of a table stand for, whichever it is: pixels or embeddings."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from datasets import images, vectors
from datasets.base import EMBEDDINGS
from datasets.shards import Progress
from datasets.split import Split


class Contents(Protocol):
    """The images of a split in its order, as pixels `(n, s, s)` or as vectors `(n, width)`."""

    def __len__(self) -> int: ...

    def take(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Those at positions `rows` `(k,)`, or all: uint8 `(k, s, s)` or float32 `(k, width)`."""
        ...

    def digest(self) -> str:
        """16 hex digits over all of them in order."""
        ...


def open_contents(split: Split, holds: str, size: int) -> Contents:
    """The pixels of a split at `size`, or its vectors, as `holds` says; `size` is of pixels alone.

    Raises:
        ValueError: one of them is missing or unusable.
    """
    return vectors.open_vectors(split) if holds == EMBEDDINGS else images.open_images(split, size)


def prepare(
    table: Split, holds: str, size: int, *, on_bad: str = "error", progress: Progress | None = None
) -> Split:
    """The table, once all it stands for lies in the cache; without bad rows on "drop".

    Raises:
        ValueError: one of them is missing or unusable and `on_bad` is "error"; or none is left.
    """
    if holds == EMBEDDINGS:
        return vectors.prepare(table, on_bad=on_bad, progress=progress)
    return images.prepare(table, size, on_bad=on_bad, progress=progress)
