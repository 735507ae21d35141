"""Gaussian blur: fine detail is lost, the shape of the body stays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from methods.anonymisers.base import Unfitted
from registry import ANONYMISERS

SIGMA = 1 / 16
"""Standard deviation at strength 1 as a share of the image's side: 4 px at 64 px, from where on an
attacker trained on originals fails."""


@ANONYMISERS.register("blur")
@dataclass(frozen=True)
class Blur(Unfitted):
    """Convolution with a Gaussian; at strength 1 its deviation is 1/16 of the side.

    Source: a baseline of Packhäuser et al., PriCheXy-Net, MICCAI 2023 and of privacy for faces
    (Newton et al., IEEE TKDE 2005;17:232); that it protects from an attacker who was not told, and
    from no other, is what it is here to show.
    """

    def change(self, pixels: np.ndarray) -> np.ndarray:
        """Blurred images; the border is continued by its nearest pixel."""
        from scipy.ndimage import gaussian_filter

        sigma = self.strength * SIGMA * pixels.shape[-1]
        blurred = gaussian_filter(pixels.astype(np.float32), (0, sigma, sigma), mode="nearest")
        return np.rint(blurred).clip(0, 255).astype(np.uint8)
