"""Seconds and memory of loading a table as large as that of CheXpert, with its workbook of race."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.speed.memory import peak
from datasets.chexpert_labels import FOURTEEN

IMAGES, PATIENTS = 223_414, 64_540
"""As many as train.csv lists."""
RACES = (
    "White", "Other", "White, non-Hispanic", "Asian", "Unknown", "Black or African American",
    "Race and Ethnicity Unknown", "Other, Hispanic", "Black, non-Hispanic",
)  # fmt: skip
ETHNICITIES = ("Non-Hispanic/Non-Latino", "Hispanic/Latino", "Unknown", "Not Hispanic")


def measure() -> list[str]:
    """Lines: CPU seconds and peak memory of processes that load a made release."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        # Processes of their own, since the peak of a process never falls again.
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            runs = [pool.apply(load, (folder, curation)) for curation in ("", "fairread")]
    return [
        f"chexpert, {IMAGES} rows and a workbook of {PATIENTS} people"
        f"{', curated to given rates' if curation else ''}: {seconds:.1f} s of CPU (aim <= 6; "
        f"{people:.1f} of them the workbook), peak of the process {highest:.0f} MiB "
        f"({before:.0f} before), {rows} images in the table"
        for curation, (rows, seconds, people, before, highest) in zip(
            (False, True), runs, strict=True
        )
    ]


def load(folder: str, curation: str) -> tuple[int, float, float, float, float]:
    """Rows, CPU seconds, those of the workbook alone, peak MiB of this process before and after."""
    from datasets import workbook
    from datasets.chexpert import Chexpert

    before = peak()
    started = time.process_time()
    table = Chexpert(curation=curation).table(Path(folder))
    seconds, highest = time.process_time() - started, peak()
    started = time.process_time()
    workbook.read(Path(folder) / "CHEXPERT DEMO.xlsx", {"race": ("PRIMARY_RACE",)})
    return len(table), seconds, time.process_time() - started, before, highest


def make(root: Path) -> None:
    """Write the tables of a release below `root`: made up, in shape and size as they are."""
    from openpyxl import Workbook

    rng = np.random.default_rng(0)
    folder = root / "CheXpert-v1.0"
    folder.mkdir()
    # Everybody has an image.
    patient = np.sort(np.concatenate([np.arange(PATIENTS), _drawn(rng, IMAGES - PATIENTS)]))
    starts = np.searchsorted(patient, np.arange(PATIENTS))
    study = np.arange(IMAGES) - starts[patient] + 1
    lateral = rng.random(IMAGES) < 0.145
    male, age = rng.random(PATIENTS) < 0.59, rng.integers(18, 91, PATIENTS)
    side = np.where(lateral, "lateral", "frontal")
    path = [
        f"CheXpert-v1.0/train/patient{p + 1:05d}/study{s}/view1_{seen}.jpg"
        for p, s, seen in zip(patient, study, side, strict=True)
    ]
    columns: dict[str, object] = {
        "Path": path,
        "Sex": np.where(male[patient], "Male", "Female"),
        "Age": age[patient],
        "Frontal/Lateral": np.where(lateral, "Lateral", "Frontal"),
        "AP/PA": np.where(lateral, "", rng.choice(["AP", "PA"], IMAGES, p=[0.85, 0.15])),
    }
    for finding in FOURTEEN:
        columns[finding] = rng.choice(["1.0", "0.0", "-1.0", ""], IMAGES, p=[0.13, 0.1, 0.05, 0.72])
    pd.DataFrame(columns).to_csv(folder / "train.csv", index=False)
    # Not in openpyxl's mode for streams, which writes texts otherwise than Excel does.
    book = Workbook()
    sheet = book.create_sheet("CheXpert Demo 11-13")
    sheet.append(["PATIENT", "GENDER", "AGE_AT_CXR", "PRIMARY_RACE", "ETHNICITY"])
    race, ethnicity = rng.choice(RACES, PATIENTS), rng.choice(ETHNICITIES, PATIENTS)
    for i in range(PATIENTS):
        sex = "Male" if male[i] else "Female"
        sheet.append([f"patient{i + 1:05d}", sex, int(age[i]), str(race[i]), str(ethnicity[i])])
    book.save(root / "CHEXPERT DEMO.xlsx")


def _drawn(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(0, PATIENTS, count)
