"""Bringing a data set into the image cache, beside what Pillow alone takes; what it is good for.

Files are made as large as radiographs are; several names of one file stand for several files where
more are needed than were made.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.speed.timing import Ratio, side_by_side
from datasets.images import prepare
from datasets.split import Split
from methods.base import Task
from methods.loader import Rows, training_loader

WIDTH, HEIGHT, SIZE, BATCH = 2048, 2500, 224, 32
FILES, FEWER = 200, 40
"""Of JPEG, and of each kind of PNG."""
NAMES = 5
"""Of each file where two processes are compared with one, so that their start does not count."""
TASK = Task(("Edema",), (), {}, ("Edema",))


def measure() -> Iterator[str]:
    """Lines of ratios, side by side: one core, two cores, and epochs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = {kind: _made(folder / kind, kind) for kind in ("jpeg", "png", "png16")}
        for kind, split in made.items():
            yield str(_one_core(kind, split, folder))
        yield str(_two_cores(made["jpeg"], folder))
        yield str(_epochs(made["jpeg"], folder))


def _one_core(kind: str, split: Split, folder: Path) -> Ratio:
    return side_by_side(
        f"preparation on one core, {len(split)} {kind} files of {WIDTH} x {HEIGHT} to {SIZE} px, "
        "beside Pillow's decode and resize",
        ">= 0.9",
        lambda: _prepared(split, folder, workers=1),
        lambda: [_plain(split.root / path) for path in split.frame["path"]],
        pairs=5,
    )


def _two_cores(split: Split, folder: Path) -> Ratio:
    many = _named_again(split)
    return side_by_side(
        f"preparation of {len(many)} jpeg files in two processes, beside one",
        ">= 1.8 where two cores are idle",
        lambda: _prepared(many, folder, workers=2),
        lambda: _prepared(many, folder, workers=1),
        pairs=3,
    )


def _epochs(split: Split, folder: Path) -> Ratio:
    _prepared(split, folder, workers=1)
    rows = Rows(split, TASK, SIZE)
    return side_by_side(
        f"an epoch from the cache, {len(split)} jpeg files, beside decoding them again",
        ">= 10",
        lambda: [len(b.labels) for b in training_loader(rows, BATCH, seed=0)],
        lambda: _decoded_again(split),
        pairs=3,
    )


def _prepared(split: Split, folder: Path, *, workers: int) -> None:
    """Prepare into a cache that is new."""
    os.environ["TRILEMMA_CACHE"] = tempfile.mkdtemp(dir=folder)
    prepare(split, SIZE, workers=workers)


def _plain(path: Path) -> np.ndarray:
    """What a loader without a cache does; of 16 bits the upper 8."""
    with Image.open(path) as opened:
        deep = opened.mode == "I;16"
        upper = (np.asarray(opened) >> 8).astype(np.uint8) if deep else None
        picture = opened.convert("L") if upper is None else Image.fromarray(upper)
    return np.asarray(picture.resize((SIZE, SIZE)))


def _decoded_again(split: Split) -> None:
    paths = [split.root / path for path in split.frame["path"]]
    for start in range(0, len(paths), BATCH):
        np.stack([_plain(p).astype(np.float32) / 63.75 - 2 for p in paths[start : start + BATCH]])


def _made(folder: Path, kind: str) -> Split:
    """Files with the noise and the smooth shades of radiographs."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 3, (HEIGHT + FILES, WIDTH))
    count = FILES if kind == "jpeg" else FEWER
    paths = []
    for i in range(count):
        coarse = Image.fromarray(rng.uniform(30, 220, (10, 8)).astype(np.float32))
        shades = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        values = np.clip(shades + noise[i : i + HEIGHT], 0, 255)
        paths.append(f"{i}.{'jpg' if kind == 'jpeg' else 'png'}")
        deep = np.uint16 if kind == "png16" else np.uint8
        picture = Image.fromarray((values * (256 if kind == "png16" else 1)).astype(deep))
        # Little compression of PNG, since making the files is not measured.
        picture.save(folder / paths[-1], quality=95, compress_level=1)
    return _split(folder, paths)


def _named_again(split: Split) -> Split:
    """The same files under several names each."""
    paths = []
    for again in range(NAMES):
        for path in split.frame["path"]:
            paths.append(f"{again}-{path}")
            (split.root / paths[-1]).hardlink_to(split.root / path)
    return _split(split.root, paths)


def _split(folder: Path, paths: list[str]) -> Split:
    frame = pd.DataFrame({"image_id": paths, "patient_id": paths, "path": paths, "origin": "real",
                          "Edema": 0.0})  # fmt: skip
    return Split("all", frame, folder, ("Edema",), ())
