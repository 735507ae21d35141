"""Attributes that are recorded differently at a patient's visits: one value per patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from datasets.attributes import UNKNOWN
from datasets.base import ChestXrayDataset
from registry import unknown

POLICIES = ("most_frequent", "first", "drop")
CHANGES = "patient recorded under two groups of"
"""Begins the reason under which the policy "drop" counts rows; the attribute follows."""


@dataclass(frozen=True)
class ChangingAttributes(ChestXrayDataset):
    """A data set that records an attribute of one patient several times."""

    changing: str = "most_frequent"
    """Which value a patient with several has: most_frequent of the known ones (the earlier at a
    tie), first (the first record in the file, known or not, as most studies do), or drop (the
    patient is left out, and counted)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.changing not in POLICIES:
            raise unknown("policy of changing attributes", self.changing, POLICIES)


def settled(patient: pd.Series, value: pd.Series, policy: str) -> pd.Series:
    """One value per patient, indexed by patient id, in order of first appearance.

    `patient` and `value` `(n,)` are records in the order of the file. But under "first", "Unknown"
    counts as a value only where a patient has no other. Under "drop" a patient with two known
    values gets "".
    """
    records = pd.DataFrame({"patient": patient.to_numpy(), "value": value.to_numpy(dtype=object)})
    first = records.drop_duplicates("patient").set_index("patient")["value"]
    if policy == "first":
        return first
    order, known = first.index, records[records["value"] != UNKNOWN]
    known = known.assign(at=np.arange(len(known)))
    counted = known.groupby(["patient", "value"], sort=False, observed=True)["at"].agg(
        ["size", "min"]
    )
    counted = counted.reset_index().sort_values(["size", "min"], ascending=[False, True])
    chosen = counted.drop_duplicates("patient").set_index("patient")["value"]
    if policy == "drop":
        several = counted["patient"][counted["patient"].duplicated()].unique()
        chosen = chosen.mask(chosen.index.isin(several), "")
    return chosen.reindex(order).fillna(UNKNOWN)
