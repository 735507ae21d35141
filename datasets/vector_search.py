"""Where the vector of each row lies: in a stack that was given, or in one of the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
from filelock import FileLock

from datasets import vector_files as files
from datasets.decode import UNREADABLE, BadImage
from datasets.faults import Fault, image_names
from datasets.images import cache_dir
from datasets.shards import INDEX, Index, Progress, save
from datasets.sources import MISSING, Source, content_digest, find_sources, hexdigest
from datasets.split import IMAGE_ROOT, Split

VERSION = "1"
"""Raised when the same files give other vectors; part of every cache key."""
TOGETHER = 4096
"""Vectors gathered into one file, and what a killed run loses at most."""
REASONS = {MISSING: files.MISSING, UNREADABLE: files.UNREADABLE}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one vector lies: the file of its stack, its row, and a digest of its content."""

    file: str
    row: int
    digest: str


@dataclass(frozen=True)
class Found:
    """Where the vector of each distinct path lies, and which cannot be used."""

    places: dict[str, Place] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def refuse(self, paths: Iterable[str], reason: str, detail: str) -> None:
        """Add a fault for each of the paths."""
        self.faults.extend(Fault(path, reason, detail) for path in paths)


@dataclass(frozen=True, slots=True)
class _Single:
    """A vector that is no row of a stack: a file of its own, or `member` of an archive."""

    path: str
    source: Source
    member: str

    @property
    def key(self) -> str:
        """Names its content without reading it."""
        return hexdigest(self.source.key, self.member)


def find(table: Split, progress: Progress | None = None) -> Found:
    """Where all vectors of a table lie, once those in files of their own are gathered."""
    by_root: dict[Path, dict[str, str]] = {}
    for path, (root, name) in _named(table).items():
        by_root.setdefault(root, {})[path] = name
    found, total = Found(), sum(map(len, by_root.values()))

    def report(ahead: int = 0) -> None:
        if progress is not None:
            progress(len(found.places) + len(found.faults) + ahead, total)

    for root, names in by_root.items():
        _find_below(root, names, found, report)
    return found


def width_of(table: Split) -> tuple[int, list[Fault]]:
    """Width of the first vector of a table that can be read, 0 for none, and faults before it."""
    faults: list[Fault] = []
    for path, (root, name) in _named(table).items():
        file, _, member = name.partition("#")
        sources, lost = find_sources(root, [file], cache_dir())
        try:
            if not sources:
                raise BadImage(REASONS[lost[0].reason], lost[0].detail)
            return _width(sources[0].file, member), faults
        except BadImage as bad:
            faults.append(Fault(path, bad.reason, bad.detail))
    return 0, faults


def _named(table: Split) -> dict[str, tuple[Path, str]]:
    """Root and name below it of each distinct path, in the order of the table."""
    paths = image_names(table)
    if IMAGE_ROOT not in table.frame:
        return {path: (table.root, path) for path in paths.unique()}
    roots = table.frame[IMAGE_ROOT].fillna("").astype(str)
    names = table.frame["path"].astype(str)
    return {
        path: (Path(root) if root else table.root, name)
        for path, root, name in zip(paths, roots, names, strict=True)
    }


def _find_below(
    root: Path, names: Mapping[str, str], found: Found, report: Callable[..., None]
) -> None:
    """Add a place or a fault for each path, whose name below `root` is given."""
    by_file: dict[str, list[tuple[str, str]]] = {}
    for path, name in names.items():
        file, _, member = name.partition("#")
        by_file.setdefault(file, []).append((path, member))
    sources, lost = find_sources(root, by_file, cache_dir())
    for fault in lost:
        lost_paths = [path for path, _ in by_file[fault.path]]
        found.refuse(lost_paths, REASONS[fault.reason], fault.detail)
    single = []
    for source in sources:
        rows = by_file[source.path]
        if source.path.endswith(".npy") and rows[0][1]:
            _find_in_stack(source, rows, found)
        else:
            single += [_Single(path, source, member) for path, member in rows]
    report()
    if single:
        _gather(single, found, report)


def _find_in_stack(source: Source, rows: Sequence[tuple[str, str]], found: Found) -> None:
    try:
        stack = files.open_stack(source.file)
    except BadImage as bad:
        found.refuse([path for path, _ in rows], bad.reason, bad.detail)
        return
    content = content_digest(source.file, Path(source.file).stat(), cache_dir())
    flawed = _flaws(stack, content)
    for path, text in rows:
        row = int(text) if text.isdecimal() else -1
        if not 0 <= row < len(stack):
            found.refuse([path], files.MISSING, f"the stack has rows 0 to {len(stack) - 1}")
        elif row in flawed:
            found.refuse([path], flawed[row], f"row {row} of the stack")
        else:
            found.places[path] = Place(source.file, row, hexdigest("row", content, row))


def _flaws(stack: np.ndarray, content: str) -> dict[int, str]:
    """Rows of a stack that cannot be used; a stack of this content is read for it once."""
    kept = cache_dir() / "vectors" / f"v{VERSION}" / "checked" / f"{content}.npy"
    reasons = (files.NOT_FINITE, files.CONSTANT)
    if not kept.is_file():
        rows = [(row, reasons.index(reason)) for row, reason in files.flaws(stack).items()]
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.with_suffix(".lock")):
            save(kept, np.array(rows, dtype=np.int64).reshape(-1, 2))
    return {row: reasons[reason] for row, reason in np.load(kept).tolist()}


def _gather(single: Sequence[_Single], found: Found, report: Callable[..., None]) -> None:
    """Bring vectors into stacks of the cache, as far as they are not there yet."""
    folder = cache_dir() / "vectors" / f"v{VERSION}" / single[0].source.group
    folder.mkdir(parents=True, exist_ok=True)
    keys = [one.key for one in single]
    with FileLock(folder / "gathering.lock"):
        at = Index.load([folder]).find(keys)
        waiting = [one for one, held in zip(single, at, strict=True) if held < 0]
        archives: dict[str, files.Archive] = {}
        done = len(single) - len(waiting)
        for start in range(0, len(waiting), TOGETHER):
            part = waiting[start : start + TOGETHER]
            faulty = _gather_some(part, folder, archives, found)
            done += len(part) - faulty
            report(done)
    index = Index.load([folder])
    shards = [str(file) for file in index.files]
    for one, held in zip(single, index.find(keys), strict=True):
        if held >= 0:
            digest = index.entries["digest"][held].decode()
            found.places[one.path] = Place(shards[index.shard[held]], int(index.row[held]), digest)


def _gather_some(
    part: Sequence[_Single], folder: Path, archives: dict[str, files.Archive], found: Found
) -> int:
    """How many vectors could not be read, after writing a stack of the others."""
    read: dict[int, list[tuple[str, np.ndarray]]] = {}
    before = len(found.faults)
    for one in part:
        file = one.source.file
        try:
            if one.member:
                if file not in archives:
                    archives[file] = files.Archive(file)
                vector = archives[file].read(one.member)
            else:
                vector = files.read_file(file)
        except BadImage as bad:
            found.refuse([one.path], bad.reason, bad.detail)
        else:
            read.setdefault(len(vector), []).append((one.key, vector))
    for vectors in read.values():
        digests = [blake2b(v.tobytes(), digest_size=16).hexdigest() for _, v in vectors]
        entries = zip((key for key, _ in vectors), digests, strict=True)
        name = hexdigest(*(key for key, _ in vectors))
        save(folder / f"{name}.npy", np.stack([vector for _, vector in vectors]))
        save(folder / f"{name}.index.npy", np.array(list(entries), dtype=INDEX))
    return len(found.faults) - before


def _width(file: str, member: str) -> int:
    if not member:
        return len(files.read_file(file))
    if file.endswith(".npz"):
        return len(files.Archive(file).read(member))
    return int(files.open_stack(file).shape[1])
