"""Images per second and core of the phantom."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from datasets.phantom import Phantom
from datasets.phantom_render import render_rows

IMAGES = {32: 1024, 64: 1024, 128: 256, 224: 96}


def measure() -> list[str]:
    """A line per size: images per second on the wall, and milliseconds of CPU per image."""
    torch.set_num_threads(1)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        table = Phantom().table(Path(folder))
        recipe = Path(folder) / str(table.frame["path"].iloc[0]).split("#")[0]
        for size, count in IMAGES.items():
            rows = np.arange(count)
            render_rows(recipe, rows[:64], size)
            wall, cpu = time.perf_counter(), time.process_time()
            render_rows(recipe, rows, size, threads=1)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            lines.append(
                f"phantom {size} px: {count / wall:.0f} images/s on one thread, "
                f"{1e3 * cpu / count:.2f} ms of CPU per image"
                + (" (aim >= 500 images/s)" if size == 64 else "")
            )
    return lines
