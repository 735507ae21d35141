"""Published lists of image pairs: which two show the same patient, and which do not."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from datasets.split import Split

SAME = {"1.0": True, "1": True, "0.0": False, "0": False}


def read_image_pairs(path: Path) -> pd.DataFrame:
    """Pairs as `image_a, image_b` (text) and `same_patient` (bool), in the order of the file.

    A line holds two image names and 1.0 (same patient) or 0.0, with tabs between.
    Source: the lists of Packhäuser et al., PriCheXy-Net, MICCAI 2023: `image_pairs/*.txt` of
    https://github.com/kaipackhaeuser/PriCheXy-Net (GPL-3, not part of this suite).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is no pair; the message names it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"a list of image pairs must be a file, but {path} is not there")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip():
            continue
        parts = [part.strip() for part in line.split("\t")]
        if len(parts) != 3 or not all(parts) or parts[2] not in SAME:
            raise ValueError(
                "a line of image pairs must hold two image names and 1.0 or 0.0, with tabs "
                f"between, but line {number} of {path} holds {line!r}; restore the file"
            )
        rows.append((parts[0], parts[1], SAME[parts[2]]))
    return pd.DataFrame(rows, columns=["image_a", "image_b", "same_patient"]).astype(
        {"same_patient": bool}
    )


def check_image_pairs(pairs: pd.DataFrame, table: Split) -> None:
    """Nothing, if every image of `pairs` is in the table and each label is true of its patients.

    Raises:
        ValueError: an image is not in the table, or a label contradicts the table.
    """
    patient = table.frame.set_index("image_id")["patient_id"].astype(str)
    both = pd.concat([pairs["image_a"], pairs["image_b"]])
    strange = both[~both.isin(patient.index)]
    if len(strange):
        raise ValueError(
            f"image pairs must be of {table.name!r}, but {strange.nunique()} of their images are "
            f"not in it, such as {strange.iloc[0]!r}; use the table with all views and images"
        )
    same = pairs["image_a"].map(patient) == pairs["image_b"].map(patient)
    wrong = pairs[same != pairs["same_patient"]]
    if len(wrong):
        first = wrong.iloc[0]
        says = "the same patient" if first["same_patient"] else "two patients"
        raise ValueError(
            f"image pairs must agree with {table.name!r}, but {len(wrong)} of {len(pairs)} do not, "
            f"such as {first['image_a']} and {first['image_b']}, listed as {says}; restore the list"
        )
