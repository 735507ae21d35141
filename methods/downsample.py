"""Down-sampling: rows of the larger cells are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from datasets.split import Split
from methods.base import Context
from methods.cells import CellMethod, rows_of_cells, told
from registry import METHODS


@METHODS.register("downsample")
@dataclass(frozen=True)
class Downsample(CellMethod):
    """Random under-sampling: rows of larger cells are left out until all equal the smallest.

    Source: Buda et al., Neural Networks 2018;106:249, section 2.1.2.
    """

    unaccounted: ClassVar[str] = (
        "the sizes of all cells decide which rows are left out, so one patient changes what is "
        "trained on of others"
    )

    def data(self, train: Split, ctx: Context) -> Split:
        """Training rows in which all cells are as small as the smallest was."""
        rng = np.random.default_rng([ctx.seed, 2])
        cells = rows_of_cells(train, self)
        smallest = min(len(cell) for cell in cells)
        kept = [rng.choice(cell, smallest, replace=False) for cell in cells]
        resampled = train.with_frame(train.frame.iloc[np.sort(np.concatenate(kept))])
        ctx.log.info("training rows: %s become %s", told(train, self), told(resampled, self))
        return resampled
