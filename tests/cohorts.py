"""Made tables of patients for tests of folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from datasets.split import Split

FINDINGS = ("Common", "Rare")


def cohort(patients: int = 1000, *, seed: int = 0, name: str = "made", prefix: str = "") -> Split:
    """Patients with one to three images, two attributes and two findings that hang on a group."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
    race = rng.choice(["A", "B", "C"], patients, p=[0.7, 0.25, 0.05])
    frame = pd.DataFrame(
        {
            "patient_id": [f"{prefix}p{i:05}" for i in of],
            "image_id": [f"{prefix}i{i:05}" for i in range(len(of))],
            "path": [f"{i}.png" for i in range(len(of))],
            "origin": "real",
            "sex": rng.choice(["Female", "Male"], patients)[of],
            "race": race[of],
            "Common": (rng.random(len(of)) < 0.3 + 0.2 * (race[of] == "B")).astype(float),
            "Rare": (rng.random(len(of)) < 0.02).astype(float),
        }
    )
    return Split(name, frame, Path("/data"), FINDINGS, ("sex", "race"))
