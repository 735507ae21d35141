"""The body around the lungs: mediastinum, spine, shoulders, soft tissue.

Each function returns the attenuation of its structures inside a window of rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from datasets.phantom_anatomy import Chest, bump, ramp, tube
from datasets.phantom_traits import Scene


@dataclass(frozen=True)
class Outline:
    """Where the body is."""

    torso: Tensor
    """1 below the line of the shoulders and the neck."""
    inside: Tensor
    """1 inside the torso or an arm."""


def outline(chest: Chest, scene: Scene[Tensor]) -> Outline:
    """The body's outline: neck, shoulders, flanks, arms."""
    y, ax, fat = chest.plane.y, chest.off_axis, scene.anatomy.fat
    away = (ax - 0.20).clamp_min_(0)
    slope = (away * 0.18).add_(0.19).mul_(away)
    top = slope.sub_((0.25 - ax).clamp_min_(0), alpha=2.2).add_(scene.anatomy.kyphosis - 0.90)
    torso = ramp(y - top, 0.015)
    flank = 0.87 + 0.12 * fat + 0.05 * ramp(chest.plane.axis_y - 0.3, 0.2)
    within = ramp(flank - ax, 0.012)
    arm = ramp((ax * 0.9).sub_(y).sub_(0.62), 0.03)
    return Outline(torso, within.add_((1 - within).mul_(arm)).mul_(torso))


def soft_tissue(chest: Chest, scene: Scene[Tensor], body: Outline) -> Tensor:
    """The path through soft tissue without breasts."""
    round_ = (1 - chest.off_axis.square().mul_(1 / 1.15**2)).clamp_min_(0).sqrt_()
    return round_.mul_(0.42).add_(0.58).mul_(body.inside).mul_(1 + 0.35 * scene.anatomy.fat)


def mediastinum(chest: Chest, scene: Scene[Tensor]) -> Tensor:
    """1 inside the band between the lungs."""
    y = chest.plane.axis_y
    width = scene.anatomy.mediastinum + 0.05 * ramp(-0.62 - y, 0.06) + 0.04 * ramp(y - 0.05, 0.1)
    return ramp(width - (chest.plane.x - (scene.pose.yaw + 0.01)).abs_(), 0.02)


def aortic_knob(chest: Chest, scene: Scene[Tensor], rows: slice) -> Tensor:
    """1 inside the arch of the aorta."""
    a = scene.anatomy
    dx = chest.plane.x[:, rows] - (0.115 + scene.pose.yaw)
    dy = chest.plane.y[:, rows] - a.knob_y
    return bump((dx.square_().add_(dy.square_()) / a.knob_radius**2).square_())


def trachea(chest: Chest, scene: Scene[Tensor], rows: slice) -> Tensor:
    """1 inside the windpipe."""
    dx = chest.plane.x[:, rows] - (scene.pose.yaw + 0.002)
    return bump(dx.mul_(1 / 0.034).square_()).mul_(ramp(-0.20 - chest.plane.y[:, rows], 0.03))


def hila(chest: Chest, rows: slice) -> Tensor:
    """1 in the middle of a hilum."""
    q = chest.hilum_x[:, rows].square().mul_(1 / 0.006)
    return bump(q.add_(chest.hilum_y[:, rows].square(), alpha=1 / 0.014))


def spine(chest: Chest, scene: Scene[Tensor], body: Outline) -> Tensor:
    """Vertebral bodies and their pedicles."""
    a = scene.anatomy
    off = (chest.plane.x - chest.curve).abs_()
    angle = chest.plane.axis_y * (math.tau / a.vertebra) + a.vertebra_phase
    column = ramp(0.078 - off, 0.014).mul_(1 + 0.22 * torch.cos(angle))
    pedicles = bump((off - 0.05).mul_(1 / 0.018).square_())
    return column.add_(pedicles.mul_(0.225 * (1 + torch.cos(angle + 1)))).mul_(body.torso)


def clavicles(chest: Chest, scene: Scene[Tensor], rows: slice) -> Tensor:
    """Both collar bones."""
    a, pose, blur = scene.anatomy, scene.pose, chest.plane.blur
    out = (chest.plane.x[:, rows] - 1.4 * pose.yaw).abs_().sub_(0.07).mul_(1 / 0.60)
    rise = torch.sin(out * math.tau).mul_(a.clavicle_curve).sub_(out * a.clavicle_rise)
    rise = rise.add_(chest.side[:, rows] * a.clavicle_tilt)
    rise = rise.add_(a.clavicle_y + 0.3 * pose.inspiration)
    width = math.sqrt(0.030**2 + 0.4 * blur * blur)
    q = (chest.plane.y[:, rows] - rise).mul_(1 / width).square_()
    return tube(q).mul_(ramp(out, 0.03)).mul_(ramp(1.05 - out, 0.04))


def shoulder_blades(chest: Chest, scene: Scene[Tensor], rows: slice) -> Tensor:
    """Both scapulae."""
    y = chest.plane.y[:, rows]
    off = chest.off_axis[:, rows] - (0.752 + 0.5 * scene.anatomy.scapula)
    off = off.sub_(y, alpha=0.16)
    plate = ramp(1 - off.mul(1 / 0.13).square_(), 0.2).mul_(0.5)
    plate = plate.add_(bump(off.add_(0.12).mul_(1 / 0.022).square_()), alpha=0.6)
    return plate.mul_(ramp(y + 0.66, 0.04)).mul_(ramp(0.02 - y, 0.05))


def arm_bones(chest: Chest, rows: slice) -> Tensor:
    """The heads of both humeri."""
    dx, dy = chest.off_axis[:, rows] - 1.02, chest.plane.y[:, rows] + 0.58
    return ramp(0.15 - dx.square_().add_(dy.square_()).sqrt_(), 0.015)


def breasts(chest: Chest, scene: Scene[Tensor], rows: slice) -> Tensor:
    """The path through both breasts, with the fold below."""
    a = scene.anatomy
    dx = (chest.off_axis[:, rows] - a.breast_x) / a.breast_size
    down = chest.plane.y[:, rows] - a.breast_y
    r2 = dx.square_().add_((down / (1.05 * a.breast_size)).square_())
    disc = (1 - r2).clamp_min_(0).sqrt_().mul_(ramp(1 - r2, 0.08))
    disc = disc.mul_(ramp(down, 0.1).mul_(0.45).add_(0.55))
    fold = bump((r2 - 0.93).mul_(1 / 0.10).square_()).mul_(ramp(down - 0.04, 0.04))
    return disc.add_(fold, alpha=0.16).mul_(a.breast)


def stomach_gas(chest: Chest, scene: Scene[Tensor], rows: slice) -> Tensor:
    """1 inside the gas bubble below the left dome."""
    dx = (chest.plane.x[:, rows] - (0.40 + scene.acquisition.gas_x)).mul_(1 / 0.16)
    dy = (chest.plane.y[:, rows] - chest.dome[:, rows]).sub_(0.12).mul_(1 / 0.075)
    q = dx.square_().add_(dy.square_()).square_()
    return bump(q).mul_(chest.below[:, rows]).mul_(chest.left[:, rows])
