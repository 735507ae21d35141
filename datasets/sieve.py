"""Leaving rows out, and counting why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Sieve:
    """Rows of a table, and how many were left out so far, by reason.

    >>> rows = Sieve(pd.DataFrame({"view": ["PA", "L"]}))
    >>> rows = rows.keep(rows.frame["view"] == "PA", "lateral view")
    >>> len(rows.frame), dict(rows.dropped)
    (1, {'lateral view': 1})
    """

    frame: pd.DataFrame
    dropped: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def keep(self, mask: pd.Series | np.ndarray, reason: str) -> Sieve:
        """The rows where `mask` `(n,)` is true; the others are counted under `reason`."""
        kept = np.asarray(mask, dtype=bool)
        out = int((~kept).sum())
        if not out:
            return self
        counted = Counter(dict(self.dropped)) + Counter({reason: out})
        return replace(self, frame=self.frame[kept], dropped=dict(counted))

    def drop(self, reasons: pd.Series | np.ndarray) -> Sieve:
        """The rows whose entry in `reasons` `(n,)` is ""; the others are counted by that text."""
        sieve, texts = self, np.asarray(reasons, dtype=str)
        counted = Counter(dict(self.dropped)) + Counter(texts[texts != ""].tolist())
        return replace(sieve, frame=self.frame[texts == ""], dropped=dict(counted))

    def with_frame(self, frame: pd.DataFrame) -> Sieve:
        """The same counts over another table, such as one with more columns."""
        return replace(self, frame=frame)
