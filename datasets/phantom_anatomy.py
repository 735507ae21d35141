"""The healthy chest: smooth fields over the image plane, in the frame of the patient.

All fields are tensors `(k, s, s)` unless said otherwise. Edges and bumps have compact support, so
a structure may be computed in the window where it can be seen without changing any pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from datasets.phantom_traits import Anatomy, Scene

BELOW_DOME = 0.20
"""The lung outline reaches this far below the mean height of the diaphragm."""
HILUM_X = 0.19
"""Distance of each hilum from the midline."""
ALL = slice(None)


def ramp(distance: Tensor, width: float | Tensor) -> Tensor:
    """A soft step in [0, 1]: 0.5 at distance 0, 0 and 1 beyond two widths."""
    return (distance * (0.25 / width)).add_(0.5).clamp_(0, 1)


def bump(q: Tensor) -> Tensor:
    """About exp(-q) for q >= 0, but exactly 0 from q = 8 on: (1 - q/8)^8."""
    # A cut-off saves the denormal numbers of exp and lets structures be drawn in windows.
    t = (1 - q * 0.125).clamp_min_(0)
    t = t.mul_(t)
    t = t.mul_(t)
    return t.mul_(t)


def tube(q: Tensor) -> Tensor:
    """The profile of a bone over squared distance: a core with a brighter cortical rim."""
    return bump(q * q).mul_(0.55).add_(bump(((q - 0.55) / 0.45).square_()), alpha=0.45)


def lung_edges(
    depth: Tensor, anatomy: Anatomy[Tensor], images: Tensor | slice = ALL
) -> tuple[Tensor, Tensor]:
    """Distance from the midline of the lateral and the medial lung edge.

    `depth` is 0 at the apex and 1 at the base, for the images of the chunk named by `images`.
    """
    apex_x, blunt = anatomy.apex_x[images], anatomy.apex_bluntness[images]
    o = 1 - depth.clamp(0, 1)
    o2 = o * o
    lateral = (1 - o2 * (o * blunt).add_(1 - blunt)).clamp_min_(1e-6).sqrt_()
    lateral = lateral.mul_(anatomy.lung_width[images] - apex_x).add_(apex_x)
    medial = (1 - (o2 * o2).mul_(o2)).clamp_min_(1e-6).sqrt_()
    medial = medial.mul_(anatomy.lung_medial[images] - apex_x).add_(apex_x)
    return lateral, medial


@dataclass(frozen=True)
class Plane:
    """The pixels of a chunk of images, seen from the patient."""

    x: Tensor
    y: Tensor
    axis_y: Tensor
    """Height of each row at the middle of the image `(k, s, 1)`."""
    screen: Tensor
    """Pixel centres along one side of the image `(s,)`."""
    blur: float
    """Half width of a pixel, by which edges are softened."""

    @cached_property
    def _rows(self) -> tuple[list[float], list[float]]:
        ends = self.y[:, :, [0, -1]]
        return ends.amin((0, 2)).tolist(), ends.amax((0, 2)).tolist()

    def rows(self, top: float, bottom: float) -> slice:
        """The rows in which some pixel of some image lies between two heights."""
        low, high = self._rows
        inside = [i for i in range(len(low)) if high[i] >= top and low[i] <= bottom]
        return slice(inside[0], inside[-1] + 1) if inside else slice(0, 0)


def make_plane(scene: Scene[Tensor], size: int) -> Plane:
    """The plane of `size` x `size` images."""
    pose = scene.pose
    step = 2.0 / size
    screen = (torch.arange(size) + 0.5) * step - 1
    across, down = screen.view(1, 1, size), screen.view(1, size, 1)
    cosine, sine = torch.cos(pose.rotation) / pose.zoom, torch.sin(pose.rotation) / pose.zoom
    return Plane(
        x=(across * cosine - pose.shift_x) - down * sine,
        y=across * sine + (down * cosine - pose.shift_y),
        axis_y=down * cosine - pose.shift_y,
        screen=screen,
        blur=0.55 * step,
    )


@dataclass(frozen=True)
class Chest:
    """The fields that normal structures and findings share."""

    plane: Plane
    depth: Tensor
    """0 at the lung apex, 1 at the base."""
    left: Tensor
    """1 on the patient's left."""
    off_axis: Tensor
    """Distance from the midline."""
    lateral: Tensor
    medial: Tensor
    lung: Tensor
    """1 inside the lung outline, whatever fills it and also below the diaphragm."""
    dome: Tensor
    """Height of the diaphragm."""
    below: Tensor
    """1 below the diaphragm."""
    air: Tensor
    """Length of the path through air, about 1 at most."""
    heart: Tensor
    """1 inside the heart."""
    heart_path: Tensor
    hilum_x: Tensor
    hilum_y: Tensor
    """Position relative to the hilum of the side, x away from the midline."""
    curve: Tensor
    """Where the spine stands in each row `(k, s, 1)`."""

    @property
    def side(self) -> Tensor:
        """-1 on the patient's right, +1 on the left."""
        return self.left * 2 - 1


def make_chest(plane: Plane, scene: Scene[Tensor]) -> Chest:
    """Lungs, diaphragm and heart."""
    a, pose, x, y = scene.anatomy, scene.pose, plane.x, plane.y
    left = (x >= 0).float()
    off_axis = x.abs()
    base = a.diaphragm + pose.inspiration
    depth = (y - a.lung_apex) * (1 / (base + BELOW_DOME - a.lung_apex))
    lateral, medial = lung_edges(depth, a)

    u = (off_axis + 0.02 * left).sub_(0.40).mul_(1 / 0.36)
    u2 = u * u
    height = _by_side(left, a.dome_right, a.dome_left)
    rise = torch.where(u > 0, 0.9, 0.15).mul_(u2).add_(0.8).mul_(u2).sub_(0.5)
    dome = rise.mul_(height).add_(left * a.left_drop).add_(base)
    under = y - dome
    below = ramp(under, 0.012 + 0.5 * plane.blur)

    middle, half = (lateral + medial) * 0.5, (lateral - medial) * 0.5
    r = (off_axis - middle) / half.clamp_min(0.02)
    lung = ramp((1 - r.abs()).mul_(half), 0.012 + 0.5 * plane.blur)
    lung = lung.mul_(ramp(y - a.lung_apex, 0.02))
    # Some 18 % of the lung lies behind the dome and shows faintly through it.
    hidden = (below * 0.82).add_(ramp(under - 0.07, 0.05), alpha=0.18)
    r2 = r.mul_(r)
    chord = (1 - 0.8 * r2.mul_(r2)).clamp_min_(0.02).sqrt_()
    deep = torch.sin(depth.clamp(0, 1).mul_(0.5 * math.pi)).mul_(0.38).add_(0.62)
    air = chord.mul_(lung).mul_(deep).mul_(1 - hidden)
    heart, heart_path = _heart(plane, scene)
    hilum = _by_side(left, a.hilum_right, a.hilum_left - 0.04) + (0.4 * pose.inspiration - 0.04)
    return Chest(
        plane=plane, depth=depth, left=left, off_axis=off_axis, lateral=lateral, medial=medial,
        lung=lung, dome=dome, below=below, air=air, heart=heart, heart_path=heart_path,
        hilum_x=off_axis - HILUM_X, hilum_y=y - hilum,
        curve=a.scoliosis * torch.sin(2.2 * plane.axis_y + a.scoliosis_phase) - pose.yaw,
    )  # fmt: skip


def _by_side(left: Tensor, on_right: Tensor, on_left: Tensor) -> Tensor:
    """`(k, 1, 1)` values spread over the plane by side."""
    return left * (on_left - on_right) + on_right


def _heart(plane: Plane, scene: Scene[Tensor]) -> tuple[Tensor, Tensor]:
    """The silhouette (1 inside) of a tilted ellipse and the path through it."""
    a, pose = scene.anatomy, scene.pose
    ratio = (a.heart_ratio + scene.enlargement).clamp(0.36, 0.70)
    half = ratio * a.lung_width * (1 + 0.07 * pose.anteroposterior)
    cosine, sine = torch.cos(a.heart_tilt), torch.sin(a.heart_tilt)
    long = half / torch.sqrt(cosine * cosine + (a.heart_aspect * sine) ** 2)
    short = long * a.heart_aspect
    dx = plane.x - (a.heart_x + 1.5 * pose.yaw + 0.30 * (half - 0.33))
    dy = plane.y - (a.heart_y + 0.8 * pose.inspiration + 0.25 * (0.33 - half))
    along = dx * (cosine / long) + dy * (sine / long)
    across = dy * (cosine / short) - dx * (sine / short)
    r2 = along.square_().add_(across.square_())
    inside = ramp((1 - (r2 + 1e-6).sqrt_()).mul_(short), 0.016 + 0.5 * plane.blur)
    return inside, (1.25 - r2).clamp_min_(0.25).sqrt_().mul_(inside)


def vessels(chest: Chest, scene: Scene[Tensor], texture: Tensor) -> Tensor:
    """Branching vessels: ridges along warped rays from each hilum, finer further out.

    `texture` is one channel of the patient's tissue texture.
    """
    a, blur = scene.anatomy, chest.plane.blur
    radius = (chest.hilum_x.square() + chest.hilum_y.square()).add_(1e-4).sqrt_()
    # Angles in units of turns: the nearest ridge is then a matter of rounding.
    turns = torch.atan2(chest.hilum_y, chest.hilum_x).mul_(1 / math.tau)
    warp = torch.sin(radius * 5.5 + (a.vessel_warp - 1) + 2 * chest.left).mul_(0.20 / math.tau)
    turns = turns.add_(warp).add_(texture, alpha=0.05 / math.tau)
    turns = turns.add_(chest.left, alpha=0.2 / math.tau)
    total = torch.zeros_like(turns)
    for branches, inner, outer, width, right, left in (
        (3, 0.02, 0.34, 0.020, a.vessel_right_coarse, a.vessel_left_coarse),
        (6, 0.12, 0.52, 0.013, a.vessel_right_medium, a.vessel_left_medium),
        (11, 0.26, 0.75, 0.009, a.vessel_right_fine, a.vessel_left_fine),
    ):
        drawn = math.sqrt(width * width + 0.3 * blur * blur)
        at = (turns * branches).add_(_by_side(chest.left, right, left), alpha=1 / math.tau)
        at = at.sub_(at.round()).mul_(radius).mul_(math.tau / (branches * drawn * math.sqrt(2)))
        ridge = bump(at.square_()).mul_(ramp(radius - inner, 0.04))
        total.add_(ridge.mul_(ramp(outer - radius, 0.06)), alpha=width / drawn)
    return total


@dataclass(frozen=True)
class Ribs:
    """Geometry of one branch of all ribs, which fractures need too."""

    index: Tensor
    """Number of the nearest rib."""
    distance: Tensor
    """Signed height above its axis."""
    slope: Tensor
    """By how much `distance` must be divided to be perpendicular."""


@dataclass(frozen=True)
class RibCage:
    """Both branches of the ribs."""

    back: Ribs
    front: Ribs
    out: Tensor
    """Distance from the spine as a share of the chest wall's, in [0, 0.985]."""
    wall: Tensor
    """Distance of the chest wall from the spine."""
    gain: Tensor
    """Factor for grazing rays; 0 outside the chest wall."""


def make_ribs(chest: Chest, scene: Scene[Tensor]) -> RibCage:
    """The geometry of all ribs.

    Ribs are hoops on an elliptic cylinder; one field counts them, so that all ribs of a branch
    are drawn at once.
    """
    a, blur, y = scene.anatomy, chest.plane.blur, chest.plane.y
    u = (chest.plane.x - chest.curve).abs_()
    wall = (chest.lateral + 0.015).clamp_min_(0.1)
    out = (u / wall).clamp_(0, 0.985)
    cosine = (1 - out * out).sqrt_()
    bow = (out * cosine).mul_(2 * a.rib_bow)
    grazing = (cosine * cosine).add_(0.15).rsqrt_().mul_(0.30).add_(0.70)
    limit = ramp((wall + 0.012).sub_(u), 0.008 + 0.5 * blur)
    slope = a.rib_slope + 0.6 * scene.pose.inspiration
    pitch = a.rib_pitch + 0.12 * scene.pose.inspiration
    steep = out / (cosine * wall).add_(0.05)
    branches = []
    for hoop in ((1 - cosine).sub_(bow), (1 + cosine).add_(bow, alpha=0.5)):
        spacing = hoop * a.rib_fan + pitch
        count = (y - a.rib_top - hoop * slope).div_(spacing)
        count = torch.sin(count * 1.7 + a.rib_phase).mul_(a.rib_jitter).add_(count)
        index = count.round()
        branches.append(
            Ribs(
                index=index,
                distance=count.sub_(index).mul_(spacing),
                slope=(index * a.rib_fan + slope).mul_(steep).square_().mul_(0.6).add_(1).sqrt_(),
            )
        )
    behind = ramp(out - 0.14, 0.05).mul_(0.65).add_(0.35)
    gain = grazing.mul_(limit).mul_(behind).mul_(1 - 0.5 * chest.below)
    return RibCage(branches[0], branches[1], out, wall, gain)


def rib_profile(
    ribs: Ribs, chest: Chest, scene: Scene[Tensor], *, last: int, thickness: float
) -> Tensor:
    """The path through the ribs 1 to `last` of one branch."""
    blur = chest.plane.blur
    width = scene.anatomy.rib_width * thickness
    drawn = torch.sqrt(width * width + 0.5 * blur * blur)
    profile = tube(ribs.distance.div(ribs.slope * drawn).square_())
    shown = (ribs.index >= 1).logical_and_(ribs.index <= last)
    return profile.mul_(shown).mul_(width / drawn)
