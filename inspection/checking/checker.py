"""All checks of one data set, one after the other, none of which stops the others."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from datasets.base import IMAGES, ChestXrayDataset
from datasets.division import Division, divide
from datasets.shards import Progress
from datasets.split import Folds, Split
from inspection.checking import contents, files, leaks, resources, tree
from inspection.checking.problems import ERROR, Problem, ordered, problem
from registry import UnknownName

CAUSES = {"patient in two folds", "image listed twice"}
"""Faults that make a division fail, and are told better than by its refusal."""


@dataclass(frozen=True)
class Checked:
    """What was looked at, and what is wrong."""

    name: str
    problems: tuple[Problem, ...]
    images: int
    patients: int
    looked: int
    dropped: dict[str, int]
    folds: tuple[tuple[str, int, int], ...]
    """Name, images and patients of each fold; no audit where that is the training fold again."""
    cells: pd.DataFrame
    """Patients with and without every finding, in every group of the test fold."""
    needs: resources.Needs | None
    restricted: bool

    def without_ids(self) -> Checked:
        """The same without file names, ids and rows."""
        return replace(self, problems=tuple(p.without_ids() for p in self.problems))

    @property
    def clean(self) -> bool:
        """Whether no error was found."""
        return all(p.severity != ERROR for p in self.problems)


def check(
    dataset: ChestXrayDataset,
    root: Path,
    *,
    size: int,
    split: str = "",
    everything: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    progress: Progress | None = None,
) -> Checked:
    """All that is wrong with a data set below `root`.

    Raises:
        ValueError, FileNotFoundError: `split` names no division, or `size` is no size.
    """
    division = Division.named(split or dataset.default_split)
    found: list[Problem] = []
    if dataset.needs_root:
        tell("looking at tables and folders")
        found += tree.check_tree(dataset.expects(), root)
    tell("making the table")
    table = _loaded(dataset, root, found)
    made = Checked(
        name=dataset.registered_name,
        problems=(),
        images=0,
        patients=0,
        looked=0,
        dropped={},
        folds=(),
        cells=pd.DataFrame(),
        needs=None,
        restricted=dataset.terms == "restricted",
    )
    if table is not None:
        tell(f"looking at {len(table):,} images of {len(table.patients):,} patients")
        found += contents.check_table(table, real=dataset.kind == "real")
        folds = _divided(table, division, found)
        made = _seen(made, table, folds, found)
        if dataset.holds == IMAGES:
            looked = files.look(table, size, everything=everything, progress=progress)
            found += looked.problems
            needs = resources.needs(table, size, rate=looked.rate, largest=looked.largest)
            found += resources.check_needs(needs)
            made = replace(made, looked=looked.looked, needs=needs)
            tell("looking for persons and pictures that stand twice")
            found += leaks.check_persons(table, folds)
            of = "" if looked.looked == len(table) else f"of {looked.looked:,} looked at"
            found += leaks.check_pictures(looked.table, folds, size, of=of)
        else:
            found += leaks.check_persons(table, folds)
    return replace(made, problems=ordered(dict.fromkeys(found)))


def _loaded(dataset: ChestXrayDataset, root: Path, found: list[Problem]) -> Split | None:
    """The table, or None with the reason among the problems."""
    try:
        table = dataset.table(root)
    except (ValueError, UnknownName, KeyError, OSError, pd.errors.ParserError) as error:
        found.append(
            problem(
                ERROR,
                "no table",
                "The table of images cannot be made.",
                "mend this first: what comes after it could not be checked",
                reason=error,
            )
        )
        return None
    if not len(table):
        found.append(
            problem(ERROR, "no table", "The table has no rows.", f"left out: {dict(table.dropped)}")
        )
        return None
    return table


def _divided(table: Split, division: Division, found: list[Problem]) -> Folds | None:
    """The folds of a run, or None with the reason among the problems."""
    try:
        return divide(table, division).folds[0]
    except ValueError as error:
        if not {p.rule for p in found} & CAUSES:
            told = "The images cannot be divided into folds."
            found.append(problem(ERROR, "no folds", told, "use another --split", reason=error))
        return None


def _seen(made: Checked, table: Split, folds: Folds | None, found: list[Problem]) -> Checked:
    """What the table holds, with its folds and cells."""
    sizes: tuple[tuple[str, int, int], ...] = ()
    cells = made.cells
    if folds is not None:
        found += contents.check_cells(folds, restricted=made.restricted)
        parts = [f for f in folds.all() if f is not folds.audit or not folds.audit_reuses_train]
        sizes = tuple((f.name, len(f), len(f.patients)) for f in parts)
        cells = contents.test_cells(folds)
    return replace(
        made,
        images=len(table),
        patients=len(table.patients),
        dropped=dict(table.dropped),
        folds=sizes,
        cells=cells,
    )


def told_seconds(seconds: float) -> str:
    """How long the preparation will take, in words."""
    from runs.progress import duration

    return "not timed" if math.isnan(seconds) else duration(seconds)
