"""Augmentation of a batch on its device."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ROTATION = math.radians(10)
SHIFT = 0.06
"""Of the image side."""
INTENSITY = 0.15
"""Of contrast, and of brightness in units of the scaled range's quarter."""


def light(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images `(n, 1, s, s)` rotated by at most 10°, shifted by 6 %, with contrast and brightness
    changed by at most 15 %. No flip: the side of the heart and of a finding matters."""
    n = len(images)
    draw = torch.rand((n, 5), generator=generator).mul_(2).sub_(1).to(images.device)
    angle = draw[:, 0] * ROTATION
    cos, sin = torch.cos(angle), torch.sin(angle)
    shift = draw[:, 1:3] * (2 * SHIFT)
    rows = [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    # Border pixels repeat, so that the corners do not tell how far an image was turned.
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    contrast = (1 + INTENSITY * draw[:, 3]).view(-1, 1, 1, 1)
    brightness = (INTENSITY * draw[:, 4]).view(-1, 1, 1, 1)
    return moved * contrast + brightness
