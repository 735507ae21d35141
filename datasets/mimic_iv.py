"""Who the patients of MIMIC are: sex, age, race and insurance from the tables of MIMIC-IV."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from datasets import tabular
from datasets.ages import AgeBands
from datasets.attributes import SEXES, SPELT, UNKNOWN, ordered
from datasets.changing import CHANGES, POLICIES, settled
from datasets.race_of_patients import RaceOfPatients
from datasets.races import in_order
from registry import unknown

PATIENTS, ADMISSIONS = "patients.csv", "admissions.csv"
DEEPEST = 3
"""Folders below the data root in which the tables are looked for (`mimiciv/3.1/hosp`)."""
IMAGES = re.compile(r"files|downsampled_files|p\d{2}|p\d{8}|\..*")
"""Folders that hold no tables, but up to 10^5 others."""
OLDEST = 90
"""Years; whoever is older is recorded as 91 at the anchor, whatever the age."""
INSURANCES = ("Medicare", "Medicaid", "Private", "No charge", "Other", UNKNOWN)
HOW_TO_GET = (
    "get MIMIC-IV from https://physionet.org/content/mimiciv/ (credentialed) and put its folder "
    "below the data root, or name it with `--data mimic_iv=DIR`"
)


@dataclass(frozen=True)
class Demographics:
    """What MIMIC-IV records, one row per image asked for."""

    columns: pd.DataFrame
    """The attributes, and `age` in years, 90 for "90 or more", NaN where not known."""
    attributes: tuple[str, ...]
    left_out: np.ndarray
    """Why a policy leaves the row out `(n,)`, "" where it stays."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class MimicIV(RaceOfPatients, AgeBands):
    """A data set whose people are described in MIMIC-IV, version 1 (core/), 2 or 3 (hosp/).

    Source: Johnson et al., MIMIC-IV, PhysioNet, doi:10.13026/6mm1-ek67.
    """

    mimic_iv: str = ""
    """The folder of MIMIC-IV, from the data root if relative (`../mimiciv/3.1`); by default it is
    looked for below the data root."""
    changing_insurance: str = "most_frequent"
    """As `changing`, which is about race: most_frequent, first, or drop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.changing_insurance not in POLICIES:
            raise unknown("policy of changing insurance", self.changing_insurance, POLICIES)
        if self.age_edges[-1] > OLDEST:
            raise ValueError(
                f"age_edges must end at {OLDEST} years at most, since MIMIC-IV does not record "
                f"higher ages, but got {self.age_edges[-1]}"
            )

    def demographics(self, root: Path, patient: pd.Series, year: pd.Series) -> Demographics:
        """What is recorded of `patient` `(n,)` in the `year` `(n,)` of each image, by left join.

        People without a row are in the group "Unknown". Without MIMIC-IV there are no attributes.

        Raises:
            FileNotFoundError: the folder that `mimic_iv` names has no MIMIC-IV.
            ValueError: a table breaks a rule, or MIMIC-IV is found several times.
        """
        folder = self._folder(root)
        nobody = np.full(len(patient), "")
        if folder is None:
            missing = f"sex, age, race and insurance are not known: no {PATIENTS} was found"
            nothing = pd.DataFrame(index=patient.index)
            return Demographics(nothing, (), nobody, (f"{missing}; {HOW_TO_GET}",))
        # Each person once: a table of 10^5 images has far fewer of them.
        who, people = pd.factorize(patient)
        asked = pd.Index(people)
        columns, notes = self._from_patients(folder, asked, who, year)
        if not _is_there(folder, ADMISSIONS):
            missing = f"race and insurance are not known: {PATIENTS} was found without {ADMISSIONS}"
            return Demographics(
                columns, ("sex", "age_band"), nobody, (*notes, f"{missing}; {HOW_TO_GET}")
            )
        race, insurance, why, note = self._from_admissions(folder, asked, who)
        columns["race"] = in_order(race)
        columns["insurance"] = ordered(insurance, INSURANCES)
        return Demographics(
            columns,
            ("sex", "age_band", "race", "insurance"),
            why.to_numpy(dtype=str),
            (*notes, *note),
        )

    def _folder(self, root: Path) -> Path | None:
        """The folder of the tables, None where nobody named one and none is found."""
        named = root / Path(self.mimic_iv).expanduser() if self.mimic_iv else root
        found = _folders_of(named, PATIENTS)
        if len(found) > 1:
            listed = ", ".join(str(f) for f in found[:5])
            raise ValueError(
                f"MIMIC-IV must be found once, but {PATIENTS} stands in {listed}; choose one "
                "with `--data mimic_iv=DIR`"
            )
        if not found and self.mimic_iv:
            raise FileNotFoundError(
                f"mimic_iv must name a folder of MIMIC-IV, with {PATIENTS} (or .gz) in it, in "
                f"core/ or in hosp/, but {named} has none; {HOW_TO_GET}"
            )
        return found[0] if found else None

    def _from_patients(
        self, folder: Path, asked: pd.Index[str], who: np.ndarray, year: pd.Series
    ) -> tuple[pd.DataFrame, list[str]]:
        """Sex and age of each image, and what to know about them."""
        path = tabular.locate(folder, PATIENTS, of="MIMIC-IV", how_to_get=HOW_TO_GET)
        names = ("subject_id", "gender", "anchor_age", "anchor_year")
        listed = tabular.read(path, {name: (name,) for name in names})
        once(path, listed["subject_id"])
        for name in ("anchor_age", "anchor_year"):
            listed[name] = tabular.numbers(path, listed[name])
        people = listed.set_index("subject_id").reindex(asked)
        # The index of one in the other: many times as fast as `isin` for texts.
        there = pd.Index(listed["subject_id"]).get_indexer(asked) >= 0
        if not there.any():
            raise ValueError(
                f"{path} must list patients of MIMIC-CXR, but none of the {len(asked)} is among "
                f"its {len(listed)} (it begins with {listed['subject_id'].head(1).tolist()}); "
                "name the right folder with `--data mimic_iv=DIR`"
            )
        sex = people["gender"].str.casefold().map(SPELT).fillna(UNKNOWN).to_numpy(dtype=object)
        age = age_at_study(
            people["anchor_age"].to_numpy()[who],
            people["anchor_year"].to_numpy()[who],
            year.to_numpy(dtype=np.float64),
        )
        ages = pd.Series(age, index=year.index)
        columns = pd.DataFrame({"sex": ordered(sex[who], SEXES), "age": ages,
                                "age_band": self.age_band(ages)}, index=year.index)  # fmt: skip
        notes = []
        if capped := int((age == OLDEST).sum()):
            notes.append(f"age {OLDEST} stands for {OLDEST} and more ({capped} images)")
        return columns, notes + _missing(path, there, who)

    def _from_admissions(
        self, folder: Path, asked: pd.Index[str], who: np.ndarray
    ) -> tuple[pd.Series, pd.Series, pd.Series, list[str]]:
        """Race and insurance of each image as the policies settle them; why it is left out, ""
        where it stays; and what to know."""
        path = tabular.locate(folder, ADMISSIONS, of="MIMIC-IV", how_to_get=HOW_TO_GET)
        columns = {"subject_id": ("subject_id",), "race": ("race", "ethnicity"),
                   "insurance": ("insurance",)}  # fmt: skip
        listed = tabular.read(path, columns)
        listed = listed[asked.get_indexer(pd.Index(listed["subject_id"])) >= 0]
        patient = listed["subject_id"]
        race, why = self.race_of_patients(
            asked, patient, listed["race"], pd.Series("", index=listed.index)
        )
        insurance = settled(patient, _insurance(listed["insurance"]), self.changing_insurance)
        insurance = insurance.reindex(asked).fillna(UNKNOWN)
        note = _missing(path, pd.Index(patient.unique()).get_indexer(asked) >= 0, who)
        why = why.mask((why == "") & (insurance == ""), f"{CHANGES} insurance")
        return race.iloc[who], insurance.iloc[who], why.iloc[who], note


def age_at_study(anchor_age: np.ndarray, anchor_year: np.ndarray, year: np.ndarray) -> np.ndarray:
    """Ages in years at the study, at most 90 for "90 or more"; NaN where not known or negative.

    Who was 90 or more at the anchor is recorded as 91, which is a code and not a number: the sum
    would mean nothing, and 90 stands for it at every study.
    Source: MIMIC-IV documentation, table `patients`; Glocker et al., eBioMedicine 2023;89:104467.
    """
    age = anchor_age + (year - anchor_year)
    age = np.where(anchor_age >= OLDEST, float(OLDEST), np.minimum(age, OLDEST))
    return np.where(age < 0, np.nan, age)


def once(path: Path, ids: pd.Series) -> None:
    """Nothing, if every id stands once, since a join would repeat images otherwise.

    Raises:
        ValueError: an id stands twice; the message names its row.
    """
    repeated = np.flatnonzero(ids.duplicated().to_numpy())
    if len(repeated):
        row = int(repeated[0])
        raise ValueError(
            f"every {ids.name} must stand once in {path}, but row {row + 1} (line {row + 2}) "
            f"repeats {ids.iloc[row]!r} ({len(repeated)} such rows); restore the file"
        )


def _insurance(recorded: pd.Series) -> pd.Series:
    known = {name.casefold(): name for name in INSURANCES} | {"": UNKNOWN}
    groups = {text: known.get(text.casefold(), text) for text in recorded.unique()}
    return recorded.map(groups).rename("insurance")


def _missing(path: Path, there: np.ndarray, who: np.ndarray) -> list[str]:
    """The note on people whom a table does not list."""
    if there.all():
        return []
    images = int((~there)[who].sum())
    return [
        f"of {len(there)} patients, {int((~there).sum())} ({images} images) are not in "
        f"{path.name}: what it records is 'Unknown' of them"
    ]


def _is_there(folder: Path, name: str) -> bool:
    return any((folder / f"{name}{ending}").is_file() for ending in tabular.ENDINGS)


def _folders_of(top: Path, name: str) -> list[Path]:
    """Folders at most `DEEPEST` below `top` that hold the table `name`, sorted."""
    found, level = [], [top] if top.is_dir() else []
    for depth in range(DEEPEST + 1):
        found += [folder for folder in level if _is_there(folder, name)]
        level = _subfolders(level) if depth < DEEPEST else []
    return sorted(found)


def _subfolders(folders: Sequence[Path]) -> list[Path]:
    below = []
    for folder in folders:
        with os.scandir(folder) as entries:
            below += [Path(e.path) for e in entries
                      if not IMAGES.fullmatch(e.name) and e.is_dir()]  # fmt: skip
    return below
