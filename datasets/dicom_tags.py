"""Tags of very many DICOM files, read once: what was read is kept below the cache."""

from __future__ import annotations

import logging
import os
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.decode import BadImage
from datasets.sources import Source, find_sources, hexdigest

THREADS = 8
"""Files asked for at once: most of the time goes into waiting for a disk or a network."""
KEPT_EVERY = 2_000
"""Files after which what was read is kept, so that little is lost when a run is stopped."""
LONGEST = 64
"""Characters of a tag that are kept; sex, age and dates have at most 16."""
SLOW = 5.0
"""Seconds between two lines about how far it is."""

log = logging.getLogger("trilemma")


def read_tags(
    root: Path, paths: Sequence[str], names: Sequence[str], *, cache: Path
) -> pd.DataFrame:
    """The texts of tags of the files `paths` below `root`: a column per name, a row per path.

    A file that is missing, damaged or leads out of the folder has "" everywhere. Each file is read
    again only when its size or time stamp changed.
    """
    sources, _ = find_sources(root, paths, cache)
    known = _Kept.load(cache, root, names)
    todo = [source for source in sources if source.key not in known.texts]
    started = told = time.monotonic()
    for start in range(0, len(todo), KEPT_EVERY):
        known.add(todo[start : start + KEPT_EVERY])
        done = min(start + KEPT_EVERY, len(todo))
        if (now := time.monotonic()) - told > SLOW:
            told = now
            left = (now - started) / done * (len(todo) - done)
            log.info("tags of files: %d of %d, %.0f s left", done, len(todo), left)
    found = {source.path: known.texts[source.key] for source in sources}
    nothing = ("",) * len(names)
    rows = [found.get(path, nothing) for path in paths]
    return pd.DataFrame(rows, columns=[*names], dtype=str)


class _Kept:
    """Texts by the key of a file, and the file below the cache that keeps them."""

    def __init__(self, file: Path, names: tuple[str, ...]) -> None:
        self.file = file
        self.names = names
        self.texts: dict[str, tuple[str, ...]] = {}

    @classmethod
    def load(cls, cache: Path, root: Path, names: Sequence[str]) -> _Kept:
        """What is kept of the files below `root`."""
        name = hexdigest("tags", os.path.realpath(root), *names)[:16]
        kept = cls(cache / "tags" / f"{name}.npz", tuple(names))
        if kept.file.is_file():
            with np.load(kept.file, allow_pickle=False) as held:
                rows = zip(held["key"].tolist(), held["text"].tolist(), strict=True)
                kept.texts = {key: tuple(texts) for key, texts in rows}
        return kept

    def add(self, sources: Sequence[Source]) -> None:
        """Read the tags of some files, and keep them."""
        from concurrent.futures import ThreadPoolExecutor

        from datasets.dicom import tags

        def read(source: Source) -> tuple[str, ...]:
            try:
                return tuple(text[:LONGEST] for text in tags(source.file, self.names))
            except BadImage:
                # Whether that matters is found out when its pixels are asked for.
                return ("",) * len(self.names)

        with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as threads:
            # pydicom warns of every odd date and age of 10^4 files.
            warnings.simplefilter("ignore")
            texts = threads.map(read, sources)
            self.texts.update(zip((s.key for s in sources), texts, strict=True))
        self._save()

    def _save(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        # Of two runs that get here at once each has a draft of its own.
        handle, draft = tempfile.mkstemp(dir=self.file.parent, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(
                file, key=np.array([*self.texts]), text=np.array([*self.texts.values()])
            )
        Path(draft).replace(self.file)
