"""The pixel cache on disk: shards of decoded images, each with a list of whose they are.

A shard is two files, `<key>.npy` (uint8 `(n, size, size)`) and `<key>.index.npy` (key and content
digest per image). Each is written under another name and then renamed, the index last, so a shard
is there in full or not at all. A file lock per shard lets several runs prepare one set at once;
where the file system has no locks (some cluster ones), two runs may make a shard twice, no more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from uuid import uuid4

import numpy as np

from datasets.decode import DECODER, MOST_PIXELS, UNREADABLE, BadImage, decode, fit
from datasets.faults import Fault
from datasets.sources import Source, hexdigest

SHARD_IMAGES = 256
SHARD_BYTES = 64 * 2**20
"""A shard is what one process holds in memory and what a killed run loses at most."""
FEW = 300
"""Images that are decoded before two new processes have started."""
MOST_BYTES = 10 * MOST_PIXELS
"""Of one image file: more than the largest picture that is decoded takes up."""
INDEX = np.dtype([("key", "S32"), ("digest", "S32")])
"""Hex digests of 16 bytes, as text so that numpy can sort them."""

Progress = Callable[[int, int], None]
"""Called with images done and images in all."""


@dataclass(frozen=True)
class Job:
    """One shard to make: sources of one kind, in order."""

    folder: Path
    sources: tuple[Source, ...]
    size: int
    threads: int = 1

    @property
    def key(self) -> str:
        """Name of the shard: a digest of the keys of its images."""
        return hexdigest(*(s.key for s in self.sources))


def folder_of(cache: Path, size: int, group: str) -> Path:
    """Where the shards of one group lie at one size."""
    return cache / "images" / f"{size}px-v{DECODER}" / group


def jobs(sources: Sequence[Source], missing: set[str], cache: Path, size: int) -> list[Job]:
    """The shards still to make for `sources`, of which `missing` keys are not in the cache.

    All of `sources` are cut into shards, not the missing ones alone, so a run that goes on after a
    kill, or beside another run, meets the same shards again.
    """
    kinds: dict[tuple[str, str], list[Source]] = {}
    for source in sources:
        container = source.file if source.row >= 0 else ""
        kinds.setdefault((source.group, container), []).append(source)
    most = max(1, min(SHARD_IMAGES, SHARD_BYTES // size**2))
    result = []
    for (group, _), members in kinds.items():
        for start in range(0, len(members), most):
            part = tuple(s for s in members[start : start + most] if s.key in missing)
            if part:
                result.append(Job(folder_of(cache, size, group), part, size))
    return result


def make(job: Job) -> list[Fault]:
    """The images that could not be read, after writing the shard of the others."""
    job.folder.mkdir(parents=True, exist_ok=True)
    pixels_file, index_file = (job.folder / f"{job.key}{end}" for end in (".npy", ".index.npy"))
    with _alone(job.folder / f"{job.key}.lock") as draft:
        if not (index_file.exists() and pixels_file.exists()):
            pixels, digests, faults = _pixels(job)
            bad = {fault.path for fault in faults}
            good = [s.key for s in job.sources if s.path not in bad]
            if good:
                index = np.array(list(zip(good, digests, strict=True)), dtype=INDEX)
                save(pixels_file, pixels, draft)
                save(index_file, index, draft)
            return faults
        held = set(np.load(index_file, allow_pickle=False)["key"].astype(str))
    # Another process was faster; what it left out, it could not read.
    rest = tuple(s for s in job.sources if s.key not in held)
    return make(replace(job, sources=rest)) if rest else []


@contextmanager
def _alone(path: Path) -> Iterator[str]:
    """Hold a lock on `path`; yields the ending of drafts that only its holder writes."""
    from filelock import FileLock

    # The library's own way out, a file that says who holds it, outlives a job killed on another
    # machine, and would be waited for without end.
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire()
    except (OSError, NotImplementedError):
        yield f".{uuid4().hex}.part"
        return
    try:
        # What a killed holder left is written over, so drafts do not pile up.
        yield ".part"
    finally:
        lock.release()


def save(path: Path, array: np.ndarray, draft_ending: str = ".part") -> None:
    """Write `array` so that `path` holds all of it or does not exist. The caller holds the lock, or
    gives an ending of its own."""
    draft = path.with_name(path.name + draft_ending)
    with draft.open("wb") as file:
        np.save(file, array)
    draft.replace(path)


def _pixels(job: Job) -> tuple[np.ndarray, list[str], list[Fault]]:
    """Pixels `(good, size, size)`, their content digests, and the images that failed."""
    first = job.sources[0]
    if first.row < 0:
        return _from_files(job)
    rows = np.array([s.row for s in job.sources])
    if first.is_recipe:
        # Imported here: it needs torch, and decoding files does not.
        from datasets.phantom_render import render_rows

        pixels = render_rows(Path(first.file), rows, job.size, job.threads)
    else:
        stack = np.load(first.file, mmap_mode="r", allow_pickle=False)
        pixels = np.stack([fit(np.array(stack[row]), job.size) for row in rows])
    return pixels, [s.key for s in job.sources], []


def _from_files(job: Job) -> tuple[np.ndarray, list[str], list[Fault]]:
    pixels, digests, faults = [], [], []
    for source in job.sources:
        try:
            data = _read(source)
            pixels.append(decode(data, job.size))
            digests.append(blake2b(data, digest_size=16).hexdigest())
        except BadImage as bad:
            faults.append(Fault(source.path, bad.reason, bad.detail))
    shape = (0, job.size, job.size)
    return np.stack(pixels) if pixels else np.empty(shape, np.uint8), digests, faults


def _read(source: Source) -> bytes:
    try:
        if (held := Path(source.file).stat().st_size) > MOST_BYTES:
            raise BadImage(
                UNREADABLE,
                f"a file must hold at most {MOST_BYTES // 10**6} MB, but holds {held // 10**6}",
            )
        return Path(source.file).read_bytes()
    except OSError as error:
        raise BadImage(UNREADABLE, error.strerror or type(error).__name__) from error


@dataclass(frozen=True)
class Index:
    """Which row of which shard holds the pixels of a key; keys are sorted."""

    files: tuple[Path, ...]
    entries: np.ndarray
    shard: np.ndarray
    row: np.ndarray

    @classmethod
    def load(cls, folders: Iterable[Path]) -> Index:
        """The index of all complete shards below `folders`."""
        files, parts = [], []
        for folder in folders:
            for index_file in sorted(folder.glob("*.index.npy")):
                pixels_file = index_file.with_name(index_file.name.replace(".index.npy", ".npy"))
                if pixels_file.exists():
                    files.append(pixels_file)
                    parts.append(np.load(index_file, allow_pickle=False))
        lengths = [len(p) for p in parts]
        entries = np.concatenate([np.empty(0, INDEX), *parts])
        order = np.argsort(entries["key"], kind="stable")
        return cls(
            files=tuple(files),
            entries=entries[order],
            shard=np.repeat(np.arange(len(parts)), lengths)[order],
            row=np.concatenate([np.empty(0, int), *map(np.arange, lengths)])[order],
        )

    def find(self, keys: Sequence[str]) -> np.ndarray:
        """Position of each key among the entries `(n,)` int64, -1 where it is not there."""
        wanted = np.array(keys, dtype="S32")
        if not len(self.entries):
            return np.full(len(wanted), -1)
        held = self.entries["key"]
        at = np.minimum(np.searchsorted(held, wanted), len(held) - 1)
        return np.where(held[at] == wanted, at, -1)


def make_all(todo: Sequence[Job], workers: int, report: Callable[[int], None]) -> list[Fault]:
    """The images that could not be read, after making all shards.

    `report` is called with the number of images of each shard as it ends. Files are decoded in
    `workers` processes; recipes are rendered in this one, by as many threads.
    """
    rendered = [replace(job, threads=max(1, workers)) for job in todo if job.sources[0].is_recipe]
    decoded = [job for job in todo if not job.sources[0].is_recipe]
    few = len(decoded) <= 1 or sum(len(job.sources) for job in decoded) <= FEW
    alone = decoded if workers <= 1 or few else []
    faults = []
    for job in rendered + alone:
        faults += make(job)
        report(len(job.sources))
    if len(alone) < len(decoded):
        faults += _in_processes(decoded, min(workers, len(decoded)), report)
    return faults


def _in_processes(todo: Sequence[Job], workers: int, report: Callable[[int], None]) -> list[Fault]:
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    # Spawned, not forked: a fork would copy threads and locks of torch and of the tracker.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        running = {pool.submit(make, job): job for job in todo}
        faults = []
        for done in as_completed(running):
            faults += done.result()
            report(len(running[done].sources))
        return faults
    finally:
        pool.shutdown(cancel_futures=True)


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
