"""A miniature NIH ChestX-ray14: real headers and vocabularies, made ids, every quirk once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

HEADER_2020 = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
HEADER_2017 = HEADER_2020 + ","
"""With a comma at the end, of the header as of all rows."""
HEADER_BOX = HEADER_2017.replace("Patient Gender", "Patient Sex")
"""The release of 2020 as the NIH's site has it."""
HEADER_SAMPLE = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImageWidth,OriginalImageHeight,OriginalImagePixelSpacing_x,OriginalImagePixelSpacing_y"
)
REST = "2048,2500,0.168,0.168"
LABELS = ("No Finding", "Effusion|Infiltration", "Pleural_Thickening", "Pneumonia|Edema", "Hernia")


def name(patient: int, number: int) -> str:
    """Of an image file: the number is not the follow-up number."""
    return f"{patient:08d}_{number:03d}.png"


def rows(patients: int = 14) -> list[str]:
    """Lines of the table: three images of the first patient, one or two of the others."""
    lines = []
    for patient in range(1, patients + 1):
        images = 3 if patient == 1 else 1 + patient % 2
        for visit in range(images):
            # The first patient's images are numbered against time.
            number = images - 1 - visit if patient == 1 else visit
            age = {2: 0, 3: 96, 4: 414}.get(patient, 15 + 5 * patient + visit)
            sex = "F" if patient % 2 else "M"
            view = "AP" if patient % 3 == 0 else "PA"
            lines.append(
                f"{name(patient, number)},{LABELS[(patient + visit) % len(LABELS)]},{visit},"
                f"{patient},{age},{sex},{view},{REST}"
            )
    return lines


def write_table(root: Path, file: str, header: str, lines: Sequence[str]) -> None:
    """A table; rows end with a comma where the header does."""
    end = "," if header.endswith(",") else ""
    text = "\n".join([header, *(line + end for line in lines)]) + "\n"
    (root / file).write_text(text, encoding="utf-8")


def write_images(root: Path, names: Sequence[str], folders: int = 12) -> None:
    """Noise in `images_001/images/` and so on, or in `images/` where `folders` is 0."""
    rng = np.random.default_rng(0)
    for i, file in enumerate(names):
        folder = root / (f"images_{i % folders + 1:03d}/images" if folders else "images")
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8))
        # A few hundred of the real ones have four channels.
        (picture.convert("RGBA") if i % 7 == 3 else picture).save(folder / file)


def write_lists(root: Path, train: Sequence[str], test: Sequence[str]) -> None:
    """The official lists: no line break at the end."""
    (root / "train_val_list.txt").write_text("\n".join(train))
    (root / "test_list.txt").write_text("\n".join(test))


def make(root: Path) -> None:
    """The tree as it is downloaded, without lists, so that folds are by patient."""
    lines = rows()
    write_table(root, "Data_Entry_2017_v2020.csv", HEADER_BOX, lines)
    write_images(root, [line.split(",")[0] for line in lines])
