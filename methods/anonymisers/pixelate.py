"""Pixelation: every block of pixels becomes its mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from methods.anonymisers.base import Unfitted
from registry import ANONYMISERS

BLOCK = 1 / 8
"""Side of a block at strength 1 as a share of the image's side: 8 px at 64 px."""


@ANONYMISERS.register("pixelate")
@dataclass(frozen=True)
class Pixelate(Unfitted):
    """Means over square blocks; at strength 1 there are eight by eight of them.

    Source: Fan, Image Pixelization with Differential Privacy, DBSec 2018, section 3, without its
    noise: the means alone guarantee nothing.
    """

    def change(self, pixels: np.ndarray) -> np.ndarray:
        """Images of blocks, cut from the top left; the last ones may be smaller."""
        side = pixels.shape[-1]
        block = min(side, max(1, round(self.strength * BLOCK * side)))
        starts = np.arange(0, side, block)
        sums = np.add.reduceat(pixels.astype(np.float64), starts, axis=1)
        sums = np.add.reduceat(sums, starts, axis=2)
        lengths = np.diff([*starts, side])
        means = np.rint(sums / np.outer(lengths, lengths)).astype(np.uint8)
        return means.repeat(lengths, axis=1).repeat(lengths, axis=2)
