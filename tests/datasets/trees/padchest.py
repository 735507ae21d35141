"""A miniature tree of PadChest: made-up people, faithful header and words."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
HEADER = (
    "", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth",
    "PatientSex_DICOM", "ViewPosition_DICOM", "Projection", "MethodProjection", "Pediatric",
    "Modality_DICOM", "Manufacturer_DICOM", "PhotometricInterpretation_DICOM",
    "PixelRepresentation_DICOM", "PixelAspectRatio_DICOM", "SpatialResolution_DICOM",
    "BitsStored_DICOM", "WindowCenter_DICOM", "WindowWidth_DICOM", "Rows_DICOM", "Columns_DICOM",
    "XRayTubeCurrent_DICOM", "Exposure_DICOM", "ExposureInuAs_DICOM", "ExposureTime",
    "RelativeXRayExposure_DICOM", "ReportID", "Report", "MethodLabel", "Labels", "Localizations",
    "LabelsLocalizationsBySentence", "labelCUIS", "LocalizationsCUIS",
)  # fmt: skip
SECRET = "paciente inventado, sin hallazgos"
"""What every made report says; it must stand nowhere else."""
Row = Mapping[str, object]


def image(number: int, patient: int, labels: object = "['normal']", **more: object) -> Row:
    """A row of the table."""
    return {
        "": number, "ImageID": f"{number:05d}_made.png", "ImageDir": number % 3,
        "StudyDate_DICOM": 20140915, "StudyID": f"study{number}", "PatientID": f"p{patient:04d}",
        "PatientBirth": "1954.0", "PatientSex_DICOM": "F", "Projection": "PA", "Pediatric": "No",
        "BitsStored_DICOM": 12, "ReportID": 1000 + number, "Report": SECRET,
        "MethodLabel": "RNN_model", "Labels": labels, **more,
    }  # fmt: skip


def table(root: Path, rows: Iterable[Row], *, compressed: bool = False) -> Path:
    """Write the table, with and without compression; the folder."""
    frame = pd.DataFrame([{c: row.get(c, "") for c in HEADER} for row in rows], columns=[*HEADER])
    text = frame.to_csv(index=False)
    if compressed:
        (root / f"{TABLE}.gz").write_bytes(gzip.compress(text.encode()))
    else:
        (root / TABLE).write_text(text)
    return root


def pixels(root: Path, rows: Iterable[Row], *, flat: bool = False) -> None:
    """Write 12-bit noise in 16-bit files."""
    for row in rows:
        folder = root if flat else root / str(row["ImageDir"])
        folder.mkdir(exist_ok=True)
        noise = np.random.default_rng(0).integers(0, 4096, (60, 50)).astype(np.uint16)
        Image.fromarray(noise).save(folder / str(row["ImageID"]))


def make(root: Path) -> None:
    """A tree with twenty people, every trap of the table, and a few that are left out."""
    said = ("['normal']", "['infiltrates', ' pneumonia']", "['pleural effusion', 'cardiomegaly']",
            "['suboptimal study', ' nodule']")  # fmt: skip
    rows = [
        image(i, i, said[i % 4], PatientSex_DICOM=("M", "F", "O", "")[i % 4],
              PatientBirth=("1954.0", "1999.0", "", "1890.0")[i // 4 % 4],
              Projection=("PA", "AP", "AP_horizontal")[i % 3],
              Pediatric="PED" if i == 5 else "No",
              MethodLabel=("Physician", "RNN_model")[i % 2])
        for i in range(20)
    ]  # fmt: skip
    rows += [image(20, 0, StudyDate_DICOM=20130101), image(21, 1, Projection="L"),
             image(22, 2, "nan"), image(23, 3, "[]"), image(24, 4, "['exclude']"),
             image(25, 5, "['unchanged']"), image(26, 6, Projection="")]  # fmt: skip
    table(root, rows)
    pixels(root, rows)
