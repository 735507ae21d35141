"""Rows of several memory-mapped stacks as one, in the order of a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike


@dataclass(frozen=True, eq=False)
class Stacks:
    """What the rows of a table stand for, read on demand."""

    stacks: tuple[np.ndarray, ...]
    """Memory-mapped, `(n, …)` each."""
    stack: np.ndarray
    row: np.ndarray
    """Per row of the table `(n,)`: which stack, and which row of it."""
    digests: np.ndarray
    """Content digest per row of the table `(n,)`."""

    def __len__(self) -> int:
        return len(self.row)

    def gathered(
        self, rows: np.ndarray | None, shape: tuple[int, ...], dtype: DTypeLike
    ) -> np.ndarray:
        """Those at positions `rows`, or all, as `(k, *shape)` of `dtype`; a mask is taken too."""
        picked = np.arange(len(self)) if rows is None else np.asarray(rows)
        if picked.dtype == bool:
            picked = np.flatnonzero(picked)
        stack, row = self.stack[picked], self.row[picked]
        result = np.empty((len(picked), *shape), dtype)
        for one in np.unique(stack):
            here = np.flatnonzero(stack == one)
            result[here] = self.stacks[one][row[here]]
        return result
