"""No change at all: what every anonymiser is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from methods.anonymisers.base import Unfitted
from registry import ANONYMISERS


@ANONYMISERS.register("identity")
@dataclass(frozen=True)
class Identity(Unfitted):
    """The images as they are, whatever the strength.

    Source: a control of this suite: through it a method must equal ERM exactly.
    """

    def change(self, pixels: np.ndarray) -> np.ndarray:
        """A copy."""
        return pixels.copy()
