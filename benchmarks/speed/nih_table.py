"""Seconds from the real table of NIH ChestX-ray14 to a checked table of images."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

from datasets.nih_cxr14 import TABLES, NihCxr14

AIM = 3.0
"""Seconds."""
TIMES = 3
IN_A_FOLDER = 10_000


def measure() -> list[str]:
    """A line: reading the table and finding 112,120 files, the fastest and slowest of three."""
    named = os.environ.get("TRILEMMA_DATA")
    if not named or not (Path(named) / "nih-cxr14").is_dir():
        return ["nih-cxr14: not measured, TRILEMMA_DATA names no folder that holds nih-cxr14"]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        images = _tree(Path(named) / "nih-cxr14", root)
        took = []
        for _ in range(TIMES):
            started = time.perf_counter()
            table = NihCxr14().table(root)
            took.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return [
        f"nih-cxr14: {len(table)} rows with {images} files in folders of {IN_A_FOLDER} read in "
        f"{min(took):.2f}-{max(took):.2f} s (aim {AIM:.0f} s), peak of the process {peak:.2f} GiB"
    ]


def _tree(source: Path, root: Path) -> int:
    """The real table beside empty files and lists, as it is downloaded; how many files."""
    for path in source.iterdir():
        if path.name.removesuffix(".gz") in TABLES:
            shutil.copy(path, root)
    names = NihCxr14().table(root).frame["image_id"]
    for start in range(0, len(names), IN_A_FOLDER):
        inside = root / f"images_{start // IN_A_FOLDER + 1:03d}" / "images"
        inside.mkdir(parents=True)
        for name in names[start : start + IN_A_FOLDER]:
            (inside / name).touch()
    test = names.str[:8].isin(names.str[:8].drop_duplicates()[::10])
    (root / "train_val_list.txt").write_text("\n".join(names[~test]))
    (root / "test_list.txt").write_text("\n".join(names[test]))
    return len(names)
