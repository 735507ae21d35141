"""Folds that a csv file lists, patient by patient or image by image."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.folds import NAMED, SHARES, completed
from datasets.split import Split
from datasets.tabular import header, missing_column, read

PIN = "#sha256:"
SHORTEST_PIN = 8
"""Hexadecimal digits."""
SHOWN = 16
"""Hexadecimal digits of a digest where it is shown."""


@dataclass(frozen=True)
class Manifest:
    """A csv file with the columns `patient_id` or `image_id`, and `fold`, and its content's hash.

    Where both are there, `image_id` counts. Rows of a table that it does not list are in no fold.
    """

    path: Path
    digest: str
    """SHA-256 of the file, 64 hexadecimal digits."""

    @classmethod
    def named(cls, text: str) -> Manifest:
        """The manifest of `file.csv`, or of `file.csv#sha256:<8 to 64 hex digits>`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: its content is another than the pin says, or the pin is none.
        """
        name, pinned, pin = text.partition(PIN)
        path = Path(name).expanduser()
        if pinned and not re.fullmatch(rf"[0-9a-fA-F]{{{SHORTEST_PIN},64}}", pin):
            raise ValueError(
                f"--split must pin a manifest by 8 to 64 hexadecimal digits after {PIN}, but got "
                f"{pin!r}; the file's own are shown by sha256sum"
            )
        if not path.is_file():
            raise FileNotFoundError(
                f"--split must be official, patient, fold:i/k or a csv file, but {str(path)!r} "
                "does not exist; python -m datasets split writes one"
            )
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if not digest.startswith(pin.lower()):
            raise ValueError(
                f"the manifest must have the content that {PIN}{pin} names, but {path} has "
                f"{digest[: max(SHOWN, len(pin))]}; restore the file, or leave out the pin to use "
                "it as it is"
            )
        return cls(path.resolve(), digest)

    def __str__(self) -> str:
        return f"{self.path}{PIN}{self.digest[:SHOWN]}"

    def folds(self, table: Split, *, seed: int = 0) -> tuple[np.ndarray, str]:
        """The fold of each row `(n,)`, "" for rows that are not listed; and what is to be noted.

        Where only train and test are listed, val and audit are carved out of train by patient.

        Raises:
            ValueError: a column is missing, a fold or id is listed wrongly, no id is known, or a
                patient stands in two folds.
        """
        column, listed = self._listed()
        known = set(table.frame[column].astype(str))
        unknown = [name for name in listed if name not in known]
        if len(unknown) == len(listed):
            raise ValueError(
                f"a manifest must list ids of {table.name!r}, but none of the {len(listed)} in "
                f"{self.path} is one (first: {next(iter(listed), 'none')!r}; the table has "
                f"{min(known)!r}); write {column} as the table does"
            )
        names = table.frame[column].astype(str).map(listed).fillna("").to_numpy(dtype=object)
        inside = names != ""
        names[inside] = completed(
            table.where(inside), names[inside], seed=seed, whose=f"the manifest {self.path}"
        )
        note = f"{len(unknown)} of {len(listed)} ids of the manifest are not in the table"
        return names, note if unknown else ""

    def _listed(self) -> tuple[str, dict[str, str]]:
        """Name of the column of ids, and the fold of each."""
        held = {name.casefold() for name in header(self.path)}
        column = "image_id" if "image_id" in held else "patient_id"
        if column not in held:
            raise missing_column(self.path, ("patient_id", "image_id"), header(self.path))
        rows = read(self.path, {"id": (column,), "fold": ("fold",)})
        strange = ~rows["fold"].isin([*SHARES])
        for bad, told in ((rows["id"] == "", "an id"), (strange, f"one of {', '.join(SHARES)}")):
            if bad.any():
                row = int(np.flatnonzero(bad)[0])
                value = rows["id" if told == "an id" else "fold"].iloc[row]
                raise ValueError(
                    f"every row of {self.path} must hold {told}, but row {row + 1} (line "
                    f"{row + 2}) holds {value!r} ({int(bad.sum())} such rows); mend or delete them"
                )
        self._check_once(rows.drop_duplicates())
        return column, dict(zip(rows["id"], rows["fold"], strict=True))

    def _check_once(self, rows: pd.DataFrame) -> None:
        twice = rows.loc[rows["id"].duplicated(), "id"].unique()
        if len(twice):
            raise ValueError(
                f"an id must be in one fold, but {self.path} lists {len(twice)} in two: "
                f"{', '.join(twice[:NAMED])}{', …' if len(twice) > NAMED else ''}; list each once"
            )
