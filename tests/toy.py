"""Toy images whose first finding is easy to see, and their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from datasets.split import Split

FINDINGS = ("Cardiomegaly", "No Finding")
GROUPS = {"sex": ("Female", "Male"), "race": ("A", "B", "C")}
SIZE = 32


def toy_split(root: Path, name: str, patients: range, *, seed: int = 0) -> Split:
    """Two images per patient; a bright square tells whether the first finding is there."""
    rng = np.random.default_rng([seed, patients.start])
    rows, pixels = [], []
    for patient in patients:
        for visit in range(2):
            positive = int(rng.random() < 0.5)
            image = rng.integers(0, 60, (SIZE, SIZE))
            image[10:20, 10:20] += 120 * positive
            pixels.append(image.astype(np.uint8))
            rows.append(
                {
                    "image_id": f"p{patient}-{visit}",
                    "patient_id": f"p{patient}",
                    "path": f"{name}.npy#{len(rows)}",
                    "origin": "simulated",
                    "sex": ("Female", "Male")[patient % 2],
                    "race": "AAABBC"[patient % 6],
                    "Cardiomegaly": float(positive),
                    "No Finding": float(1 - positive),
                }
            )
    np.save(root / f"{name}.npy", np.stack(pixels))
    frame = pd.DataFrame(rows)
    for attribute, groups in GROUPS.items():
        frame[attribute] = pd.Categorical(frame[attribute], categories=groups)
    return Split(name, frame, root, FINDINGS, tuple(GROUPS))
