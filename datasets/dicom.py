"""DICOM files: one radiograph as the 8-bit grey picture that a viewer would show, and its tags.

Values go the way of the standard's grey scale (PS3.3 C.11): modality table or rescale, then the
table or window for display, then inversion. Radiographs have at most 16 bits, so all of it is
worked out once per possible value and pixels are looked up.

Imported by those who meet such a file: most sets have none, and pydicom takes its time.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.encaps import get_frame
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_windowing
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGExtended12Bit,
    RLELossless,
)

from datasets.codestreams import picture_header
from datasets.decode import UNREADABLE, BadImage, check_sides, is_dicom, one_line
from datasets.grey import counts_of, looked_up, stretched_levels

UNDECODABLE = "DICOM transfer syntax not supported"
"""The reason under which files of encodings without a decoder here are counted."""
LIBRARIES = {
    "JPEG-LS": "pyjpegls",
    "JPEG Lossless": "pylibjpeg-libjpeg",
    "JPEG Extended": "pylibjpeg-libjpeg",
}
"""What reads the encodings whose name begins so, by the name of its package."""
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
DEPTHS = (8, 16)
"""Bits that a value may take up in the file."""
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
DAMAGED = (OSError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, AttributeError,
           NotImplementedError, RuntimeError, BytesLengthException, InvalidDicomError)  # fmt: skip
"""What pydicom raises on damaged files, found by damaging files."""
DEFLATED = re.compile(rb"\x02\0\x10\0.{4}1\.2\.840\.10008\.1\.2\.1\.99", re.DOTALL)
"""The element of a file's header that says that all the rest is compressed as a whole."""
HEAD = 2**18
"""Bytes of a file that are read for its tags; people are described within the first few."""
ENDLESS = 2**32 - 1
"""The length of an element that ends with a mark."""
FAR = 1e30
"""Beyond every grey value: what a window makes of it is the end of its scale."""


def picture(data: bytes) -> np.ndarray:
    """The one picture of a DICOM file as uint8 `(rows, columns)`, bright where dense.

    Raises:
        BadImage: it holds none, several, one of absurd size, or one in an encoding that cannot be
            read here; the size is checked before pixels are decoded.
    """
    try:
        return _picture(data)
    except DAMAGED as error:
        raise BadImage(UNREADABLE, one_line(error)) from error


def _picture(data: bytes) -> np.ndarray:
    _check_not_deflated(data)
    # A file without the preamble is read too; what is no DICOM at all has no rows.
    held = dcmread(io.BytesIO(data), force=True)
    syntax = _syntax(held)
    _check_header(held)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise _undecodable(syntax, "it is no encoding of radiographs; export it anew") from error
    if not decoder.is_available:
        raise _undecodable(syntax, _advice(syntax.name))
    if syntax.is_encapsulated:
        _check_codestream(held, syntax)
    pixels, _ = decoder.as_array(held, index=0)
    if held.PhotometricInterpretation in GREY:
        return _grey(pixels, held)
    if pixels.dtype != np.uint8:
        raise BadImage(UNREADABLE, f"colours must have 8 bits, but have {pixels.dtype}")
    return np.asarray(Image.fromarray(pixels).convert("L"))


def tags(file: Path | str, names: Sequence[str]) -> tuple[str, ...]:
    """The texts of some tags of a DICOM file, "" where it has none; its pixels are not read.

    Raises:
        BadImage: the file is no DICOM file or cannot be read.
    """
    try:
        with Path(file).open("rb") as opened:
            head = opened.read(HEAD)
        if not is_dicom(head):
            raise BadImage(UNREADABLE, "not a DICOM file")
        _check_not_deflated(head)
        held = dcmread(io.BytesIO(head), force=True, stop_before_pixels=True,
                       specific_tags=list(names))  # fmt: skip
        return tuple(str(held.get(name) or "").strip() for name in names)
    except DAMAGED as error:
        raise BadImage(UNREADABLE, one_line(error)) from error


def _check_not_deflated(data: bytes) -> None:
    """Refuse before it is read what reading would inflate as a whole: it may be a bomb."""
    if DEFLATED.search(data):
        advice = "rewrite it without deflation, as `dcmconv +te` does"
        raise _undecodable(DeflatedExplicitVRLittleEndian, advice)


def _syntax(held: Dataset) -> UID:
    if syntax := held.file_meta.get("TransferSyntaxUID"):
        return syntax
    implicit, little = held.original_encoding
    named = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    held.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else named
    return held.file_meta.TransferSyntaxUID


def _check_header(held: Dataset) -> None:
    """Refuse what is no picture of a sane size, before any memory is taken for it."""
    for name in ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation"):
        if not isinstance(held.get(name), int):
            raise BadImage(UNREADABLE, f"not a DICOM picture: it has no {name}")
    check_sides(held.Columns, held.Rows)
    if (frames := held.get("NumberOfFrames") or 1) != 1:
        raise BadImage(UNREADABLE, f"a file must hold one picture, but it holds {frames} frames")
    if "PixelData" not in held:
        raise BadImage(UNREADABLE, "the file ends before its pixels, or has none")
    kind = held.get("PhotometricInterpretation")
    samples = held.get("SamplesPerPixel", 1)
    if (kind, samples) not in [*((k, 1) for k in GREY), *((k, 3) for k in COLOUR)]:
        raise BadImage(UNREADABLE, f"grey or colour must be plain, but it is {kind} of {samples}")
    if held.BitsAllocated not in DEPTHS or not 0 < held.BitsStored <= held.BitsAllocated:
        raise BadImage(
            UNREADABLE,
            f"values must have 8 or 16 bits, but have {held.BitsStored} in {held.BitsAllocated}",
        )
    element = held.get_item("PixelData")
    # Raw as long as nobody has looked: its length is what the file says, its value what is there.
    if isinstance(element, RawDataElement) and len(element.value or b"") < element.length < ENDLESS:
        raise BadImage(UNREADABLE, "the file is cut short within its pixels")


def _check_codestream(held: Dataset, syntax: UID) -> None:
    """Refuse a compressed picture that is cut short, or of another size than its header says."""
    if syntax == RLELossless:
        return
    found = picture_header(get_frame(held.PixelData, 0, number_of_frames=1))
    claimed = (held.Columns, held.Rows, held.SamplesPerPixel)
    if (found.width, found.height, found.samples) != claimed:
        raise BadImage(
            UNREADABLE,
            f"header and compressed picture must agree, but say {claimed} and {found}",
        )
    if found.bits > 8 and syntax == JPEGExtended12Bit:
        raise _undecodable(syntax, _advice(syntax.name))
    if found.bits > max(DEPTHS) and syntax in JPEG2000TransferSyntaxes:
        raise BadImage(UNREADABLE, f"values must have at most 16 bits, but have {found.bits}")


def _undecodable(syntax: UID, advice: str) -> BadImage:
    return BadImage(UNDECODABLE, f"{syntax.name} ({syntax}); {advice}")


def _advice(name: str) -> str:
    library = next((v for k, v in LIBRARIES.items() if name.startswith(k)), "")
    if library:
        return f"install `{library}` or `python-gdcm` beside pydicom, or rewrite it uncompressed"
    return "rewrite it uncompressed"


def _grey(pixels: np.ndarray, held: Dataset) -> np.ndarray:
    """Stored values of 8 or 16 bits as the grey levels that are to be seen."""
    kind = np.iinfo(pixels.dtype)
    every = np.arange(kind.min, kind.max + 1, dtype=pixels.dtype)
    levels = _levels(every, pixels, held)
    # MONOCHROME1 and the presentation shape INVERSE say the same thing, so only one is asked.
    if held.PhotometricInterpretation == "MONOCHROME1":
        levels = 255 - levels
    return looked_up(pixels, levels)


def _levels(every: np.ndarray, pixels: np.ndarray, held: Dataset) -> np.ndarray:
    """The grey level, uint8, of each possible stored value."""
    values = _rescaled(every, held)
    counts = counts_of(pixels)
    shown = _displayed(values, held)
    if shown is not None and np.ptp(shown[counts > 0]) > 0:
        return np.round(255 * shown).astype(np.uint8)
    # Without a window, or with one beside all that is there.
    if held.BitsStored <= 8 and every.dtype.itemsize == 1:
        return stretched_levels(values, np.ones_like(counts), tails=(0, 100))
    return stretched_levels(values, counts)


def _rescaled(every: np.ndarray, held: Dataset) -> np.ndarray:
    """Stored values as what was measured, by the modality table or slope and intercept."""
    if table := _table(held, "ModalityLUTSequence"):
        return table.of(every)
    slope, intercept = held.get("RescaleSlope"), held.get("RescaleIntercept")
    if slope in (None, "") or intercept in (None, ""):
        return every.astype(np.float64)
    return every * float(slope) + float(intercept)


def _displayed(values: np.ndarray, held: Dataset) -> np.ndarray | None:
    """`values` in [0, 1] by the first table or window for display; None where there is none."""
    if table := _table(held, "VOILUTSequence"):
        # Tables of 12 bits are found behind a header of 16: what they hold is what they span.
        low, high = float(table.levels.min()), float(table.levels.max())
        shown = table.of(values)
    elif _has_window(held):
        with np.errstate(over="ignore"):
            low, high = apply_windowing(np.array([-FAR, FAR]), held)
            shown = apply_windowing(values, held)
    else:
        return None
    return None if low == high else (shown - low) / (high - low)


@dataclass(frozen=True, eq=False)
class _Table:
    """A lookup table: `levels` `(n,)` for the values from `first` on."""

    first: int
    levels: np.ndarray

    def of(self, values: np.ndarray) -> np.ndarray:
        """The level of each value; those outside the table take its ends."""
        at = np.round(values).astype(np.int64) - self.first
        return self.levels[np.clip(at, 0, len(self.levels) - 1)]


def _table(held: Dataset, name: str) -> _Table | None:
    """The first table of a sequence; None where there is none that is complete.

    Read here, since `pydicom.pixels.apply_voi` 3.0 wraps values beyond a table of 8 bits, and its
    `apply_modality_lut` refuses one of 12.
    """
    items = held.get(name)
    if not items or not all(items[0].get(n) for n in ("LUTDescriptor", "LUTData")):
        return None
    entries, first, _ = items[0].LUTDescriptor
    data = items[0].LUTData
    if isinstance(data, bytes):
        little = held.original_encoding[1] is not False
        wide = len(data) >= 2 * (entries or 2**16)
        data = np.frombuffer(data, np.uint8 if not wide else "<u2" if little else ">u2")
    levels = np.atleast_1d(np.asarray(data, dtype=np.float64))[: entries or 2**16]
    return _Table(int(first), levels)


def _has_window(held: Dataset) -> bool:
    """Whether a window is given whose width is one."""
    given = [held.get(name) for name in ("WindowCenter", "WindowWidth")]
    if any(value is None or value == "" or value == [] for value in given):
        return False
    function = str(held.get("VOILUTFunction") or "LINEAR").upper()
    width = float(given[1] if held["WindowWidth"].VM == 1 else given[1][0])
    return function in FUNCTIONS and (width >= 1 if function == "LINEAR" else width > 0)
