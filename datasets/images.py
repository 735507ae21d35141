"""Pixels: decoded and resized once, then read from memory-mapped 8-bit stacks.

A row's `path` names an image file, `stack.npy#row` (uint8 `(n, h, w)`) or `name.phantom#row` (a
recipe, rendered on demand). `prepare` brings all of a table into the cache; `open_images` reads.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.decode import DECODER
from datasets.faults import Fault, complaint, without
from datasets.shards import INDEX, Index, Progress, folder_of, jobs, make_all, usable_cores
from datasets.sources import Source, find_sources, hexdigest
from datasets.split import IMAGE_ROOT, Split
from datasets.stacks import Stacks

SIZES = (32, 1024)
"""Smallest and largest side in pixels."""
MUST = "image … readable"
CACHE_VARIABLE = "TRILEMMA_CACHE"


def cache_dir() -> Path:
    """The folder of decoded pixels: `$TRILEMMA_CACHE`, or `cache` in the checkout."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser() if named else Path(__file__).resolve().parent.parent / "cache"


@dataclass(frozen=True, eq=False)
class Images(Stacks):
    """The images of a split, in its order, as 8-bit grey squares read on demand."""

    size: int

    def take(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Pixels uint8 `(k, size, size)` of the images at positions `rows`, or of all."""
        return self.gathered(rows, (self.size, self.size), np.uint8)

    def digest(self) -> str:
        """16 hex digits over size, decoder and the content of all images in order."""
        return hexdigest(DECODER, self.size, *self.digests.astype(str))[:16]


def prepare(
    table: Split,
    size: int,
    *,
    on_bad: str = "error",
    workers: int | None = None,
    progress: Progress | None = None,
) -> Split:
    """The table, once all its pixels are in the cache at `size`; without bad rows on "drop".

    Work goes on where an earlier call was stopped. `workers` is the number of processes (threads
    for a recipe), by default one per usable core; 0 and 1 mean this process.

    Raises:
        ValueError: an image is missing or unreadable and `on_bad` is "error"; or none is left.
    """
    faults = find_faults(table, size, workers=workers, progress=progress)
    return without(table, faults, on_bad=on_bad, must=MUST)


def find_faults(
    table: Split, size: int, *, workers: int | None = None, progress: Progress | None = None
) -> list[Fault]:
    """The images that cannot be used, after bringing all others into the cache at `size`."""
    _check_size(size)
    sources, faults = [], []
    for root, rows in by_root(table):
        found, lost = find_sources(rows.root, _paths(rows).unique(), cache_dir())
        sources += [replace(s, path=f"{root}/{s.path}") for s in found] if root else found
        faults += [replace(f, path=f"{root}/{f.path}") for f in lost] if root else lost
    return faults + _fill(sources, size, usable_cores() if workers is None else workers, progress)


def open_images(split: Split, size: int) -> Images:
    """The images of `split` in order; what is not in the cache yet is prepared first.

    Raises:
        ValueError: an image is missing or unreadable.
    """
    _check_size(size)
    if IMAGE_ROOT not in split.frame:
        return _open_below(split, size)
    roots = split.frame[IMAGE_ROOT].fillna("").to_numpy(dtype=str)
    parts = by_root(split)
    rows = [np.flatnonzero(roots == root) for root, _ in parts]
    return _joined(rows, [_open_below(part, size) for _, part in parts], size)


def by_root(table: Split) -> list[tuple[str, Split]]:
    """The rows of each folder that holds images, as a table with that folder as its root."""
    if IMAGE_ROOT not in table.frame:
        return [("", table)]
    roots = table.frame[IMAGE_ROOT].fillna("").to_numpy(dtype=str)
    parts = [(str(root), table.where(roots == root)) for root in np.unique(roots)]
    return [(r, replace(part, root=Path(r)) if r else part) for r, part in parts]


def _open_below(split: Split, size: int) -> Images:
    """The images of a split that all lie below its root."""
    codes, paths = pd.factorize(_paths(split))
    sources, faults = find_sources(split.root, paths, cache_dir())
    if not faults:
        faults = _fill(sources, size, usable_cores(), None)
    if faults:
        raise complaint(split, faults, must=MUST)
    images = _opened(sources, size)
    return replace(
        images,
        stack=images.stack[codes],
        row=images.row[codes],
        digests=images.digests[codes],
    )


def _joined(rows: Sequence[np.ndarray], parts: Sequence[Images], size: int) -> Images:
    """Images of several roots as one, each part at its positions `rows` of the whole."""
    before = np.cumsum([0, *(len(part.stacks) for part in parts)])
    back = np.argsort(np.concatenate(rows), kind="stable")
    return Images(
        size=size,
        stacks=tuple(stack for part in parts for stack in part.stacks),
        stack=np.concatenate([p.stack + b for p, b in zip(parts, before, strict=False)])[back],
        row=np.concatenate([p.row for p in parts])[back],
        digests=np.concatenate([p.digests for p in parts])[back],
    )


def _paths(split: Split) -> pd.Series:
    return split.frame["path"].astype(str)


def _check_size(size: int) -> None:
    if not SIZES[0] <= size <= SIZES[1]:
        raise ValueError(
            f"the image size must lie between {SIZES[0]} and {SIZES[1]} px, but got {size}"
        )


def _index(sources: Sequence[Source], size: int) -> Index:
    groups = dict.fromkeys(source.group for source in sources if source.side != size)
    return Index.load(folder_of(cache_dir(), size, group) for group in groups)


def _fill(
    sources: Sequence[Source], size: int, workers: int, progress: Progress | None
) -> list[Fault]:
    """The images that could not be read, after bringing all others into the cache."""
    needed = [source for source in sources if source.side != size]
    at = _index(needed, size).find([source.key for source in needed])
    missing = {source.key for source, found in zip(needed, at, strict=True) if found < 0}
    done, total = len(sources) - len(missing), len(sources)

    def report(images: int) -> None:
        nonlocal done
        done += images
        if progress is not None:
            progress(done, total)

    report(0)
    return make_all(jobs(needed, missing, cache_dir(), size), workers, report)


def _opened(sources: Sequence[Source], size: int) -> Images:
    """The images of distinct sources, all of which are in the cache or in stacks of this size."""
    files = np.array([source.file for source in sources], dtype=object)
    row = np.array([source.row for source in sources], dtype=np.int64)
    digests = np.array([source.key for source in sources], dtype=INDEX["digest"])
    cached = np.array([source.side != size for source in sources], dtype=bool)
    index = _index(sources, size)
    at = index.find([source.key for source in sources])[cached]
    files[cached] = np.array([*map(str, index.files), None], dtype=object)[index.shard[at]]
    row[cached] = index.row[at]
    digests[cached] = index.entries["digest"][at]
    stack, opened = pd.factorize(files)
    return Images(
        size=size,
        stacks=tuple(np.load(file, mmap_mode="r", allow_pickle=False) for file in opened),
        stack=stack,
        row=row,
        digests=digests,
    )
