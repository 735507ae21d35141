"""Errors and log lines that are kept, without the ids of patients, studies and images."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence

import pandas as pd

from tracking.pseudonyms import Pseudonyms

ID_COLUMNS = ("patient_id", "study_id", "image_id")
SHORT = 6
"""Characters. A shorter id counts only where no letter or digit stands beside it: "p7" is not part
of "p70". A longer one is found anywhere, as in a file name made of it."""
SHORTEST_PART = 4
"""Characters of a folder or file name that is looked for by itself."""


class Redactor:
    """Replaces ids in a text by their pseudonyms, wherever they stand.

    Looked for are the ids and paths of the tables, and every folder and file name in these paths
    that belongs to one patient alone, since it tells the patient or study.
    """

    def __init__(self, names: Pseudonyms, tables: Iterable[pd.DataFrame]) -> None:
        self.names, self._tables = names, tuple(tables)
        self._by_start: dict[str, dict[int, set[str]]] = {}

    def __call__(self, text: str, *, numbers: bool = True) -> str:
        """`text` without ids; without `numbers`, short ids that are mere numbers stay."""
        if self._tables:
            # Made when first needed: a set of several 100,000 images has millions of texts.
            self._by_start, self._tables = _ordered(_ids(self._tables)), ()
        result, place = [], 0
        while place < len(text):
            found = self._at(text, place, numbers)
            result.append(self.names.one(found) if found else text[place])
            place += len(found) or 1
        return "".join(result)

    def _at(self, text: str, place: int, numbers: bool) -> str:
        """The longest id that begins at a place of the text, or ""."""
        for length, ids in self._by_start.get(text[place], {}).items():
            candidate = text[place : place + length]
            if candidate not in ids:
                continue
            if length >= SHORT:
                return candidate
            beside = text[place - 1 : place] + text[place + length : place + length + 1]
            if not any(c.isalnum() for c in beside) and (numbers or not candidate.isdigit()):
                return candidate
        return ""


class WithoutIds(logging.Filter):
    """Takes ids out of every record of a log; counts of up to five digits stay."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self.redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged: always."""
        record.msg, record.args = self.redactor(record.getMessage(), numbers=False), ()
        return True


def _ordered(ids: Iterable[str]) -> dict[str, dict[int, set[str]]]:
    """Ids by their first character and length, the longest first."""
    found: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for text in ids:
        found[text[0]][len(text)].add(text)
    return {start: dict(sorted(by.items(), reverse=True)) for start, by in found.items()}


def _ids(tables: Sequence[pd.DataFrame]) -> set[str]:
    """All ids of the tables, and the parts of paths that tell the patient."""
    ids = {
        text
        for table in tables
        for column in ID_COLUMNS
        if column in table
        for text in table[column].dropna().astype(str).unique().tolist()
    }
    owner: dict[str, str] = {}
    paths = pd.concat([t[["patient_id", "path"]].astype(str) for t in tables]).drop_duplicates()
    pairs = list(zip(*(paths[c].tolist() for c in paths), strict=True))
    for patient, path in pairs:
        for name in _parts(path):
            if owner.setdefault(name, patient) != patient:
                owner[name] = ""
    for _, path in pairs:
        # A part that tells the patient stands for the whole path, which need not be held then.
        own = [name for name in _parts(path) if owner[name]]
        ids.update(own or [path])
    return ids - {""}


def _parts(path: str) -> list[str]:
    """Folder and file names in a path, the last without its ending too."""
    parts = path.split("/")
    return [p for p in (*parts, parts[-1].partition(".")[0]) if len(p) >= SHORTEST_PART]
