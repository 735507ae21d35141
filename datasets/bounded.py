"""Files of text that were downloaded, plain or compressed, unpacked no further than is sane."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

LARGEST = 8 * 2**30
"""Bytes of a table unpacked; the largest that is known, with 10^5 reports in it, has some 10^9."""
PLENTY = 256 * 2**20
"""Bytes that a compressed table may always unpack to."""
RATIO = 50
"""How often its own size a larger one may unpack to: tables reach 20, bombs 1,000."""


def opened(path: Path) -> io.BufferedReader:
    """The bytes of a file, unpacked where its name ends in `.gz`; close it after use.

    Raises:
        ValueError: the file is unreasonably large, at once or where reading meets its limit.
    """
    held = path.stat().st_size
    if held > LARGEST:
        raise _too_large(path, LARGEST)
    if path.suffix != ".gz":
        return path.open("rb")
    raw = gzip.open(path)  # noqa: SIM115 - closed with what is returned
    most = min(LARGEST, max(PLENTY, RATIO * held))
    # Large pieces, since each passes through Python.
    return io.BufferedReader(_Bounded(raw, path, most), 2**20)


class _Bounded(io.RawIOBase):
    """A stream that ends in an error beyond `most` bytes."""

    def __init__(self, raw: gzip.GzipFile, path: Path, most: int) -> None:
        self.raw, self.path, self.most, self.count = raw, path, most, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        got = self.raw.readinto(buffer)
        self.count += got
        if self.count > self.most:
            raise _too_large(self.path, self.most)
        return got

    def close(self) -> None:
        self.raw.close()
        super().close()


def _too_large(path: Path, most: int) -> ValueError:
    return ValueError(
        f"{path} must have at most {most / 2**20:.0f} MiB unpacked, but has more, which no table "
        "of images has; get it again from its source"
    )
