"""A miniature of the COVID-19 image data collection."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image


def make(root: Path) -> None:
    """Twelve people, one image each."""
    (root / "images").mkdir()
    columns = ["patientid", "offset", "sex", "age", "finding", "view", "modality", "folder",
               "filename", "url", "license"]  # fmt: skip
    rng = np.random.default_rng(0)
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for i in range(12):
            pixels = rng.integers(0, 255, (70, 60), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / f"{i}.png")
            finding = ("COVID-19", "No Finding")[i % 2]
            writer.writerow([i, 0, "MF"[i % 2], 40 + i, finding, "PA", "X-ray", "images",
                             f"{i}.png", "", "CC BY"])  # fmt: skip
