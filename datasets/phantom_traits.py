"""Parameter records of one simulated image: who is drawn, how they stand, what they have.

Each record exists in two forms: over a cohort, with arrays `(n,)`, and over a chunk being drawn,
with tensors `(k, 1, 1)`. Lengths are in half image widths: the plane is [-1, 1] x [-1, 1], x to
the right of the image (the patient's left), y down. `normal` is a standard normal draw.
"""

# ruff: noqa: RUF009 - `trait` and `phase` return `dataclasses.field`.
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from scipy.special import ndtr

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class Trait:
    """How an anatomical trait is distributed: a clipped normal whose mean moves with sex and age.

    `female` is added for women, `age` per 20 years above 55; `sd_female` replaces `sd` for women.
    A `phase` is instead a uniform angle in radians.
    """

    mean: float = 0.0
    sd: float = 0.0
    female: float = 0.0
    age: float = 0.0
    low: float = -np.inf
    high: float = np.inf
    sd_female: float | None = None
    phase: bool = False

    def draw(self, normal: np.ndarray, female: np.ndarray, age: np.ndarray) -> np.ndarray:
        """Values `(n,)` from standard normal draws, sex (1 female) and age in units of 20 years."""
        if self.phase:
            return 2 * np.pi * ndtr(normal)
        sd = np.where(female == 1, self.sd if self.sd_female is None else self.sd_female, self.sd)
        value = self.mean + self.female * female + self.age * age + sd * normal
        return np.clip(value, self.low, self.high)


def trait(mean: float, sd: float, **rest: Any) -> Any:
    """A field drawn as `Trait(mean, sd, **rest)`."""
    return field(metadata={"trait": Trait(mean, sd, **rest)})


def phase() -> Any:
    """A field drawn as a uniform angle."""
    return field(metadata={"trait": Trait(phase=True)})


@dataclass(frozen=True)
class Anatomy(Generic[T]):
    """Persistent traits of a patient, and their distribution in the population."""

    lung_width: T = trait(0.79, 0.035, female=-0.045)
    lung_apex: T = trait(-0.74, 0.025, female=0.03)
    apex_x: T = trait(0.34, 0.02)
    apex_bluntness: T = trait(0.0, 0.25, low=-0.8, high=0.8)
    lung_medial: T = trait(0.12, 0.015)
    diaphragm: T = trait(0.50, 0.035, female=-0.05)
    left_drop: T = trait(0.055, 0.02)
    dome_right: T = trait(0.13, 0.03)
    dome_left: T = trait(0.14, 0.03)
    rib_pitch: T = trait(0.136, 0.009)
    rib_top: T = trait(-0.80, 0.035)
    rib_slope: T = trait(0.20, 0.04)
    rib_fan: T = trait(0.014, 0.004)
    rib_width: T = trait(0.030, 0.003, female=-0.003)
    rib_bow: T = trait(0.05, 0.02)
    rib_jitter: T = trait(0.0, 0.12)
    rib_phase: T = phase()
    bone: T = trait(1.0, 0.08, age=-0.18, female=-0.06)
    clavicle_y: T = trait(-0.60, 0.03)
    clavicle_rise: T = trait(0.10, 0.04)
    clavicle_curve: T = trait(0.03, 0.01)
    clavicle_tilt: T = trait(0.0, 0.02)
    scapula: T = trait(0.0, 0.05)
    scoliosis: T = trait(0.0, 0.022)
    scoliosis_phase: T = phase()
    vertebra: T = trait(0.125, 0.008)
    vertebra_phase: T = phase()
    knob_radius: T = trait(0.055, 0.008, age=0.014, low=0.02, high=0.12)
    knob_y: T = trait(-0.30, 0.025)
    mediastinum: T = trait(0.10, 0.012, age=0.012)
    heart_tilt: T = trait(0.60, 0.13)
    heart_aspect: T = trait(0.74, 0.05)
    heart_x: T = trait(0.10, 0.02)
    heart_y: T = trait(0.28, 0.025)
    heart_ratio: T = trait(0.455, 0.022, age=0.012, female=0.012)
    """Cardiothoracic ratio without cardiomegaly."""
    hilum_right: T = trait(0.0, 0.02)
    hilum_left: T = trait(0.0, 0.02)
    fat: T = trait(0.30, 0.12, low=0.05, high=0.8)
    breast: T = trait(0.06, 0.05, female=0.49, sd_female=0.18, low=0.0, high=1.1)
    breast_x: T = trait(0.40, 0.03)
    breast_y: T = trait(0.26, 0.05, age=0.03)
    breast_size: T = trait(0.27, 0.025)
    kyphosis: T = trait(0.02, 0.012, age=0.022, low=-0.02, high=0.09)
    emphysema: T = trait(0.0, 0.06)
    vessel_density: T = trait(0.30, 0.05)
    vessel_warp: T = phase()
    vessel_right_coarse: T = phase()
    vessel_right_medium: T = phase()
    vessel_right_fine: T = phase()
    vessel_left_coarse: T = phase()
    vessel_left_medium: T = phase()
    vessel_left_fine: T = phase()


@dataclass(frozen=True)
class Pose(Generic[T]):
    """How the patient stood at one visit: rotation (radians), zoom, shifts, yaw, inspiration."""

    rotation: T
    zoom: T
    shift_x: T
    shift_y: T
    yaw: T
    inspiration: T
    anteroposterior: T
    """1 where the picture was taken front to back, which magnifies the heart."""


@dataclass(frozen=True)
class Acquisition(Generic[T]):
    """Detector and display of one image, and the nuisances in the picture."""

    gamma: T
    exposure: T
    sharpness: T
    noise: T
    window: T
    collimation: T
    collimated_edge: T
    gas: T
    gas_x: T
    marker: T
    marker_x: T
    marker_y: T


@dataclass(frozen=True)
class Lesion(Generic[T]):
    """A finding in one image: contrast (0 where absent), severity, side (±1), place in [0, 1]."""

    contrast: T
    severity: T
    side: T
    height: T
    depth: T


@dataclass(frozen=True)
class Device(Generic[T]):
    """A support device of kind 0 (pacemaker), 1 (central line) or 2 (chest tube)."""

    present: T
    kind: T
    place: T
    contrast: T


@dataclass(frozen=True)
class Scene(Generic[T]):
    """Everything that decides an image, apart from the seeds of its texture and noise."""

    anatomy: Anatomy[T]
    pose: Pose[T]
    acquisition: Acquisition[T]
    enlargement: T
    """Added to the cardiothoracic ratio by cardiomegaly."""
    effusion: Lesion[T]
    consolidation: Lesion[T]
    pneumothorax: Lesion[T]
    nodule: Lesion[T]
    fracture: Lesion[T]
    edema: Lesion[T]
    device: Device[T]


def leaves(record: Any) -> Iterator[Any]:
    """The values of a record and of the records in it, in the order of their fields."""
    for item in fields(record):
        value = getattr(record, item.name)
        if is_dataclass(value):
            yield from leaves(value)
        else:
            yield value


def rebuild(record: S, values: Iterator[Any]) -> S:
    """A record like `record` over new values, taken in the order of `leaves`."""
    parts = {}
    for item in fields(record):  # type: ignore[arg-type]
        value = getattr(record, item.name)
        parts[item.name] = rebuild(value, values) if is_dataclass(value) else next(values)
    return type(record)(**parts)
