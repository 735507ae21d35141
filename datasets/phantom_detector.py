"""From attenuation to an 8-bit image: scatter, quantum noise, sharpening, display, marker."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from datasets.phantom_anatomy import Plane, ramp
from datasets.phantom_traits import Acquisition

VEIL = 0.12
"""Share of scattered rays."""


def expose(
    attenuation: Tensor, noise: Tensor, plane: Plane, setting: Acquisition[Tensor]
) -> Tensor:
    """Images `(k, s, s)` uint8 of attenuations `(k, s, s)` and standard normal noise."""
    seen = _scattered(attenuation)
    if seen.shape[-1] > 64:
        # Quanta spread over neighbouring pixels once pixels are finer than the detector's blur.
        noise = _smooth(noise).mul_(1.6)
    # Fewer quanta arrive behind thicker tissue.
    seen = seen.add_((seen * 0.55).exp_().mul_(noise).mul_(1.15 * setting.noise))
    seen = (seen - _smooth(seen)).mul_(setting.sharpness).add_(seen)
    # softplus of minus the signal, times gamma, is minus the logarithm of the displayed value.
    signal = seen.add_(setting.exposure - 0.80).mul_(-3.0 * setting.window)
    shown = functional.softplus(signal).mul_(-setting.gamma).exp_().sub_(0.03).mul_(1.06)
    shown = _collimated(shown, plane, setting)
    _mark(shown, plane, setting)
    return shown.clamp_(0, 1).mul_(255).add_(0.5).to(torch.uint8)


def _scattered(attenuation: Tensor) -> Tensor:
    size = attenuation.shape[-1]
    coarse = functional.avg_pool2d(attenuation[:, None], max(2, size // 16), max(1, size // 16))
    veil = functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    return veil[:, 0].mul_(VEIL).add_(attenuation, alpha=1 - VEIL)


def _smooth(image: Tensor) -> Tensor:
    """A 3 x 3 binomial blur; shifted sums are faster here than a one-channel convolution."""
    p = functional.pad(image[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    p = p[:, 1:-1].mul(2).add_(p[:, 2:]).add_(p[:, :-2])
    return p[:, :, 1:-1].mul(2).add_(p[:, :, 2:]).add_(p[:, :, :-2]).mul_(1 / 16)


def _collimated(shown: Tensor, plane: Plane, setting: Acquisition[Tensor]) -> Tensor:
    """The image with one edge shuttered."""
    size, screen = shown.shape[-1], plane.screen
    edge = setting.collimated_edge
    across = torch.where(edge == 0, screen.view(1, 1, size) + 1, 1 - screen.view(1, 1, size))
    down = torch.where(edge == 2, screen.view(1, size, 1) + 1, 1 - screen.view(1, size, 1))
    shown = shown.mul_(torch.where(edge < 2, ramp(across - setting.collimation, 0.01), 1.0))
    return shown.mul_(torch.where(edge < 2, 1.0, ramp(down - setting.collimation, 0.01)))


def _mark(shown: Tensor, plane: Plane, setting: Acquisition[Tensor]) -> None:
    """Set a lead letter L into the upper corner of the patient's left (at site 1: of the right)."""
    rows = plane.screen < -0.5
    height = int(rows.sum())
    x = plane.screen.view(1, 1, -1) - setting.marker_x
    y = plane.screen[rows].view(1, -1, 1) - setting.marker_y
    stem = ((x + 0.02).abs() < 0.014) & (y.abs() < 0.05)
    foot = ((x - 0.012).abs() < 0.045) & ((y - 0.05).abs() < 0.016)
    letter = (stem | foot) * (0.93 * setting.marker)
    shown[:, :height] = torch.maximum(shown[:, :height], letter)
