"""NIH ChestX-ray14: 112,120 frontal radiographs that anyone may download."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from datasets import tabular
from datasets.ages import AgeBands, years
from datasets.attributes import UNKNOWN, ordered, sexes
from datasets.base import FOLD
from datasets.expected import Expected, ExpectedTable
from datasets.image_folders import by_base_name
from datasets.people import listed_pairs, unite
from datasets.sieve import Sieve
from datasets.split import Split
from registry import DATASETS, unknown

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv", "sample_labels.csv")
"""The release of 2020, that of 2017 (its ages have errors), and Kaggle's sample of 5,606 images."""
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "image_id": ("Image Index",),
    "labels": ("Finding Labels",),
    "visit": ("Follow-up #",),
    "patient_id": ("Patient ID",),
    "age": ("Patient Age",),
    "sex": ("Patient Sex", "Patient Gender"),
    "view": ("View Position",),
}
LISTS = {"train": "train_val_list.txt", "test": "test_list.txt"}
"""The official split; validation patients are taken out of the first by whoever needs them."""
NO_LISTS = (
    f"there is no official split: {' and '.join(LISTS.values())} are not in the data root; they "
    "come with the images"
)
FOLDERS, ENDINGS = ("images", "sample"), (".png",)
"""`images/`, `images_001/images/` to `images_012/images/`, or `sample/images/`."""
FRONTAL = ("PA", "AP")
NO_FINDING = "No Finding"
FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis",
    "Hernia", "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
    NO_FINDING,
)  # fmt: skip
HOW_TO_GET = (
    "get it from https://nihcc.app.box.com/v/ChestXray-NIHCC and name the folder with the table as "
    "--data-root"
)


@DATASETS.register("nih-cxr14")
@dataclass(frozen=True)
class NihCxr14(AgeBands):
    """NIH ChestX-ray14: 112,120 frontal radiographs of 30,805 people, open without an account.

    Fourteen findings mined from reports: listed is present, not listed is absent, and there are no
    uncertain ones. Recorded sex, age and view; no race. Reads the tables of 2017 and 2020 and
    Kaggle's sample, plain or compressed, with images in one folder or in twelve.

    License: no restriction on use; the NIH asks for a link to its page, a citation of the paper,
        and the credit "the NIH Clinical Center was the data provider".
    Access: https://nihcc.app.box.com/v/ChestXray-NIHCC or
        https://www.kaggle.com/datasets/nih-chest-xrays/data, some 42 GB of images.
    Source: Wang et al., ChestX-ray8, CVPR 2017, arXiv:1705.02315. Groups: the columns for sex and
        view as recorded; age bands of 20 years.
    """

    default_split: ClassVar[str] = "official"
    primary_contrasts: ClassVar[Mapping[str, tuple[str, str]]] = {"sex": ("Female", "Male")}

    findings: tuple[str, ...] = FINDINGS
    views: tuple[str, ...] = FRONTAL
    one_image_per_patient: bool = False
    """Only the first image of each patient, by follow-up number."""

    def expects(self) -> Expected:
        """As in the base class."""
        listed = ExpectedTable(
            files=TABLES,
            columns=COLUMNS,
            vocabulary={"labels": FINDINGS, "sex": ("M", "F"), "view": FRONTAL},
            separator="|",
            numbers=("visit",),
            ages=("age",),
            filled=("image_id", "patient_id"),
            unique="image_id",
            patient="patient_id",
        )
        return Expected((listed,))

    def table(self, root: Path) -> Split:
        path = tabular.locate(root, *TABLES, of=self.registered_name, how_to_get=HOW_TO_GET)
        rows = tabular.read(path, COLUMNS)
        rows["visit"] = tabular.numbers(path, rows["visit"])
        # Before any image is left out, so that one image per patient is one per person.
        rows["patient_id"] = rows["patient_id"].map(unite(rows["patient_id"], listed_pairs(root)))
        sieve = self._sieved(rows, path)
        frame = self._frame(sieve.frame, root)
        folds = official_folds(root, frame["image_id"])
        notes: tuple[str, ...] = ()
        if folds is None:
            notes = (NO_LISTS,)
        else:
            frame[FOLD] = folds
        return Split(
            name=self.registered_name,
            frame=frame,
            root=root,
            findings=self.findings,
            attributes=("sex", "age_band", "view"),
            dropped=sieve.dropped,
            notes=notes,
        )

    def _sieved(self, rows: pd.DataFrame, path: Path) -> Sieve:
        """The rows that stay, and how many do not, by reason."""
        known = {*FRONTAL, *rows["view"].unique()} - {""}
        for view in self.views:
            if view not in known:
                raise unknown("view", view, known)
        sieve = Sieve(rows)
        named = (rows["image_id"] != "") & (rows["patient_id"] != "")
        sieve = sieve.keep(named, "no image name or patient id")
        sieve = sieve.keep(sieve.frame["view"].isin(self.views), "view not chosen")
        sieve = sieve.keep(~sieve.frame["image_id"].duplicated(), "image listed before")
        if self.one_image_per_patient:
            # The number in an image's name is not its place in time for a fifth of the images.
            by_time = sieve.frame.sort_values(["visit", "image_id"], kind="stable")
            first = by_time.index[~by_time["patient_id"].duplicated()]
            sieve = sieve.keep(sieve.frame.index.isin(first), "later image of the patient")
        if not len(sieve.frame):
            raise ValueError(
                f"{path} must list at least one image in the views {', '.join(self.views)}, but "
                f"its {len(rows)} rows were left out: {dict(sieve.dropped)}"
            )
        return sieve

    def _frame(self, rows: pd.DataFrame, root: Path) -> pd.DataFrame:
        files = by_base_name(root, FOLDERS, ENDINGS)
        ages = years(rows["age"])
        columns: dict[str, object] = {
            "image_id": rows["image_id"],
            "patient_id": rows["patient_id"],
            # Where a file is not there, preparation says which and where it was looked for.
            "path": [files.get(name, f"{FOLDERS[0]}/{name}") for name in rows["image_id"]],
            "origin": "real",
            "sex": sexes(rows["sex"]),
            "age_band": self.age_band(ages),
            "view": ordered(rows["view"].replace("", UNKNOWN), self.views),
            "age": ages,
            "visit": rows["visit"],
        }
        return pd.DataFrame({**columns, **self._labels(rows["labels"])}).reset_index(drop=True)

    def _labels(self, listed: pd.Series) -> dict[str, np.ndarray]:
        """Labels float64 in {0, 1} by finding; NaN where nothing is listed, not even its absence.

        Raises:
            UnknownName: a chosen finding is neither of the fourteen nor in the table.
        """
        codes, texts = pd.factorize(listed)
        # Split, never searched for as part of a text: one name may be the beginning of another.
        names = [{part.strip() for part in text.split("|")} - {""} for text in texts]
        known = set(FINDINGS).union(*names)
        labels = {}
        for finding in self.findings:
            if finding not in known:
                raise unknown("finding", finding, known)
            here = [float(finding in held) if held else np.nan for held in names]
            labels[finding] = np.array(here, dtype=np.float64)[codes]
        return labels


def official_folds(root: Path, images: pd.Series) -> pd.Series | None:
    """The official fold of each image, "train" or "test", "" where in neither list.

    None where neither list lies below `root`.

    Raises:
        FileNotFoundError: only one of the lists is there.
        ValueError: the lists share an image, or none of the images is listed.
    """
    paths = {fold: root / name for fold, name in LISTS.items()}
    there = [path for path in paths.values() if path.is_file()]
    if not there:
        return None
    if len(there) < len(paths):
        absent = next(path for path in paths.values() if path not in there)
        raise FileNotFoundError(
            f"the official split must have two lists, but {there[0]} is there and {absent} is not; "
            "both come with the images, or remove the one for a split by patient"
        )
    # By words: the lists end without a line break, and some copies have those of Windows.
    held = {
        fold: path.read_text(encoding="utf-8-sig", errors="replace").split()
        for fold, path in paths.items()
    }
    shared = sorted(set(held["train"]) & set(held["test"]))
    if shared:
        raise ValueError(
            f"an image must stand in one official list, but {len(shared)} stand in both "
            f"{LISTS['train']} and {LISTS['test']}, such as {', '.join(shared[:5])}; restore them"
        )
    fold_of = {name: fold for fold, names in held.items() for name in names}
    folds = images.map(fold_of).fillna("")
    if len(folds) and not (folds != "").any():
        raise ValueError(
            f"the official lists in {root} must name images of the table, but none of its "
            f"{len(folds)} images is in them (first: {images.iloc[0]}); restore the lists"
        )
    return folds
