"""A miniature tree of MIMIC-CXR tables with an embedding for each frontal image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datasets.mimic_cxr import MimicCxr
from trees import mimic_cxr
from trees.tfrecords import embedding

RELEASE = "generalized-image-embeddings-for-the-mimic-chest-x-ray-dataset-1.0"
WIDTH = 24


def vector(row: int) -> np.ndarray:
    """The made-up embedding of one image."""
    return np.random.default_rng([row, 7]).normal(size=WIDTH).astype(np.float32)


def make(root: Path) -> None:
    """The tables, and one TFRecord per frontal image below the folder of the release."""
    mimic_cxr.make(root)
    for row, path in enumerate(MimicCxr().table(root).frame["path"]):
        file = root / RELEASE / Path(path).with_suffix(".tfrecord")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(embedding(vector(row)))
