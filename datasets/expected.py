"""What a downloaded tree must hold before anything is made of it, so that it can be checked whole.

A loader stops at the first fault; a data set that says what it expects is checked past it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

Spellings = Mapping[str, Sequence[str]]
"""A name for each column, and the names that it may have in the file."""


@dataclass(frozen=True)
class ExpectedTable:
    """A table that a data set reads.

    The other fields speak of its columns by the names in `columns`; a blank is never a fault of a
    vocabulary, of numbers or of ages.
    """

    files: tuple[str, ...]
    """Any of these, relative to the root, plain or with `.gz` behind it."""
    columns: Spellings
    also: Spellings = field(default_factory=lambda: MappingProxyType({}))
    """Columns that may be missing, and are checked where they are there."""
    vocabulary: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))
    """What a column may hold, whatever the case of the letters."""
    separator: str = ""
    """What stands between several values of one vocabulary on a row, as in "Edema|Mass"."""
    numbers: tuple[str, ...] = ()
    """Columns whose texts must be numbers."""
    ages: tuple[str, ...] = ()
    """Columns of ages in any spelling that `datasets.ages` reads."""
    filled: tuple[str, ...] = ()
    """Columns that must not be blank."""
    unique: str = ""
    """A column that must not hold one text twice: the name of an image."""
    patient: str = ""
    """The column that names the person: one image must not have two."""
    united: bool = False
    """Whether the data set takes patients that share an image for one, and keeps one row of it."""
    optional: bool = False
    """Whether the data set does without the table."""


@dataclass(frozen=True)
class Expected:
    """Tables and folders below the root of a data set."""

    tables: tuple[ExpectedTable, ...] = ()
    folders: tuple[str, ...] = ()
