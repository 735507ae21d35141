"""Who the patients of CheXpert are: race and ethnicity, which stand in a workbook of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from datasets import workbook
from datasets.attributes import UNKNOWN, ordered
from datasets.changing import settled
from datasets.chexpert_files import Release
from datasets.race_of_patients import RaceOfPatients
from datasets.races import in_order

DEMO = re.compile(r"chexpert[ _-]?demo.*\.xlsx", re.IGNORECASE)
"""As "CHEXPERT DEMO.xlsx"; what begins with "~$" is Excel's own."""
NOT_HISPANIC, HISPANIC = "Not Hispanic", "Hispanic"
INSURANCES = ("Medicare", "Medicaid", "Private Insurance", "Private", "Other", UNKNOWN)
HOW_TO_GET = (
    'put "CHEXPERT DEMO.xlsx" (a download of its own, from the page of CheXpert) into the data '
    "root or beside it"
)


@dataclass(frozen=True)
class People:
    """Race, ethnicity and insurance, one row per image."""

    columns: pd.DataFrame
    """Attributes that are recorded at all."""
    recorded: pd.DataFrame
    """Records: `patient`, `race` and `ethnicity` as text; empty where none are."""
    left_out: pd.Series
    """Why a policy leaves an image out, "" where it stays."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChexpertPeople(RaceOfPatients):
    """A data set whose patients are those of CheXpert."""

    def people(self, release: Release) -> People:
        """What is recorded of the patient of each image, settled to one value per patient.

        Raises:
            FileNotFoundError: a rule of race was chosen, but race is not recorded.
            ValueError: the workbook breaks a rule.
        """
        patient = release.frame["patient"]
        records, notes = self._records(release)
        nothing = pd.Series("", index=patient.index)
        if records is None:
            if self.race_groups != type(self).race_groups:
                raise FileNotFoundError(
                    f"race_groups={self.race_groups} needs race, but no CHEXPERT DEMO.xlsx was "
                    f"found in {', '.join(map(str, dict.fromkeys(release.around)))}; {HOW_TO_GET}"
                )
            empty = pd.DataFrame(columns=["patient", "race", "ethnicity"], dtype=object)
            return People(pd.DataFrame(index=patient.index), empty, nothing, notes)
        asked = pd.Index(patient.unique())
        race, why = self.race_of_patients(
            asked, records["patient"], records["race"], records["ethnicity"]
        )
        hispanic = ethnicity(records["race"], records["ethnicity"])
        settle = "most_frequent" if self.changing == "drop" else self.changing
        origin = settled(records["patient"], hispanic, settle).reindex(asked).fillna(UNKNOWN)
        columns = pd.DataFrame(
            {
                "race": in_order(patient.map(race)),
                "ethnicity": ordered(patient.map(origin), (NOT_HISPANIC, HISPANIC, UNKNOWN)),
            },
            index=patient.index,
        )
        if "insurance" in release.frame:
            insured = release.frame["insurance"].replace(["", "unknown"], UNKNOWN)
            one = settled(patient, insured, settle)
            columns["insurance"] = ordered(patient.map(one), INSURANCES)
        return People(columns, records, patient.map(why), notes)

    def _records(self, release: Release) -> tuple[pd.DataFrame | None, tuple[str, ...]]:
        """Records of race and ethnicity in the order of their file, and what to know about them."""
        if "race" in release.frame:
            records = release.frame[["patient", "race", "ethnicity"]]
            return _marked(records.drop_duplicates()), ()
        path = find(release.around)
        if path is None:
            told = f"race and ethnicity are not known: no CHEXPERT DEMO.xlsx is there; {HOW_TO_GET}"
            return None, (told,)
        columns = {"patient": ("PATIENT",), "race": ("PRIMARY_RACE",), "ethnicity": ("ETHNICITY",)}
        records = workbook.read(path, columns)
        asked = release.frame["patient"]
        there = asked.isin(records["patient"])
        if len(asked) and not there.any():
            raise ValueError(
                f"column 'PATIENT' of {path} must name patients of CheXpert, such as "
                f"{asked.iloc[0]!r}, but none of its {len(records)} rows does (it begins with "
                f"{records['patient'].head(1).tolist()}); get it again from the page of CheXpert"
            )
        lacking = int((~there).sum())
        told = (
            f"{asked[~there].nunique()} patients ({lacking} images) are not in {path.name}: race "
            "and ethnicity are 'Unknown' of them"
        )
        return _marked(records), (told,) if lacking else ()


def find(folders: Iterable[Path]) -> Path | None:
    """The workbook of race and ethnicity in one of the folders, or None.

    Raises:
        ValueError: there are several.
    """
    files = [path for folder in dict.fromkeys(folders) for path in folder.iterdir()]
    found = sorted({p.resolve() for p in files if DEMO.fullmatch(p.name) and p.is_file()})
    if len(found) > 1:
        raise ValueError(
            f"race must stand in one workbook, but there are {', '.join(map(str, found))}; keep one"
        )
    return found[0] if found else None


def ethnicity(race: pd.Series, recorded: pd.Series) -> pd.Series:
    """Not Hispanic, Hispanic or Unknown, from records of ethnicity, or else from those of race.

    Race may be recorded as "White, non-Hispanic" and the ethnicity as "Unknown".
    """
    pairs = pd.MultiIndex.from_arrays([race.str.casefold(), recorded.str.casefold()])
    known = {pair: _said(pair[1]) or _said(pair[0]) or UNKNOWN for pair in pairs.unique()}
    return pd.Series([known[pair] for pair in pairs], index=race.index, dtype=object)


def _said(text: str) -> str:
    if "hispanic" not in text and "latino" not in text:
        return ""
    return NOT_HISPANIC if re.search(r"\b(non|not)\b", text) else HISPANIC


def _marked(records: pd.DataFrame) -> pd.DataFrame:
    """The records where a blank ethnicity is "Unknown": asked, and not told.

    A blank means to the rules of race that a set does not ask for ethnicity at all.
    """
    return records.assign(ethnicity=records["ethnicity"].replace("", UNKNOWN))
