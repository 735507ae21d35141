"""The files of CheXpert Plus: one table of images with their patients, and labels beside it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from datasets import tabular
from datasets.bounded import opened
from datasets.chexpert_files import SIDES, Release, images, parsed
from datasets.chexpert_labels import FOURTEEN, mentions

TABLE = re.compile(r"df_chexpert_plus_\d+\.csv(\.gz)?")
"""As `df_chexpert_plus_240401.csv`."""
FOLDER = "chexbert_labels"
SECTIONS = ("impression", "findings", "report")
"""Of the report, from which labels were mined; each has a file in `FOLDER`."""
PLACES = (("", "jpg"), ("", "png"), ("PNG", "png"), ("PNG/PNG", "png"), ("DICOM", "dcm"),
          ("", "dcm"))  # fmt: skip
"""Folders and endings of images; the table says .jpg, whichever was downloaded."""
PROBED = 200
"""Images that are looked for before it is concluded that none are there."""
HOW_TO_GET = (
    "get CheXpert Plus from https://aimi.stanford.edu/datasets/chexpert-plus (account and "
    "agreement) and name the folder of its table as --data-root"
)


def find(root: Path) -> Path | None:
    """The table of CheXpert Plus in `root`, or None; the latest, if there are several."""
    found = sorted(p for p in root.iterdir() if TABLE.fullmatch(p.name) and p.is_file())
    return found[-1] if found else None


def load(root: Path, path: Path, section: str) -> Release:
    """The release of which `path` is the table, with labels of one section of the reports.

    Raises:
        FileNotFoundError: the labels are not there.
        ValueError: a file breaks a rule; the message names file, row and value.
    """
    columns = {
        "path": ("path_to_image",), "side": ("frontal_lateral",), "projection": ("ap_pa",),
        "order": ("patient_report_date_order",), "age": ("age",), "sex": ("sex",),
        "race": ("race",), "ethnicity": ("ethnicity",),
        "insurance": ("insurance_type", "insurance"),
    }  # fmt: skip
    held = tabular.read(path, columns, optional=("insurance", "order"))
    frame = parsed(path, held["path"])
    ids = images(frame)
    frame["list"] = frame["folder"]
    # A view may be recorded here in other letters than in the name of the file.
    side = held["side"].str.capitalize()
    frame["side"] = side.where(side.isin([*SIDES.values()]), frame["side"].map(SIDES))
    for name in ("projection", "sex", "age", "race", "ethnicity", "insurance"):
        if name in held:
            frame[name] = held[name]
    if "order" in held:
        frame["order"] = tabular.numbers(path, held["order"].rename(columns["order"][0]))
    frame["path"] = _paths(root, ids)
    labels, unread, note = _labels(root, section, ids)
    return Release("CheXpert Plus", frame, labels, unread, root, (), note)


def _labels(
    root: Path, section: str, ids: pd.Series
) -> tuple[pd.DataFrame, np.ndarray, tuple[str, ...]]:
    """Mentions of each image, where there are none at all, and what to know about them."""
    path = tabular.locate(
        root / FOLDER, f"{section}_fixed.json", of="CheXpert Plus", how_to_get=HOW_TO_GET
    )
    rows = [*_lines(path)]
    listed = pd.DataFrame.from_records(rows, columns=["path_to_image", *FOURTEEN])
    never = [f for f in FOURTEEN if rows and not any(f in row for row in rows)]
    if never:
        raise tabular.missing_column(path, (never[0],), [*rows[0]])
    found = images(parsed(path, listed["path_to_image"].fillna("").astype(str)))
    said = mentions(path, listed).set_axis(found.to_numpy())
    said = said[~said.index.duplicated()]
    labels = said.reindex(ids.to_numpy()).set_axis(ids.index)
    unread = ~ids.isin(said.index).to_numpy()
    lacking = int(unread.sum())
    if lacking == len(ids):
        raise ValueError(
            f"{path} must have labels of the images that are listed, but has none of the "
            f"{len(ids)}; take both from one release"
        )
    told = f"{lacking} of {len(ids)} images are not in {path.name}: their labels are blank"
    return labels, unread, (told,) if lacking else ()


def _lines(path: Path) -> Iterator[dict[str, object]]:
    """The objects of a file with one in each line."""
    number = 0
    try:
        with io.TextIOWrapper(opened(path), encoding="utf-8") as file:
            for line in file:
                number += 1
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"a {type(row).__name__} instead of an object")
                yield row
    except (*tabular.DAMAGED, ValueError, RecursionError) as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{path} must hold one JSON object in each line, but line {number} or what follows it "
            f"is none ({told}); restore the file"
        ) from error


def _paths(root: Path, ids: pd.Series) -> pd.Series:
    """Where images lie below `root`; as the table says where none is found."""
    folder, ending = PLACES[0]
    probed = ids.iloc[:: max(1, len(ids) // PROBED)]
    for place, kind in PLACES:
        if any((root / place / f"{name}.{kind}").is_file() for name in probed):
            folder, ending = place, kind
            break
    return (f"{folder}/" if folder else "") + ids + f".{ending}"
