"""Sheets of images for people: side by side, each with a strip that says what it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

SMALLEST_CELL = 128
"""Pixels per side to which small images are enlarged, so that they and their titles can be read."""
_STRIP = 0.09
"""Height of the caption as a share of the picture's width."""
_GAP = 3
"""Pixels between pictures."""


def captioned(image: np.ndarray | Image, text: str) -> Image:
    """The picture with a strip below it that says `text`.

    `image` is `(s, t)` or `(s, t, 3)` uint8, or a PIL image. The strip is added, so that it covers
    no pixel of the picture.
    """
    from PIL import Image as Images
    from PIL import ImageDraw, ImageFont

    picture = Images.fromarray(image) if isinstance(image, np.ndarray) else image
    picture = picture.convert("RGB")
    height = max(12, round(_STRIP * picture.width))
    font = ImageFont.load_default(size=0.72 * height)
    full = Images.new("RGB", (picture.width, picture.height + height), (255, 255, 255))
    full.paste(picture, (0, 0))
    pen = ImageDraw.Draw(full)
    middle = (picture.width / 2, picture.height + height / 2)
    wide = pen.textlength(text, font=font)
    if wide > picture.width:
        font = ImageFont.load_default(size=0.72 * height * picture.width / wide)
    pen.text(middle, text, fill=(160, 0, 0), font=font, anchor="mm")
    return full


def sheet(images: np.ndarray, captions: Sequence[str], *, columns: int = 8) -> Image:
    """Pictures `(k, s, s)` or `(k, s, s, 3)` uint8 side by side, each with its caption."""
    from PIL import Image as Images

    cells = [captioned(image, text) for image, text in zip(images, captions, strict=True)]
    width, height = cells[0].size
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    size = (columns * (width + _GAP), rows * (height + _GAP))
    whole = Images.new("RGB", size, (255, 255, 255))
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        whole.paste(cell, (column * (width + _GAP), row * (height + _GAP)))
    return whole


def enlarged(images: np.ndarray) -> np.ndarray:
    """Images `(k, s, s)` uint8 with pixels repeated until a side has 128 at least."""
    times = -(-SMALLEST_CELL // images.shape[-1])
    return images.repeat(times, axis=1).repeat(times, axis=2)


def save(picture: Image, path: Path) -> None:
    """Write a picture as PNG, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, optimize=True)
