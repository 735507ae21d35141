"""Where radiologists saw lesions: the boxes that come with NIH ChestX-ray14."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from datasets import tabular
from datasets.nih_cxr14 import HOW_TO_GET
from datasets.split import Split

TABLE = "BBox_List_2017.csv"
COLUMNS = {
    "image_id": ("Image Index",), "finding": ("Finding Label",), "x": ("Bbox [x",), "y": ("y",),
    "width": ("w",), "height": ("h]",),
}  # fmt: skip
"""The header's brackets hold commas, so that one field of it is read as four."""
SPELT = {"Infiltrate": "Infiltration"}
"""Findings that the boxes spell otherwise than the labels."""
SIDE = 1024
"""Pixels of the images that the boxes were drawn in; all are square."""


def lesion_boxes(root: Path) -> pd.DataFrame:
    """Boxes in pixels of the 1024 px images: `image_id, finding, x, y, width, height`.

    984 boxes of 880 images and eight findings, none for an image without that finding's label.

    Raises:
        FileNotFoundError: the table of boxes is not there.
        ValueError: it is damaged, or a box does not lie in its image.
    """
    path = tabular.locate(root, TABLE, of="nih-cxr14", how_to_get=HOW_TO_GET)
    boxes = tabular.read(path, COLUMNS)
    boxes["finding"] = boxes["finding"].replace(SPELT)
    for side in ("x", "y", "width", "height"):
        boxes[side] = tabular.numbers(path, boxes[side])
    inside = (boxes[["x", "y"]] >= 0).all(axis=1) & (boxes[["width", "height"]] > 0).all(axis=1)
    inside &= (boxes["x"] + boxes["width"] <= SIDE) & (boxes["y"] + boxes["height"] <= SIDE)
    if not inside.all():
        row = int(np.flatnonzero(~inside.to_numpy())[0])
        x, y, width, height = boxes.loc[row, ["x", "y", "width", "height"]]
        raise ValueError(
            f"boxes must lie within {SIDE} x {SIDE} pixels, but row {row + 1} of {path} has x {x}, "
            f"y {y}, width {width}, height {height}; restore the file"
        )
    return boxes


def box_masks(split: Split, boxes: pd.DataFrame, size: int) -> np.ndarray:
    """Where each finding is, bool `(n, findings, size, size)`: every pixel that a box touches.

    In the order of rows and findings, as `datasets.regions.recorded_regions`. A finding that is
    present may have no box: eight of the fourteen were drawn, each in some images only.

    Raises:
        ValueError: an image has no box at all.
    """
    images = split.frame["image_id"].astype(str)
    without = images[~images.isin(boxes["image_id"])]
    if len(without):
        raise ValueError(
            f"every image of {split.name!r} must have a box, but {len(without)} of {len(images)} "
            f"have none, such as {without.iloc[0]!r}; keep the rows that are in `lesion_boxes`"
        )
    masks = np.zeros((len(images), len(split.findings), size, size), dtype=bool)
    rows_of = images.groupby(images, sort=False).indices
    place = {finding: i for i, finding in enumerate(split.findings)}
    drawn = boxes[boxes["image_id"].isin(rows_of) & boxes["finding"].isin(place)]
    corner, extent = drawn[["x", "y"]].to_numpy(float), drawn[["width", "height"]].to_numpy(float)
    starts = np.floor(corner * size / SIDE).astype(int)
    ends = np.ceil((corner + extent) * size / SIDE).astype(int)
    names = zip(drawn["image_id"].astype(str), drawn["finding"].astype(str), strict=True)
    for (image, finding), (left, top), (right, bottom) in zip(names, starts, ends, strict=True):
        masks[rows_of[image], place[finding], top:bottom, left:right] = True
    return masks
