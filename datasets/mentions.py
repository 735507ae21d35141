"""Labels mined from reports: present, absent, uncertain, or not mentioned; what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from datasets.base import ChestXrayDataset
from registry import unknown

NO_FINDING, DEVICES = "No Finding", "Support Devices"
PRESENT, ABSENT, UNCERTAIN = 1.0, 0.0, -1.0
AS_LABEL = {"ignore": np.nan, "zeros": ABSENT, "ones": PRESENT}
BLANKS = ("zero", "ignore", "zero-if-no-finding")


@dataclass(frozen=True)
class Mentions(ChestXrayDataset):
    """A data set whose labels say 1, 0, -1 (uncertain) or nothing (not mentioned).

    Source: Irvin et al., CheXpert, AAAI 2019 (arXiv 1901.07031), section 3, "U-Ignore", "U-Zeros",
    "U-Ones".
    """

    uncertain: tuple[str, ...] = ("ignore",)
    """Uncertain labels: ignore (left out), zeros or ones, and exceptions as FINDING=POLICY, such as
    "ignore,Atelectasis=ones"."""
    blank: str = "zero"
    """Findings that a report does not mention: zero (read as absent, as most studies do), ignore
    (left out), or zero-if-no-finding (absent only where the report says "No Finding", which says
    nothing of support devices)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blank not in BLANKS:
            raise unknown("policy of blank labels", self.blank, BLANKS)
        for text in self.uncertain:
            if (policy := text.rpartition("=")[2]) not in AS_LABEL:
                raise unknown("policy of uncertain labels", policy, AS_LABEL)
        general = [text for text in self.uncertain if "=" not in text]
        if len(general) > 1:
            raise ValueError(
                f"uncertain must name one policy for all findings, but got {', '.join(general)}; "
                "write exceptions as FINDING=POLICY"
            )
        named = [text.rpartition("=")[0] for text in self.uncertain if "=" in text]
        if twice := [finding for finding in named if named.count(finding) > 1]:
            raise ValueError(f"uncertain must name a finding once, but names {twice[0]!r} twice")

    def labelled(self, mentioned: pd.DataFrame) -> pd.DataFrame:
        """Labels in {0, 1, NaN} from mentions `(n, findings)` in {1, 0, -1, NaN}.

        For blanks by "No Finding" its column must be among them.

        Raises:
            UnknownName: an exception names a finding that is not there.
            ValueError: blanks depend on "No Finding", which is not there.
        """
        policies = self._policies(list(mentioned.columns))
        made = {}
        if self.blank == "zero-if-no-finding" and NO_FINDING not in mentioned:
            raise ValueError(
                f"blank=zero-if-no-finding needs labels of {NO_FINDING!r}, but there are only "
                f"those of {', '.join(map(str, mentioned.columns))}; choose zero or ignore"
            )
        clear = mentioned.get(NO_FINDING, pd.Series(np.nan, index=mentioned.index)) == PRESENT
        for finding in mentioned.columns:
            said = mentioned[finding].astype(np.float64)
            labels = said.mask(said == UNCERTAIN, AS_LABEL[policies[finding]])
            if self.blank == "zero":
                labels = labels.mask(said.isna(), ABSENT)
            elif self.blank == "zero-if-no-finding" and finding != DEVICES:
                labels = labels.mask(said.isna() & clear, ABSENT)
            made[finding] = labels
        return pd.DataFrame(made, index=mentioned.index)

    def _policies(self, findings: list[str]) -> Mapping[str, str]:
        general = next((text for text in self.uncertain if "=" not in text), "ignore")
        chosen = dict.fromkeys(findings, general)
        for text in self.uncertain:
            finding, equals, policy = text.rpartition("=")
            if equals and finding not in chosen:
                raise unknown("finding", finding, findings)
            if equals:
                chosen[finding] = policy
        return chosen
