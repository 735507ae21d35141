"""Miniature trees of MIMIC-CXR-JPG and MIMIC-IV: made-up people, faithful headers and words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

METADATA = (
    "dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition",
    "Rows", "Columns", "StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning",
    "ViewCodeSequence_CodeMeaning", "PatientOrientationCodeSequence_CodeMeaning",
)  # fmt: skip
FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum",
    "Fracture", "Lung Lesion", "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other",
    "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
"""In the order of the release, which is not that of CheXpert."""
PATIENTS = ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod")
ADMISSIONS = (
    "subject_id", "hadm_id", "admittime", "dischtime", "deathtime", "admission_type",
    "admit_provider_id", "admission_location", "discharge_location", "insurance", "language",
    "marital_status", "race", "edregtime", "edouttime", "hospital_expire_flag",
)  # fmt: skip
FIRST_VERSION = tuple(
    "ethnicity" if name == "race" else name for name in ADMISSIONS if name != "admit_provider_id"
)
Row = Mapping[str, object]


def dicom(number: int) -> str:
    """A made-up image id of 44 characters."""
    return "-".join([f"{number:08x}", *["0badc0de"] * 4])


def image(number: int, patient: int, study: int, view: str = "AP", **more: object) -> Row:
    """A row of the metadata, with the fold "train" unless given."""
    return {
        "dicom_id": dicom(number), "subject_id": 10_000_000 + patient,
        "study_id": 50_000_000 + study, "ViewPosition": view, "Rows": 60, "Columns": 50,
        "StudyDate": 21800506, "StudyTime": 100000.5, "split": "train", **more,
    }  # fmt: skip


def person(patient: int, gender: str = "F", age: int = 50, year: int = 2180) -> Row:
    """A row of `patients`."""
    return {"subject_id": 10_000_000 + patient, "gender": gender, "anchor_age": age,
            "anchor_year": year, "anchor_year_group": "2014 - 2016", "dod": ""}  # fmt: skip


def stay(patient: int, race: str = "WHITE", insurance: str = "Medicare") -> Row:
    """A row of `admissions`, of any version."""
    return {"subject_id": 10_000_000 + patient, "hadm_id": 20_000_000 + patient,
            "admittime": "2180-05-06 22:23:00", "insurance": insurance, "race": race,
            "ethnicity": race}  # fmt: skip


def labels(study: int, **said: object) -> Row:
    """A row of a labeller; findings are written with _ for a blank."""
    named = {name.replace("_", " "): value for name, value in said.items()}
    return {"subject_id": 1, "study_id": 50_000_000 + study, **named}


def table(path: Path, columns: Iterable[str], rows: Iterable[Row]) -> None:
    """Write rows as csv, compressed if the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([{name: row.get(name, "") for name in columns} for row in rows],
                 columns=[*columns]).to_csv(path, index=False)  # fmt: skip


def cxr(
    root: Path,
    images: Iterable[Row],
    said: Iterable[Row],
    *,
    ending: str = ".csv.gz",
    labeler: str = "chexpert",
    split: bool = True,
) -> Path:
    """Write the tables of MIMIC-CXR-JPG."""
    listed = [*images]
    table(root / f"mimic-cxr-2.0.0-metadata{ending}", METADATA, listed)
    if split:
        columns = ("dicom_id", "study_id", "subject_id", "split")
        table(root / f"mimic-cxr-2.0.0-split{ending}", columns, [r for r in listed if r["split"]])
    columns = ("subject_id", "study_id", *FINDINGS)
    table(root / f"mimic-cxr-2.0.0-{labeler}{ending}", columns, said)
    return root


def iv(
    folder: Path,
    people: Iterable[Row],
    stays: Iterable[Row] | None,
    *,
    ending: str = ".csv.gz",
    columns: Iterable[str] = ADMISSIONS,
) -> Path:
    """Write the tables of MIMIC-IV into one folder (core or hosp)."""
    table(folder / f"patients{ending}", PATIENTS, people)
    if stays is not None:
        table(folder / f"admissions{ending}", columns, stays)
    return folder


def radiologists(root: Path, said: Iterable[Row]) -> None:
    """Write the radiologists' test set, which has its own word for one finding and no patient."""
    columns = ["Airspace Opacity" if f == "Lung Opacity" else f for f in FINDINGS]
    path = root / "mimic-cxr-2.1.0-test-set-labeled.csv"
    table(path, ["study_id", *columns], said)


def pixels(
    root: Path, images: Iterable[Row], *, folder: str = "files", ending: str = "jpg"
) -> None:
    """Write a picture of noise for each row."""
    for row in images:
        subject = str(row["subject_id"])
        path = root / folder / f"p{subject[:2]}/p{subject}/s{row['study_id']}"
        path.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(int(str(row["dicom_id"])[:8], 16))
        noise = rng.integers(0, 255, (60, 50), np.uint8)
        Image.fromarray(noise).save(path / f"{row['dicom_id']}.{ending}")


def make(root: Path) -> None:
    """Sixteen patients with every peculiarity of the release that a whole tree can have."""
    folds = ["train"] * 10 + ["validate"] * 3 + ["test"] * 3
    views = {6: "LATERAL", 7: "LL", 8: "", 9: "AP AXIAL"}
    images = [image(i, i, i, split=folds[i], ViewPosition="AP" if i % 2 else "PA")
              for i in range(16)]  # fmt: skip
    # A patient with three studies, two of them on one day, and views beside the frontal ones.
    images += [image(20, 0, 20, StudyDate=21810101, StudyTime=143000.0),
               image(21, 0, 21, StudyDate=21810101, StudyTime=80556.875)]  # fmt: skip
    images += [image(30 + i, i, i, ViewPosition=view, split=folds[i]) for i, view in views.items()]
    said = [labels(i, **{"Edema": i % 2 * 1.0, "No_Finding": (i + 1) % 2 * 1.0,
                         "Atelectasis": -1.0 if i % 3 else ""}) for i in range(2, 16)]  # fmt: skip
    # Study 0 has no label at all, study 1 is not listed.
    said += [labels(0), labels(20, Edema=1.0), labels(21, Pneumonia=0.0)]
    cxr(root, images, said)
    pixels(root, images)
    iv(
        root / "mimiciv" / "3.1" / "hosp",
        # Patient 15 is not listed; patient 3 was over 89 at the anchor.
        [person(i, "MF"[i % 2], 91 if i == 3 else 12 + 5 * i, 2180) for i in range(15)],
        # Patients 13 to 15 were never admitted; 2 has two races, 4 two insurances.
        [stay(i, ("WHITE", "BLACK/AFRICAN AMERICAN", "ASIAN - CHINESE", "UNKNOWN")[i % 4],
              ("Medicare", "Medicaid", "Private", "")[i % 4]) for i in range(13)]
        + [stay(2, "OTHER"), stay(4, "WHITE - RUSSIAN", "Other")],
    )  # fmt: skip
