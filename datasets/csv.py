"""Anybody's images: a table of paths, patients, labels and groups, read by column names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from datasets import tabular
from datasets.ages import AgeBands, years
from datasets.base import FOLD
from datasets.csv_columns import (
    USUAL,
    Mapped,
    checked,
    named_columns,
    usual_attributes,
    usual_column,
    usual_findings,
    value_key,
)  # fmt: skip
from datasets.csv_source import Source
from datasets.csv_values import FOLDS, NOT_RECORDED, groups, meant, mentioned
from datasets.mentions import Mentions
from datasets.people import listed_pairs, unite
from datasets.sieve import Sieve
from datasets.split import Split
from registry import DATASETS

NOBODY = "none"
"""As `patient=none`: every image is a patient of its own."""
AGE_BAND = "age_band"


@DATASETS.register("csv")
@dataclass(frozen=True)
class CsvTable(Mentions, AgeBands):
    """Your own images, listed in a csv file: paths, patients, labels, groups, by column names.

    What a column is follows its name where that is a usual one; options or a small YAML file
    (`mapping`) say the rest. See docs/datasets/csv.md.

    License: yours; results per image stay on this machine.
    Access: yours.
    Source: groups are the values of your columns; sex is spelled out, ages fall into bands.
    """

    # Nothing is known about somebody's images, so nothing of one image leaves the run's folder.
    terms = "restricted"

    blank: str = "ignore"
    """Labels left blank: ignore (not known; left out), zero (absent), or zero-if-no-finding."""
    file: str = ""
    """The table, below the data root; by default the only one there."""
    mapping: str = ""
    """A YAML file, below the data root or anywhere, that says what columns and values mean."""
    path: str = ""
    """Column of paths below the data root."""
    patient: str = ""
    """Column of patient ids; "none" where every image is of another patient."""
    image: str = ""
    """Column of image ids; by default the path."""
    age: str = ""
    """Column of ages in years."""
    visit: str = ""
    """Column of numbers that order a patient's images in time."""
    fold: str = ""
    """Column of folds (train, val, audit, test), used where the split is the official one."""
    findings: tuple[str, ...] = ()
    """Columns of labels, as COLUMN or NAME=COLUMN."""
    attributes: tuple[str, ...] = ()
    """Columns of groups, as COLUMN or NAME=COLUMN; the age band joins them by itself."""
    folder: str = ""
    """Folder below the data root that all paths are relative to."""
    ending: str = ""
    """What is missing at the end of all paths, such as ".png"."""
    one_image_per_patient: bool = False
    """Only the first image of each patient, by `visit` or else by the order of rows."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fold:
            # Whoever names a column of folds means to use it.
            object.__setattr__(self, "default_split", "official")

    def table(self, root: Path) -> Split:
        mapped = Mapped.read(self._mapping(root)) if self.mapping else Mapped()
        source = Source.open(root, self.file or mapped.file)
        columns = self._columns(source, mapped)
        findings = self._findings(source, mapped)
        attributes = self._attributes(source, mapped)
        source = replace(source, column_of={
            **columns,
            **{f"finding {name}": column for name, column in findings.items()},
            **{f"attribute {name}": column for name, column in attributes.items()},
        })  # fmt: skip
        sieve = self._sieved(source, self.folder or mapped.folder)
        rows = sieve.frame
        frame = pd.DataFrame({"path": rows["path"], "patient_id": rows["patient"]})
        frame["image_id"] = rows.get("image", rows["path"])
        frame["origin"] = "real"
        for name in attributes:
            frame[name] = groups(name, meant(rows[f"attribute {name}"], mapped, name), source)
        if "age" in rows:
            frame["age"] = _ages(meant(rows["age"], mapped, "age"), source)
            frame[AGE_BAND] = self.age_band(frame["age"])
        if "visit" in rows:
            frame["visit"] = rows["visit"]
        if "fold" in rows:
            frame = self._folded(frame, meant(rows["fold"], mapped, "fold"), source)
        labels = {
            name: mentioned(meant(rows[f"finding {name}"], mapped, name, "findings"), source)
            for name in findings
        }
        frame = frame.join(self.labelled(pd.DataFrame(labels, index=frame.index)))
        _check_ids(frame, source)
        return Split(
            name=self.registered_name,
            frame=frame.reset_index(drop=True),
            root=root,
            findings=tuple(findings),
            attributes=(*attributes, *([AGE_BAND] if "age" in rows else [])),
            dropped=sieve.dropped,
            notes=self._notes(frame, source),
        )

    def _notes(self, frame: pd.DataFrame, source: Source) -> tuple[str, ...]:
        notes = []
        if "patient" not in source.column_of:
            notes.append("every image counts as a patient of its own")
        if FOLD in frame and not self.fold:
            column = source.column_of["fold"]
            notes.append(
                f"column {column!r} names folds that are not used; --split official, or "
                f"--data fold={column}, makes them the split"
            )
        return tuple(notes)

    def _mapping(self, root: Path) -> Path:
        below = root / self.mapping
        return below if below.is_file() else Path(self.mapping).expanduser()

    def _columns(self, source: Source, mapped: Mapped) -> dict[str, str]:
        """The column of each role that there is: as an option says, the mapping, or its name."""
        columns = {}
        for role, usual in USUAL.items():
            named = getattr(self, role) or mapped.columns.get(role, "")
            if role == "patient" and named.casefold() == NOBODY:
                continue
            if named:
                columns[role] = checked(named, source.path, source.header)
            elif column := usual_column(usual, source.header):
                columns[role] = column
        if "path" not in columns:
            raise source.complaint("a column of image paths", "path")
        named = self.patient or mapped.columns.get("patient", "")
        if "patient" not in columns and named.casefold() != NOBODY:
            raise source.complaint(
                "a column of patients", "patient",
                ", or --data patient=none if every image is of another patient",
            )  # fmt: skip
        return columns

    def _findings(self, source: Source, mapped: Mapped) -> dict[str, str]:
        texts = _with_columns(self.findings, mapped.findings)
        found = named_columns(texts, source.path, source.header) or usual_findings(source.header)
        if not found:
            raise source.complaint(
                "a column named like a finding", "findings",
                f"; columns that hold labels: {', '.join(source.labelled()) or 'none'}",
            )  # fmt: skip
        return found

    def _attributes(self, source: Source, mapped: Mapped) -> dict[str, str]:
        texts = _with_columns(self.attributes, mapped.attributes)
        texts = [text for text in texts if text != AGE_BAND]
        if texts:
            return named_columns(texts, source.path, source.header)
        return usual_attributes(source.header)

    def _sieved(self, source: Source, folder: str) -> Sieve:
        """Rows with paths below the root and one patient id per person; the others are counted."""
        rows = source.read()
        sieve = Sieve(rows).keep(rows["path"] != "", "no image path")
        if "patient" in rows:
            # A text such as "nan" would make one person of all whom nobody named.
            named = ~sieve.frame["patient"].map(value_key).isin(NOT_RECORDED)
            sieve = sieve.keep(named, "no patient id")
        rows = sieve.frame.assign(path=source.below(sieve.frame["path"], folder, self.ending))
        if "patient" in rows:
            first = rows.groupby("path", sort=False)["patient"].transform("first")
            other = rows["patient"] != first
            shared = zip(first[other], rows["patient"][other], strict=True)
            person = unite(rows["patient"], [*listed_pairs(source.root), *shared])
            rows = rows.assign(patient=rows["patient"].map(person))
        else:
            rows = rows.assign(patient=rows["path"])
        if "visit" in rows:
            rows = rows.assign(visit=tabular.numbers(source.path, rows["visit"]))
        sieve = sieve.with_frame(rows).keep(~rows["path"].duplicated(), "image listed before")
        if self.one_image_per_patient:
            rows = sieve.frame
            by_time = rows.sort_values("visit", kind="stable") if "visit" in rows else rows
            first_rows = by_time.index[~by_time["patient"].duplicated()]
            sieve = sieve.keep(rows.index.isin(first_rows), "later image of the patient")
        if not len(sieve.frame):
            told = ", ".join(f"{reason}: {n:,}" for reason, n in sieve.dropped.items())
            raise ValueError(
                f"{source.path} must list at least one image with a path and a patient, but "
                + (f"all its rows were left out ({told})" if told else "it has no rows")
            )
        return sieve

    def _folded(self, frame: pd.DataFrame, texts: pd.Series, source: Source) -> pd.DataFrame:
        """The table with the column `fold`, unless it was only guessed and names no folds."""
        keys = texts.map(value_key)
        known = keys.isin(FOLDS)
        if not known.all() and self.fold:
            raise source.wrong_value(texts[~known], "name folds: train, val, audit, test or blank")
        if not known.all():
            return frame
        return frame.assign(**{FOLD: keys.map(FOLDS)})


def _with_columns(texts: Sequence[str], mapped: Mapping[str, str]) -> list[str]:
    """Names as "name=column" where the mapping file knows them; all of it where none is named."""
    known = {name: f"{name}={column}" for name, column in mapped.items()}
    return [known.get(text, text) for text in texts] or [*known.values()]


def _ages(texts: pd.Series, source: Source) -> pd.Series:
    """Ages in years; a column that holds something else all the way through is refused."""
    ages = years(texts)
    if (texts != "").any() and ages.isna().all():
        raise source.wrong_value(texts[texts != ""], "hold ages in years")
    return ages


def _check_ids(frame: pd.DataFrame, source: Source) -> None:
    ids = frame["image_id"]
    repeated = ids[ids.duplicated() | (ids == "")]
    if len(repeated):
        raise ValueError(
            f"image ids must differ, but column {source.column_of['image']!r} of {source.path} "
            f"holds {repeated.iloc[0]!r} at row {int(repeated.index[0]) + 1} again or blank "
            f"({len(repeated)} such rows); leave out `image`, and paths are the ids"
        )
