"""Embeddings of Google's CXR Foundation model for MIMIC-CXR, joined with its tables."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pandas as pd

from datasets.base import EMBEDDINGS
from datasets.mimic_cxr import MimicCxr
from datasets.split import Split
from registry import DATASETS

RELEASE = "generalized-image-embeddings-for-the-mimic-chest-x-ray-dataset-1.0"
"""What the folder of the download is called."""
FOLDERS = (".", RELEASE, "files", f"{RELEASE}/files")
ENDINGS = (".tfrecord", ".npy")
HOW_TO_GET = (
    "get them from https://physionet.org/content/image-embeddings-mimic-cxr/ (credentialed), or "
    "name their folder with --data embeddings=DIR"
)


@dataclass(frozen=True)
class Layout:
    """How the file of an image is found: `folder/p10/p10000032/s50414267/<dicom_id><ending>`, flat
    `folder/<dicom_id><ending>`, or as a vector of an archive `folder/x.npz`."""

    before: str
    """Path before the part that names the image."""
    ending: str = ""
    flat: bool = False

    def paths(self, images: pd.Series) -> pd.Series:
        """The path of each image, whose name is `p10/p10000032/s50414267/<dicom_id>`."""
        return self.before + (images.str.rpartition("/")[2] if self.flat else images) + self.ending


@DATASETS.register("cxr-embeddings")
@dataclass(frozen=True)
class CxrEmbeddings(MimicCxr):
    """Embeddings of 1,376 numbers of frontal MIMIC-CXR images, by CXR Foundation.

    The release has one TFRecord per image, read without TensorFlow; `.npy` files and one `.npz`
    archive whose names are dicom ids are taken as well. Labels, folds and people come from the
    tables of MIMIC-CXR-JPG and MIMIC-IV, by the fields of `mimic-cxr`. Linkage between images by
    their embeddings is measured as it is between images.

    License: PhysioNet Credentialed Health Data License 1.5.0; no sharing of embeddings, labels, ids
        or rows per patient, with people or services.
    Access: credentialed PhysioNet account with CITI training, for the embeddings, MIMIC-CXR-JPG
        (its tables alone are enough) and MIMIC-IV each.
    Source: Sellergren et al., Generalized Image Embeddings for the MIMIC Chest X-Ray dataset,
        PhysioNet 2023, and Radiology 2022;305:454-465; the rest as for `mimic-cxr`.
    """

    terms: ClassVar[str] = "restricted"

    embeddings: str = ""
    """The folder or `.npz` file of the embeddings, from the data root if relative; by default they
    are looked for below the data root."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_folder:
            raise ValueError(
                f"image_folder must be left out, but got {self.image_folder!r}: no images are "
                "read; name the folder of the embeddings with --data embeddings=DIR"
            )

    @property
    def holds(self) -> str:
        """ "embeddings"."""
        return EMBEDDINGS

    def table(self, root: Path) -> Split:
        """As in the base class; an image without embedding is a file that is missing.

        Raises:
            FileNotFoundError, ValueError: see there.
        """
        return at_embeddings(super().table(root), find_embeddings(root, self.embeddings))


def at_embeddings(images: Split, found: tuple[Path, Layout]) -> Split:
    """The table of MIMIC-CXR whose paths name embeddings, found below a root of their own."""
    root, layout = found
    named = images.frame["path"].astype(str).str.extract(r"(p\d\d/p\d+/s\d+/[^/]+)\.\w+$")[0]
    return replace(images.with_frame(images.frame.assign(path=layout.paths(named))), root=root)


def find_embeddings(root: Path, named: str = "") -> tuple[Path, Layout]:
    """The folder of the embeddings, and how their files are named below it.

    Raises:
        FileNotFoundError: there are none.
        ValueError: two archives may be meant.
    """
    top = root / Path(named).expanduser() if named else root
    if top.is_file() and top.suffix == ".npz":
        return top.parent, _archive(top)
    for folder in FOLDERS:
        # A folder of pixels may lie beside: only files of embeddings count.
        if first := next(_in_tree(top / folder), None):
            return top, Layout("" if folder == "." else f"{folder}/", first.suffix)
    for folder in FOLDERS[:2]:
        below = top / folder
        before = "" if folder == "." else f"{folder}/"
        archives = sorted(below.glob("*.npz"))
        if len(archives) > 1:
            raise ValueError(
                f"one archive must hold the embeddings, but {below} has {len(archives)}: "
                f"{', '.join(p.name for p in archives[:5])}; name it with --data embeddings=FILE"
            )
        if archives:
            return below, _archive(archives[0])
        for ending in ENDINGS:
            if next(below.glob(f"*{ending}"), None):
                return top, Layout(before, ending, flat=True)
    raise FileNotFoundError(
        f"embeddings must lie below {top}, in folders p10 to p19, as files <dicom_id>.tfrecord or "
        f"<dicom_id>.npy, or in one .npz file, but none was found; {HOW_TO_GET}"
    )


def _archive(file: Path) -> Layout:
    if not zipfile.is_zipfile(file):
        raise ValueError(f"{file} must be an archive of numpy, but it is none; restore it")
    return Layout(f"{file.name}#", flat=True)


def _in_tree(folder: Path) -> Iterator[Path]:
    """Files of embeddings in the tree of patients, in order of names."""
    for ending in ENDINGS:
        for group in sorted(folder.glob("p1[0-9]")):
            yield from group.glob(f"p*/s*/*{ending}")
