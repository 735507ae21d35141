"""The one door by which raw ids leave the process: a file that a user asks for by `--write-ids`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from tracking.pseudonyms import Pseudonyms
from tracking.rundir import IDS

WARNING = (
    "raw ids of patients and images: the terms of use of the data hold for this file. Do not share "
    "or publish it, do not log it, do not use it to identify a person, and delete it when done."
)


def write_ids(folder: Path, names: Pseudonyms, tables: Iterable[pd.DataFrame]) -> Path:
    """The file `ids.csv` in a run's folder: which id each pseudonym stands for.

    Columns `kind` (patient or image), `pseudonym` and `id`, below one line with the data-use
    warning. For its owner only; no run sends it to MLflow.
    """
    frame = pd.concat(list(tables), ignore_index=True)
    parts = []
    for kind, column in (("patient", "patient_id"), ("image", "image_id")):
        ids = frame[column].astype(str).drop_duplicates()
        parts.append(pd.DataFrame({"kind": kind, "pseudonym": names.of(ids), "id": ids}))
    rows = pd.concat(parts).to_csv(index=False, lineterminator="\n")
    return write_private(folder / IDS, f"# {WARNING}\n{rows}")


def write_private(path: Path, text: str) -> Path:
    """`path`, which holds `text` once it appears, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.partial")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    draft.replace(path)
    return path
