"""One image file of any kind to one 8-bit grey square."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
from PIL import Image

from datasets.grey import stretched

DECODER = "1"
"""Raised when the same file gives other pixels; part of every cache key."""
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP")
"""What is opened. The content decides, not the suffix: public sets hold PNG behind `.jpg`."""
SMALLEST_SIDE = 16
"""Pixels; below this a file is an icon or a placeholder, not a radiograph."""
MOST_PIXELS = 100_000_000
"""Pixels; a film scanned at 50 µm has about 60 million, so more is damage or an attack."""
ORIENTATION = 0x0112
"""The EXIF tag; what it says is obeyed, so an image stands as a viewer shows it."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
UNREADABLE = "image unreadable"

# What Pillow's readers raise on damaged files, found by damaging files.
_READER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)


class BadImage(Exception):
    """An image that cannot be used: `reason` is counted, `detail` is told."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def decode(data: bytes, size: int) -> np.ndarray:
    """The picture in `data` as uint8 `(size, size)`: grey, aspect kept, padded with black.

    Raises:
        BadImage: the bytes are no image, are cut short, or the image is too small or too large.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images and odd metadata; MOST_PIXELS decides here.
            warnings.simplefilter("ignore")
            if is_dicom(data):
                # Imported here: most sets have no DICOM, and pydicom takes its time.
                from datasets.dicom import picture

                return fit(picture(data), size)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return _square(image, size)
    except _READER_ERRORS as error:
        raise BadImage(UNREADABLE, one_line(error)) from error


def is_dicom(data: bytes) -> bool:
    """Whether the bytes begin as a DICOM file does, with its preamble or without."""
    if data[128:132] == b"DICM":
        # A TIFF may carry a DICOM header before its own, so that both kinds of reader open it.
        return data[:2] not in (b"II", b"MM")
    # Without preamble: element 0002,xxxx or 0008,xxxx, then its type or its length.
    if data[:2] not in (b"\x02\0", b"\x08\0") or len(data) < 8:
        return False
    return data[4:6].isalpha() or int.from_bytes(data[4:8], "little") < len(data)


def fit(picture: np.ndarray, size: int) -> np.ndarray:
    """A uint8 picture `(h, w)` as uint8 `(size, size)`: aspect kept, padded with black."""
    return _square(Image.fromarray(picture), size)


def check_sides(width: int, height: int) -> None:
    """Refuse an icon, and what would need absurd memory.

    Raises:
        BadImage: a side is too small or the area too large.
    """
    if min(width, height) < SMALLEST_SIDE or width * height > MOST_PIXELS:
        raise BadImage(
            UNREADABLE,
            f"sides must be at least {SMALLEST_SIDE} px and the area at most "
            f"{MOST_PIXELS // 1_000_000} million px, but it is {width} x {height}",
        )


def _square(image: Image.Image, size: int) -> np.ndarray:
    width, height = image.size
    check_sides(width, height)
    scale = size / max(width, height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    # JPEG only: decodes luma alone, at the power of two that leaves at least twice the target.
    image.draft("L", (2 * inner[0], 2 * inner[1]))
    grey = _grey(image)
    # `reducing_gap` averages whole blocks first, which is fast and, at 3, as good to the eye.
    small = grey.resize(inner, Image.Resampling.LANCZOS, reducing_gap=3.0)
    canvas = Image.new("L", (size, size))
    canvas.paste(small, ((size - inner[0]) // 2, (size - inner[1]) // 2))
    turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    return np.array(canvas if turn is None else canvas.transpose(turn))


def _grey(image: Image.Image) -> Image.Image:
    if image.mode in DEEP_MODES:
        return Image.fromarray(stretched(np.asarray(image)))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        # Over black: a transparent margin lies outside the picture, like our own padding.
        layers = image.convert("RGBA")
        black = Image.new("RGBA", layers.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, layers).convert("L")
    return image.convert("L")


def one_line(error: BaseException) -> str:
    """What an error says, on one line, without addresses in memory."""
    text = str(error).split("\n", 1)[0].replace("<_io.BytesIO object", "<file").strip()
    return text or type(error).__name__
