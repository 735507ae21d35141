"""Pseudonyms: the only form in which patient and image ids leave the process."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

import pandas as pd
from filelock import FileLock

LENGTH = 16
"""Hexadecimal digits: 64 bits, so that two of a million ids collide with probability 3e-8."""


class Pseudonyms:
    """Keyed hashes of ids. The key is one secret per store and data set, and is never logged.

    Without the key a pseudonym cannot be recomputed from a known id, so a published table does not
    tell whether a given patient is in it.
    """

    def __init__(self, store: Path, dataset: str) -> None:
        self._key = _read_or_create(store / ".pseudonyms" / f"{dataset}.key")

    def of(self, ids: pd.Series) -> pd.Series:
        """Pseudonyms of ids, index kept."""
        texts = ids.astype(str)
        table = {text: self.one(text) for text in texts.unique()}
        return texts.map(table)

    def hide(self, frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
        """A copy of `frame` with the ids in `columns` replaced."""
        return frame.assign(**{column: self.of(frame[column]) for column in columns})

    def one(self, text: str) -> str:
        """The pseudonym of one id."""
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()[:LENGTH]


def _read_or_create(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Under a lock, and moved into place when whole: two runners that start together agree on one
    # key, and nobody ever reads half of one.
    with FileLock(f"{path}.lock"):
        if not path.exists():
            draft = path.with_suffix(".draft")
            draft.unlink(missing_ok=True)
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(32))
            draft.replace(path)
        return path.read_bytes()
