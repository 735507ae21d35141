"""Seconds and memory of loading tables as large as those of MIMIC-CXR-JPG and MIMIC-IV."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.speed.memory import peak
from datasets import mimic_cxr_files as files
from datasets.chexpert_labels import FOURTEEN

IMAGES, STUDIES, PATIENTS, ADMISSIONS = 377_110, 227_835, 65_379, 430_852
"""As many as the releases have; MIMIC-IV lists more people than have radiographs."""
PEOPLE = 300_000
RACES = (
    "WHITE", "BLACK/AFRICAN AMERICAN", "OTHER", "UNKNOWN", "WHITE - RUSSIAN", "ASIAN - CHINESE",
    "HISPANIC/LATINO - PUERTO RICAN", "BLACK/CAPE VERDEAN", "UNABLE TO OBTAIN", "PORTUGUESE",
)  # fmt: skip
LEVEL = 1
"""Of gzip: what is measured is reading, and writing costs the most of the time here."""


def measure() -> list[str]:
    """A line: seconds and peak memory of a process that loads a made tree."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        # Its own process, since the peak of a process never falls again.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows, wall, cpu, before, highest = pool.apply(load, (folder,))
    return [
        f"mimic-cxr, {IMAGES} rows joined with {ADMISSIONS} admissions, compressed: "
        f"{wall:.1f} s on the wall (aim <= 20), {cpu:.1f} s of CPU, peak of the process "
        f"{highest:.0f} MiB (aim <= 2048; {before:.0f} before), {rows} images in the table"
    ]


def load(folder: str) -> tuple[int, float, float, float, float]:
    """Rows of the table, seconds on the wall and of CPU, and peak MiB before and after."""
    from datasets.mimic_cxr import MimicCxr

    before = peak()
    wall, cpu = time.perf_counter(), time.process_time()
    table = MimicCxr().table(Path(folder))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return len(table), wall, cpu, before, peak()


def make(root: Path) -> None:
    """Write tables of both sets below `root`: made up, in shape and size as the releases are."""
    rng = np.random.default_rng(0)
    subjects = 10_000_000 + np.sort(rng.choice(10**7, PEOPLE, replace=False))
    seen = np.sort(rng.choice(subjects, PATIENTS, replace=False))
    study = 50_000_000 + rng.permutation(10**7)[:STUDIES]
    # Everybody has a study, and every study an image.
    owner = np.concatenate([seen, rng.choice(seen, STUDIES - PATIENTS)])
    others = rng.integers(0, STUDIES, IMAGES - STUDIES)
    place = np.sort(np.concatenate([np.arange(STUDIES), others]))
    dicom = _dicom_ids(rng, IMAGES)
    hour = rng.integers(0, 24, IMAGES) * 10_000 + rng.integers(0, 60, IMAGES) * 100
    rows = {
        "dicom_id": dicom,
        "subject_id": owner[place],
        "study_id": study[place],
        "PerformedProcedureStepDescription": "CHEST (PA AND LAT)",
        "ViewPosition": rng.choice(["AP", "PA", "LATERAL", "LL", ""], IMAGES,
                                   p=[0.39, 0.25, 0.22, 0.10, 0.04]),
        "Rows": 3056,
        "Columns": 2544,
        "StudyDate": rng.integers(2110, 2200, STUDIES)[place] * 10_000 + 506,
        "StudyTime": hour + 0.875,
        "ProcedureCodeSequence_CodeMeaning": "CHEST (PA AND LAT)",
        "ViewCodeSequence_CodeMeaning": "postero-anterior",
        "PatientOrientationCodeSequence_CodeMeaning": "Erect",
    }  # fmt: skip
    _write(root, files.METADATA, rows)
    split = rng.choice(["train", "validate", "test"], IMAGES, p=[0.98, 0.01, 0.01])
    _write(root, files.SPLIT, {"dicom_id": dicom, "study_id": rows["study_id"],
                               "subject_id": rows["subject_id"], "split": split})  # fmt: skip
    said = rng.choice(["1.0", "0.0", "-1.0", ""], (STUDIES - 8, 14), p=[0.1, 0.1, 0.05, 0.75])
    labels = {finding: said[:, i] for i, finding in enumerate(sorted(FOURTEEN))}
    ids = {"subject_id": owner[8:], "study_id": study[8:]}
    _write(root, files.LABELS["chexpert"], {**ids, **labels})
    _people(root / "hosp", rng, subjects)


def _people(folder: Path, rng: np.random.Generator, subjects: np.ndarray) -> None:
    """The tables of MIMIC-IV."""
    folder.mkdir()
    _write(folder, "patients.csv", {
        "subject_id": subjects,
        "gender": rng.choice(["M", "F"], PEOPLE),
        "anchor_age": rng.integers(18, 92, PEOPLE),
        "anchor_year": rng.integers(2110, 2200, PEOPLE),
        "anchor_year_group": "2014 - 2016",
        "dod": "",
    })  # fmt: skip
    _write(folder, "admissions.csv", {
        "subject_id": np.sort(rng.choice(subjects, ADMISSIONS)),
        "hadm_id": 20_000_000 + np.arange(ADMISSIONS),
        **dict.fromkeys(("admittime", "dischtime"), "2180-05-06 22:23:00"),
        "deathtime": "",
        "admission_type": "URGENT",
        "admit_provider_id": "P49AFC",
        "admission_location": "TRANSFER FROM HOSPITAL",
        "discharge_location": "HOME",
        "insurance": rng.choice(["Medicare", "Medicaid", "Private", "Other", ""], ADMISSIONS),
        "language": "English",
        "marital_status": "WIDOWED",
        "race": rng.choice(RACES, ADMISSIONS),
        **dict.fromkeys(("edregtime", "edouttime"), "2180-05-06 19:17:00"),
        "hospital_expire_flag": 0,
    })  # fmt: skip


def _dicom_ids(rng: np.random.Generator, count: int) -> list[str]:
    """Five groups of eight hexadecimal digits each."""
    drawn = rng.bytes(20 * count).hex()
    starts = range(0, 40 * count, 40)
    return ["-".join(drawn[i + j : i + j + 8] for j in range(0, 40, 8)) for i in starts]


def _write(folder: Path, name: str, columns: dict[str, object]) -> None:
    pd.DataFrame(columns).to_csv(
        folder / f"{name}.gz", index=False, compression={"method": "gzip", "compresslevel": LEVEL}
    )
