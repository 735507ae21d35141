"""An epoch from the image cache against decoding every file again."""

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

FILES, SIDE, SIZE, BATCH = 200, 1024, 64, 32
TASK = Task(("Edema",), (), {}, ("Edema",))


def measure() -> Iterator[Ratio]:
    """Batches of one epoch from 200 made JPEG files of 1024 px, both ways, on one core."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TRILEMMA_CACHE"] = str(folder / "cache")
        split = _made(folder)
        prepare(split, SIZE)
        rows = Rows(split, TASK, SIZE)
        yield side_by_side(
            f"input of a second epoch, {FILES} files of {SIDE} px to {SIZE} px",
            ">= 10",
            lambda: [len(b.labels) for b in training_loader(rows, BATCH, seed=0)],
            lambda: _decode_all(split),
            pairs=3,
        )


def _decode_all(split: Split) -> None:
    for start in range(0, FILES, BATCH):
        batch = []
        for path in split.frame["path"][start : start + BATCH]:
            with Image.open(split.root / path) as picture:
                small = picture.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
            batch.append(np.asarray(small, np.float32) / 63.75 - 2)
        np.stack(batch)


def _made(folder: Path) -> Split:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (FILES, 32, 32), dtype=np.uint8)
    for i, pixels in enumerate(coarse):
        Image.fromarray(pixels).resize((SIDE, SIDE)).save(folder / f"{i}.jpg", quality=90)
    ids = [f"i{i}" for i in range(FILES)]
    frame = pd.DataFrame(
        {"image_id": ids, "patient_id": ids, "path": [f"{i}.jpg" for i in range(FILES)],
         "origin": "real", "Edema": 0.0}
    )  # fmt: skip
    return Split("all", frame, folder, ("Edema",), ())
