"""What three radiologists said of one image as one label: the tables of VinDr-CXR and of Kaggle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from datasets import tabular
from datasets.base import ChestXrayDataset
from registry import unknown

LOCAL = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture",
    "Consolidation", "Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity",
    "Lung cavity", "Lung cyst", "Mediastinal shift", "Nodule/Mass", "Pleural Effusion",
    "Pleural Thickening", "Pneumothorax", "Pulmonary fibrosis", "Rib fracture", "Other lesion",
)  # fmt: skip
GLOBAL = ("COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other diseases", "No Finding")
FINDINGS = (*LOCAL, *GLOBAL)
"""As VinDr-CXR spells them, save for the capitals of those that other data sets have too."""
ALSO: Mapping[str, tuple[str, ...]] = {"Other diseases": ("Other disease",)}
"""Other spellings: the test set has the singular."""
MAJORITY, ANY, ALL = "majority", "any", "all"
RULES = (MAJORITY, ANY, ALL)
ABSENT_CLASS = 14
"""Kaggle's class for a reader who found nothing."""


@dataclass(frozen=True)
class SeveralReaders(ChestXrayDataset):
    """A data set whose images were labelled by several readers each."""

    readers: str = MAJORITY
    """When a finding is present: majority of the readers say so (blank at a tie), any, or all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.readers not in RULES:
            raise unknown("rule of readers", self.readers, RULES)

    def merged(self, votes: pd.DataFrame) -> pd.DataFrame:
        """One row of labels per image, indexed by `image`, in order of first appearance.

        `votes` has `image`, `reader` and a column per finding in {0, 1, NaN}. A reader who stands
        twice said what either row says; who left a finding blank has no vote on it.
        """
        once = votes.groupby(["image", "reader"], sort=False).max()
        share = once.groupby("image", sort=False).mean()
        if self.readers == ANY:
            return (share > 0).astype(np.float32).where(share.notna())
        if self.readers == ALL:
            return (share == 1).astype(np.float32).where(share.notna())
        return (share > 0.5).astype(np.float32).where(share.notna() & (share != 0.5))


def labels_file(path: Path, *, by_reader: bool) -> pd.DataFrame:
    """`image`, `reader` and those of `FINDINGS` that an `image_labels_…` table has.

    Raises:
        ValueError: a column is missing, or a label is neither 0 nor 1.
    """
    wanted: dict[str, tuple[str, ...]] = {"image": ("image_id",), "reader": ("rad_id",)}
    wanted |= {name: (name, *ALSO.get(name, ())) for name in FINDINGS}
    optional = FINDINGS if by_reader else ("reader", *FINDINGS)
    held = tabular.read(path, wanted, optional=optional)
    there = [name for name in FINDINGS if name in held]
    if not there:
        raise tabular.missing_column(path, (FINDINGS[-1],), tabular.header(path))
    for name in there:
        held[name] = tabular.numbers(path, held[name], allowed=(0, 1))
    if "reader" not in held:
        held["reader"] = "consensus"
    return held[["image", "reader", *there]]


def boxes_file(path: Path) -> pd.DataFrame:
    """The same from Kaggle's table of boxes: what a reader drew no box of is absent.

    Raises:
        ValueError: a column is missing, or a class is not known.
    """
    wanted = {"image": ("image_id",), "reader": ("rad_id",), "class": ("class_name",),
              "number": ("class_id",)}  # fmt: skip
    held = tabular.read(path, wanted)
    nothing = tabular.numbers(path, held["number"]) == ABSENT_CLASS
    spelt = {name.casefold(): name for name in FINDINGS}
    name = held["class"].str.casefold().map(spelt).mask(nothing, "No Finding")
    if name.isna().any():
        row = int(np.flatnonzero(name.isna())[0])
        raise ValueError(
            f"column 'class_name' of {path} must hold findings of VinDr-CXR, but row {row + 1} "
            f"(line {row + 2}) holds {held['class'].iloc[row]!r}; restore the file"
        )
    drawn = pd.crosstab([held["image"], held["reader"]], name).clip(upper=1).astype(np.float64)
    columns = [f for f in FINDINGS if f in drawn]
    order = pd.MultiIndex.from_frame(held[["image", "reader"]].drop_duplicates())
    return drawn[columns].reindex(order).reset_index().rename_axis(columns=None)
