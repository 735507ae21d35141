"""A folder as `python -m datasets embed` writes it, made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

GROUPS = {"sex": ["Female", "Male"], "race": ["A", "B", "C"]}
FINDINGS = ["Cardiomegaly", "No Finding"]
WIDTH = 16


def meta(**changes: Any) -> dict[str, Any]:
    """What `meta.json` holds."""
    return {
        "encoder": {"file": "weights.safetensors", "sha256": "ab" * 32, "backbone": "densenet121",
                    "image_size": 224, "channels": 1, "scale": [-2.0, 2.0]},
        "width": WIDTH, "images": 80, "dataset": "somewhere", "data_version": "1",
        "data_fields": {}, "content": "0123", "findings": FINDINGS, "attributes": GROUPS,
        "terms": "open", "kind": "real", "reidentification_allowed": True, "ids": "raw",
        "unlearnable": [], "primary_contrasts": {"sex": ["Male", "Female"]}, "intersections": [],
        "dropped": {"lateral view": 3}, "notes": [], "format": 1, **changes,
    }  # fmt: skip


def make(root: Path, **changes: Any) -> None:
    """Forty patients with two images each; the first finding shows in the first number."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(40), 2)
    present = rng.random(80) < 0.5
    frame = pd.DataFrame(
        {
            "image_id": [f"i{i}" for i in range(80)],
            "patient_id": [f"p{p}" for p in patient],
            "origin": "real",
            "sex": pd.Categorical(np.array(GROUPS["sex"])[patient % 2]),
            "race": pd.Categorical(np.array(GROUPS["race"])[patient % 3 % 2]),
            "Cardiomegaly": present.astype(np.float32),
            "No Finding": np.where(np.arange(80) % 9, 1.0 - present, np.nan).astype(np.float32),
            "fold": np.array(["train"] * 40 + ["val"] * 16 + ["audit"] * 12 + ["test"] * 12),
        }
    )
    who = rng.normal(size=(40, WIDTH))[patient]
    vectors = who + 0.3 * rng.normal(size=(80, WIDTH))
    vectors[:, 0] = 3 * present - 1.5 + 0.2 * rng.normal(size=80)
    frame.to_parquet(root / "table.parquet", index=False)
    np.save(root / "embeddings.npy", vectors.astype(np.float32))
    (root / "meta.json").write_text(json.dumps(meta(**changes)))
