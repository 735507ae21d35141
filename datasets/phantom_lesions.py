"""Findings and support devices: what each does to the healthy fields, and where it is.

A finding is computed for the images that have it and for no others. `Effects.seen` keeps its
presence field, from which masks are cut at 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from datasets.phantom_anatomy import BELOW_DOME, HILUM_X, Chest, RibCage, bump, lung_edges, ramp
from datasets.phantom_traits import Lesion, Scene

# Strengths in units of attenuation, or shares of the air for the first three; calibrated so that a
# small network finds each at 64 px with the AUC that docs/phantom.md states.
EFFUSION_FILL = 0.95
CONSOLIDATION_FILL = 0.95
EDEMA_FILL = 0.85
SEPTAL_LINE = 0.30
FREE_AIR = 0.40
PLEURAL_LINE = 0.75
NODULE = 1.00
DEVICE_CAN = 1.10
DEVICE_LINE = 1.25


@dataclass(frozen=True)
class Effects:
    """How findings change the chest; tensors `(k, s, s)`, written in place by each finding."""

    filled: Tensor
    """Share of the air that is replaced, in [0, 1]."""
    vessels: Tensor
    """Factor on lung vessels."""
    added: Tensor
    """Attenuation added (or, if negative, taken away)."""
    seen: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Per finding: numbers of the images `(m,)` and presence `(m, s, s)`."""


def no_effects(like: Tensor) -> Effects:
    """The effects of no finding."""
    return Effects(torch.zeros_like(like), torch.ones_like(like), torch.zeros_like(like))


def images_with(strength: Tensor) -> Tensor:
    """Numbers of the images `(m,)` in which `strength` `(k, 1, 1)` is positive."""
    return torch.nonzero(strength.view(-1) > 0).view(-1)


def add_lung_findings(
    effects: Effects, chest: Chest, scene: Scene[Tensor], textures: tuple[Tensor, Tensor]
) -> None:
    """Write all findings of the lungs into `effects`; textures are coarse, fine `(k, s, s)`."""
    _edema(effects, chest, scene, textures[1])
    _effusion(effects, chest, scene)
    _consolidation(effects, chest, scene, textures)
    _pneumothorax(effects, chest, scene)
    _nodule(effects, chest, scene)


def _fill(effects: Effects, images: Tensor, share: Tensor) -> None:
    effects.filled[images] = torch.maximum(effects.filled[images], share.clamp_(0, 1))


def _on_side(lesion: Lesion[Tensor], chest: Chest, images: Tensor) -> Tensor:
    return (chest.side[images] == lesion.side[images]).float()


def _effusion(effects: Effects, chest: Chest, scene: Scene[Tensor]) -> None:
    """Fluid that stands in the lower lung and climbs the lateral wall (meniscus)."""
    lesion, j = scene.effusion, images_with(scene.effusion.contrast)
    if not len(j):
        return
    floor = scene.anatomy.diaphragm + scene.pose.inspiration
    # A less visible effusion is also a smaller one: density alone would hardly hide it.
    rise = 0.10 + 0.50 * lesion.severity * (0.6 + 0.4 * lesion.height)
    level = floor + 0.06 - lesion.contrast * rise
    level = level[j] + chest.left[j] * scene.anatomy.left_drop[j]
    from_wall = (chest.lateral[j] - chest.off_axis[j]).clamp_min_(0)
    level = level + (1 - bump(from_wall.mul_(1 / 0.12))).mul_(0.13)
    fluid = ramp(chest.plane.y[j] - level, 0.022 + 0.5 * chest.plane.blur)
    fluid = fluid.mul_(_on_side(lesion, chest, j)).mul_(chest.lung[j])
    _fill(effects, j, fluid * (EFFUSION_FILL * lesion.contrast[j]))
    effects.seen["Pleural Effusion"] = j, fluid * (chest.plane.y[j] < chest.dome[j] + 0.02)


def _place(
    lesion: Lesion[Tensor], scene: Scene[Tensor], low: float, high: float, drop: float
) -> tuple[Tensor, Tensor]:
    """A point `(k, 1, 1)` in the lung: `low`..`high` are depths, `drop` a margin at the base."""
    depth = low + (high - low) * lesion.height
    lateral, medial = lung_edges(depth, scene.anatomy)
    x = lesion.side * (medial + (0.32 + 0.47 * lesion.depth) * (lateral - medial))
    reach = scene.anatomy.diaphragm + scene.pose.inspiration - scene.anatomy.lung_apex + drop
    return x, scene.anatomy.lung_apex + depth * reach


def _consolidation(
    effects: Effects, chest: Chest, scene: Scene[Tensor], textures: tuple[Tensor, Tensor]
) -> None:
    """An ill-defined patch, deformed and mottled by the patient's texture."""
    lesion, j = scene.consolidation, images_with(scene.consolidation.contrast)
    if not len(j):
        return
    x, y = _place(lesion, scene, 0.25, 0.80, 0.05)
    radius = 0.13 + 0.11 * lesion.severity[j]
    dx = (chest.plane.x[j] - x[j]).div_(radius)
    dy = (chest.plane.y[j] - y[j]).div_(1.15 * radius)
    away = dx.square_().add_(dy.square_()).add_(1e-4).sqrt_()
    patch = ramp((1 - away).add_(textures[0][j], alpha=0.28), 0.16).mul_(chest.lung[j])
    mottled = textures[1][j].mul_(0.22).add_(0.62).clamp_(0.2, 1)
    strength = CONSOLIDATION_FILL * lesion.contrast[j] * (0.75 + 0.25 * lesion.severity[j])
    _fill(effects, j, mottled.mul_(patch).mul_(strength))
    lung_side = _on_side(lesion, chest, j)
    effects.seen["Consolidation"] = j, patch * (chest.below[j] < 0.5) * lung_side


def _pneumothorax(effects: Effects, chest: Chest, scene: Scene[Tensor]) -> None:
    """Free air around a lung that has shrunk towards its hilum: no vessels, a fine pleural line."""
    lesion, j = scene.pneumothorax, images_with(scene.pneumothorax.contrast)
    if not len(j):
        return
    contrast = lesion.contrast[j]
    retreat = 0.14 + 0.26 * lesion.severity[j]
    anatomy, pose = scene.anatomy, scene.pose
    reach = (anatomy.diaphragm + pose.inspiration + BELOW_DOME - anatomy.lung_apex)[j]
    up, out = chest.hilum_y[j], chest.hilum_x[j]
    # Above the hilum the lung shrinks in both directions; below it the rim thins out to the base.
    taper = (1.08 - chest.depth[j]).mul_(1 / 0.55).clamp_(0, 1)
    depth = chest.depth[j] + torch.where(up < 0, up, 0.0) * (retreat / (1 - retreat)) / reach
    lateral, medial = lung_edges(depth, anatomy, j)
    widened = out / (1 - retreat * taper) + HILUM_X
    gap = torch.minimum(lateral - widened, depth * reach)
    gap = torch.minimum(gap, widened - medial + 0.06)
    gap = gap / _steepness(gap, chest.plane.screen)
    here = chest.lung[j] * _on_side(lesion, chest, j) * ramp(1 - chest.depth[j], 0.06)
    here = here * (1 - chest.below[j])
    free = ramp(-gap, 0.006 + 0.4 * chest.plane.blur).mul_(here)
    effects.vessels[j] *= 1 - free
    width = math.sqrt(0.010**2 + 0.3 * chest.plane.blur**2)
    line = bump((gap / width).square_()).mul_(here).mul_(0.010 / width)
    air = free * chest.air[j]
    effects.added[j] += (line * PLEURAL_LINE - air * FREE_AIR) * contrast
    effects.seen["Pneumothorax"] = j, free * (chest.below[j] < 0.5)


def _steepness(height: Tensor, screen: Tensor) -> Tensor:
    """The length of the gradient `(m, s, s)`, within [0.4, 4]: height / it is about a distance."""
    step = float(screen[1] - screen[0])
    dy, dx = torch.gradient(height, spacing=step, dim=(1, 2))
    return dx.square_().add_(dy.square_()).sqrt_().clamp_(0.4, 4.0)


def _nodule(effects: Effects, chest: Chest, scene: Scene[Tensor]) -> None:
    """A ball."""
    lesion, j = scene.nodule, images_with(scene.nodule.contrast)
    if not len(j):
        return
    x, y = _place(lesion, scene, 0.15, 0.75, 0.0)
    radius = 0.080 + 0.070 * lesion.severity[j]
    dx, dy = chest.plane.x[j] - x[j], chest.plane.y[j] - y[j]
    q = dx.square_().add_(dy.square_()).div_(radius * radius)
    ball = (1.1 - q).clamp_min_(0).sqrt_().mul_(chest.lung[j]).mul_(1 - chest.below[j])
    effects.added[j] += ball * (NODULE * lesion.contrast[j] * (0.75 + 0.5 * lesion.severity[j]))
    effects.seen["Lung Lesion"] = j, (ball > 0) & (q < 1)


def _edema(effects: Effects, chest: Chest, scene: Scene[Tensor], texture: Tensor) -> None:
    """Haze around both hila, short horizontal lines at the flanks and rays towards the hila.

    The lines stand for Kerley B and A lines (fluid in the septa between lobules).
    """
    lesion, j = scene.edema, images_with(scene.edema.contrast)
    if not len(j):
        return
    contrast, severity = lesion.contrast[j], lesion.severity[j]
    x, y = chest.hilum_x[j], chest.hilum_y[j]
    wide = 0.17 + 0.11 * severity
    amount = contrast * (0.05 + 0.95 * severity**3)
    across = (x - 0.13).div_(wide)
    down = (y - 0.08 - 0.10 * (lesion.height[j] - 0.5)).div_(1.35 * wide)
    open_lung = chest.lung[j] * (1 - chest.below[j])
    wing = bump(across.square_().add_(down.square_()).square_().mul_(0.45)).mul_(open_lung)
    uneven = 1 + 0.4 * (lesion.depth[j] - 0.5) * chest.side[j]
    haze = texture[j].mul_(0.22).add_(1).clamp_(0.5, 1.5).mul_(wing).mul_(uneven)
    _fill(effects, j, haze.mul_(EDEMA_FILL * amount))
    lines = _septal_lines(chest, j).mul_(open_lung)
    effects.added[j] += lines * (SEPTAL_LINE * amount)
    effects.vessels[j] *= 1 + 0.15 * contrast * severity
    effects.seen["Edema"] = j, torch.maximum(wing, lines)


def _septal_lines(chest: Chest, j: Tensor) -> Tensor:
    """Lines of the septa, 1 on a line where it is wider than a pixel."""
    blur = chest.plane.blur
    width = math.sqrt(0.006**2 + 0.3 * blur * blur)
    thin = 0.006 / width
    y, from_wall = chest.plane.y[j], chest.lateral[j] - chest.off_axis[j]
    count = y * (1 / 0.055)
    rungs = bump(count.sub_(count.round()).mul_(0.055 / width).square_())
    rungs = rungs.mul_(ramp(0.11 - from_wall, 0.02)).mul_(ramp(from_wall - 0.015, 0.006))
    rungs = rungs.mul_(ramp(y - 0.02, 0.04))
    x, up = chest.hilum_x[j], chest.hilum_y[j]
    radius = (x.square() + up.square()).add_(1e-4).sqrt_()
    turns = torch.atan2(up, x).mul_(15 / math.tau)
    rays = bump(turns.sub_(turns.round()).mul_(radius).mul_(math.tau / (15 * width)).square_())
    rays = rays.mul_(ramp(radius - 0.12, 0.02)).mul_(ramp(0.36 - radius, 0.03))
    return torch.maximum(rungs, rays.mul_(ramp(-0.02 - up, 0.02))).mul_(thin)


@dataclass(frozen=True)
class Breaks:
    """Broken ribs: numbers of the images `(m,)`, gap in the bone and callus around it."""

    images: Tensor
    gap: Tensor
    callus: Tensor


def break_ribs(
    effects: Effects, cage: RibCage, chest: Chest, scene: Scene[Tensor]
) -> Breaks | None:
    """The gaps in two to four neighbouring ribs; shifts one end of each of them in place."""
    lesion, j = scene.fracture, images_with(scene.fracture.contrast)
    if not len(j):
        return None
    severity, index = lesion.severity[j], cage.back.index[j]
    first, many = torch.floor(3 + 4 * lesion.height[j]), 2 + torch.floor(2.99 * severity)
    broken = ((index >= first) & (index < first + many)).float()
    broken = broken.mul_(_on_side(lesion, chest, j)).mul_(
        lesion.contrast[j] * (0.6 + 0.6 * severity)
    )
    along = (cage.out[j] - (0.52 + 0.33 * lesion.depth[j])).mul_(cage.wall[j])
    step = ramp(along, 0.008).mul_(bump((along / 0.16).square_())).mul_(0.062)
    shifted = cage.back.distance[j] + step.mul_(broken)
    cage.back.distance[j] = shifted
    near = (along.abs() < 0.07) & (shifted.abs() < 0.05)
    effects.seen["Fracture"] = j, near & (broken > 0)
    callus = bump((along / 0.055).square_().add_((shifted / 0.05).square_()))
    gap = bump((along / 0.034).square_())
    return Breaks(j, gap.mul_(broken).clamp_(0, 1).mul_(0.95), callus.mul_(broken).mul_(1.8))


def add_devices(effects: Effects, chest: Chest, scene: Scene[Tensor]) -> None:
    """Draw a pacemaker with its lead, a central line or a chest tube."""
    device, j = scene.device, images_with(scene.device.present)
    if not len(j):
        return
    x, y = chest.plane.x[j], chest.plane.y[j]
    kind, place, contrast = device.kind[j], device.place[j], device.contrast[j]
    width = math.sqrt(0.014**2 + 0.3 * chest.plane.blur**2)
    thin = 0.014 / width

    box = ((x - 0.52 - 0.03 * place) / 0.105) ** 4 + ((y + 0.46) / 0.085) ** 4
    can = ramp(1 - box, 0.25)
    down = ((y + 0.46) / 0.75).clamp(0, 1)
    course = 0.44 - 0.36 * torch.sin(0.5 * math.pi * down) + 0.14 * down * down
    lead = bump(((x - course) / width) ** 2) * ((y > -0.46) & (y < 0.32))

    above = (-0.10 - y).clamp(0, 1)
    vein = bump(((x + 0.07 + 0.34 * above * above - 0.02 * place) / width) ** 2)
    vein = vein * ((y > -0.95) & (y < 0.08))

    outward = x * torch.where(place < 0, -1.0, 1.0)
    track = -0.20 + 1.25 * (outward - 0.30) + 0.1 * place
    tube = bump(((y - track) / (1.6 * width)) ** 2) * (outward > 0.28)

    shape = torch.where(kind == 0, torch.maximum(can, lead), torch.where(kind == 1, vein, tube))
    pacemaker = can * DEVICE_CAN + lead * (DEVICE_LINE * thin)
    drawn = torch.where(kind == 0, pacemaker, shape * (DEVICE_LINE * thin))
    effects.added[j] += drawn * contrast
    effects.seen["Support Devices"] = j, shape
