"""What a run will need: disk, time and memory of the preparation."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from datasets.images import cache_dir
from datasets.shards import INDEX, SHARD_BYTES, SHARD_IMAGES, Index, folder_of, usable_cores
from datasets.sources import find_sources
from datasets.split import Split
from inspection.checking.problems import ERROR, WARNING, Problem, problem

BESIDE = 128
"""Bytes of an array's header."""
PROCESS = 160e6
"""Bytes that a worker holds without images: Python, numpy, Pillow. Measured on Linux."""
PER_PIXEL = 8
"""Bytes per pixel of the picture that is being decoded: the picture itself up to four channels, and
its grey copy in full depth."""


@dataclass(frozen=True)
class Needs:
    """What the preparation of the images still needs."""

    images: int
    """Images that are not in the cache yet."""
    disk: float
    """Bytes."""
    free: float
    """Bytes where the cache lies."""
    seconds: float
    """On all cores; NaN where nothing was timed."""
    memory: float
    """Bytes at its height, over all workers."""
    cores: int


def needs(table: Split, size: int, *, rate: float, largest: int) -> Needs:
    """The needs of a table at a size, from images per second and core, and the largest picture."""
    sources, _ = find_sources(table.root, table.frame["path"].astype(str).unique(), cache_dir())
    wanted = [s for s in sources if s.side != size]
    groups = dict.fromkeys(s.group for s in wanted)
    index = Index.load(folder_of(cache_dir(), size, group) for group in groups)
    missing = int((index.find([s.key for s in wanted]) < 0).sum()) if wanted else 0
    per_shard = max(1, min(SHARD_IMAGES, SHARD_BYTES // size**2))
    shards = math.ceil(missing / per_shard)
    cores = usable_cores()
    # A shard's pictures are held once in a list and once in the array that is written.
    worker = PROCESS + 2 * per_shard * size**2 + PER_PIXEL * largest
    return Needs(
        images=missing,
        disk=missing * (size**2 + INDEX.itemsize) + 2 * BESIDE * shards,
        free=float(shutil.disk_usage(_there(cache_dir())).free),
        seconds=missing / (rate * cores) if missing else 0.0,
        memory=worker * max(1, min(cores, shards)),
        cores=cores,
    )


def check_needs(found: Needs) -> Iterator[Problem]:
    """Whether the machine has what is needed."""
    from inspection.prepare import told_bytes

    if found.disk > found.free:
        yield problem(
            ERROR,
            "disk full",
            f"The cache needs {told_bytes(found.disk)}, but {cache_dir()} has "
            f"{told_bytes(found.free)} free.",
            "name a folder on another disk in $TRILEMMA_CACHE, or a smaller --image-size",
        )
    memory = available_memory()
    if found.images and found.memory > memory:
        yield problem(
            WARNING,
            "little memory",
            f"The preparation takes up to {told_bytes(found.memory)} on {found.cores} "
            f"cores, but {told_bytes(memory)} are free.",
            "use fewer --workers",
        )


def available_memory() -> float:
    """Bytes that can be used without swapping; infinite where the system does not say."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        line = next(x for x in text.splitlines() if x.startswith("MemAvailable"))
        return 1024.0 * int(line.split()[1])
    except (OSError, StopIteration, ValueError, IndexError):
        return math.inf


def _there(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return Path(os.path.realpath(folder))
