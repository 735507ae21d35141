"""The files of MIMIC-CXR-JPG: which images there are, their labels, folds, and places on disk."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from datasets import tabular
from datasets.base import FOLD
from datasets.chexpert_labels import FOURTEEN, SPELLINGS, mentions
from datasets.mimic_iv import once

METADATA = "mimic-cxr-2.0.0-metadata.csv"
SPLIT = "mimic-cxr-2.0.0-split.csv"
LABELS = {labeler: f"mimic-cxr-2.0.0-{labeler}.csv" for labeler in ("chexpert", "negbio")}
RADIOLOGISTS = "mimic-cxr-2.1.0-test-set-labeled.csv"
"""Release 2.1.0 keeps the names of 2.0.0, save for this file, which is new in it."""
OF = "MIMIC-CXR-JPG"
HOW_TO_GET = (
    "get it from https://physionet.org/content/mimic-cxr-jpg/ (credentialed) and name the folder "
    "with its tables as --data-root"
)
IDS = {"dicom_id": r"[0-9a-zA-Z-]+", "subject_id": r"\d{2,}", "study_id": r"\d+"}
"""Paths are made of them, so nothing else may stand there."""
FOLDS = {"train": "train", "validate": "val", "test": "test", "": ""}
IMAGE_FOLDERS = ("files", "downsampled_files", ".")
"""Where the folders p10 to p19 may lie: as released, as 224-px copies are often kept, directly."""
ENDINGS = (".jpg", ".png", ".jpeg")
GROUP, PERSON, STUDY = re.compile(r"p\d{2}"), re.compile(r"p\d{3,}"), re.compile(r"s\d+")


@dataclass(frozen=True)
class Place:
    """Where images lie below a folder: `folder/p10/p10000032/s50414267/<dicom_id><ending>`."""

    folder: str
    ending: str

    def paths(self, rows: pd.DataFrame) -> pd.Series:
        """The path of the image of each row, below the folder that was searched."""
        subject = rows["subject_id"]
        before = "" if self.folder == "." else f"{self.folder}/"
        return (before + "p" + subject.str[:2] + "/p" + subject + "/s" + rows["study_id"] + "/"
                + rows["dicom_id"] + self.ending)  # fmt: skip


def metadata(root: Path) -> pd.DataFrame:
    """One row per image: dicom_id, subject_id, study_id, view (text), year, and time.

    `time` is a number that grows: YYYYMMDDHHMMSS in the shifted years of the set, NaN where no
    date is recorded. `year` is NaN there too.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: it breaks a rule.
    """
    path = tabular.locate(root, METADATA, of=OF, how_to_get=HOW_TO_GET)
    columns = {name: (name,) for name in (*IDS, "StudyDate", "StudyTime")}
    rows = tabular.read(path, {**columns, "view": ("ViewPosition",)})
    for name, pattern in IDS.items():
        _check_ids(path, rows[name], pattern)
    once(path, rows["dicom_id"])
    date = tabular.numbers(path, rows.pop("StudyDate"))
    # As a number, since hours are written without leading zeros: 80556.875 is five past eight.
    time = tabular.numbers(path, rows.pop("StudyTime"))
    rows["year"] = date // 10_000
    rows["time"] = date * 1_000_000 + time.fillna(0)
    return rows


def study_mentions(root: Path, labeler: str) -> pd.DataFrame:
    """What a labeller found, `(studies, 14)` in {1, 0, -1, NaN}, by study_id.

    Raises:
        FileNotFoundError, ValueError: the file is not there, or breaks a rule.
    """
    return _by_study(tabular.locate(root, LABELS[labeler], of=OF, how_to_get=HOW_TO_GET))


def radiologists_mentions(root: Path) -> pd.DataFrame:
    """What radiologists found in studies of the test set, as `study_mentions`.

    Raises:
        FileNotFoundError, ValueError: the file is not there, or breaks a rule.
    """
    how = f"it is part of release 2.1.0; {HOW_TO_GET}"
    return _by_study(tabular.locate(root, RADIOLOGISTS, of=f"{OF} 2.1.0", how_to_get=how))


def official_folds(root: Path, images: pd.Series) -> pd.Series | None:
    """The fold of each image, "" for those not listed; None without the file of the split.

    Raises:
        ValueError: the file breaks a rule.
    """
    try:
        path = tabular.locate(root, SPLIT, of=OF, how_to_get=HOW_TO_GET)
    except FileNotFoundError:
        return None
    listed = tabular.read(path, {"dicom_id": ("dicom_id",), "split": ("split",)})
    once(path, listed["dicom_id"])
    bad = np.flatnonzero(~listed["split"].isin(FOLDS).to_numpy())
    if len(bad):
        raise ValueError(
            f"split must be train, validate or test in {path}, but row {bad[0] + 1} (line "
            f"{bad[0] + 2}) holds {listed['split'].iloc[bad[0]]!r}; restore the file"
        )
    names = listed["split"].map(FOLDS).set_axis(listed["dicom_id"])
    found = names.reindex(images.to_numpy()).fillna("")
    return pd.Series(found.to_numpy(), index=images.index, name=FOLD)


def find_place(top: Path) -> Place:
    """Where images lie below `top`, from the first of them in order of names.

    Without any image, as released; those who read pixels then say which file is missing.
    """
    for folder in IMAGE_FOLDERS:
        if first := _first_image(top / folder):
            return Place(folder, first.suffix)
    return Place(IMAGE_FOLDERS[0], ENDINGS[0])


def _first_image(folder: Path) -> Path | None:
    """The first image in the first study of the first person that has one."""
    for group in _named(folder, GROUP):
        for person in _named(group, PERSON):
            for study in _named(person, STUDY):
                for image in sorted(study.iterdir()):
                    if image.suffix in ENDINGS:
                        return image
    return None


def _named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    below = [path for path in folder.iterdir() if pattern.fullmatch(path.name)]
    return sorted(path for path in below if path.is_dir())


def _by_study(path: Path) -> pd.DataFrame:
    columns = {"study_id": ("study_id",), **{name: SPELLINGS[name] for name in FOURTEEN}}
    listed = tabular.read(path, columns)
    once(path, listed["study_id"])
    return mentions(path, listed).set_axis(pd.Index(listed["study_id"]))


def _check_ids(path: Path, ids: pd.Series, pattern: str) -> None:
    bad = np.flatnonzero(~ids.str.fullmatch(pattern).to_numpy(dtype=bool))
    if len(bad):
        kind = "digits" if "\\d" in pattern else "letters, digits and hyphens"
        raise ValueError(
            f"{ids.name} must be of {kind} in {path}, but row {bad[0] + 1} (line {bad[0] + 2}) "
            f"holds {ids.iloc[bad[0]]!r} ({len(bad)} such rows); restore the file"
        )
