"""Somebody's table as it was read, and where in it a fault lies."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

SHOWN = 5
"""Faulty rows that an error names."""
DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class Source:
    """A table, its name, and the number of each row `(n,)` in words of `unit`."""

    frame: pd.DataFrame
    name: str
    numbers: np.ndarray
    unit: str = "row"

    def at(self, rows: Iterable[int]) -> str:
        """Where some rows are, as "line 7" or "lines 7, 9 and 40 more"."""
        numbers = self.numbers[np.asarray(list(rows), dtype=np.int64)].tolist()
        shown = ", ".join(map(str, numbers[:SHOWN]))
        more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
        from_zero = "" if self.unit == "line" else ", counted from 0"
        return f"{self.unit}{'s' if len(numbers) > 1 else ''} {shown}{more}{from_zero}"

    def where(self, mask: np.ndarray) -> Source:
        """The rows of `mask`, under their old numbers."""
        frame = self.frame[mask].reset_index(drop=True)
        return Source(frame, self.name, self.numbers[mask], self.unit)


def read(table: pd.DataFrame | str | Path, *, text: Iterable[str] = ()) -> Source:
    """The table of a CSV or parquet file, or of a frame; columns `text` of a CSV stay text.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is empty, or not CSV or parquet.
    """
    if isinstance(table, pd.DataFrame):
        source = _rows(table.reset_index(drop=True), "the frame")
    else:
        source = _read_file(Path(table), set(text))
    columns = [str(c) for c in source.frame.columns]
    repeated = sorted({c for c in columns if columns.count(c) > 1})
    if repeated:
        raise ValueError(
            f"columns must have different names, but {source.name} has {repeated[0]!r} "
            f"{columns.count(repeated[0])} times; rename one of them"
        )
    if not len(source.frame):
        raise ValueError(f"{source.name} must have a row per image, but it has none; fill it")
    return replace(source, frame=source.frame.set_axis(columns, axis=1))


def _rows(frame: pd.DataFrame, name: str) -> Source:
    return Source(frame, name, np.arange(len(frame)))


def _read_file(path: Path, text: set[str]) -> Source:
    if not path.is_file():
        raise FileNotFoundError(
            f"predictions must be a file, but there is none at {path}; check the path"
        )
    with path.open("rb") as file:
        start = file.read(4096)
    if not start.strip():
        raise ValueError(f"{path} must be a table of predictions, but it is empty; write it again")
    if start.startswith(b"PAR1") or path.suffix in (".parquet", ".pq"):
        return _read_parquet(path)
    if b"\0" in start and not start.startswith(b"\x1f\x8b"):
        raise _no_csv(path, "it holds bytes that are no text")
    return _read_csv(path, text)


def _read_parquet(path: Path) -> Source:
    try:
        return _rows(pd.read_parquet(path).reset_index(drop=True), str(path))
    except (OSError, ValueError) as error:  # pyarrow's own errors derive from these two
        raise ValueError(
            f"{path} must be readable parquet, but it is not ({' '.join(str(error).split())[:120]})"
            "; write it again, for example with frame.to_parquet(...)"
        ) from error


def _read_csv(path: Path, text: set[str]) -> Source:
    try:
        header, delimiter = _header(path)
        if len(header) < 2:
            raise _no_csv(path, f"its first line holds no comma: {header[0][:60]!r}")
        repeated = sorted({c for c in header if header.count(c) > 1})
        if repeated:  # pandas would rename the second one in silence
            raise ValueError(
                f"columns must have different names, but {path} has {repeated[0]!r} "
                f"{header.count(repeated[0])} times; rename one of them"
            )
        frame = pd.read_csv(
            path,
            sep=delimiter,
            dtype={c: "str" for c in header if c in text},
            encoding="utf-8-sig",
            low_memory=False,
            index_col=False,
            skip_blank_lines=False,
        )
    except UnicodeDecodeError as error:
        raise _no_csv(path, f"byte {error.start} is not UTF-8") from error
    except (pd.errors.ParserError, gzip.BadGzipFile, csv.Error) as error:
        raise _no_csv(path, " ".join(str(error).split())) from error
    # Line 1 is the header.
    return Source(frame, str(path), np.arange(len(frame)) + 2, "line")


def _header(path: Path) -> tuple[list[str], str]:
    """Names of the first line, and what separates them."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        line = file.readline()
    delimiter = max(DELIMITERS, key=line.count)
    return next(csv.reader([line], delimiter=delimiter), [""]) or [""], delimiter


def _no_csv(path: Path, reason: str) -> ValueError:
    return ValueError(
        f"{path} must be CSV or parquet, but {reason}; "
        "write it for example with frame.to_csv(..., index=False)"
    )
