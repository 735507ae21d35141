"""Up-sampling: rows of the smaller cells are repeated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datasets.split import Split
from methods.base import Context
from methods.cells import CellMethod, rows_of_cells, told
from registry import METHODS


@METHODS.register("upsample")
@dataclass(frozen=True)
class Upsample(CellMethod):
    """Random over-sampling: rows of smaller cells repeat until all cells equal the largest.

    Every row stands at least once; the remainder is drawn without replacement.

    Source: Buda et al., Neural Networks 2018;106:249, section 2.1.1.
    """

    unaccounted: ClassVar[str] = (
        "it repeats rows, and a repeated patient is drawn more often than the accountant assumes"
    )

    def data(self, train: Split, ctx: Context) -> Split:
        """Training rows in which all cells are as large as the largest was."""
        rng = np.random.default_rng([ctx.seed, 2])
        cells = rows_of_cells(train, self)
        largest = max(len(cell) for cell in cells)
        drawn = [
            np.concatenate(
                [
                    np.tile(cell, largest // len(cell)),
                    rng.choice(cell, largest % len(cell), replace=False),
                ]
            )
            for cell in cells
        ]
        resampled = train.with_frame(train.frame.iloc[np.sort(np.concatenate(drawn))])
        ctx.log.info("training rows: %s become %s", told(train, self), told(resampled, self))
        return resampled
