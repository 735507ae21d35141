"""The COVID-19 image data collection: real radiographs that anyone may download."""

from __future__ import annotations

import csv
import difflib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pandas as pd

from datasets.base import ChestXrayDataset
from datasets.expected import Expected, ExpectedTable
from datasets.people import as_persons, listed_pairs
from datasets.split import Split
from registry import DATASETS, unknown

METADATA = "metadata.csv"
FOLDER = "images"
"""Where radiographs lie; `volumes` holds computed tomography."""
COLUMNS = ("patientid", "sex", "age", "finding", "view", "modality", "folder", "filename", "url")
FRONTAL = ("PA", "AP", "AP Supine", "AP Erect")
LATERAL = ("L", "Lateral")
UNKNOWN = "Unknown"
SEXES = {"M": "Male", "MALE": "Male", "F": "Female", "FEMALE": "Female"}
AGE_EDGES = {20: "0-19", 40: "20-39", 60: "40-59", 80: "60-79", 120: "80+"}
"""Upper edge in years, not included, and name of each age band."""
NOT_KNOWN = ("", "todo", "unknown")
"""Findings that say that nobody has looked."""

KINDS = ("Viral", "Bacterial", "Fungal")
PNEUMONIAS: Mapping[str, tuple[str, ...]] = {
    "Viral": ("COVID-19", "SARS", "MERS", "MERS-CoV", "Varicella", "Influenza", "H1N1", "Herpes"),
    "Bacterial": (
        *("Streptococcus", "Klebsiella", "Legionella", "Chlamydophila", "Mycoplasma", "E.Coli"),
        *("Staphylococcus", "MRSA", "Nocardia"),
    ),
    "Fungal": ("Pneumocystis", "Aspergillosis"),
    "Other": ("Lipoid", "Aspiration"),
}
"""Which findings are pneumonias: the hierarchy of the set's later versions, needed for the earlier
ones, whose labels are flat."""
HOW_TO_GET = (
    "get the set with `git clone https://github.com/ieee8023/covid-chestxray-dataset` and name "
    "that folder as --data-root"
)


@DATASETS.register("covid-chestxray")
@dataclass(frozen=True)
class CovidChestxray(ChestXrayDataset):
    """Real frontal radiographs with COVID-19 and other pneumonias: small, and confounded by source.

    For loaders, pipelines and privacy tests; not for claims about fairness, since the web site an
    image comes from tells COVID-19 better than the image does, and groups are small. Reads the
    2020 version (flat findings) and the last one (`Pneumonia/Viral/COVID-19`). A finding that is
    listed is present and all others are absent. Ids that are one person are united.

    License: per image, in the column `license`; most are CC BY-NC-SA.
    Access: `git clone https://github.com/ieee8023/covid-chestxray-dataset`, no credentials. Nobody
        may use it to identify a person.
    Source: Cohen, Morrison, Dao, arXiv:2003.11597.
    """

    primary_contrasts: ClassVar[Mapping[str, tuple[str, str]]] = {"sex": ("Female", "Male")}

    findings: tuple[str, ...] = ("COVID-19", "Pneumonia", "No Finding")
    """Any level of the hierarchy can be named, such as "Bacterial" or "Streptococcus"."""
    views: tuple[str, ...] = FRONTAL

    def expects(self) -> Expected:
        """As in the base class."""
        views = (*FRONTAL, *LATERAL, "Axial", "Coronal")
        listed = ExpectedTable(
            files=(METADATA,),
            columns={name: (name,) for name in COLUMNS},
            vocabulary={"sex": tuple(SEXES), "view": views, "modality": ("X-ray", "CT")},
            ages=("age",),
            filled=("patientid", "filename"),
            unique="filename",
            patient="patientid",
            united=True,
        )
        return Expected((listed,), (FOLDER,))

    def table(self, root: Path) -> Split:
        rows = _read(root)
        self._check_findings(rows)
        reasons = [self._reason(row) for row in rows]
        kept = [row for row, reason in zip(rows, reasons, strict=True) if not reason]
        dropped = dict(Counter(reason for reason in reasons if reason))
        if not kept:
            raise ValueError(
                f"{root / METADATA} must list at least one X-ray in the views "
                f"{', '.join(self.views)}, but its {len(rows)} rows were dropped: {dropped}"
            )
        table = Split(
            name=self.registered_name,
            frame=self._frame(kept),
            root=root,
            findings=self.findings,
            attributes=("sex", "age_band", "view"),
            dropped=dropped,
        )
        return as_persons(table, [*listed_pairs(root), *_sharing_a_file(rows)])

    def _check_findings(self, rows: Iterable[Mapping[str, str]]) -> None:
        known = {"Pneumonia", "No Finding", *KINDS, *(n for ns in PNEUMONIAS.values() for n in ns)}
        known |= {part for row in rows for part in _parts(row["finding"])}
        for finding in self.findings:
            if finding.casefold() not in {name.casefold() for name in known}:
                raise unknown("finding", finding, known)

    def _reason(self, row: Mapping[str, str]) -> str:
        """Why a row is left out, or "" for one that stays."""
        if "ct" in row["modality"].casefold().split():
            return "CT"
        if row["modality"].casefold() != "x-ray" or row["folder"] != FOLDER:
            return "not an X-ray image"
        if row["view"] not in self.views:
            return "lateral view" if row["view"] in LATERAL else "view not chosen"
        if {name.casefold() for name in _parts(row["finding"]) or [""]} <= set(NOT_KNOWN):
            return "finding not known (todo/Unknown)"
        if not row["patientid"] or not row["filename"]:
            return "no patient id or file name"
        return ""

    def _frame(self, rows: list[dict[str, str]]) -> pd.DataFrame:
        names = [{name.casefold() for name in finding_names(row["finding"])} for row in rows]
        columns: dict[str, object] = {
            "image_id": [row["filename"] for row in rows],
            "patient_id": [row["patientid"] for row in rows],
            "path": [f"{FOLDER}/{row['filename']}" for row in rows],
            "origin": "real",
            "sex": _ordered([_sex(row["sex"]) for row in rows], ("Male", "Female", UNKNOWN)),
            "age_band": _ordered(
                [age_band(row["age"]) for row in rows], (*AGE_EDGES.values(), UNKNOWN)
            ),
            "view": _ordered([row["view"] for row in rows], self.views),
            "site": [urlsplit(row["url"]).netloc.removeprefix("www.") for row in rows],
        }
        for finding in self.findings:
            columns[finding] = [float(finding.casefold() in present) for present in names]
        return pd.DataFrame(columns)


def finding_names(text: str) -> set[str]:
    """All names a recorded finding stands for, its parents in the hierarchy included.

    >>> sorted(finding_names("COVID-19, ARDS"))
    ['ARDS', 'COVID-19', 'Pneumonia', 'Viral']
    >>> sorted(finding_names("Pneumonia/Bacterial/Klebsiella"))
    ['Bacterial', 'Klebsiella', 'Pneumonia']
    """
    names = set(_parts(text))
    # "Mycoplasma Bacterial Pneumonia" names its parents in words.
    names |= {word for name in set(names) for word in name.split() if word in (*KINDS, "Pneumonia")}
    for kind, members in PNEUMONIAS.items():
        if names & set(members):
            names |= {"Pneumonia", kind} - {"Other"}
    return names


def age_band(text: str) -> str:
    """The band of an age in years, "Unknown" where it is blank or no age."""
    try:
        age = float(text)
    except ValueError:
        return UNKNOWN
    if math.isnan(age) or age < 0:
        return UNKNOWN
    return next((name for edge, name in AGE_EDGES.items() if age < edge), UNKNOWN)


def _parts(text: str) -> list[str]:
    return [
        part.strip() for listed in text.split(",") for part in listed.split("/") if part.strip()
    ]


def _sex(text: str) -> str:
    return SEXES.get(text.upper(), UNKNOWN)


def _ordered(values: list[str], order: tuple[str, ...]) -> pd.Categorical[str]:
    """Group names in the order of the data set, those that occur only."""
    return pd.Categorical(values, categories=[name for name in order if name in set(values)])


def _sharing_a_file(rows: Iterable[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Pairs of patient ids that list the same file."""
    first: dict[str, str] = {}
    return [
        (first.setdefault(f"{row['folder']}/{row['filename']}", row["patientid"]), row["patientid"])
        for row in rows
        if row["filename"]
    ]


def _read(root: Path) -> list[dict[str, str]]:
    """Rows of the metadata, stripped text, blank where not given."""
    path = root / METADATA
    for needed in (path, root / FOLDER):
        if not needed.exists():
            raise FileNotFoundError(
                f"a covid-chestxray folder must hold {METADATA} and {FOLDER}/, but {needed} is "
                f"not there; {HOW_TO_GET}"
            )
    # Names and notes were typed in several encodings; none of the columns read here has any.
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        header = [(name or "").strip() for name in reader.fieldnames or []]
        _check_header(path, header)
        reader.fieldnames = header
        try:
            # A row that spills over its last column has more under the name None.
            return [{name: (row[name] or "").strip() for name in COLUMNS} for row in reader]
        except csv.Error as error:
            raise ValueError(
                f"{path} must be a csv file, but line {reader.line_num} is not ({error}); "
                f"restore the file: {HOW_TO_GET}"
            ) from error


def _check_header(path: Path, header: list[str]) -> None:
    for column in COLUMNS:
        if column not in header:
            others = [name for name in header if name not in COLUMNS]
            near = difflib.get_close_matches(column, others, n=1, cutoff=0.0)
            raise ValueError(
                f"{path} must have the column {column!r}, but has none of that name (nearest: "
                f"{near[0] if near else 'none'!r}); {HOW_TO_GET}"
            )
