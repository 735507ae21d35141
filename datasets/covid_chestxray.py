"""The COVID-19 image data collection: real radiographs that anyone may download."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from datasets import tabular
from datasets.ages import AgeBands, years
from datasets.attributes import ordered, sexes
from datasets.expected import Expected, ExpectedTable
from datasets.image_folders import by_base_name
from datasets.people import as_persons, listed_pairs
from datasets.sieve import Sieve
from datasets.split import Split
from registry import DATASETS, unknown

METADATA = "metadata.csv"
FOLDER = "images"
"""Where radiographs lie; `volumes` holds computed tomography."""
COLUMNS: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("patientid", "sex", "age", "finding", "view", "modality")},
    **{name: (name,) for name in ("offset", "folder", "url")},
    "filename": ("filename", "imagename"),
}
OPTIONAL = ("offset", "folder", "url", "filename")
"""Columns that the sets in the same layout, Figure1 and Actualmed, do without."""
ENDINGS = (".png", ".jpg", ".jpeg")
FRONTAL = ("PA", "AP", "AP Supine", "AP Erect")
LATERAL = ("L", "Lateral")
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
class CovidChestxray(AgeBands):
    """Real frontal radiographs with COVID-19 and other pneumonias: small, and confounded by source.

    For loaders, pipelines and privacy tests; not for claims about fairness, since the web site an
    image comes from tells COVID-19 better than the image does, and groups are small. Reads the
    2020 version (flat findings), the last one (`Pneumonia/Viral/COVID-19`), and the sets Figure1
    and Actualmed, which have the same layout with fewer columns. A finding that is listed is
    present and all others are absent. Ids that are one person are united.

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
        listed = ExpectedTable(
            files=(METADATA,),
            columns={name: COLUMNS[name] for name in COLUMNS if name not in OPTIONAL},
            also={name: COLUMNS[name] for name in OPTIONAL},
            vocabulary={
                "sex": ("M", "F"),
                "view": (*FRONTAL, *LATERAL, "Axial", "Coronal"),
                "modality": ("X-ray", "CT"),
            },
            ages=("age",),
            filled=("patientid",),
            unique="filename",
            patient="patientid",
            united=True,
        )
        return Expected((listed,), (FOLDER,))

    def table(self, root: Path) -> Split:
        rows = _read(root, self.views)
        self._check_findings(rows["finding"])
        sieve = Sieve(rows).drop(self._reasons(rows))
        if not len(sieve.frame):
            raise ValueError(
                f"{root / METADATA} must list at least one X-ray in the views "
                f"{', '.join(self.views)}, but its {len(rows)} rows were dropped: "
                f"{dict(sieve.dropped)}"
            )
        table = Split(
            name=self.registered_name,
            frame=self._frame(sieve.frame),
            root=root,
            findings=self.findings,
            attributes=("sex", "age_band", "view"),
            dropped=sieve.dropped,
        )
        return as_persons(table, [*listed_pairs(root), *_sharing_a_file(rows)])

    def _check_findings(self, recorded: pd.Series) -> None:
        known = {"Pneumonia", "No Finding", *KINDS, *(n for ns in PNEUMONIAS.values() for n in ns)}
        known |= {part for text in recorded.unique() for part in _parts(text)}
        for finding in self.findings:
            if finding.casefold() not in {name.casefold() for name in known}:
                raise unknown("finding", finding, known)

    def _reasons(self, rows: pd.DataFrame) -> np.ndarray:
        """Why each row is left out, or "" for one that stays; the first reason that holds."""
        modality = rows["modality"].str.casefold()
        lateral = rows["view"].isin(LATERAL)
        named = [{name.casefold() for name in _parts(text)} or {""} for text in rows["finding"]]
        reasons = {
            "CT": modality.str.split().map(lambda words: "ct" in words),
            "not an X-ray image": (modality != "x-ray") | (rows["folder"] != FOLDER),
            "lateral view": lateral & ~rows["view"].isin(self.views),
            "view not chosen": ~rows["view"].isin(self.views),
            "finding not known (todo/Unknown)": [names <= set(NOT_KNOWN) for names in named],
            "no patient id or file name": (rows["patientid"] == "") | (rows["filename"] == ""),
        }
        return np.select([np.asarray(r, dtype=bool) for r in reasons.values()], [*reasons], "")

    def _frame(self, rows: pd.DataFrame) -> pd.DataFrame:
        names = [{name.casefold() for name in finding_names(text)} for text in rows["finding"]]
        ages = years(rows["age"])
        # Of so few people most bands of some folds are empty: those without anybody are no groups.
        bands = self.age_band(ages).remove_unused_categories()
        columns: dict[str, object] = {
            "image_id": rows["filename"],
            "patient_id": rows["patientid"],
            "path": f"{FOLDER}/" + rows["filename"],
            "origin": "real",
            "sex": sexes(rows["sex"]),
            "age_band": bands,
            "view": ordered(rows["view"], self.views),
            "age": ages,
            "site": [urlsplit(url).netloc.removeprefix("www.") for url in rows["url"]],
        }
        if "offset" in rows:
            columns["visit"] = pd.to_numeric(rows["offset"], errors="coerce").astype(np.float64)
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


def _parts(text: str) -> list[str]:
    return [
        part.strip() for listed in text.split(",") for part in listed.split("/") if part.strip()
    ]


def _sharing_a_file(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Pairs of patient ids that list the same file."""
    named = rows[rows["filename"] != ""]
    place = named["folder"] + "/" + named["filename"]
    first = named.groupby(place, sort=False)["patientid"].transform("first")
    return list(zip(first, named["patientid"], strict=True))


def _read(root: Path, views: tuple[str, ...]) -> pd.DataFrame:
    """Texts of the metadata, blank where not given, with every column that the loader reads."""
    path = tabular.locate(root, METADATA, of="covid-chestxray", how_to_get=HOW_TO_GET)
    if not (root / FOLDER).is_dir():
        raise FileNotFoundError(
            f"a covid-chestxray folder must hold {FOLDER}/, but {root / FOLDER} is not there; "
            f"{HOW_TO_GET}"
        )
    rows = tabular.read(path, COLUMNS, optional=OPTIONAL)
    # Figure1 writes "AP erect".
    spelt = {view.casefold(): view for view in (*FRONTAL, *LATERAL, *views)}
    rows["view"] = [spelt.get(view.casefold(), view) for view in rows["view"]]
    for column, value in (("folder", FOLDER), ("url", "")):
        if column not in rows:
            rows[column] = value
    return rows if "filename" in rows else _named_by_patient(rows, root)


def _named_by_patient(rows: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Rows of Figure1: a file is called as its patient, and a letter parts images of one patient.

    Source: its metadata, where COVID-00003a and COVID-00003b describe one course of disease.
    """
    held = {Path(name).stem: name for name in by_base_name(root, (FOLDER,), ENDINGS)}
    ids = rows["patientid"]
    return rows.assign(
        filename=[held.get(name, f"{name}.jpg") if name else "" for name in ids],
        patientid=[re.sub(r"(?<=\d)[a-z]$", "", name) for name in ids],
    )
