"""Before and after: a picture in which people see what an anonymiser does, and what it keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datasets.images import open_images
from datasets.pictures import enlarged, save, sheet
from datasets.regions import has_regions, recorded_regions
from datasets.split import Split
from methods.anonymisers.views import Views

SHOWN = 8
"""Images on the sheet."""
LOOKED_AT = 256
"""Images over which the coverage of regions is measured."""
OUTLINE = (255, 170, 0)


def show(views: Views, split: Split, changed: Split, path: Path) -> None:
    """Write a sheet at `path`: images, what of them is kept, and what becomes of them.

    Where the data set brings masks of findings, the log tells which share of them is kept.
    """
    count = min(LOOKED_AT, len(split))
    first = np.arange(len(split)) < count
    before, after = (open_images(s.where(first), views.size).take() for s in (split, changed))
    kept = views.anonymiser.recorded(split.where(first), views.size)
    if kept is None:
        kept = views.fitted().kept(before)
    if kept.any() and has_regions(split):
        views.ctx.log.info("%s", coverage(kept, split.where(first), views.size))
    shown = np.linspace(0, count - 1, min(SHOWN, count)).astype(int)
    outlined = _outlined(before[shown], kept[shown])
    rows = [_coloured(enlarged(before[shown])), outlined, _coloured(enlarged(after[shown]))]
    simulated = "SIMULATED · " if "simulated" in set(split.frame["origin"]) else ""
    named = views.anonymiser.registered_name
    texts = ("before", "kept" if kept.any() else "nothing is kept", f"after {named}")
    captions = [simulated + text for text in texts for _ in shown]
    save(sheet(np.concatenate(rows), captions, columns=len(shown)), path)


def coverage(kept: np.ndarray, split: Split, size: int) -> str:
    """Which share of the pixels of recorded regions is among `kept` bool `(n, s, s)`, as text."""
    masks = recorded_regions(split, size)
    by_finding = [
        f"{name} {kept[masks[:, i]].mean():.0%}"
        for i, name in enumerate(split.findings)
        if masks[:, i].any()
    ]
    union = masks.any(axis=1)
    held = f"{kept[union].mean():.0%}" if union.any() else "none"
    return (
        f"{kept.mean():.0%} of pixels are kept, and of the pixels of recorded regions {held} "
        f"({', '.join(by_finding)})"
    )


def _coloured(images: np.ndarray) -> np.ndarray:
    return np.repeat(images[..., None], 3, axis=-1)


def _outlined(images: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Enlarged images in colour, with a line inside the border of the kept pixels."""
    from scipy.ndimage import binary_erosion

    pictures = _coloured(enlarged(images))
    masks = enlarged(kept)
    inner = np.stack([binary_erosion(mask, iterations=2) for mask in masks])
    pictures[masks & ~inner] = OUTLINE
    return pictures
