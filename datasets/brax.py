"""BRAX: radiographs of a hospital in São Paulo, labelled from reports in Portuguese."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from datasets import tabular
from datasets.ages import AgeBands, years
from datasets.attributes import UNKNOWN, check_views, sexes, views_in_order
from datasets.chexpert_labels import FOURTEEN, check_findings, mentions
from datasets.expected import Expected, ExpectedTable
from datasets.mentions import Mentions
from datasets.sieve import Sieve
from datasets.split import Split
from datasets.visits import first_images, visits
from registry import DATASETS

TABLES = ("master_spreadsheet_update.csv", "master_spreadsheet.csv")
FOLDER = "images"
FRONTAL = ("AP", "PA")
OBLIQUE = ("RLO", "LLO")
VIEWS = (*FRONTAL, "LL", "RL", "RLD", "LLD", *OBLIQUE, UNKNOWN)
LATERAL = ("LL", "RL")
OLDEST, WIDTH = 85, 5
"""Years: where recorded ages end ("85 or more"), and how wide the groups are that are recorded."""
COLUMNS = {
    "path": ("PngPath",), "patient": ("PatientID",), "sex": ("PatientSex",),
    "age": ("PatientAge",), "study": ("AccessionNumber",), "date": ("StudyDate",),
    "view": ("ViewPosition",),
}  # fmt: skip
HOW_TO_GET = (
    "get it from https://physionet.org/content/brax/ (credentialed) and name the folder with the "
    "spreadsheet as --data-root"
)


@DATASETS.register("brax")
@dataclass(frozen=True)
class Brax(Mentions, AgeBands):
    """Chest radiographs of a Brazilian hospital: 24,959 studies with 40,967 images.

    Ages are recorded as the lower end of five years, so the column `age` holds that end.

    License: PhysioNet Credentialed Health Data License 1.5.0; no sharing of images, labels, ids or
        rows per patient, with people or services.
    Access: credentialed PhysioNet account with CITI training.
    Source: Reis et al., Scientific Data 2022;9:487.
    """

    terms: ClassVar[str] = "restricted"
    primary_contrasts: ClassVar[Mapping[str, tuple[str, str]]] = {"sex": ("Female", "Male")}

    findings: tuple[str, ...] = FOURTEEN
    views: tuple[str, ...] = FRONTAL
    """Views that stay, as ViewPosition spells them; "Unknown" for those where it is blank."""
    one_image_per_patient: bool = False
    """Only the first image of each patient by date."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_findings(self.findings)
        check_views(self.views, VIEWS)
        if self.age_edges[-1] > OLDEST or any(edge % WIDTH for edge in self.age_edges):
            raise ValueError(
                f"age_edges must be multiples of {WIDTH} up to {OLDEST} years, since BRAX records "
                f"ages in such groups, but got {', '.join(map(str, self.age_edges))}"
            )

    def expects(self) -> Expected:
        """As in the base class."""
        listed = ExpectedTable(
            files=TABLES,
            columns={**COLUMNS, **{name: (name,) for name in FOURTEEN}},
            vocabulary={"view": VIEWS, "sex": ("M", "F", "O")},
            numbers=FOURTEEN,
            ages=("age",),
        )
        return Expected((listed,), (FOLDER,))

    def table(self, root: Path) -> Split:
        """As in the base class.

        Raises:
            FileNotFoundError, ValueError: see there.
        """
        path = tabular.locate(root, *TABLES, of="BRAX", how_to_get=HOW_TO_GET)
        listed = tabular.read(path, {**COLUMNS, **{name: (name,) for name in FOURTEEN}})
        said = mentions(path, listed)
        date = tabular.numbers(path, listed["date"].str.replace("-", ""))
        listed = listed.assign(date=date, path=image_paths(listed["path"]))
        listed["visit"] = visits(listed["patient"], listed["study"], date)
        rows = Sieve(listed.drop(columns=[*FOURTEEN]).join(self.labelled(said)))
        rows = rows.drop(self._left_out(listed))
        rows = rows.keep(~rows.frame["path"].duplicated(), "image listed before")
        if self.one_image_per_patient:
            frame = rows.frame
            first = first_images(frame["patient"], frame["date"], frame["path"])
            rows = rows.keep(first, "not the first image of the patient")
        if not len(rows.frame):
            raise ValueError(
                f"{path} must list at least one image in the views {', '.join(self.views)}, but "
                f"its {len(listed)} were left out: {dict(rows.dropped)}; choose other views"
            )
        return self._split(root, rows)

    def _left_out(self, listed: pd.DataFrame) -> np.ndarray:
        """Why a row is left out, "" where it stays."""
        view = listed["view"]
        return np.select(
            [
                listed["path"] == "",
                listed["patient"] == "",
                view.replace("", UNKNOWN).isin(self.views),
                view == "",
                view.isin(LATERAL),
            ],
            ["no image file named", "no patient id", "", "view not recorded", "lateral view"],
            default="view not chosen",
        )

    def _split(self, root: Path, rows: Sieve) -> Split:
        kept = rows.frame.reset_index(drop=True)
        age = years(kept["age"])
        frame = pd.DataFrame(
            {
                # The name of a file is not unique; its path below the folder is.
                "image_id": kept["path"].str.removeprefix(f"{FOLDER}/"),
                "patient_id": kept["patient"],
                "path": kept["path"],
                "origin": "real",
                "sex": sexes(kept["sex"]),
                "age": age,
                "age_band": self.age_band(age),
                "view": views_in_order(kept["view"], self.views, VIEWS),
                "visit": kept["visit"],
            }
        )
        frame[[*self.findings]] = kept[[*self.findings]].astype(np.float32)
        return Split(
            name=self.registered_name,
            frame=frame,
            root=root,
            findings=self.findings,
            attributes=("sex", "age_band", "view"),
            dropped=rows.dropped,
            notes=(
                f"age is the lower end of {WIDTH} years; {OLDEST} stands for {OLDEST} and more "
                f"({int((age >= OLDEST).sum())} images)",
            ),
        )


def image_paths(recorded: pd.Series) -> pd.Series:
    """Paths of images below the data root, "" where none is recorded.

    Backslashes, and prefixes of the machine that wrote them, go: what counts stands behind the last
    `images/`. Anything else that leads out of the folder is left for `Split` to refuse.
    """
    plain = recorded.str.replace("\\", "/", regex=False)
    below = plain.str.replace(rf"^(?:.*/)?{FOLDER}/", "", regex=True).str.removeprefix("./")
    return (f"{FOLDER}/" + below).where(below != "", "")
