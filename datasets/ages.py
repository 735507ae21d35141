"""Ages in years from how data sets write them, and the bands that become groups."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from datasets.attributes import UNKNOWN, ordered
from datasets.base import ChestXrayDataset

OLDEST = 100
"""Years; a recorded age above is an error (the first release of ChestX-ray14 has up to 414)."""
DICOM = re.compile(r"0*(\d+)\s*([YMWD])", re.IGNORECASE)
"""As DICOM writes ages: "060Y", "011M", "013D"."""
PER_YEAR = {"Y": 1.0, "M": 12.0, "W": 52.1775, "D": 365.25}
ABOUT = re.compile(r"(early|mid|late)?[\s-]*(\d+)'?s", re.IGNORECASE)
"""As clinicians write them: "mid 50s"."""
WITHIN = {"early": 2.0, "mid": 5.0, "late": 8.0, "": 5.0}
"""Years into the decade."""
AT_LEAST = re.compile(r"[>≥]?=?\s*(\d+(?:\.\d+)?)\s*(?:\+|or (?:more|older|over|above))?", re.I)


def years(texts: pd.Series) -> pd.Series:
    """Ages in years as float64, NaN where blank, no age, negative, or above 100.

    Numbers, DICOM ages, "50+", "85 or more" (read as the lower end) and "mid 50s" (55) are read.
    """
    distinct = {text: _years(str(text).strip()) for text in texts.unique()}
    values = texts.map(distinct).astype(np.float64)
    return values.where((values >= 0) & (values <= OLDEST))


def _years(text: str) -> float:
    if match := DICOM.fullmatch(text):
        return float(match[1]) / PER_YEAR[match[2].upper()]
    if match := ABOUT.fullmatch(text):
        return float(match[2]) + WITHIN[(match[1] or "").casefold()]
    if match := AT_LEAST.fullmatch(text):
        return float(match[1])
    return float("nan")


@dataclass(frozen=True)
class AgeBands(ChestXrayDataset):
    """A data set whose ages are grouped into bands of years."""

    age_edges: tuple[int, ...] = (20, 40, 60, 80)
    """Where one band ends and the next begins, in years; the first begins at 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        edges = self.age_edges
        if not edges or list(edges) != sorted(set(edges)) or not 0 < edges[0] <= edges[-1] < OLDEST:
            raise ValueError(
                f"age_edges must rise between 1 and {OLDEST - 1} years, but got "
                f"{', '.join(map(str, edges)) or 'none'}"
            )

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands, such as "0-19", "20-39" and "80+"."""
        starts = (0, *self.age_edges)
        ends = [f"{a}-{b - 1}" for a, b in zip(starts, self.age_edges, strict=False)]
        return (*ends, f"{self.age_edges[-1]}+")

    def age_band(self, ages: pd.Series) -> pd.Categorical[str]:
        """The band of each age in years, "Unknown" for NaN; bands without anybody are kept."""
        place = np.searchsorted(np.array(self.age_edges), ages.fillna(0).to_numpy(), side="right")
        names = np.where(ages.isna().to_numpy(), UNKNOWN, np.array(self.bands)[place])
        return ordered(names, (*self.bands, UNKNOWN), empty=True)
