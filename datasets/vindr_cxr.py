"""VinDr-CXR: Vietnamese radiographs as DICOM files, each read by three radiologists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from datasets.ages import AgeBands, years
from datasets.attributes import sexes
from datasets.base import FOLD
from datasets.expected import Expected, ExpectedTable
from datasets.images import cache_dir
from datasets.split import Split
from datasets.tabular import ENDINGS
from datasets.vindr_readers import ALSO, FINDINGS, SeveralReaders, boxes_file, labels_file
from registry import DATASETS, unknown

FOLDERS = ("train", "test")
ANNOTATIONS = "annotations"
KAGGLE = "train.csv"
TAGS = ("PatientSex", "PatientAge")
NO_AGE = r"0+[YMWD]"
"""What de-identification left where no age was recorded."""
READERS = 3
HOW_TO_GET = (
    "get it from https://physionet.org/content/vindr-cxr/1.0.0/ (credentialed) and name the folder "
    "that holds annotations, train and test as --data-root"
)


@DATASETS.register("vindr-cxr")
@dataclass(frozen=True)
class VinDrCxr(SeveralReaders, AgeBands):
    """Frontal chest radiographs of two hospitals in Hanoi: 15,000 to train, 3,000 to test.

    No patients are named: every image counts as a patient of its own. Sex and age are read from
    the DICOM files, which takes minutes the first time. Kaggle's VinBigData is read too.

    License: PhysioNet Credentialed Health Data License 1.5.0; no sharing of images, labels or ids
        with people or services. Kaggle's copy: rules of the VinBigData competition.
    Access: credentialed PhysioNet account with CITI training; or a Kaggle account.
    Source: Nguyen et al., Scientific Data 2022;9:429.
    """

    terms: ClassVar[str] = "restricted"
    default_split: ClassVar[str] = "official"
    primary_contrasts: ClassVar[Mapping[str, tuple[str, str]]] = {"sex": ("Female", "Male")}

    findings: tuple[str, ...] = ()
    """By default all that the tables have: 28, or 15 of Kaggle's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for finding in self.findings:
            if finding not in FINDINGS:
                raise unknown("finding", finding, FINDINGS)

    def expects(self) -> Expected:
        """As in the base class; tables are optional, since Kaggle's copy has others."""
        labels = {name: (name, *ALSO.get(name, ())) for name in FINDINGS}
        image, reader = {"image": ("image_id",)}, {"reader": ("rad_id",)}
        train, test = (f"image_labels_{fold}.csv" for fold in FOLDERS)
        read_by_three = ExpectedTable(
            files=(f"{ANNOTATIONS}/{train}", train),
            columns=image | reader,
            also=labels,
            numbers=FINDINGS,
            filled=("image", "reader"),
            optional=True,
        )
        consensus = ExpectedTable(
            files=(f"{ANNOTATIONS}/{test}", test),
            columns=image,
            also=labels,
            numbers=FINDINGS,
            filled=("image",),
            unique="image",
            optional=True,
        )
        kaggle = ExpectedTable((KAGGLE,), image | reader, filled=("image",), optional=True)
        return Expected((read_by_three, consensus, kaggle))

    def table(self, root: Path) -> Split:
        """As in the base class.

        Raises:
            FileNotFoundError, ValueError: see there.
            UnknownName: the tables lack a finding.
        """
        from datasets.dicom_tags import read_tags

        votes = _votes(root)
        parts = [self.merged(part).assign(**{FOLD: fold}) for fold, part in votes.items()]
        labels = pd.concat(parts).rename_axis("image").reset_index()
        if not len(labels):
            raise ValueError(
                f"the tables of labels in {root} must list at least one image, but have no rows; "
                "restore them"
            )
        there = tuple(name for name in FINDINGS if name in labels)
        findings = self.findings or there
        for finding in findings:
            if finding not in there:
                raise unknown("finding of these tables", finding, there)
        _check_images(root, labels["image"])
        path = labels[FOLD] + "/" + labels["image"] + ".dicom"
        tags = read_tags(root, path.tolist(), TAGS, cache=cache_dir())
        age = years(tags["PatientAge"].str.replace(NO_AGE, "", regex=True))
        frame = pd.DataFrame(
            {
                "image_id": labels["image"],
                "patient_id": labels["image"],
                "path": path,
                "origin": "real",
                "sex": sexes(tags["PatientSex"]),
                "age": age,
                "age_band": self.age_band(age),
            }
        )
        if len(votes) > 1:
            frame[FOLD] = labels[FOLD]
        frame[[*findings]] = labels[[*findings]].astype(np.float32)
        return Split(
            name=self.registered_name,
            frame=frame,
            root=root,
            findings=findings,
            attributes=("sex", "age_band"),
            notes=_notes(frame, votes),
        )


def _votes(root: Path) -> dict[str, pd.DataFrame]:
    """What readers said, by fold; of Kaggle's copy the training images alone are labelled.

    Raises:
        FileNotFoundError: there is no table.
    """
    found = {}
    for fold in FOLDERS:
        names = [f"{place}image_labels_{fold}.csv" for place in (f"{ANNOTATIONS}/", "")]
        path = _first(root, names)
        if path is not None:
            found[fold] = labels_file(path, by_reader=fold == "train")
    if found:
        return found
    path = _first(root, [KAGGLE])
    if path is None:
        raise FileNotFoundError(
            f"a folder of VinDr-CXR must hold {ANNOTATIONS}/image_labels_train.csv (or the same "
            f"with .gz), or Kaggle's {KAGGLE}, but {root} does not; {HOW_TO_GET}"
        )
    return {"train": boxes_file(path)}


def _first(root: Path, names: list[str]) -> Path | None:
    paths = [root / f"{name}{ending}" for name in names for ending in ENDINGS]
    return next((path for path in paths if path.is_file()), None)


def _check_images(root: Path, images: pd.Series) -> None:
    """Ids become paths of files that are opened at once, so they must be plain names."""
    plain = images.str.fullmatch(r"[\w-]+")
    if not plain.all():
        raise ValueError(
            f"image ids below {root} must be names of files without suffix, but one is "
            f"{images[~plain].iloc[0]!r}; restore the table"
        )
    if images.duplicated().any():
        raise ValueError(
            f"no image must stand in train and test, but {int(images.duplicated().sum())} below "
            f"{root} do (first: {images[images.duplicated()].iloc[0]}); restore the tables"
        )


def _notes(frame: pd.DataFrame, votes: Mapping[str, pd.DataFrame]) -> tuple[str, ...]:
    notes = ["no patients are named, so each image counts as a patient of its own: a person with "
             "two images may stand in two folds"]  # fmt: skip
    unknown_sex = int((frame["sex"] == "Unknown").sum())
    unknown_age = int(frame["age"].isna().sum())
    notes.append(
        f"of {len(frame)} images, {unknown_sex} have no recorded sex and {unknown_age} no age"
    )
    if "train" in votes:
        read_by = votes["train"].groupby("image")["reader"].nunique()
        if (few := int((read_by != READERS).sum())) > 0:
            notes.append(f"{few} training images were not read by {READERS} readers")
    return tuple(notes)
