"""A clean miniature tree of a made-up data set, and the data set that reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from PIL import Image

from datasets import ages, tabular
from datasets.attributes import sexes
from datasets.base import FOLD, ChestXrayDataset
from datasets.expected import Expected, ExpectedTable
from datasets.split import Split

FINDINGS = ("Effusion", "Mass")
COLUMNS = ("file", "patient", "sex", "age", "fold", *FINDINGS)
TEST = 136
"""Patients of the test fold: 34 in each cell of a finding and a sex."""
TRAIN, VAL = 48, 16
SIDE = 40


@dataclass(frozen=True)
class Listed(ChestXrayDataset):
    """Pictures in `pictures/`, listed in `list.csv`."""

    registered_name: ClassVar[str] = "listed"
    default_split: ClassVar[str] = "official"

    def expects(self) -> Expected:
        columns = {name: (name,) for name in COLUMNS}
        listed = ExpectedTable(
            files=("list.csv",),
            columns=columns,
            vocabulary={"sex": ("M", "F")},
            numbers=FINDINGS,
            ages=("age",),
            filled=("file", "patient"),
            unique="file",
            patient="patient",
        )
        return Expected((listed,), ("pictures",))

    def table(self, root: Path) -> Split:
        path = tabular.locate(root, "list.csv", of="listed", how_to_get="make it")
        rows = tabular.read(path, {name: (name,) for name in COLUMNS})
        frame = pd.DataFrame({f: tabular.numbers(path, rows[f], allowed=(0, 1)) for f in FINDINGS})
        frame["image_id"] = rows["file"]
        frame["path"] = "pictures/" + rows["file"]
        frame["patient_id"], frame["origin"] = rows["patient"], "real"
        frame["sex"] = sexes(rows["sex"])
        frame["age"] = ages.years(rows["age"])
        frame[FOLD] = rows["fold"]
        return Split("listed", frame, root, FINDINGS, ("sex",))


def make_clean(root: Path) -> None:
    """Two hundred people, one picture each, every cell of the test fold large enough."""
    (root / "pictures").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    folds = ["train"] * TRAIN + ["val"] * VAL + ["test"] * TEST
    for i, fold in enumerate(folds):
        name = f"{i:03d}.png"
        noise = rng.integers(0, 200, (SIDE, SIDE), dtype=np.uint8)
        Image.fromarray(noise).save(root / "pictures" / name)
        rows.append([name, f"p{i}", "MF"[i % 2], 30 + i % 50, fold, i // 2 % 2, i // 4 % 2])
    pd.DataFrame(rows, columns=[*COLUMNS]).to_csv(root / "list.csv", index=False)


def edit(root: Path, column: str, rows: list[int], values: list[object]) -> None:
    """Write values into rows of a column of `list.csv`."""
    frame = pd.read_csv(root / "list.csv", dtype=str)
    frame.loc[rows, column] = [str(v) for v in values]
    frame.to_csv(root / "list.csv", index=False)
