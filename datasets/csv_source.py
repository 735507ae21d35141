"""Anybody's table as a file: found, read by columns, and complained of by row and value."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from datasets import tabular
from datasets.csv_columns import separator_of, value_key
from datasets.people import PAIRS_FILE

ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz")


@dataclass(frozen=True)
class Source:
    """The table that is read."""

    root: Path
    path: Path
    separator: str
    header: Sequence[str]
    column_of: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What is read: the name that a column gets, and the name it has in the file."""

    @classmethod
    def open(cls, root: Path, name: str) -> Source:
        """The table called `name` below `root`, or the only one there."""
        path = root / name if name else _only_table(root)
        if not path.is_file():
            told = "is a folder" if path.is_dir() else "is not there"
            raise FileNotFoundError(
                f"--data file must name a table below {root}, but {path} {told}"
            )
        separator = separator_of(path)
        return cls(root, path, separator, tabular.header(path, separator=separator))

    def read(self) -> pd.DataFrame:
        """Texts of the columns in `column_of`, by their new names."""
        spelt = {name: (column,) for name, column in self.column_of.items()}
        return tabular.read(self.path, spelt, separator=self.separator)

    def labelled(self) -> list[str]:
        """Columns that hold 0, 1, -1 or blanks and nothing else, and at least one 1."""
        rows = tabular.read(self.path, {c: (c,) for c in self.header if c},
                            separator=self.separator)  # fmt: skip
        keys = {str(column): set(rows[column].map(value_key)) for column in rows}
        return [c for c, held in keys.items() if held <= {"0", "1", "-1", ""} and "1" in held]

    def complaint(self, needed: str, field: str, also: str = "") -> ValueError:
        """The error for a column that no option names and that was not guessed."""
        return ValueError(
            f"{self.path} must have {needed}, but none of its columns ("
            f"{', '.join(c for c in self.header if c) or 'none'}) has a usual name; say which "
            f"with --data {field}=COLUMN{also}"
        )

    def wrong_value(self, bad: pd.Series, rule: str) -> ValueError:
        """The error for values `bad` of a column, whose index counts rows from 0."""
        row = int(bad.index[0])
        column = self.column_of.get(str(bad.name), str(bad.name))
        return ValueError(
            f"column {column!r} of {self.path} must {rule}, but row {row + 1} (line {row + 2}) "
            f"holds {bad.iloc[0]!r} ({len(bad)} such rows); say what it means under 'values' in a "
            "mapping file"
        )

    def below(self, paths: pd.Series, folder: str, ending: str) -> pd.Series:
        """Paths relative to the root; relative ones of the column are so to its `folder`.

        Raises:
            ValueError: an absolute path lies elsewhere.
        """
        texts = paths.str.replace("\\", "/", regex=False)
        absolute = texts.str.startswith("/")
        if absolute.any():
            base = os.path.realpath(self.root)
            parted = texts[absolute].str.rpartition("/")
            # Folders are few, and a link on the way to one is followed once.
            real = {folder: os.path.realpath(folder or "/") for folder in parted[0].unique()}
            whole = parted[0].map(real).str.rstrip("/") + "/" + parted[2]
            outside = ~whole.str.startswith(base.rstrip("/") + "/")
            if outside.any():
                row = int(whole.index[outside][0])
                raise ValueError(
                    f"image paths must lie below --data-root {self.root}, but row {row + 1} of "
                    f"{self.path} names {paths[row]!r}; name a folder above all images"
                )
            texts = texts.mask(absolute, whole.str.removeprefix(base.rstrip("/") + "/"))
        inside = f"{folder.strip('/')}/" if folder.strip("/") else ""
        return (inside + texts.str.removeprefix("./")).mask(absolute, texts) + ending


def _only_table(root: Path) -> Path:
    tables = sorted(
        path
        for path in (root.iterdir() if root.is_dir() else [])
        if path.is_file() and path.name.casefold().endswith(ENDINGS) and path.name != PAIRS_FILE
    )
    if not tables:
        books = sorted(path.name for path in root.glob("*.xls*"))
        advice = f"save {books[0]} as csv" if books else "name one with --data file=NAME"
        raise FileNotFoundError(
            f"a data root of csv must hold a table (.csv, .csv.gz or .tsv), but {root} holds none; "
            f"{advice}"
        )
    if len(tables) > 1:
        listed = ", ".join(path.name for path in tables[:10])
        raise ValueError(
            f"one table must be meant, but {root} holds {len(tables)} ({listed}); say which with "
            "--data file=NAME"
        )
    return tables[0]
