"""PadChest: radiographs of a Spanish hospital, 16 bits deep, labelled by physicians and a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from datasets import tabular
from datasets.ages import OLDEST, AgeBands
from datasets.attributes import UNKNOWN, check_views, sexes, views_in_order
from datasets.expected import Expected, ExpectedTable
from datasets.image_folders import folder_of_images
from datasets.padchest_labels import GROUPS, SUBOPTIMAL, parsed, says_nothing
from datasets.sieve import Sieve
from datasets.split import Split
from datasets.visits import first_images, visits
from registry import DATASETS, unknown

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
COLUMNS = {
    "image": ("ImageID",), "folder": ("ImageDir",), "date": ("StudyDate_DICOM",),
    "study": ("StudyID",), "patient": ("PatientID",), "birth": ("PatientBirth",),
    "sex": ("PatientSex_DICOM",), "view": ("Projection",), "pediatric": ("Pediatric",),
    "by": ("MethodLabel",), "labels": ("Labels",),
}  # fmt: skip
"""What is read. The report is not: it stays in its file."""
FRONTAL = ("PA", "AP", "AP_horizontal")
LATERAL, NO_VIEW = "L", "EXCLUDE"
VIEWS = (*FRONTAL, LATERAL, "COSTAL", NO_VIEW, UNKNOWN)
CHILD = "PED"
PHYSICIAN = "physician"
LABELLED_BY = ("all", PHYSICIAN)
HOW_TO_GET = (
    "ask for it at https://bimcv.cipf.es/bimcv-projects/padchest/ and name the folder with the "
    "table as --data-root"
)


@DATASETS.register("padchest")
@dataclass(frozen=True)
class PadChest(AgeBands):
    """Chest radiographs of one Spanish hospital, 2009 to 2017, with 174 findings from reports.

    A finding that a report does not name is absent. Labels are made into findings by
    `datasets.padchest_labels`.

    License: PadChest Dataset Research Use Agreement; images must not be shared.
    Access: request form of BIMCV.
    Source: Bustos, Pertusa, Salinas, de la Iglesia-Vayá, Medical Image Analysis 2020;66:101797.
    """

    terms: ClassVar[str] = "restricted"
    primary_contrasts: ClassVar[Mapping[str, tuple[str, str]]] = {"sex": ("Female", "Male")}

    findings: tuple[str, ...] = tuple(GROUPS)
    """Names of groups of labels, or labels as PadChest spells them, such as "scoliosis"."""
    views: tuple[str, ...] = FRONTAL
    """Projections that stay: PA, AP, AP_horizontal (lying), L, COSTAL, EXCLUDE, Unknown."""
    labelled_by: str = "all"
    """all, or physician: only images whose report was labelled by hand."""
    pediatric: bool = True
    """Whether images stay that were taken by the protocol for children."""
    suboptimal: bool = True
    """Whether images stay whose report calls the study suboptimal, but tells findings."""
    one_image_per_patient: bool = False
    """Only the first image of each patient by date."""
    image_folder: str = ""
    """The folder of the images or of the folders 0 to 54, from the data root if relative; by
    default the data root. For copies of other sizes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labelled_by not in LABELLED_BY:
            raise unknown("source of labels", self.labelled_by, LABELLED_BY)
        check_views(self.views, VIEWS)

    def expects(self) -> Expected:
        """As in the base class."""
        listed = ExpectedTable(
            files=(TABLE,),
            columns=COLUMNS,
            vocabulary={"view": VIEWS, "sex": ("M", "F", "O")},
            filled=("image",),
            unique="image",
            patient="patient",
        )
        return Expected((listed,))

    def table(self, root: Path) -> Split:
        """As in the base class.

        Raises:
            FileNotFoundError, ValueError: see there.
            UnknownName: a finding is neither a group nor a label of the table.
        """
        path = tabular.locate(root, TABLE, of="PadChest", how_to_get=HOW_TO_GET)
        listed = tabular.read(path, COLUMNS)
        which, sets = parsed(path, listed["labels"])
        listed = listed.drop(columns="labels").assign(labels=which)
        date = pd.to_numeric(listed["date"], errors="coerce")
        listed = listed.assign(time=date, age=_ages(date, listed["birth"]))
        listed["visit"] = visits(listed["patient"], listed["study"], date)
        labels = self._findings(sets)
        rows = Sieve(listed).drop(self._left_out(listed, sets))
        rows = rows.keep(~rows.frame["image"].duplicated(), "image listed before")
        if self.one_image_per_patient:
            frame = rows.frame
            first = first_images(frame["patient"], frame["time"], frame["image"])
            rows = rows.keep(first, "not the first image of the patient")
        if not len(rows.frame):
            raise ValueError(
                f"{path} must list at least one image that the policies keep, but its "
                f"{len(listed)} were left out: {dict(rows.dropped)}; choose other fields"
            )
        return self._split(root, rows, labels)

    def _findings(self, sets: list[frozenset[str]]) -> np.ndarray:
        """Labels `(sets, findings)` float32 of each set."""
        there = sorted(frozenset().union(*sets))
        made = np.zeros((len(sets), len(self.findings)), np.float32)
        for j, finding in enumerate(self.findings):
            if finding not in GROUPS and finding not in there:
                raise unknown("finding", finding, [*GROUPS, *there])
            members = frozenset(GROUPS.get(finding, (finding,)))
            made[:, j] = [not members.isdisjoint(labels) for labels in sets]
        return made

    def _left_out(self, listed: pd.DataFrame, sets: list[frozenset[str]]) -> np.ndarray:
        """Why a row is left out, "" where it stays."""
        view = listed["view"].replace("", UNKNOWN)
        why = np.array([says_nothing(labels) for labels in sets], dtype=object)[listed["labels"]]
        poor = np.array([SUBOPTIMAL in labels for labels in sets], dtype=bool)[listed["labels"]]
        by_hand = listed["by"].str.casefold() == PHYSICIAN
        return np.select(
            [
                (listed["image"] == "") | (listed["patient"] == ""),
                ~view.isin(self.views) & (view == LATERAL),
                ~view.isin(self.views) & (view == NO_VIEW),
                ~view.isin(self.views) & (view == UNKNOWN),
                ~view.isin(self.views),
                (listed["pediatric"] == CHILD) & (not self.pediatric),
                ~by_hand & (self.labelled_by == PHYSICIAN),
                why != "",
                poor & (not self.suboptimal),
            ],
            [
                "no image or patient id",
                "lateral view",
                "view not usable (EXCLUDE)",
                "view not recorded",
                "view not chosen",
                "protocol for children",
                "not labelled by a physician",
                why,
                "suboptimal study",
            ],
            default="",
        )

    def _split(self, root: Path, rows: Sieve, labels: np.ndarray) -> Split:
        kept = rows.frame.reset_index(drop=True)
        top = folder_of_images(root, self.image_folder)
        frame = pd.DataFrame(
            {
                "image_id": kept["image"],
                "patient_id": kept["patient"],
                "path": _paths(top, kept),
                "origin": "real",
                "sex": sexes(kept["sex"]),
                "age": kept["age"],
                "age_band": self.age_band(kept["age"]),
                "view": views_in_order(kept["view"], self.views, VIEWS),
                "visit": kept["visit"],
            }
        )
        frame[[*self.findings]] = labels[kept["labels"]]
        by_hand = int((kept["by"].str.casefold() == PHYSICIAN).sum())
        return Split(
            name=self.registered_name,
            frame=frame,
            root=top,
            findings=self.findings,
            attributes=("sex", "age_band", "view"),
            dropped=rows.dropped,
            notes=(
                f"labels of {by_hand} of {len(kept)} images were given by physicians, the others "
                "by a model that read the report",
            ),
        )


def _ages(date: pd.Series, birth: pd.Series) -> pd.Series:
    """Years at the study, NaN where a year is not known or the age is none.

    Differs from torchxrayvision: there it is 2017 minus the year of birth, for all studies.
    """
    age = date // 10_000 - pd.to_numeric(birth, errors="coerce")
    return age.where((age >= 0) & (age <= OLDEST))


def _paths(top: Path, rows: pd.DataFrame) -> pd.Series:
    """Paths of the images: in the folders that the table names where there is one, or else flat."""
    folders = [name for name in rows["folder"].unique() if name]
    if any((top / name).is_dir() for name in folders):
        return rows["folder"] + "/" + rows["image"]
    return rows["image"]
