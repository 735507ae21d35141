"""Where findings are: the masks that a data set brings with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from datasets.faults import image_names
from datasets.images import by_root, cache_dir
from datasets.sources import find_sources
from datasets.split import Split


def recorded_regions(split: Split, size: int) -> np.ndarray:
    """Where each finding is, bool `(n, findings, size, size)`, in the order of rows and findings.

    An absent finding has an empty mask, so a mask tells a label: what is fitted or released must
    not use it unless it says so.

    Raises:
        ValueError: the data set has no masks for some of its images.
    """
    masks = np.zeros((len(split), len(split.findings), size, size), dtype=bool)
    names = image_names(split)
    for _, part in by_root(split):
        masks[names.isin(image_names(part)).to_numpy()] = _regions_below(part, size)
    return masks


def _regions_below(split: Split, size: int) -> np.ndarray:
    """The same for images that all lie below the split's root."""
    codes, paths = pd.factorize(split.frame["path"].astype(str))
    sources, faults = find_sources(split.root, paths, cache_dir())
    without = [fault.path for fault in faults] + [s.path for s in sources if not s.is_recipe]
    if without:
        raise ValueError(
            f"recorded regions must be known of every image of {split.name!r}, but "
            f"{len(without)} of {len(paths)} have none, such as {without[0]!r}; of the built-in "
            "data sets the phantom has them"
        )
    # Imported here: it needs torch, and reading tables does not.
    from datasets.phantom_render import regions

    files = np.array([source.file for source in sources])
    rows = np.array([source.row for source in sources])
    masks = np.zeros((len(paths), len(split.findings), size, size), dtype=bool)
    for file in np.unique(files):
        here = np.flatnonzero(files == file)
        found = regions(Path(file), rows[here], size)
        masks[here] = found.masks[:, [found.findings.index(name) for name in split.findings]]
    return masks[codes]


def has_regions(split: Split) -> bool:
    """Whether the data set brings masks for every image of the split."""
    return bool(split.frame["path"].astype(str).str.contains(".phantom#", regex=False).all())
