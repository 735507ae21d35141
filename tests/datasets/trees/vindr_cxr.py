"""A miniature tree of VinDr-CXR, and of Kaggle's copy: made-up images, faithful headers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from made_dicom import compressed, dicom
from pydicom.uid import JPEG2000Lossless

LOCAL = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture",
    "Consolidation", "Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity",
    "Lung cavity", "Lung cyst", "Mediastinal shift", "Nodule/Mass", "Pleural effusion",
    "Pleural thickening", "Pneumothorax", "Pulmonary fibrosis", "Rib fracture", "Other lesion",
    "COPD", "Lung tumor", "Pneumonia", "Tuberculosis",
)  # fmt: skip
TRAIN_HEADER = ("image_id", "rad_id", *LOCAL, "Other diseases", "No finding")
TEST_HEADER = ("image_id", *LOCAL, "Other disease", "No finding")
KAGGLE_HEADER = ("image_id", "class_name", "class_id", "rad_id", "x_min", "y_min", "x_max", "y_max")


def name(number: int) -> str:
    """A made-up id of 32 hexadecimal digits."""
    return hashlib.md5(f"made {number}".encode()).hexdigest()


def reading(number: int, reader: str, *findings: str) -> Mapping[str, object]:
    """A row of `image_labels_train.csv`."""
    return {"image_id": name(number), "rad_id": reader, **dict.fromkeys(findings, 1)}


def box(number: int, reader: str, finding: str, at: int = 0) -> Mapping[str, object]:
    """A row of Kaggle's `train.csv`; of "No finding" the class is 14 and the box is blank."""
    if finding == "No finding":
        return {"image_id": name(number), "class_name": finding, "class_id": 14, "rad_id": reader}
    return {"image_id": name(number), "class_name": finding, "class_id": at, "rad_id": reader,
            "x_min": 1.0, "y_min": 2.0, "x_max": 30.0, "y_max": 40.0}  # fmt: skip


def labels(
    root: Path,
    train: Iterable[Mapping[str, object]],
    test: Iterable[Mapping[str, object]] = (),
    *,
    folder: str = "annotations",
) -> Path:
    """Write the tables of labels; the folder."""
    place = root / folder
    place.mkdir(exist_ok=True)
    for fold, header, rows in (("train", TRAIN_HEADER, train), ("test", TEST_HEADER, test)):
        listed = [{column: row.get(column, 0) for column in header} for row in rows]
        if listed:
            frame = pd.DataFrame(listed, columns=[*header])
            frame.to_csv(place / f"image_labels_{fold}.csv", index=False)
    return root


def boxes(root: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """Write Kaggle's table; the folder."""
    pd.DataFrame(rows, columns=[*KAGGLE_HEADER]).to_csv(root / "train.csv", index=False)
    return root


def file(root: Path, fold: str, number: int, **tags: Any) -> Path:
    """Write a radiograph in one of the ways that VinDr-CXR has."""
    noise = np.random.default_rng(number).integers(0, 4096, (50 + number, 60)).astype(np.uint16)
    window = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 2048, "WindowWidth": 4096}
    if number % 2:
        window["PhotometricInterpretation"] = "MONOCHROME1"  # type: ignore[assignment]
    made = dicom if number % 3 else lambda pixels, **t: compressed(pixels, JPEG2000Lossless, **t)
    path = root / fold / f"{name(number)}.dicom"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(made(noise, **{**window, **tags}))
    return path


def make(root: Path) -> None:
    """A tree of 16 training and 4 test images, with every trap of tables and tags."""
    said = ("No finding", "Pleural effusion", "Cardiomegaly", "Other diseases")
    train = [
        reading(i, f"R{1 + (i + j) % 17}", said[(i + (j == 2)) % 4])
        for i in range(16) for j in range(3)
    ]  # fmt: skip
    test = [{"image_id": name(i), said[i % 3]: 1, "Other disease": int(i == 19)}
            for i in range(16, 20)]  # fmt: skip
    labels(root, train, test)
    ages = ("045Y", "000Y", "", "081Y", "019Y")
    for i in range(20):
        file(root, "train" if i < 16 else "test", i, PatientSex=("M", "F", "O", "")[i % 4],
             PatientAge=ages[i % 5])  # fmt: skip
