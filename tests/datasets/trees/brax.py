"""A miniature tree of BRAX: made-up people, faithful header and words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

HEADER = (
    "", "DicomPath", "PngPath", "PatientID", "PatientSex", "PatientAge", "AccessionNumber",
    "StudyDate", "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Lesion",
    "Lung Opacity", "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax",
    "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices", "ViewPosition", "Rows",
    "Columns", "Manufacturer",
)  # fmt: skip
Row = Mapping[str, object]


def image(
    number: int, patient: int, study: int | None = None, view: str = "PA", **more: object
) -> Row:
    """A row of the spreadsheet; findings are written with _ for a blank."""
    study = number if study is None else study
    person = f"id_{patient:08d}-0000-4000-8000-000000000000"
    place = f"{person}/Study_{study}.1/Series_{number}.1/image-1"
    return {
        "": number, "DicomPath": f"Anonymized_DICOMs/{place}.dcm", "PngPath": f"images/{place}.png",
        "PatientID": person, "PatientSex": "F", "PatientAge": "45",
        "AccessionNumber": f"{study:08d}", "StudyDate": 20180506, "ViewPosition": view, "Rows": 60,
        "Columns": 50, "Manufacturer": 1,
        **{name.replace("_", " "): value for name, value in more.items()},
    }  # fmt: skip


def spreadsheet(
    root: Path,
    rows: Iterable[Row],
    *,
    name: str = "master_spreadsheet_update.csv",
    header: Iterable[str] = HEADER,
) -> Path:
    """Write the spreadsheet."""
    columns = [*header]
    frame = pd.DataFrame([{c: row.get(c, "") for c in columns} for row in rows], columns=columns)
    frame.to_csv(root / name, index=False)
    return root


def pixels(root: Path, rows: Iterable[Row]) -> None:
    """Write noise for each row, in turn of 16 and of 8 bits, and of mixed size."""
    for i, row in enumerate(rows):
        path = root / str(row["PngPath"])
        path.parent.mkdir(parents=True, exist_ok=True)
        kind: type[np.unsignedinteger] = np.uint8 if i % 2 else np.uint16
        top = np.iinfo(kind).max
        noise = np.random.default_rng(i).integers(0, top, (50 + i, 60), kind, endpoint=True)
        Image.fromarray(noise).save(path)


def make(root: Path) -> None:
    """Fourteen patients with every peculiarity that a whole tree can have."""
    ages = ["0", "15", "20", "45", "80", "85 or more", ""]
    rows = [image(i, i, view="AP" if i % 2 else "PA", PatientSex="MFO"[i % 3],
                  PatientAge=ages[i % 7], Edema=i % 2, No_Finding=(i + 1) % 2,
                  Atelectasis=-1 if i % 3 else "")
            for i in range(14)]  # fmt: skip
    # A patient with three studies of two images, and views beside the frontal ones.
    rows += [image(20 + i, 0, 20 + i // 2, StudyDate=20180601 + i // 2) for i in range(4)]
    rows += [image(30 + i, i, i, view) for i, view in enumerate(["LL", "RL", "RLD", "LLO", ""])]
    spreadsheet(root, rows)
    pixels(root, rows)
