"""Reading one sheet of an Excel workbook, found by its columns."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

import pandas as pd

from datasets.tabular import missing_column

if TYPE_CHECKING:
    from openpyxl.worksheet._read_only import ReadOnlyWorksheet

LARGEST = 256 * 2**20
"""Bytes that the parts of a workbook may have unpacked; a table of 10^5 people has some 10^7."""
MOST_PARTS = 1_000
DAMAGED = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, ParseError, OSError,
           IndexError, AttributeError, RuntimeError, lzma.LZMAError)  # fmt: skip
"""What openpyxl raises when a part of the archive is cut, missing, encrypted or something else."""


def read(
    path: Path, columns: Mapping[str, Sequence[str]], *, optional: Iterable[str] = ()
) -> pd.DataFrame:
    """Some columns of the first sheet that has them, as stripped text, blank where not given.

    `columns` and `optional` as in `datasets.tabular.read`; the first row of a sheet names its
    columns. Sheets are looked at in order, whatever they are called.

    Raises:
        ValueError: the file is no workbook, is unreasonably large unpacked, or no sheet has the
            columns; the message names the nearest.
    """
    _check_size(path)
    # Imported here, since most data sets need no workbook.
    from openpyxl import load_workbook

    needed = [spellings for name, spellings in columns.items() if name not in set(optional)]
    seen: list[str] = []
    try:
        book = load_workbook(path, read_only=True, data_only=True)
        try:
            for sheet in book.worksheets:
                rows = _rows(sheet)
                names = [_text(cell) for cell in next(rows, ())]
                lower = {name.casefold(): at for at, name in reversed([*enumerate(names)])}
                if all(any(s.casefold() in lower for s in spelt) for spelt in needed):
                    return _table(rows, lower, columns)
                seen += names
        finally:
            book.close()
    except DAMAGED as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{path} must be an Excel workbook, but could not be read ({told}); restore it"
        ) from error
    lacking = next(
        (s for s in needed if not {n.casefold() for n in s} & {n.casefold() for n in seen}),
        needed[0],
    )
    raise missing_column(path, lacking, seen)


def _rows(sheet: ReadOnlyWorksheet) -> Iterator[tuple[object, ...]]:
    # A sheet states its own extent, which may be all cells that there can be.
    sheet.reset_dimensions()
    return iter(sheet.iter_rows(values_only=True))


def _table(
    rows: Iterable[tuple[object, ...]],
    lower: Mapping[str, int],
    columns: Mapping[str, Sequence[str]],
) -> pd.DataFrame:
    places = {
        name: next(lower[s.casefold()] for s in spelt if s.casefold() in lower)
        for name, spelt in columns.items()
        if any(s.casefold() in lower for s in spelt)
    }
    made = [
        [_text(row[place]) if place < len(row) else "" for place in places.values()]
        for row in rows
        if any(cell is not None for cell in row)
    ]
    return pd.DataFrame(made, columns=[*places], dtype=object)


def _text(cell: object) -> str:
    return "" if cell is None else str(cell).strip()


def _check_size(path: Path) -> None:
    """Refuse what would not fit into memory, before any of it is unpacked.

    Python reads no more of a part than the archive's index says, so that this cannot be evaded.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(
            f"{path} must be an Excel workbook (.xlsx), but is no archive at all ({error}); "
            "restore it"
        ) from error
    size = sum(part.file_size for part in parts)
    if size > LARGEST or len(parts) > MOST_PARTS:
        raise ValueError(
            f"a workbook must have at most {LARGEST / 2**20:.0f} MiB unpacked in {MOST_PARTS} "
            f"parts, but {path} has {size / 2**20:.0f} MiB in {len(parts)}; get it again from its "
            "source"
        )
