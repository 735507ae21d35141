"""MIMIC-CXR-JPG: radiographs of an emergency department, with people as MIMIC-IV records them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from datasets import mimic_cxr_files as files
from datasets.attributes import UNKNOWN, check_views, views_in_order
from datasets.base import FOLD
from datasets.chexpert_labels import FOURTEEN, SPELLINGS, check_findings
from datasets.expected import Expected, ExpectedTable
from datasets.image_folders import folder_of_images
from datasets.mentions import Mentions
from datasets.mimic_iv import MimicIV
from datasets.sieve import Sieve
from datasets.split import Split
from datasets.visits import first_images, visits
from registry import DATASETS, unknown

FRONTAL, LATERAL = ("AP", "PA"), ("LATERAL", "LL")
VIEWS = (
    *FRONTAL, *LATERAL, "AP AXIAL", "AP LLD", "AP RLD", "PA LLD", "PA RLD", "LAO", "LPO", "RAO",
    "RL", "SWIMMERS", "XTABLE LATERAL", UNKNOWN,
)  # fmt: skip
TEST_LABELS = ("labeler", "radiologist")


@DATASETS.register("mimic-cxr")
@dataclass(frozen=True)
class MimicCxr(Mentions, MimicIV):
    """Chest radiographs of 65,379 patients of one hospital, with labels mined from their reports.

    Reads MIMIC-CXR-JPG 2.0 and 2.1, compressed or not, and MIMIC-IV 1 to 3 where it is found.

    License: PhysioNet Credentialed Health Data License 1.5.0; no sharing of images, labels, ids or
        rows per patient, with people or services.
    Access: credentialed PhysioNet account with CITI training, for MIMIC-CXR-JPG and MIMIC-IV each.
    Source: Johnson et al., arXiv:1901.07042; labels: Irvin et al., AAAI 2019, and Peng et al.,
        AMIA 2018; people: `datasets.mimic_iv`; groups of race: `datasets.races`.
    """

    terms: ClassVar[str] = "restricted"
    default_split: ClassVar[str] = "patient"
    primary_contrasts: ClassVar[Mapping[str, tuple[str, str]]] = {
        "sex": ("Female", "Male"),
        "race": ("Black", "White"),
        "insurance": ("Medicaid", "Medicare"),
    }

    findings: tuple[str, ...] = FOURTEEN
    labeler: str = "chexpert"
    """Which labels: chexpert or negbio."""
    views: tuple[str, ...] = FRONTAL
    """Views that stay, as ViewPosition spells them; "Unknown" for those where it is blank."""
    one_image_per_patient: bool = False
    """Only the first image of each patient by date and time."""
    test_labels: str = "labeler"
    """With radiologist, the test fold of the official split, which is then the default, is the
    studies that radiologists labelled, with their labels; other images of their patients and of the
    official test set are left out."""
    image_folder: str = ""
    """The folder above `files` or p10 to p19, from the data root if relative; by default the data
    root. For copies of other sizes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_findings(self.findings)
        check_views(self.views, VIEWS)
        for kind, value, known in (
            ("labeler", self.labeler, files.LABELS),
            ("policy of test labels", self.test_labels, TEST_LABELS),
        ):
            if value not in known:
                raise unknown(kind, value, known)
        if self.test_labels == "radiologist":
            # Without its own test fold the choice would mean nothing.
            object.__setattr__(self, "default_split", "official")

    def expects(self) -> Expected:
        """As in the base class."""
        images = ExpectedTable(
            files=(files.METADATA,),
            columns={**{name: (name,) for name in files.IDS}, "view": ("ViewPosition",)},
            vocabulary={"view": VIEWS},
            filled=tuple(files.IDS),
            unique="dicom_id",
            patient="subject_id",
        )
        labels = ExpectedTable(
            files=(files.LABELS[self.labeler],),
            columns={"study_id": ("study_id",), **SPELLINGS},
            numbers=FOURTEEN,
            filled=("study_id",),
        )
        split = ExpectedTable(
            files=(files.SPLIT,),
            columns={"dicom_id": ("dicom_id",), "split": ("split",)},
            vocabulary={"split": tuple(files.FOLDS)},
            optional=True,
        )
        return Expected((images, labels, split))

    def table(self, root: Path) -> Split:
        """As in the base class.

        Raises:
            FileNotFoundError, ValueError: see there.
        """
        listed = files.metadata(root)
        listed["visit"] = visits(listed["subject_id"], listed["study_id"], listed["time"])
        rows = Sieve(listed).drop(self._by_view(listed["view"]))
        fold = files.official_folds(root, rows.frame["dicom_id"])
        if fold is not None:
            rows = rows.with_frame(rows.frame.assign(**{FOLD: fold}))
        labels, notes = self._labels(root, rows.frame["study_id"])
        if self.test_labels == "radiologist":
            rows, labels = self._with_radiologists(root, rows, labels)
        people = self.demographics(root, rows.frame["subject_id"], rows.frame["year"])
        rows = rows.with_frame(pd.concat([rows.frame, labels, people.columns], axis=1))
        rows = rows.drop(people.left_out)
        if self.one_image_per_patient:
            frame = rows.frame
            first = first_images(frame["subject_id"], frame["time"], frame["dicom_id"])
            rows = rows.keep(first, "not the first image of the patient")
        if not len(rows.frame):
            raise ValueError(
                f"{root} must list at least one image in the views {', '.join(self.views)} that "
                f"the policies keep, but its {len(listed)} were left out: {dict(rows.dropped)}; "
                "choose other fields"
            )
        return self._split(root, rows, people.attributes, (*notes, *people.notes))

    def _by_view(self, view: pd.Series) -> np.ndarray:
        """Why a row of this view is left out, "" where it stays."""
        chosen = view.replace("", UNKNOWN).isin(self.views)
        return np.select(
            [chosen, view == "", view.isin(LATERAL)],
            ["", "view not recorded", "lateral view"],
            default="view not chosen",
        )

    def _labels(self, root: Path, study: pd.Series) -> tuple[pd.DataFrame, list[str]]:
        """Labels of each image from those of its study, and what to know about them.

        A study without any label was not read by the labeller, so its blanks do not mean absence.
        """
        found = files.study_mentions(root, self.labeler)
        there = found.index.get_indexer(pd.Index(study)) >= 0
        if not there.any():
            raise ValueError(
                f"{files.LABELS[self.labeler]} must list studies with an image in the views "
                f"{', '.join(self.views)}, but none of its {len(found)} has one; take it and "
                f"{files.METADATA} from one release"
            )
        labels, blank = self._per_image(found, study)
        if not blank.any():
            return labels, []
        return labels, [
            f"of {len(study)} images in the chosen views, {int(blank.sum())} have no label of "
            f"{self.labeler} at all and are blank ({study[blank].nunique()} studies, "
            f"{study[~there].nunique()} of them not in its file)"
        ]

    def _per_image(self, found: pd.DataFrame, study: pd.Series) -> tuple[pd.DataFrame, np.ndarray]:
        """The chosen findings of each image, and where its study has no label at all."""
        nothing = found.isna().all(axis=1)
        made = self.labelled(found)[[*self.findings]].astype(np.float32)
        made[nothing] = np.nan
        labels = made.reindex(study.to_numpy()).set_axis(study.index)
        blank = nothing.reindex(study.to_numpy(), fill_value=True)
        return labels, blank.to_numpy(dtype=bool)

    def _with_radiologists(
        self, root: Path, rows: Sieve, labels: pd.DataFrame
    ) -> tuple[Sieve, pd.DataFrame]:
        """The rows and labels where the test fold is what radiologists labelled."""
        frame = rows.frame
        if FOLD not in frame:
            raise FileNotFoundError(
                f"test_labels=radiologist needs the official split, but {root} has no "
                f"{files.SPLIT}; {files.HOW_TO_GET}"
            )
        found = files.radiologists_mentions(root)
        theirs = frame["study_id"].isin(found.index).to_numpy()
        if not theirs.any():
            raise ValueError(
                f"{files.RADIOLOGISTS} must list studies with an image in the views "
                f"{', '.join(self.views)}, but none of its {len(found)} has one; choose other views"
            )
        labels[theirs] = self._per_image(found, frame.loc[theirs, "study_id"])[0]
        patients = frame.loc[theirs, "subject_id"].unique()
        of_them = frame["subject_id"].isin(patients).to_numpy()
        why = np.select(
            [theirs, of_them, frame[FOLD] == "test", frame[FOLD] == ""],
            ["", "other study of a patient whom radiologists labelled",
             "test fold, but not labelled by radiologists", "not in the official split"],
            default="",
        )  # fmt: skip
        frame = frame.assign(**{FOLD: frame[FOLD].mask(theirs, "test")})
        return rows.with_frame(frame).drop(why), labels[why == ""]

    def _split(
        self, root: Path, rows: Sieve, attributes: tuple[str, ...], notes: tuple[str, ...]
    ) -> Split:
        kept = rows.frame.reset_index(drop=True)
        top = folder_of_images(root, self.image_folder)
        frame = pd.DataFrame(
            {
                "image_id": kept["dicom_id"],
                "patient_id": kept["subject_id"],
                "path": files.find_place(top).paths(kept),
                "origin": "real",
                "view": views_in_order(kept["view"], self.views, VIEWS),
                "visit": kept["visit"],
            }
        )
        for name in ("age", FOLD, *attributes, *self.findings):
            if name in kept:
                frame[name] = kept[name]
        for name in set(attributes) - {"age_band"}:
            # Groups whose people a policy left out altogether are none of this table.
            frame[name] = frame[name].cat.remove_unused_categories()
        return Split(
            name=self.registered_name,
            frame=frame,
            root=top,
            findings=self.findings,
            attributes=(*attributes, "view"),
            dropped=rows.dropped,
            notes=notes,
        )
