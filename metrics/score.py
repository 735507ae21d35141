"""One number of a run, with its count, its interval and, where it is undefined, the reason."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

import pandas as pd

MACRO = "macro"
"""Finding name of an average over findings."""
ALL = "all"
"""Group name of everybody."""


@dataclass(frozen=True)
class Score:
    """A measured number.

    `group` is a group of `attribute`, a contrast "B - A" (the rate of B minus the rate of A), or
    "all". `n`, `positives`, `negatives` count patients; a patient with images of both classes
    counts in both. `low` and `high` bound the 95 % patient-bootstrap interval. `se` is the standard
    error of this value alone, where it is known: the interval of a contrast holds for all contrasts
    of its attribute together, and is wider. `labels` says against which labels: "recorded", or
    "true" where the truth is simulated.

    Raises:
        ValueError: the value is NaN without a note that says why.
    """

    metric: str
    value: float
    finding: str = MACRO
    attribute: str = ""
    group: str = ALL
    n: int = 0
    positives: int = 0
    negatives: int = 0
    low: float = math.nan
    high: float = math.nan
    se: float = math.nan
    labels: str = "recorded"
    note: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.value) and not self.note:
            raise ValueError(
                f"an undefined score must say why, but {self.metric} of {self.finding} "
                f"({self.attribute or 'all'}: {self.group}) is NaN without a note"
            )
        if math.isinf(self.value):
            raise ValueError(f"a score must be finite or NaN, but {self.metric} is {self.value}")


def to_frame(scores: Iterable[Score]) -> pd.DataFrame:
    """Scores as a tidy table, one row each, columns as the fields of `Score`."""
    return pd.DataFrame([asdict(s) for s in scores], columns=[f.name for f in fields(Score)])
