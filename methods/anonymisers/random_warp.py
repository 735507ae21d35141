"""Random warp: every image is bent by a smooth field of its own."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from methods.anonymisers.base import Unfitted
from registry import ANONYMISERS

REACH = 1 / 20
"""Root mean square of the displacement at strength 1 as a share of the side: 3.2 px at 64 px."""
SMOOTHNESS = 1 / 8
"""Standard deviation, as a share of the side, of the Gaussian that smooths the field."""


@ANONYMISERS.register("random_warp")
@dataclass(frozen=True)
class RandomWarp(Unfitted):
    """A smooth random displacement per image; at strength 1 its root mean square is 1/20 side.

    The random numbers follow from `generator_seed` and the pixels of the image, so chunks and order
    do not matter. Two visits of a patient are bent independently, which blurs what their anatomy
    has in common; a warp that is one function for all images could be learnt by the attacker. Who
    holds an original, the code and the seed can repeat its warp: this hides a patient among
    patients, not that an image which somebody already has was released.

    Source: the control that Packhäuser et al., PriCheXy-Net, MICCAI 2023 lack: their displacement
    is learnt and the same for all images. Differs from their code: the field is smoothed, not the
    grid it is added to, and goes on beyond the border as at the border, so that strength 0 is the
    identity everywhere.
    """

    generator_seed: int = 0

    def change(self, pixels: np.ndarray) -> np.ndarray:
        """Warped images; beyond the border lies its nearest pixel."""
        return np.stack([self._warped(image) for image in pixels]) if len(pixels) else pixels

    def _warped(self, image: np.ndarray) -> np.ndarray:
        from scipy.ndimage import map_coordinates

        places = np.indices(image.shape, dtype=np.float32) + self.displacement(image)
        warped = map_coordinates(image.astype(np.float32), places, order=1, mode="nearest")
        return np.rint(warped).clip(0, 255).astype(np.uint8)

    def displacement(self, image: np.ndarray) -> np.ndarray:
        """How far each pixel of an image uint8 `(s, s)` looks away, down and right, `(2, s, s)`."""
        from scipy.ndimage import gaussian_filter

        side = len(image)
        digest = blake2b(image.tobytes(), digest_size=16).digest()
        rng = np.random.Generator(
            np.random.SFC64([self.generator_seed, *np.frombuffer(digest, np.uint32)])
        )
        noise = rng.standard_normal((2, side, side), dtype=np.float32)
        sigma = SMOOTHNESS * side
        field = gaussian_filter(noise, (0, sigma, sigma), mode="nearest")
        size = np.sqrt(np.mean(field**2))
        return (self.strength * REACH * side / size * field).astype(np.float32)
