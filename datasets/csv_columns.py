"""Which column of anybody's table is what: as options say, as a mapping file says, or guessed."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from datasets.bounded import opened
from datasets.mentions import NO_FINDING
from datasets.tabular import DAMAGED, missing_column
from registry import unknown

USUAL: Mapping[str, tuple[str, ...]] = {
    "path": (
        *("path", "image_path", "img_path", "file_path", "filename", "file", "image_file"),
        *("image_name", "image_index", "image", "img"),
    ),
    "patient": (
        *("patient_id", "patient", "subject_id", "subject", "person_id", "deid_patient_id"),
    ),
    "image": (),
    "age": ("age", "patient_age", "age_years", "age_at_imaging", "anchor_age"),
    "visit": (),
    "fold": ("fold", "split"),
}
"""Names that columns usually have; upper and lower case, blanks, `_`, `-`, `.` and `#` do not
matter. Unless columns are named, the path is the id of an image and its place in time not known."""
USUAL_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "sex": ("sex", "gender", "patient_sex", "patient_gender"),
    "race": ("race", "patient_race"),
    "ethnicity": ("ethnicity",),
    "insurance": ("insurance", "insurance_type"),
    "view": ("view", "view_position"),
}
USUAL_FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "COVID-19", "Edema", "Effusion", "Emphysema",
    "Enlarged Cardiomediastinum", "Fibrosis", "Fracture", "Hernia", "Infiltration", "Lung Lesion",
    "Lung Opacity", "Mass", NO_FINDING, "Nodule", "Pleural Effusion", "Pleural Other",
    "Pleural Thickening", "Pneumonia", "Pneumothorax", "Support Devices", "Tuberculosis",
)  # fmt: skip
KEYS = ("file", "folder", "columns", "findings", "attributes", "values")
"""What a mapping file may hold."""
SEPARATORS = (",", ";", "\t", "|")
LONGEST = 2**20
"""Characters of a first line that are looked at."""


@dataclass(frozen=True)
class Mapped:
    """What a mapping file says; empty where there is none."""

    file: str = ""
    folder: str = ""
    columns: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    findings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    values: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}))
    """By finding, attribute or role: what a value stands for, written as `value_key` writes it."""

    @classmethod
    def read(cls, path: Path) -> Mapped:
        """The content of a mapping file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError, UnknownName: it is not YAML, or holds what it must not hold.
        """
        import yaml

        if not path.is_file():
            told = "is a folder" if path.is_dir() else "is not there"
            raise FileNotFoundError(f"mapping must name a YAML file, but {path} {told}")
        try:
            held = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            told = " ".join(str(error).split())
            raise ValueError(f"mapping must be YAML, but {path} is not: {told}") from error
        held = {} if held is None else held
        if not isinstance(held, dict):
            raise ValueError(f"mapping must hold keys with values, but {path} holds {held!r}")
        for key in held:
            if key not in KEYS:
                raise unknown(f"key of {path}", str(key), KEYS)
        columns = _renamed(held.get("columns"), "columns", path)
        for role in columns:
            if role not in USUAL:
                raise unknown(f"key of 'columns' in {path}", role, USUAL)
        values = held.get("values") or {}
        if not isinstance(values, dict) or not all(isinstance(v, dict) for v in values.values()):
            raise ValueError(
                f"'values' must map a name to its values in {path}, but got {values!r}; write such "
                "as `sex: {1: Female, 0: Male}`"
            )
        return cls(
            file=str(held.get("file") or ""),
            folder=str(held.get("folder") or ""),
            columns=columns,
            findings=_renamed(held.get("findings"), "findings", path),
            attributes=_renamed(held.get("attributes"), "attributes", path),
            values={
                str(name): {value_key(old): _text(new) for old, new in pairs.items()}
                for name, pairs in values.items()
            },
        )


def value_key(value: object) -> str:
    """How a value is compared: stripped, case folded, and a whole number without its ".0"."""
    return re.sub(r"^(-?\d+)\.0+$", r"\1", _text(value).strip().casefold())


def separator_of(path: Path) -> str:
    """What parts the fields of a table: the most frequent of comma, semicolon, tab and bar in its
    first line."""
    try:
        with io.TextIOWrapper(opened(path), encoding="utf-8-sig", errors="replace") as file:
            first = file.readline(LONGEST)
    except DAMAGED:
        return SEPARATORS[0]  # whoever reads the table says what is wrong with it
    return max(SEPARATORS, key=first.count)


def usual_column(names: Sequence[str], header: Sequence[str]) -> str:
    """The column of `header` that has one of the usual `names`, by their order; "" for none."""
    held = {_plain(column): column for column in reversed(header) if column}
    return next((held[_plain(name)] for name in names if _plain(name) in held), "")


def usual_attributes(header: Sequence[str]) -> dict[str, str]:
    """Attributes whose columns have usual names, with these columns."""
    found = {name: usual_column(names, header) for name, names in USUAL_ATTRIBUTES.items()}
    return {name: column for name, column in found.items() if column}


def usual_findings(header: Sequence[str]) -> dict[str, str]:
    """Columns that are named like a finding, with themselves as the finding's name."""
    usual = {_plain(name) for name in USUAL_FINDINGS}
    return {column: column for column in header if _plain(column) in usual}


def named_columns(texts: Sequence[str], path: Path, header: Sequence[str]) -> dict[str, str]:
    """What texts as "name" or "name=column" say: names with their columns, as the file spells them.

    Raises:
        ValueError: a column is not there; the message holds the nearest.
    """
    parted = [(text.partition("=")[0].strip(), text.rpartition("=")[2].strip()) for text in texts]
    return {name: checked(column, path, header) for name, column in parted}


def checked(column: str, path: Path, header: Sequence[str]) -> str:
    """The column as the file spells it.

    Raises:
        ValueError: it is not there; the message holds the nearest.
    """
    for held in (column, *header):
        if held in header and held.casefold() == column.casefold():
            return held
    raise missing_column(path, [column], header)


def _plain(name: str) -> str:
    return re.sub(r"[\s_.#-]+", "", name).casefold()


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _renamed(held: object, key: str, path: Path) -> dict[str, str]:
    """A mapping of names to columns, or a list of columns that keep their names."""
    if held is None:
        return {}
    if isinstance(held, list):
        return {str(name): str(name) for name in held}
    if isinstance(held, dict) and not any(isinstance(v, dict | list) for v in held.values()):
        return {str(name): str(name if column is None else column) for name, column in held.items()}
    raise ValueError(f"{key!r} must map names to columns in {path}, but got {held!r}")
