"""A table as somebody might have it: usual and unusual names, blanks, an absolute path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

HEADER = "Image Path,Patient ID,Gender,Age,race,Edema,Pneumonia"


def write(root: Path, lines: Sequence[str], header: str = HEADER, name: str = "list.csv") -> None:
    """A table of lines below a header."""
    (root / name).write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")


def make(root: Path) -> None:
    """Fourteen people: labels of every kind, a blank sex and age, one image by absolute path."""
    rng = np.random.default_rng(0)
    (root / "scans").mkdir()
    lines = []
    for i in range(20):
        file = root / "scans" / f"{i}.png"
        Image.fromarray(rng.integers(0, 255, (60, 50), np.uint8)).save(file)
        path = str(file) if i == 5 else f"scans/{i}.png"
        sex, age = ("M", "f", "", "Female")[i % 4], "" if i == 3 else 25 + 3 * i
        label = ("1", "0", "", "-1", "1.0")[i % 5]
        lines.append(f"{path},p{i % 14},{sex},{age},{('White', 'Black')[i % 2]},{label},{i % 2}")
    write(root, lines)
