"""Pictures of the phantom for people; each carries the word SIMULATED."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from datasets.phantom_render import Regions
from datasets.pictures import captioned, sheet

if TYPE_CHECKING:
    from PIL.Image import Image

CAPTION = "SIMULATED"
_LUNG, _FINDING, _BOX = (0, 190, 200), (235, 40, 40), (240, 200, 0)


def caption(image: np.ndarray | Image, text: str = CAPTION) -> Image:
    """The picture with a strip below it that says SIMULATED.

    `image` is `(s, t)` or `(s, t, 3)` uint8, or a PIL image. The strip is added, so that it covers
    no pixel of the picture; a `text` of one's own must still contain the word.

    Raises:
        ValueError: `text` does not contain "SIMULATED".
    """
    if CAPTION not in text:
        raise ValueError(
            f"the caption of a phantom must contain {CAPTION!r}, but got {text!r}; add the word"
        )
    return captioned(image, text)


def contact_sheet(images: np.ndarray, *, columns: int = 8, titles: Sequence[str] = ()) -> Image:
    """Pictures `(k, s, s)` or `(k, s, s, 3)` uint8 side by side, each one captioned.

    Raises:
        ValueError: no picture is given, or another number of titles than pictures.
    """
    if not len(images) or (titles and len(titles) != len(images)):
        raise ValueError(
            f"a contact sheet must have pictures and one title for each, but got {len(images)} "
            f"pictures and {len(titles)} titles; give as many titles as pictures, or none"
        )
    texts = [f"{CAPTION} · {title}" for title in titles] or [CAPTION] * len(images)
    return sheet(images, texts, columns=columns)


def outlined(images: np.ndarray, where: Regions, findings: Sequence[str]) -> np.ndarray:
    """Colour pictures `(k, s, s, 3)` uint8 with the lungs, one finding each, and its box drawn in.

    `findings` names the finding to outline in each image.
    """
    colour = np.repeat(images[..., None], 3, axis=-1)
    for number, finding in enumerate(findings):
        column = where.findings.index(finding)
        colour[number][_border(where.lungs[number])] = _LUNG
        colour[number][_border(where.masks[number, column])] = _FINDING
        box = where.boxes[number, column]
        if not np.isnan(box).any():
            x0, y0, x1, y1 = box.astype(int)
            colour[number, y0:y1, [x0, x1 - 1]] = _BOX
            colour[number, [y0, y1 - 1], x0:x1] = _BOX
    return colour


def _border(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask `(s, s)` that touch its outside."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    border: np.ndarray = mask & ~inner
    return border
