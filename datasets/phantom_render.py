"""Pixels and masks of a phantom recipe; the same for any chunk size, row subset or thread count."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from datasets import phantom_body as body
from datasets.phantom_anatomy import (
    Chest,
    make_chest,
    make_plane,
    make_ribs,
    ramp,
    rib_profile,
    vessels,
)
from datasets.phantom_cohort import FINDINGS, OPACITIES, Cohort, make_cohort
from datasets.phantom_detector import expose
from datasets.phantom_lesions import Effects, add_devices, add_lung_findings, break_ribs, no_effects
from datasets.phantom_population import Population, read_recipe
from datasets.phantom_traits import Scene, leaves, rebuild

SIZES = (32, 256)
"""Smallest and largest side of an image in pixels."""
CHUNK_PIXELS = 1 << 16
"""Pixels drawn at once: about 40 float fields of this size fit the cache of one core."""
TEXTURE_GRID = 14
"""Knots per side of the tissue texture."""
_TEXTURE, _VISIT_TEXTURE, _NOISE = 21, 22, 23


@dataclass(frozen=True)
class Regions:
    """Where things are in rendered images."""

    findings: tuple[str, ...]
    masks: np.ndarray
    """`(k, findings, size, size)` bool; empty where the finding is absent."""
    boxes: np.ndarray
    """`(k, findings, 4)` x0, y0, x1, y1 in pixels, the last ones exclusive; NaN where absent."""
    lungs: np.ndarray
    """`(k, size, size)` bool; above the diaphragm."""
    heart: np.ndarray
    """`(k, size, size)` bool."""


def render_rows(recipe: Path, rows: np.ndarray, size: int, threads: int = 1) -> np.ndarray:
    """Images `(k, size, size)` uint8 of rows of a recipe's table, in the order of `rows`.

    Raises:
        FileNotFoundError, ValueError: the recipe is absent, foreign, or the size or a row is out
            of range.
    """
    return render_population(read_recipe(recipe), rows, size, threads)


def render_population(
    population: Population, rows: np.ndarray, size: int, threads: int = 1
) -> np.ndarray:
    """Images `(k, size, size)` uint8 of rows of a population's table.

    Raises:
        ValueError: the size or a row is out of range.
    """
    _, rows = _checked(population, rows, size)
    images = np.empty((len(rows), size, size), dtype=np.uint8)

    def work(part: slice) -> None:
        with torch.inference_mode(), _flushed():
            drawing = draw(population, rows[part], size)
            images[part] = drawing.image.numpy()

    parts = _parts(len(rows), size)
    with _one_thread():
        if threads > 1:
            with ThreadPoolExecutor(
                threads, initializer=torch.set_num_threads, initargs=(1,)
            ) as pool:
                list(pool.map(work, parts))
        else:
            for part in parts:
                work(part)
    return images


def regions(recipe: Path, rows: np.ndarray, size: int) -> Regions:
    """Masks and boxes of all findings, lungs and heart, for rows of a recipe's table.

    Lung Opacity is the union of its kinds; No Finding is nowhere; the mask of Cardiomegaly is the
    heart.

    Raises:
        FileNotFoundError, ValueError: as `render_rows`.
    """
    population = read_recipe(recipe)
    cohort, rows = _checked(population, rows, size)
    masks = np.zeros((len(rows), len(FINDINGS), size, size), dtype=bool)
    lungs = np.zeros((len(rows), size, size), dtype=bool)
    heart = np.zeros_like(lungs)
    with _one_thread():
        for part in _parts(len(rows), size):
            with torch.inference_mode(), _flushed():
                drawing = draw(population, rows[part], size)
            chest = drawing.chest
            lungs[part] = ((chest.lung > 0.5) & (chest.below < 0.5)).numpy()
            heart[part] = (chest.heart > 0.5).numpy()
            for name, (images, presence) in drawing.effects.seen.items():
                masks[part, FINDINGS.index(name)][images.numpy()] = (presence.float() > 0.5).numpy()
    enlarged = FINDINGS.index("Cardiomegaly")
    masks[:, enlarged] = heart & cohort.truth[rows, enlarged][:, None, None]
    kinds = [FINDINGS.index(name) for name in OPACITIES]
    masks[:, FINDINGS.index("Lung Opacity")] = masks[:, kinds].any(1)
    return Regions(FINDINGS, masks, boxes_of(masks), lungs, heart)


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """Bounding boxes `(..., 4)` x0, y0, x1, y1 of masks `(..., s, s)`; NaN for an empty mask."""
    size = masks.shape[-1]
    rows: np.ndarray = np.asarray(masks.any(-1))
    columns: np.ndarray = np.asarray(masks.any(-2))
    box = np.stack(
        [
            columns.argmax(-1),
            rows.argmax(-1),
            size - columns[..., ::-1].argmax(-1),
            size - rows[..., ::-1].argmax(-1),
        ],
        axis=-1,
    ).astype(np.float64)
    box[~rows.any(-1)] = np.nan
    return box


@dataclass(frozen=True)
class Drawing:
    """A chunk of images with the fields from which it was composed."""

    image: Tensor
    chest: Chest
    effects: Effects


def draw(population: Population, rows: np.ndarray, size: int) -> Drawing:
    """The drawing of some rows at once."""
    cohort = make_cohort(population)
    scene = _scene_of(population, rows)
    plane = make_plane(scene, size)
    chest = make_chest(plane, scene)
    textures = _textures(population, cohort, rows, chest, scene)
    effects = no_effects(chest.air)
    add_lung_findings(effects, chest, scene, (textures[2], textures[1]))
    cage = make_ribs(chest, scene)
    breaks = break_ribs(effects, cage, chest, scene)
    back = rib_profile(cage.back, chest, scene, last=10, thickness=1.0)
    if breaks is not None:
        j = breaks.images
        back[j] = back[j] * (1 - breaks.gap) + breaks.callus
    # The front half ends where cartilage begins.
    front = rib_profile(cage.front, chest, scene, last=7, thickness=1.12)
    ribs = back.add_(front.mul_(ramp(cage.out - 0.42, 0.05)), alpha=0.62).mul_(cage.gain)
    add_devices(effects, chest, scene)
    attenuation = _compose(chest, scene, textures, effects, ribs)
    noise = _normals(cohort, rows, (population.cohort, _NOISE), (size, size), by_visit=True)
    return Drawing(expose(attenuation, noise, plane, scene.acquisition), chest, effects)


def _compose(
    chest: Chest, scene: Scene[Tensor], textures: tuple[Tensor, ...], effects: Effects, ribs: Tensor
) -> Tensor:
    """The total attenuation `(k, s, s)`: soft tissue, minus air, plus everything in it."""
    anatomy, rows = scene.anatomy, chest.plane.rows
    coarse, fine, patchy = textures
    outline = body.outline(chest, scene)
    middle = body.mediastinum(chest, scene)
    air = (chest.air * (1 - 0.82 * chest.heart)).mul_(1 - 0.85 * middle)
    top = rows(-0.70, 0.10)
    arch = body.aortic_knob(chest, scene, top)
    air[:, top] *= 1 - 0.5 * arch

    total = body.soft_tissue(chest, scene, outline).mul_(patchy.mul(0.025).add_(0.92))
    total.sub_((1 - effects.filled).mul_(air).mul_(0.98 + anatomy.emphysema))
    tree = vessels(chest, scene, coarse).mul_(fine.mul(0.35).add_(0.8)).mul_(anatomy.vessel_density)
    tree = tree.add_(fine, alpha=0.035).add_(patchy, alpha=0.02)
    total.add_(tree.mul_(air).mul_(effects.vessels).mul_(1 - 0.6 * effects.filled))
    root = rows(-0.85, 0.70)
    total[:, root] += (
        body.hila(chest, root).mul_(chest.lung[:, root]).mul_(effects.vessels[:, root]).mul_(0.22)
    )
    total.add_(chest.heart_path, alpha=0.13).add_(middle.mul_(outline.torso), alpha=0.10)
    total.add_((chest.below * outline.inside), alpha=0.24).add_(effects.added)
    total[:, top] += arch.mul_(0.14)
    neck = rows(-9, -0.10)
    total[:, neck] -= body.trachea(chest, scene, neck).mul_(0.22)
    total.add_(_bones(chest, scene, outline, ribs).mul_(anatomy.bone))
    front = rows(-0.45, 9)
    total[:, front] += body.breasts(chest, scene, front).mul_(0.24)
    under = rows(0.10, 9)
    total[:, under] -= body.stomach_gas(chest, scene, under).mul_(0.42 * scene.acquisition.gas)
    return total


def _bones(chest: Chest, scene: Scene[Tensor], outline: body.Outline, ribs: Tensor) -> Tensor:
    rows = chest.plane.rows
    bones = ribs.mul_(0.21)
    blades = rows(-0.80, 0.20)
    bones[:, blades] += body.shoulder_blades(chest, scene, blades).mul_(0.13)
    bones = bones.mul_(outline.inside)
    collar = rows(-1.20, -0.10)
    bones[:, collar] += body.clavicles(chest, scene, collar).mul_(0.26)
    arms = rows(-0.80, -0.35)
    bones[:, arms] += body.arm_bones(chest, arms).mul_(0.25)
    return bones.add_(body.spine(chest, scene, outline), alpha=0.12)


def _textures(
    population: Population, cohort: Cohort, rows: np.ndarray, chest: Chest, scene: Scene[Tensor]
) -> tuple[Tensor, ...]:
    """Three channels of tissue texture `(k, s, s)`, fixed to the anatomy of the patient."""
    shape = (3, TEXTURE_GRID, TEXTURE_GRID)
    shared = population.texture_identity
    grid = _normals(cohort, rows, (population.cohort, _TEXTURE), shape, by_visit=False)
    if shared < 1:
        own = _normals(cohort, rows, (population.cohort, _VISIT_TEXTURE), shape, by_visit=True)
        grid = grid * shared**0.5 + own * (1 - shared) ** 0.5
    x = chest.plane.x * (1 / 0.95)
    y = (chest.plane.y - chest.depth * scene.pose.inspiration).mul_(1 / 0.95)
    sampled = functional.grid_sample(
        grid, torch.stack([x, y], -1), padding_mode="reflection", align_corners=False
    )
    return sampled.unbind(1)


def _normals(
    cohort: Cohort,
    rows: np.ndarray,
    key: tuple[int, int],
    shape: tuple[int, ...],
    *,
    by_visit: bool,
) -> Tensor:
    """Standard normal numbers `(k, *shape)` float32 that depend on patient (and visit) alone."""
    out = np.empty((len(rows), *shape), dtype=np.float32)
    for at, row in enumerate(rows):
        visit = int(cohort.visit[row]) + 1 if by_visit else 0
        seed = np.random.SeedSequence([*key, int(cohort.patient[row]), visit])
        np.random.Generator(np.random.SFC64(seed)).standard_normal(out=out[at], dtype=np.float32)
    return torch.from_numpy(out)


@lru_cache(maxsize=4)
def _scene_table(population: Population) -> np.ndarray:
    """All scene parameters `(parameters, n)` float32, in the order of `leaves`."""
    return np.stack([*leaves(make_cohort(population).scene)]).astype(np.float32)


def _scene_of(population: Population, rows: np.ndarray) -> Scene[Tensor]:
    values = torch.from_numpy(_scene_table(population)[:, rows])[:, :, None, None]
    return cast("Scene[Tensor]", rebuild(make_cohort(population).scene, iter(values.unbind(0))))


def _checked(population: Population, rows: np.ndarray, size: int) -> tuple[Cohort, np.ndarray]:
    if not SIZES[0] <= size <= SIZES[1]:
        raise ValueError(
            f"a phantom image must measure {SIZES[0]} to {SIZES[1]} pixels, but got size {size}; "
            "choose a size inside these limits"
        )
    cohort, rows = make_cohort(population), np.asarray(rows, dtype=np.int64)
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(cohort):
        raise ValueError(
            f"rows must lie in 0..{len(cohort) - 1}, but got {rows.min()}..{rows.max()}; "
            "use the table of the same recipe"
        )
    return cohort, rows


def _parts(count: int, size: int) -> list[slice]:
    step = max(1, CHUNK_PIXELS // (size * size))
    return [slice(i, min(i + step, count)) for i in range(0, count, step)]


_THREADS = threading.Lock()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Draw with one torch thread per chunk, and restore the caller's number."""
    with _THREADS:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def _flushed() -> Iterator[None]:
    """Treat denormal numbers as 0: they are about ten times slower and cannot be seen."""
    before = float(torch.tensor(1e-39) * 1) != 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(not before)
