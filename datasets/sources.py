"""Where the image of each row lies, and the key under which its pixels are kept."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from datasets.decode import SMALLEST_SIDE, UNREADABLE, BadImage
from datasets.faults import Fault

MISSING = "image file missing"
CONTAINER = re.compile(r"(?P<name>.+\.(?:npy|phantom))#(?P<row>\d+)")
"""A row of a stack or of a recipe."""
DEEPEST = 32
"""Levels of folders that are looked up one by one."""
SETTLED = 2.0
"""Seconds since its last change after which a file's time stamp can be trusted to tell changes."""


@dataclass(frozen=True, slots=True)
class Source:
    """One image: its name in the table, its file, and its row of a stack or recipe (else -1)."""

    path: str
    file: str
    """Resolved; text, since a set has 10^5 of them and a `Path` costs more than its `stat`."""
    row: int
    key: str
    """Names its content without reading it: by path, size and time stamp; by content in a stack
    or recipe, where it is the content digest too."""
    group: str
    """Sub-folder of the cache: one per data set folder, stack or recipe."""
    side: int = 0
    """Side in pixels of a stack of squares, which at this size needs no decoding; else 0."""

    @property
    def is_recipe(self) -> bool:
        """Whether the image is rendered rather than read."""
        return self.row >= 0 and self.path.rpartition("#")[0].endswith(".phantom")


@dataclass(frozen=True, slots=True)
class _Container:
    """An opened stack or recipe: how many rows it has (-1 unknown), its content, its side."""

    file: str
    rows: int
    content: str
    side: int


def find_sources(root: Path, paths: Iterable[str], cache: Path) -> tuple[list[Source], list[Fault]]:
    """The sources of `paths` below `root`, in order, and those that cannot be used."""
    finder = _Finder(root, cache)
    sources, faults = [], []
    for path in paths:
        try:
            sources.append(finder.find(path))
        except BadImage as bad:
            faults.append(Fault(path, bad.reason, bad.detail))
    return sources, faults


def hexdigest(*parts: object) -> str:
    """32 hex digits over what the parts print as."""
    return blake2b("\0".join(map(str, parts)).encode(), digest_size=16).hexdigest()


class _Finder:
    """Finds files below one folder; remembers what it resolved, since sets have 10^5 files."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.base = os.path.realpath(root)
        self.group = hexdigest("folder", self.base)[:16]
        self.cache = cache
        self.folders: dict[str, str] = {}
        self.containers: dict[str, _Container | BadImage] = {}

    def find(self, path: str) -> Source:
        """The source of one path of the table.

        Raises:
            BadImage: it is missing, leads outside the folder, or names no row of its stack.
        """
        match = CONTAINER.fullmatch(path)
        if match is None:
            file, info = self._locate(path)
            key = hexdigest("file", self.base, path, info.st_size, info.st_mtime_ns)
            return Source(path, file, -1, key, self.group)
        held = self._container(match["name"])
        row = int(match["row"])
        if 0 <= held.rows <= row:
            raise BadImage(UNREADABLE, f"row {row} is asked of a stack of {held.rows} images")
        key = hexdigest("row", held.content, row)
        return Source(path, held.file, row, key, held.content[:16], held.side)

    def _locate(self, name: str) -> tuple[str, os.stat_result]:
        folder, _, last = name.rpartition("/")
        try:
            real = f"{self._folder(folder)}/{last}"
            info = os.lstat(real)
            if stat.S_ISLNK(info.st_mode):
                real = os.path.realpath(real)
                info = os.lstat(real)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BadImage(MISSING, "no such file") from error
        except OSError as error:
            raise BadImage(UNREADABLE, error.strerror or type(error).__name__) from error
        except ValueError as error:
            # A path with a zero byte names no file anywhere.
            raise BadImage(UNREADABLE, str(error)) from error
        if not real.startswith(self.base.rstrip("/") + "/"):
            raise BadImage(UNREADABLE, f"a link leads outside the data root, to {real}")
        if not stat.S_ISREG(info.st_mode):
            raise BadImage(UNREADABLE, "not a file")
        return real, info

    def _folder(self, name: str) -> str:
        """Where a folder below the base really is; links are followed."""
        if name not in self.folders:
            above, _, last = name.rpartition("/")
            if last in ("", ".", "..") or name.count("/") > DEEPEST:
                self.folders[name] = os.path.realpath(f"{self.base}/{name}")
            else:
                # By its parent, which others share: each folder costs one look, not one per level.
                real = f"{self._folder(above) if above else self.base}/{last}"
                linked = os.path.islink(real)  # noqa: PTH114 - a `Path` costs more than the look
                self.folders[name] = os.path.realpath(real) if linked else real
        return self.folders[name]

    def _container(self, name: str) -> _Container:
        if name not in self.containers:
            try:
                self.containers[name] = self._open(name)
            except BadImage as bad:
                self.containers[name] = bad
        held = self.containers[name]
        if isinstance(held, BadImage):
            raise held
        return held

    def _open(self, name: str) -> _Container:
        file, info = self._locate(name)
        content = content_digest(file, info, self.cache)
        if not name.endswith(".npy"):
            return _Container(file, -1, content, 0)
        try:
            stack = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BadImage(UNREADABLE, f"not a stack of numpy: {error}") from error
        if stack.dtype != np.uint8 or stack.ndim != 3 or min(stack.shape[1:]) < SMALLEST_SIDE:
            raise BadImage(
                UNREADABLE,
                f"a stack must be uint8 (n, h, w) with sides of at least {SMALLEST_SIDE} px, "
                f"but it is {stack.dtype} {stack.shape}",
            )
        _, height, width = stack.shape
        return _Container(file, len(stack), content, height if height == width else 0)


def content_digest(file: str, info: os.stat_result, cache: Path) -> str:
    """Content digest of a whole file, read again only when its size or time stamp changed."""
    name = hexdigest("digest", file, info.st_size, info.st_mtime_ns)
    sidecar = cache / "digests" / name
    if sidecar.is_file():
        return sidecar.read_text()
    hashed = blake2b(digest_size=16)
    with Path(file).open("rb") as opened:
        while block := opened.read(2**22):
            hashed.update(block)
    digest = hashed.hexdigest()
    # A file that is still being changed may change twice within one tick of its time stamp.
    if time.time() - info.st_mtime > SETTLED:
        sidecar.parent.mkdir(parents=True, exist_ok=True)
        # Of two processes that get here at once each has a draft of its own.
        handle, draft = tempfile.mkstemp(dir=sidecar.parent, suffix=".part")
        with os.fdopen(handle, "w") as opened_draft:
            opened_draft.write(digest)
        Path(draft).replace(sidecar)
    return digest
