"""Checks of the tables and folders as they were downloaded, without the loader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from datasets import ages, tabular
from datasets.expected import Expected, ExpectedTable
from inspection.checking.problems import ERROR, NOTE, WARNING, Problem, problem

DEPTH = 2
"""Folders below the root in which a missing file is looked for."""
LOOKED_AT = 2000
"""Folders that are looked into at most."""


def check_tree(expected: Expected, root: Path) -> Iterator[Problem]:
    """What is wrong with files, columns and values below `root`."""
    if not any(root.iterdir()):
        yield problem(
            ERROR,
            "empty folder",
            "The data root holds nothing.",
            "name the folder that was downloaded as --data-root",
        )
        return
    for folder in expected.folders:
        if not (root / folder).is_dir():
            yield problem(
                ERROR,
                "missing folder",
                f"There is no folder {folder}/ below the root.",
                _elsewhere(root, folder),
            )
    for table in expected.tables:
        yield from _check_table(table, root)


def _check_table(table: ExpectedTable, root: Path) -> Iterator[Problem]:
    try:
        path = tabular.locate(root, *table.files, of="this data set", how_to_get="")
    except FileNotFoundError:
        if not table.optional:
            names = " or ".join(table.files)
            yield problem(
                ERROR,
                "missing table",
                f"There is no {names} below the root.",
                _elsewhere(root, table.files[0]),
            )
        return
    name = path.relative_to(root).as_posix()
    if not path.stat().st_size:
        yield problem(ERROR, "empty table", f"{name} has no bytes.", "download it again")
        return
    try:
        held = tabular.header(path)
    except ValueError as error:
        yield problem(ERROR, "damaged table", _sentence(error), "download it again")
        return
    known = {column.casefold() for column in held}
    absent = [c for c, names in table.columns.items() if not {n.casefold() for n in names} & known]
    for column in absent:
        lacking = tabular.missing_column(path, table.columns[column], held)
        yield problem(
            ERROR,
            "missing column",
            _sentence(lacking),
            "rename the column, or take the file of the release",
        )
    there = {c: names for c, names in table.columns.items() if c not in absent}
    try:
        frame = tabular.read(path, {**there, **table.also}, optional=table.also)
    except ValueError as error:
        yield problem(ERROR, "damaged table", _sentence(error), "download it again")
        return
    if frame.empty:
        yield problem(ERROR, "empty table", f"{name} has no rows.", "download it again")
        return
    yield from _values(table, frame, name)
    yield from _names(table, frame, name)


def _values(table: ExpectedTable, frame: pd.DataFrame, name: str) -> Iterator[Problem]:
    for column, allowed in table.vocabulary.items():
        if column not in frame:
            continue
        folded = {value.casefold() for value in allowed}
        texts = frame[column]
        if table.separator:
            texts = texts.str.split(table.separator, regex=False).explode().str.strip()
        texts = texts[texts != ""]
        strange = texts[~texts.str.casefold().isin(folded)].value_counts()
        if len(strange):
            told = [f"{value!r} ({count:,} rows)" for value, count in strange.items()]
            yield problem(
                WARNING,
                "unknown value",
                f"Column {column!r} of {name} holds {len(strange)} values that are not known, on "
                f"{strange.sum():,} rows.",
                f"known: {', '.join(allowed)}; a row with another is left out or its group is "
                "Unknown",
                of=told,
            )
    for column in table.numbers:
        if column in frame:
            texts = frame[column]
            wrong = texts[(texts != "") & pd.to_numeric(texts, errors="coerce").isna()]
            if len(wrong):
                yield problem(
                    ERROR,
                    "not a number",
                    f"Column {column!r} of {name} must hold numbers, but {len(wrong):,} "
                    "rows hold other texts.",
                    "restore the file",
                    of=[f"line {i + 2}: {texts[i]!r}" for i in wrong.index],
                )
    for column in table.ages:
        if column in frame:
            texts = frame[column]
            wrong = texts[(texts != "") & ages.years(texts).isna()]
            if len(wrong):
                yield problem(
                    WARNING,
                    "absurd age",
                    f"Column {column!r} of {name} holds {len(wrong):,} texts that are no "
                    f"age between 0 and {ages.OLDEST}.",
                    "these ages count as not known",
                    of=[f"{v!r} ({n:,} rows)" for v, n in wrong.value_counts().items()],
                )


def _names(table: ExpectedTable, frame: pd.DataFrame, name: str) -> Iterator[Problem]:
    for column in table.filled:
        if column not in frame:
            continue
        blank = frame.index[frame[column] == ""]
        if len(blank):
            yield problem(
                ERROR,
                "blank name",
                f"Column {column!r} of {name} is blank on {len(blank):,} rows.",
                "fill it: every image needs a file and a person",
                of=[f"line {i + 2}" for i in blank],
            )
    if not table.unique or table.unique not in frame:
        return
    named = frame[frame[table.unique] != ""]
    again = named[named[table.unique].duplicated(keep=False)]
    if again.empty:
        return
    people = pd.Series(1, index=again[table.unique].unique())
    if table.patient and table.patient in frame:
        people = again.groupby(table.unique, sort=False)[table.patient].nunique()
    shared = [str(image) for image in people.index[people > 1]]
    if shared:
        text = f"{len(shared):,} images of {name} stand under two patients."
        if table.united:
            yield problem(
                NOTE, "image of two patients", f"{text} They are taken for one.", of=shared
            )
        else:
            yield problem(
                ERROR,
                "image of two patients",
                text,
                "give the person one id: folds are divided by it",
                of=shared,
            )
    rest = [str(image) for image in people.index[people == 1]]
    if rest and not table.united:
        yield problem(
            ERROR,
            "image listed twice",
            f"{len(rest):,} images of {name} stand on several rows.",
            "leave one row of each",
            of=rest,
        )


def _elsewhere(root: Path, name: str) -> str:
    """Where the file or folder is instead: people often name the folder above or beside it."""
    last = Path(name).name.casefold()
    folders, seen = [(root, 0)], 0
    while folders and seen < LOOKED_AT:
        folder, depth = folders.pop(0)
        seen += 1
        try:
            inside = sorted(folder.iterdir())
        except OSError:
            continue
        for one in inside:
            if depth and one.name.casefold().removesuffix(".gz") == last:
                return f"it is in {folder}; name that folder as --data-root"
            if one.is_dir() and not one.is_symlink() and depth < DEPTH:
                folders.append((one, depth + 1))
    return "download it; the page of the data set in docs/datasets says how"


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if text.endswith(".") else f"{text}."
