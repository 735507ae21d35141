"""Reading the tables that data sets come with: csv files, plain or compressed, by column names."""

from __future__ import annotations

import csv
import difflib
import gzip
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.bounded import opened

ENDINGS = ("", ".gz")
"""Many users keep the tables of a release compressed, as they come; as many unpack them."""
DAMAGED = (pd.errors.ParserError, UnicodeDecodeError, csv.Error, EOFError, zlib.error,
           gzip.BadGzipFile)  # fmt: skip


FOREIGN = {
    b"PK\x03\x04": ("a spreadsheet or an archive", "save it as csv"),
    b"\xd0\xcf\x11\xe0": ("a spreadsheet", "save it as csv"),
    b"\xff\xfe": ("text in UTF-16", "save it as csv in UTF-8"),
    b"\xfe\xff": ("text in UTF-16", "save it as csv in UTF-8"),
}
"""How files begin that are often taken for csv, what they are, and what to do."""
NEARBY = 200
"""Folders below a root that are looked into for a table that is not there."""


def locate(root: Path, *names: str, of: str, how_to_get: str) -> Path:
    """The first of the files `names` that lies below `root`, plain or with `.gz` behind it.

    Raises:
        FileNotFoundError: none is there; the message says of which data set it is a part.
    """
    for name in names:
        for ending in ENDINGS:
            if (path := root / f"{name}{ending}").is_file():
                return path
    listed = " or ".join(names)
    near = _nearby(root, names)
    advice = f"{near} does: name it as --data-root" if near else how_to_get
    raise FileNotFoundError(
        f"a folder of {of} must hold {listed} (or the same with .gz), but {root} does not; {advice}"
    )


def _nearby(root: Path, names: Sequence[str]) -> Path | None:
    """The folder above `root`, or directly below it, that holds one of the files."""
    try:
        below = sorted(folder for folder in root.iterdir() if folder.is_dir())[:NEARBY]
        for folder in (root.parent, *below):
            if any((folder / f"{n}{ending}").is_file() for n in names for ending in ENDINGS):
                return folder
    except OSError:  # a folder that may not be looked into
        return None
    return None


def header(path: Path, *, separator: str = ",") -> list[str]:
    """The column names of a csv file, stripped, as they stand; a nameless column is "".

    Raises:
        ValueError: the file is empty, is no table, or is unreasonably large.
    """
    with path.open("rb") as file:
        first = file.read(4)
    for begins, (kind, advice) in FOREIGN.items():
        if first.startswith(begins) and path.suffix != ".zip":
            raise ValueError(f"{path} must be a csv file, but it is {kind}; {advice}")
    try:
        with opened(path) as file:
            names = pd.read_csv(file, nrows=1, header=None, dtype=str, index_col=False,
                                sep=separator, encoding="utf-8-sig", encoding_errors="replace",
                                keep_default_na=False)  # fmt: skip
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"{path} must be a csv file, but it is empty") from error
    except DAMAGED as error:
        raise _damaged(path, error) from error
    return [str(name).strip() for name in names.iloc[0]]


def read(
    path: Path,
    columns: Mapping[str, Sequence[str]],
    *,
    optional: Iterable[str] = (),
    separator: str = ",",
) -> pd.DataFrame:
    """Some columns of a csv file as stripped text, blank where not given, in the order of the file.

    `columns` maps the name that a column gets to the names it may have in the file; the first that
    is there is taken. Those in `optional` may be missing, and then are not in the result. The index
    counts rows from 0; row i stands on line i + 2 of a file without line breaks inside its fields.

    Raises:
        ValueError: the file is damaged, or a column is missing; the message names the nearest.
    """
    held = header(path, separator=separator)
    lower = {name.casefold(): position for position, name in reversed([*enumerate(held)])}
    places: dict[str, int] = {}
    for name, spellings in columns.items():
        found = [lower[s.casefold()] for s in spellings if s.casefold() in lower]
        if found:
            places[name] = found[0]
        elif name not in optional:
            raise missing_column(path, spellings, held)
    try:
        with opened(path) as file:
            frame = pd.read_csv(
                file,
                sep=separator,
                # Not skipped by counting lines: a header may have blank ones above it.
                header=0,
                # No further than needed: some headers have more fields than all of their rows.
                names=range(max(places.values(), default=0) + 1),
                usecols=sorted(set(places.values())),
                dtype=str,
                # Without this a line with one field too many would shift all columns by one.
                index_col=False,
                keep_default_na=False,
                encoding="utf-8-sig",
                encoding_errors="replace",
            )
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame(columns=sorted(set(places.values())), dtype=str)
    except DAMAGED as error:
        raise _damaged(path, error) from error
    return pd.DataFrame(
        {name: frame[place].fillna("").str.strip() for name, place in places.items()}
    )


def numbers(path: Path, column: pd.Series, *, allowed: Sequence[float] = ()) -> pd.Series:
    """A column of texts as float64, NaN where blank.

    Raises:
        ValueError: a text is no number, or none of `allowed`; the message names row and value.
    """
    texts = column.replace("", np.nan)
    values = pd.to_numeric(texts, errors="coerce")
    bad = values.isna() & texts.notna()
    bad |= np.isinf(values)
    if allowed:
        bad |= values.notna() & ~values.isin(allowed)
    if bad.any():
        row = int(np.flatnonzero(bad.to_numpy())[0])
        must = ", ".join(f"{a:g}" for a in allowed) if allowed else "numbers"
        raise ValueError(
            f"column {column.name!r} of {path} must hold {must} or blanks, but row {row + 1} "
            f"(line {row + 2}) holds {column.iloc[row]!r} ({int(bad.sum())} such rows); restore "
            "the file"
        )
    return values.astype(np.float64)


def missing_column(path: Path, spellings: Sequence[str], held: Sequence[str]) -> ValueError:
    """The error for a column that is not there, with the nearest names that are."""
    names = [name for name in held if name]
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(spellings[0].casefold(), folded, n=3, cutoff=0.4)
    nearest = ", ".join(repr(folded[n]) for n in near) or "none is similar"
    also = f" (also accepted: {', '.join(map(repr, spellings[1:]))})" if spellings[1:] else ""
    return ValueError(
        f"{path} must have the column {spellings[0]!r}{also}, but has none of that name; nearest: "
        f"{nearest}; its columns are: {', '.join(names) or 'none'}"
    )


def _damaged(path: Path, error: Exception) -> ValueError:
    told = " ".join(str(error).split()) or type(error).__name__
    return ValueError(f"{path} must be a csv file, but could not be read ({told}); restore it")
