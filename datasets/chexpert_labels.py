"""The fourteen findings that the CheXpert and NegBio labellers look for in reports."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from datasets import tabular
from datasets.mentions import ABSENT, NO_FINDING, PRESENT, UNCERTAIN
from registry import unknown

FOURTEEN = (
    NO_FINDING, "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Lesion", "Lung Opacity",
    "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion",
    "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
"""In the order of Irvin et al., CheXpert, AAAI 2019, Table 1. Files have them in other orders."""
SPELLINGS = {name: (name,) for name in FOURTEEN} | {
    "Lung Opacity": ("Lung Opacity", "Airspace Opacity")
}
"""What a column may be called; the radiologists' test set of MIMIC-CXR has its own word."""


def mentions(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Mentions `(n, 14)` in {1, 0, -1, NaN} from the texts of the columns of `frame`.

    Raises:
        ValueError: a text is another; the message names `path`, row and value.
    """
    allowed = (PRESENT, ABSENT, UNCERTAIN)
    read = {f: tabular.numbers(path, frame[f], allowed=allowed) for f in FOURTEEN}
    return pd.DataFrame(read, index=frame.index).astype(np.float32)


def check_findings(findings: Iterable[str]) -> None:
    """Nothing, if each is one of the fourteen.

    Raises:
        UnknownName: one is not, with the nearest.
        ValueError: none is given.
    """
    listed = tuple(findings)
    for finding in listed:
        if finding not in FOURTEEN:
            raise unknown("finding", finding, FOURTEEN)
    if not listed:
        raise ValueError("findings must name at least one finding, but got none")
