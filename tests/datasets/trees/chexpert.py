"""Miniature trees of CheXpert: made-up people, faithful headers and words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

FINDINGS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion",
    "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion",
    "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS)
PEOPLE = ("PATIENT", "GENDER", "AGE_AT_CXR", "PRIMARY_RACE", "ETHNICITY")
SHEET = "CheXpert Demo 11-13"
DEMO = "CHEXPERT DEMO.xlsx"
PLUS = (
    "path_to_image", "path_to_dcm", "frontal_lateral", "ap_pa", "deid_patient_id",
    "patient_report_date_order", "report", "section_impression", "age", "sex", "race", "ethnicity",
    "insurance_type", "split",
)  # fmt: skip
Row = Mapping[str, object]


def image(
    patient: int,
    *,
    study: int = 1,
    view: str = "view1_frontal",
    fold: str = "train",
    release: str = "CheXpert-v1.0-small",
    **more: object,
) -> Row:
    """A row of a list; findings are written with _ for a blank."""
    lateral = "lateral" in view
    row: dict[str, object] = {
        "Path": f"{release}/{fold}/patient{patient:05d}/study{study}/{view}.jpg",
        "Sex": "Female", "Age": 50, "AP/PA": "" if lateral else "AP",
        "Frontal/Lateral": "Lateral" if lateral else "Frontal",
    }  # fmt: skip
    names = {"projection": "AP/PA", "side": "Frontal/Lateral"}
    return row | {names.get(n, n.replace("_", " ")): value for n, value in more.items()}


def table(path: Path, rows: Iterable[Row], columns: Sequence[str] = COLUMNS) -> Path:
    """Write rows as csv, compressed if the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = [{name: row.get(name, "") for name in columns} for row in rows]
    pd.DataFrame(made, columns=[*columns]).to_csv(path, index=False)
    return path


def person(patient: int, race: str = "White", ethnicity: str = "Non-Hispanic/Non-Latino") -> Row:
    """A row of the workbook."""
    return {"PATIENT": f"patient{patient:05d}", "GENDER": "Female", "AGE_AT_CXR": 33,
            "PRIMARY_RACE": race, "ETHNICITY": ethnicity}  # fmt: skip


def workbook(
    path: Path, rows: Iterable[Row], *, columns: Sequence[str] = PEOPLE, sheet: str = SHEET
) -> Path:
    """Write the workbook, with another sheet before the one of people."""
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    book.create_sheet("Notes").append(["made up"])
    people = book.create_sheet(sheet)
    people.append([*columns])
    for row in rows:
        people.append([row.get(name) for name in columns])
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
    return path


def pixels(root: Path, rows: Iterable[Row], seed: int = 0) -> None:
    """Write a picture of noise for each row, below the folder that its path begins with."""
    rng = np.random.default_rng(seed)
    for row in rows:
        path = root / str(row["Path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (70, 60), np.uint8)).save(path)


def plus(root: Path, rows: Iterable[Row], said: Iterable[Row], section: str = "impression") -> Path:
    """Write the tables of CheXpert Plus: rows of images, and objects of labels."""
    folder = root / "chexbert_labels"
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in said)
    (folder / f"{section}_fixed.json").write_text(lines)
    return table(root / "df_chexpert_plus_240401.csv", rows, PLUS)


def plus_image(patient: int, *, view: str = "view1_frontal", study: int = 1, **more: object) -> Row:
    """A row of the table of CheXpert Plus; its report has line breaks and quotes."""
    stem = f"train/patient{patient:05d}/study{study}/{view}"
    lateral = "lateral" in view
    return {
        "path_to_image": f"{stem}.jpg", "path_to_dcm": f"{stem}.dcm",
        "ap_pa": "" if lateral else "AP",
        "frontal_lateral": "Lateral" if lateral else "Frontal",
        "deid_patient_id": f"patient{patient:05d}", "patient_report_date_order": study,
        "report": 'NARRATIVE:\nthe "heart"\n\nIMPRESSION: none', "age": 61.0, "sex": "Male",
        "race": "White", "ethnicity": "Non-Hispanic/Non-Latino", "insurance_type": "Medicare",
        "split": "train", **more,
    }  # fmt: skip


def plus_labels(row: Row, **said: object) -> Row:
    """An object of labels; findings are written with _ for a blank."""
    named = {name.replace("_", " "): value for name, value in said.items()}
    return {"path_to_image": row["path_to_image"], **dict.fromkeys(FINDINGS), **named}


def rows() -> tuple[list[Row], list[Row]]:
    """Lists of train and valid with every peculiarity of the release."""
    train = [
        image(i, Sex=("Male", "Female")[i % 2], Age=15 + 6 * i,
              projection=("AP", "PA")[i % 2], Edema=("", 1.0, 0.0, -1.0)[i % 4],
              No_Finding=1.0 if i % 4 == 0 else "", Atelectasis=-1.0 if i % 3 else "")
        for i in range(1, 13)
    ]  # fmt: skip
    train += [
        # A patient with three studies, the last of two digits, and ages that differ.
        image(1, study=2, Age=22), image(1, study=10, Age=30, Edema=1.0),
        # A lateral; frontal rows with a lateral projection; age 0 and capped; sex not known.
        image(2, view="view2_lateral", Sex="Male"), image(3, study=2, projection="LL"),
        image(4, study=2, projection="RL"), image(5, study=2, Age=0),
        image(6, study=2, Age=90, Sex="Male"), image(13, Sex="Unknown", projection="PA"),
        image(2, view="view3_frontal", Sex="Male"),
    ]  # fmt: skip
    labels = dict.fromkeys(FINDINGS, 0.0)
    valid = [
        image(64540 + i, fold="valid", **{**labels, "Edema": i % 2 * 1.0}) for i in range(1, 5)
    ]
    return train, valid


def people() -> list[Row]:
    """Rows of the workbook; patient 9 is not in it, and commas stand in the words."""
    races = (
        "White", "Black or African American", "White, Hispanic", "Asian, non-Hispanic",
        "Patient Refused", "Other, Hispanic", "Race and Ethnicity Unknown", "Black, Hispanic",
    )  # fmt: skip
    listed = [person(i, races[i % 8]) for i in range(1, 14) if i != 9]
    return [*listed, person(64541, "Asian - Historical Conv", "Unknown")]


def make(root: Path) -> None:
    """The release folder with its pictures, and the workbook beside it."""
    train, valid = rows()
    table(root / "CheXpert-v1.0-small" / "train.csv", train)
    table(root / "CheXpert-v1.0-small" / "valid.csv", valid)
    pixels(root, [*train, *valid])
    workbook(root / DEMO, people())
