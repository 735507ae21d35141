"""Cells of the training table, and how a resampling method names them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from datasets.split import Split
from methods.base import Method, Task

KINDS = ("group", "label", "group_label")


@dataclass(frozen=True)
class CellMethod(Method):
    """A method that resamples cells of rows: a group, a label, or a group with a label."""

    cells: str = "group"
    """group, label, or group_label: what is brought to equal numbers of rows."""
    attribute: str = ""
    """Whose groups; empty means the first attribute of the task."""
    finding: str = ""
    """Whose label; empty means the first finding of the task."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cells not in KINDS:
            raise ValueError(f"cells must be one of {', '.join(KINDS)}, but got {self.cells!r}")

    def skip(self, task: Task) -> str | None:
        """A sentence if the named attribute or finding is not part of the task."""
        if "group" in self.cells and (
            reason := lacks(task.attributes, self.attribute, "attribute")
        ):
            return reason
        if "label" in self.cells:
            return lacks(task.findings, self.finding, "finding")
        return None


def lacks(names: tuple[str, ...], wanted: str, kind: str) -> str | None:
    """Why `wanted` cannot be used, or None; an empty name means the first of `names`."""
    if not names:
        return f"it needs an {kind}, but the task has none" if kind == "attribute" else f"no {kind}"
    if wanted and wanted not in names:
        return f"it needs the {kind} {wanted!r}, but the task has only: {', '.join(names)}"
    return None


def told(rows: Split, method: CellMethod) -> str:
    """The cells of a table and their sizes, as text."""
    names = []
    if "group" in method.cells:
        names.append(method.attribute or rows.attributes[0])
    if "label" in method.cells:
        names.append(method.finding or rows.findings[0])
    sizes = [str(len(cell)) for cell in rows_of_cells(rows, method)]
    return f"cells of {' and '.join(names)} of {', '.join(sizes)} rows"


def rows_of_cells(train: Split, method: CellMethod) -> list[np.ndarray]:
    """Row positions of each cell that has rows, in the order of the cells' names.

    A row whose label is unknown is a cell value of its own, so that no row is lost.
    """
    keys = []
    if "group" in method.cells:
        keys.append(train.frame[method.attribute or train.attributes[0]].astype(str))
    if "label" in method.cells:
        keys.append(train.frame[method.finding or train.findings[0]].astype(str))
    table = pd.DataFrame(dict(enumerate(keys)))
    cell = table.groupby(list(table.columns), sort=True, dropna=False).ngroup().to_numpy()
    return [np.flatnonzero(cell == c) for c in range(cell.max() + 1)]
