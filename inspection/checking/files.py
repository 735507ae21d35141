"""Checks of image files: there, readable, of a size that makes sense; all, or a seeded sample."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.faults import Fault
from datasets.images import cache_dir, find_faults, open_images
from datasets.shards import FEW, Progress, usable_cores
from datasets.sources import MISSING, Source, find_sources
from datasets.split import Split
from inspection.checking.problems import ERROR, NOTE, WARNING, Problem, problem

SAMPLE = 1000
"""Images that are decoded where not all are asked for."""
LONG = 3.0
"""Sides in proportion above which a picture is hardly one radiograph."""
HEADS = {
    b"version https://git-lfs": "a pointer of Git LFS instead of the file; run `git lfs pull`",
    b"/annex/objects": "a pointer of git-annex instead of the file; run `git annex get`",
    b"<!doctype html": "a web page instead of the file, such as that of a login",
    b"<html": "a web page instead of the file, such as that of a login",
    b"<?xml": "an XML answer of a server instead of the file",
}
"""How a file begins that was never downloaded, and what it is."""


@dataclass(frozen=True)
class Looked:
    """The images that were looked at."""

    table: Split
    """Their rows, those that could be read."""
    looked: int
    """How many were decoded, or found decoded before."""
    rate: float
    """Images per second that one core decodes; NaN where all were decoded before."""
    largest: int
    """Pixels of the largest picture seen."""
    problems: tuple[Problem, ...]


def sample_of(table: Split, *, everything: bool, seed: int = 0) -> Split:
    """All rows, or those of a thousand images drawn at random, the same for the same seed."""
    if everything or len(table) <= SAMPLE:
        return table
    picked = np.random.default_rng([seed, 0xC8EC]).choice(len(table), SAMPLE, replace=False)
    mask = np.zeros(len(table), bool)
    mask[picked] = True
    return table.where(mask)


def look(table: Split, size: int, *, everything: bool, progress: Progress | None = None) -> Looked:
    """The images of a table: every file's entry, and the content of all or of a sample."""
    paths = table.frame["path"].astype(str)
    sources, faults = find_sources(table.root, paths.unique(), cache_dir())
    empty = [s for s in sources if s.row < 0 and not Path(s.file).stat().st_size]
    gone = {f.path for f in faults} | {s.path for s in empty}
    there = table.where(~paths.isin(gone).to_numpy())
    problems = [*_absent(faults, len(sources) + len(faults)), *_empty(empty)]
    if not len(there):
        return Looked(there, 0, float("nan"), 0, tuple(problems))
    drawn = sample_of(there, everything=everything)
    timed = _Timed(progress)
    unread = find_faults(drawn, size, progress=timed)
    of = f"of {len(drawn):,} that were looked at"
    problems += _unread(unread, drawn, of)
    bad = {fault.path for fault in unread}
    good = drawn.where(~drawn.frame["path"].astype(str).isin(bad).to_numpy())
    by_path = {s.path: s for s in sources}
    seen = sample_of(good, everything=False)
    measured = _sizes([by_path[p] for p in seen.frame["path"].astype(str).unique()])
    problems += _odd(measured, size)
    problems += _blank(seen, size)
    largest = max((w * h for _, w, h, _ in measured), default=0)
    return Looked(good, len(drawn), timed.per_core, largest, tuple(problems))


class _Timed:
    """A progress that also measures the rate per core of what was decoded anew."""

    def __init__(self, inner: Progress | None) -> None:
        self.inner = inner
        self.begun: tuple[float, int] | None = None
        self.per_core = float("nan")

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.begun is None:
            self.begun = (now, done)
        fresh, seconds = done - self.begun[1], now - self.begun[0]
        if fresh > 0 and seconds > 0:
            # Up to `FEW` images are decoded in this process alone.
            cores = usable_cores() if total - self.begun[1] > FEW else 1
            self.per_core = fresh / seconds / cores
        if self.inner is not None:
            self.inner(done, total)


def _absent(faults: Sequence[Fault], total: int) -> Iterator[Problem]:
    missing = [f.path for f in faults if f.reason == MISSING]
    if len(missing) == total:
        yield problem(
            ERROR,
            "no image there",
            f"None of {total:,} image files is there.",
            "check --data-root and where the pictures were unpacked",
            of=missing,
        )
    elif missing:
        yield problem(
            ERROR,
            "missing image",
            f"{len(missing):,} of {total:,} image files are not there.",
            "download them, or leave them out with --on-bad-image drop",
            of=missing,
        )
    links = [f for f in faults if "link leads outside" in f.detail]
    if links:
        yield problem(
            ERROR,
            "link out of the root",
            f"{len(links):,} images are links that lead out of the data root.",
            "copy the files, or name a root that holds both",
            of=[f.path for f in links],
        )
    rest = [f for f in faults if f.reason != MISSING and f not in links]
    if rest:
        yield problem(
            ERROR,
            "not a usable file",
            f"{len(rest):,} images are no usable files.",
            "mend them, or leave them out with --on-bad-image drop",
            of=[f"{f.path}: {f.detail}" for f in rest],
        )


def _empty(sources: Sequence[Source]) -> Iterator[Problem]:
    if sources:
        yield problem(
            ERROR,
            "empty image",
            f"{len(sources):,} image files have no bytes.",
            "download them again",
            of=[s.path for s in sources],
        )


def _unread(faults: Sequence[Fault], drawn: Split, of: str) -> Iterator[Problem]:
    kinds: dict[str, list[Fault]] = {}
    for fault in faults:
        kinds.setdefault(_kind(fault, drawn.root), []).append(fault)
    for kind, found in kinds.items():
        rule, _, what = kind.partition("|")
        told = [f"{f.path}: {f.detail}" for f in found]
        yield problem(
            ERROR,
            rule,
            f"{len(found):,} images {of} {what}.",
            "download them again, or leave them out with --on-bad-image drop",
            of=told,
        )


def _kind(fault: Fault, root: Path) -> str:
    """The rule and the words for an image that could not be decoded."""
    try:
        with (root / fault.path).open("rb") as file:
            head = file.read(200).lstrip().lower()
    except OSError:
        head = b""
    for mark, what in HEADS.items():
        if head.startswith(mark):
            return f"not an image|are {what}"
    if "truncated" in fault.detail or "cut" in fault.detail or "broken" in fault.detail:
        return "cut image|are cut short"
    if "sides must be" in fault.detail or "decompression" in fault.detail.lower():
        return "absurd size|are too small for a radiograph, or too large"
    return "unreadable image|cannot be decoded"


def _sizes(sources: Sequence[Source]) -> list[tuple[str, int, int, str]]:
    """Path, width, height and format of image files that say so in their first bytes."""
    from PIL import Image

    found = []
    for source in sources:
        if source.row >= 0:
            continue
        try:
            with Image.open(source.file) as image:
                found.append((source.path, *image.size, str(image.format)))
        except (OSError, ValueError, Image.DecompressionBombError):
            continue  # a format that Pillow does not know was decoded by another library
    return found


def _odd(measured: Sequence[tuple[str, int, int, str]], size: int) -> Iterator[Problem]:
    small = [f"{p}: {w} x {h}" for p, w, h, _ in measured if max(w, h) < size]
    if small:
        yield problem(
            WARNING,
            "smaller than the run",
            f"{len(small):,} of {len(measured):,} pictures are smaller than the "
            f"{size} px of the run, and would be enlarged.",
            "choose a smaller --image-size, or get larger files",
            of=small,
        )
    long = [f"{p}: {w} x {h}" for p, w, h, _ in measured if max(w, h) > LONG * min(w, h)]
    if long:
        yield problem(
            WARNING,
            "odd shape",
            f"{len(long):,} of {len(measured):,} pictures are more than {LONG:g} times "
            "as long as wide.",
            "look at them",
            of=long,
        )
    suffix = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",)}
    named = [
        f"{p}: {kind}"
        for p, _, _, kind in measured
        if kind in suffix and not p.lower().endswith(suffix[kind])
    ]
    if named:
        yield problem(
            NOTE,
            "other format",
            f"{len(named):,} of {len(measured):,} pictures are of "
            "another format than their names say; they are read all the same.",
            of=named,
        )


def _blank(seen: Split, size: int) -> Iterator[Problem]:
    if not len(seen):
        return
    images = open_images(seen, size)
    paths = seen.frame["path"].astype(str).to_numpy()
    blank: list[str] = []
    for start in range(0, len(images), 256):
        rows = np.arange(start, min(start + 256, len(images)))
        pixels = images.take(rows).reshape(len(rows), -1)
        blank += list(paths[rows[pixels.min(axis=1) == pixels.max(axis=1)]])
    if blank:
        yield problem(
            WARNING,
            "blank picture",
            f"{len(blank):,} of {len(seen):,} pictures are of one grey level.",
            "leave them out of the table",
            of=blank,
        )
