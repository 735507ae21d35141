"""What everything after training sees: a table of predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import pandas as pd

LABEL, TRUE, LOGIT, DECISION = "y:", "true:", "logit:", "decision:"
"""Column prefixes: recorded label, simulated true label, logit, decision of a finding."""


@dataclass(frozen=True)
class Predictions:
    """Predictions of one model for one fold, enough to recompute every number.

    Columns of `frame`: `image`, `patient` (str), `part` (int; which of the k folds predicted the
    row, 0 without k-fold), one column per attribute, and per finding `y:` (recorded label, NaN
    unknown), optionally `true:` (simulated truth), `logit:` (float32; logits rather than
    probabilities, since float32 sigmoids saturate and make false ties) and, once a rule was
    applied, `decision:` (1, 0, or NaN where no threshold could be fitted).

    `groups` freezes the order of each attribute's groups, the same for all methods.

    Raises:
        ValueError: a logit is not finite, or an image stands twice.
    """

    fold: str
    frame: pd.DataFrame
    findings: tuple[str, ...]
    attributes: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        needed = ["image", "patient", "part", *self.attributes]
        needed += [p + f for p in (LABEL, LOGIT) for f in self.findings]
        missing = [c for c in needed if c not in self.frame]
        if missing:
            raise ValueError(f"predictions must have the columns {missing}")
        logits = self.logits()
        if not np.isfinite(logits).all():
            row, column = np.argwhere(~np.isfinite(logits))[0]
            raise ValueError(
                f"logits must be finite, but image {self.frame['image'].iloc[row]!r} has "
                f"{logits[row, column]} for {self.findings[column]!r}"
            )
        repeated = self.frame["image"][self.frame["image"].duplicated()]
        if len(repeated):
            raise ValueError(f"an image must be predicted once, but {repeated.iloc[0]!r} repeats")
        for attribute in self.attributes:
            named = self.frame[attribute].astype(str).unique()
            strange = set(named) - set(self.groups.get(attribute, ()))
            if strange:
                raise ValueError(f"{attribute!r} has groups outside its frozen list: {strange}")

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def has_truth(self) -> bool:
        """Whether simulated true labels stand beside the recorded ones."""
        return all(TRUE + f in self.frame for f in self.findings)

    @property
    def has_decisions(self) -> bool:
        """Whether a rule was applied."""
        return all(DECISION + f in self.frame for f in self.findings)

    def logits(self) -> np.ndarray:
        """Logits `(n, findings)` float32."""
        return self._columns(LOGIT)

    def labels(self, *, true: bool = False) -> np.ndarray:
        """Labels `(n, findings)` float32 in {0, 1, NaN}; recorded ones unless `true`."""
        return self._columns(TRUE if true else LABEL)

    def decisions(self) -> np.ndarray:
        """Decisions `(n, findings)` float32 in {0, 1, NaN}."""
        return self._columns(DECISION)

    def patient_codes(self) -> tuple[np.ndarray, int]:
        """Patient of each row as int64 codes `(n,)` in order of the names, and their number."""
        names, codes = np.unique(self.frame["patient"].to_numpy(dtype=str), return_inverse=True)
        return codes.astype(np.int64), len(names)

    def with_decisions(self, decisions: np.ndarray) -> Self:
        """The same predictions with decisions `(n, findings)`."""
        columns = {DECISION + f: decisions[:, j] for j, f in enumerate(self.findings)}
        return replace(self, frame=self.frame.assign(**columns))

    def _columns(self, prefix: str) -> np.ndarray:
        return self.frame[[prefix + f for f in self.findings]].to_numpy(dtype=np.float32)


def pool(parts: list[Predictions]) -> Predictions:
    """Out-of-fold predictions of k models as one table; `part` says which model made each row."""
    frames = [p.frame.assign(part=i) for i, p in enumerate(parts)]
    return replace(parts[0], frame=pd.concat(frames, ignore_index=True))
