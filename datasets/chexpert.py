"""CheXpert: radiographs of one hospital, with labels mined from their reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from datasets import chexpert_files, chexpert_plus
from datasets.ages import AgeBands, years
from datasets.attributes import UNKNOWN, check_views, ordered, sexes
from datasets.base import FOLD
from datasets.chexpert_files import Release
from datasets.chexpert_labels import FOURTEEN, SPELLINGS, check_findings
from datasets.chexpert_people import HOW_TO_GET, ChexpertPeople, People
from datasets.curation import Curation, Group, curate
from datasets.expected import Expected, ExpectedTable
from datasets.mentions import Mentions
from datasets.race_of_patients import RaceOfPatients
from datasets.sieve import Sieve
from datasets.split import Split
from datasets.visits import first_images, visits
from registry import DATASETS, unknown

FRONTAL = ("AP", "PA", UNKNOWN)
"""Unknown: frontal, but the projection is not recorded, as of the whole test set."""
VIEWS = ("AP", "PA", "LL", "RL", "Lateral", UNKNOWN)
OLDEST = 90
"""Years; older patients are recorded as 90."""
RELEASES = ("", "v1.0", "plus")
FAIRREAD = Curation(
    "Cardiomegaly",
    {
        "sex": (Group("Male", 0.7528, 0.1486), Group("Female", 0.2472, 0.3012)),
        "race": (Group("White", 0.6457, 0.1346), Group("Non-White", 0.3543, 0.2805)),
        "age": (Group("60 and over", 0.5973, 0.2431), Group("under 60", 0.4027, 0.1021)),
    },
)
"""Source: Gao, Hao, Zhou, FairREAD, arXiv:2412.16373, the table of curated data."""
CURATIONS: Mapping[str, Curation] = {"fairread": FAIRREAD}


@DATASETS.register("chexpert")
@dataclass(frozen=True)
class Chexpert(Mentions, ChexpertPeople, AgeBands):
    """Chest radiographs of 65,240 patients of one hospital, with labels mined from their reports.

    Reads v1.0, v1.0-small, their re-packs in batches, and CheXpert Plus. Race and ethnicity stand
    in a workbook of their own; CheXpert Plus has them, and insurance, in its table.

    License: Stanford University Dataset Research Use Agreement; no redistribution of images,
        labels or rows per patient, no attempt to identify anybody.
    Access: account at Stanford AIMI and a click on the agreement.
    Source: Irvin et al., AAAI 2019 (arXiv:1901.07031); CheXpert Plus: Chambon et al.,
        arXiv:2405.19538; groups of race: `datasets.races`.
    """

    terms: ClassVar[str] = "restricted"
    primary_contrasts: ClassVar[Mapping[str, tuple[str, str]]] = {
        "sex": ("Female", "Male"),
        "race": ("Black", "White"),
    }
    resampling_fields: ClassVar[tuple[str, ...]] = ("curation_seed",)

    findings: tuple[str, ...] = FOURTEEN
    release: str = ""
    """v1.0 or plus, where a folder holds the tables of both; by default the one that is there."""
    section: str = "impression"
    """CheXpert Plus: the section of the reports that labels are mined from: impression, findings or
    report."""
    views: tuple[str, ...] = FRONTAL
    """Views that stay: AP, PA, Unknown (frontal, no more is recorded); LL and RL (recorded as
    frontal all the same); Lateral."""
    one_image_per_patient: bool = False
    """Only the first image of each patient: lowest number of study, then of view."""
    split_file: str = ""
    """A csv file of rows of train.csv and their split (columns index, split), from the data root if
    relative; it gives the official split, which is then the default."""
    curation: str = ""
    """fairread: leave images out until groups have FairREAD's positive rates of Cardiomegaly."""
    curation_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_findings(self.findings)
        check_views(self.views, VIEWS)
        for kind, value, known in (
            ("release", self.release, RELEASES),
            ("section of reports", self.section, chexpert_plus.SECTIONS),
            ("curation", self.curation, ("", *CURATIONS)),
        ):
            if value not in known:
                raise unknown(kind, value, [k for k in known if k])
        if self.age_edges[-1] > OLDEST:
            raise ValueError(
                f"age_edges must end at {OLDEST} years at most, since CheXpert does not record "
                f"higher ages, but got {self.age_edges[-1]}"
            )
        if self.split_file:
            # Without it the file would mean nothing.
            object.__setattr__(self, "default_split", "official")

    def expects(self) -> Expected:
        """As in the base class; of CheXpert Plus, whose tables are others, nothing."""
        folders = ("", "CheXpert-v1.0-small/", "CheXpert-v1.0/")
        listed = ExpectedTable(
            files=tuple(f"{folder}train.csv" for folder in folders),
            columns={"path": ("Path",), "sex": ("Sex",), "age": ("Age",), **SPELLINGS},
            vocabulary={"sex": ("Male", "Female", UNKNOWN)},
            numbers=FOURTEEN,
            ages=("age",),
            filled=("path",),
            unique="path",
            optional=True,
        )
        return Expected((listed,))

    def table(self, root: Path) -> Split:
        """As in the base class.

        Raises:
            FileNotFoundError, ValueError: see there.
        """
        release = self._release(root)
        listed = release.frame.assign(image_id=chexpert_files.images(release.frame))
        study = listed["study"].str.removeprefix("study").astype(np.int64)
        time = listed.get("order", study)
        listed["visit"] = visits(listed["patient"], study, time)
        listed["view"] = _views(listed)
        listed[FOLD] = self._folds(root, listed, release)
        people = self.people(release)
        age = years(listed["age"])
        # No patient is a newborn here: 0 stands for a missing age.
        listed["years"] = age.where(age > 0)
        listed["time"] = time
        rows = Sieve(listed).keep(~listed["image_id"].duplicated(), "listed again")
        rows = rows.drop(_by_view(rows.frame, self.views))
        if self.split_file:
            rows = rows.keep(rows.frame[FOLD] != "", "not in the split file")
        rows = rows.drop(people.left_out[rows.frame.index])
        if self.one_image_per_patient:
            first = first_images(rows.frame["patient"], rows.frame["time"], rows.frame["number"])
            rows = rows.keep(first, "not the first image of the patient")
        labels = self.labelled(release.labels.loc[rows.frame.index])
        labels[release.unread[rows.frame.index]] = np.nan
        notes = [f"release: {release.name}", *release.notes, *people.notes]
        other = ~rows.frame["projection"].isin(("", *VIEWS)) & (rows.frame["side"] == "Frontal")
        if odd := int(other.sum()):
            notes.append(f"{odd} frontal images have an unknown word as projection: {UNKNOWN}")
        if self.curation:
            rows, told = self._curated(rows, labels, people, release)
            notes.append(told)
        if not len(rows.frame):
            raise ValueError(
                f"{root} must list at least one image in the views {', '.join(self.views)} that "
                f"the policies keep, but its {len(listed)} were left out: {dict(rows.dropped)}; "
                "choose other fields"
            )
        if capped := int((rows.frame["years"] == OLDEST).sum()):
            notes.append(f"age {OLDEST} stands for {OLDEST} and more ({capped} images)")
        return self._split(rows, labels, people, release.root, tuple(notes))

    def _release(self, root: Path) -> Release:
        if not root.is_dir():
            raise FileNotFoundError(
                f"--data-root must be a folder of CheXpert, but {root} does not exist; "
                f"{chexpert_files.HOW_TO_GET}"
            )
        first = None if self.release == "plus" else chexpert_files.find(root)
        plus = None if self.release == "v1.0" else chexpert_plus.find(root)
        if first and plus:
            raise ValueError(
                f"--data-root must hold one release of CheXpert, but {root} holds {plus.name} "
                f"beside {first / 'train.csv'}; choose with --data release=v1.0 or release=plus"
            )
        if first:
            return chexpert_files.load(root, first)
        if plus:
            return chexpert_plus.load(root, plus, self.section)
        wanted = {"v1.0": "train.csv", "plus": "df_chexpert_plus_240401.csv"}
        needed = wanted.get(self.release, " or ".join(wanted.values()))
        raise FileNotFoundError(
            f"a folder of CheXpert must hold {needed}, itself or in one called CheXpert-…, but "
            f"{root} does not; {chexpert_files.HOW_TO_GET}"
        )

    def _folds(self, root: Path, listed: pd.DataFrame, release: Release) -> np.ndarray:
        """The official fold of each row.

        A benchmark needs a test fold: where the test set is not there, the radiologists' valid list
        is it, as in most studies, and folds to choose by are carved out of train.
        """
        if not self.split_file:
            has_test = (listed["list"] == "test").any()
            names = {"train": "train", "valid": "val" if has_test else "test", "test": "test"}
            return listed["list"].map(names).fillna("").to_numpy(dtype=object)
        if "order" in listed or "race" in listed:
            raise ValueError(
                "split_file counts rows of train.csv, which CheXpert Plus does not have, but the "
                f"data are {release.name}; use --split manifest.csv"
            )
        train = (listed["list"] == "train").to_numpy()
        fold = np.full(len(listed), "", dtype=object)
        path = root / Path(self.split_file).expanduser()
        fold[train] = chexpert_files.split_of_rows(path, int(train.sum()))
        return fold

    def _curated(
        self, rows: Sieve, labels: pd.DataFrame, people: People, release: Release
    ) -> tuple[Sieve, str]:
        """The rows that the curation draws, and the sentence on it."""
        if not len(people.recorded):
            raise FileNotFoundError(
                f"curation={self.curation} needs race, which is not recorded here; {HOW_TO_GET}"
            )
        frame, records = rows.frame, people.recorded
        asked = pd.Index(frame["patient"].unique())
        rule = RaceOfPatients(race_groups="white-nonwhite", changing="most_frequent")
        race, _ = rule.race_of_patients(
            asked, records["patient"], records["race"], records["ethnicity"]
        )
        age = frame["years"]
        groups = pd.DataFrame(
            {
                "sex": sexes(frame["sex"]),
                "race": frame["patient"].map(race).to_numpy(),
                "age": np.select([age >= 60, age < 60], ["60 and over", "under 60"], UNKNOWN),
            },
            index=frame.index,
        )
        plan = CURATIONS[self.curation]
        found = curate(groups, labels[plan.finding], plan, seed=self.curation_seed)
        why = np.where(found.known, "sub-sampled", "sex, race, age or label not known")
        why = np.where(found.kept, "", f"curation {self.curation}: " + why.astype(object))
        return rows.drop(why), f"curation {self.curation}: {found.told}"

    def _split(
        self,
        rows: Sieve,
        labels: pd.DataFrame,
        people: People,
        root: Path,
        notes: tuple[str, ...],
    ) -> Split:
        kept = rows.frame
        frame = pd.DataFrame(
            {
                "image_id": kept["image_id"],
                "patient_id": kept["patient"],
                "path": kept["path"],
                "origin": "real",
                "sex": sexes(kept["sex"]),
                "age": kept["years"],
                "age_band": self.age_band(kept["years"]),
                "view": ordered(kept["view"], [*dict.fromkeys((*self.views, *VIEWS))]),
                "visit": kept["visit"],
                FOLD: kept[FOLD],
            }
        )
        for name, column in people.columns.loc[kept.index].items():
            # Groups whose people a policy left out altogether are none of this table.
            frame[name] = column.cat.remove_unused_categories()
        for finding in self.findings:
            frame[finding] = labels.loc[kept.index, finding].astype(np.float32)
        return Split(
            name=self.registered_name,
            frame=frame.reset_index(drop=True),
            root=root,
            findings=self.findings,
            attributes=("sex", "age_band", *people.columns, "view"),
            dropped=rows.dropped,
            notes=notes,
        )


def _views(listed: pd.DataFrame) -> pd.Series:
    """The view of each image: its projection where it is recorded, "Lateral" for laterals."""
    told = listed["projection"].where(listed["projection"].isin(VIEWS), UNKNOWN)
    return told.mask(listed["side"] == "Lateral", "Lateral")


def _by_view(listed: pd.DataFrame, views: tuple[str, ...]) -> np.ndarray:
    """Why a row of this view is left out, "" where it stays."""
    view = listed["view"]
    return np.select(
        [view.isin(views), view == "Lateral", view.isin(["LL", "RL"]), view == UNKNOWN],
        ["", "lateral view", "recorded as frontal, but LL or RL", "view not recorded"],
        default="view not chosen",
    )
