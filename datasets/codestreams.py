"""What a compressed picture says of itself: its size, before a decoder takes memory for it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from datasets.decode import UNREADABLE, BadImage

FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7)
"""JPEG markers that begin a picture: ITU-T T.81 table B.1; the last is JPEG-LS, T.87."""
JPEG = b"\xff\xd8"
JPEG_2000 = b"\xff\x4f\xff\x51"
END = b"\xff\xd9"
"""Ends both."""


@dataclass(frozen=True)
class PictureHeader:
    """Size of a compressed picture."""

    width: int
    height: int
    samples: int
    """Per pixel: 1 grey, 3 colour."""
    bits: int
    """Per sample."""


def picture_header(data: bytes) -> PictureHeader:
    """The size that a JPEG, JPEG-LS or JPEG 2000 picture gives itself.

    Raises:
        BadImage: it is none, it is cut short, or it does not say.
    """
    # An odd length is made even by a zero; some writers leave more.
    if not data.rstrip(b"\0").endswith(END):
        raise BadImage(UNREADABLE, "the compressed picture is cut short")
    try:
        if data.startswith(JPEG):
            return _jpeg(data)
        # Some writers leave the boxes of a JP2 file around it.
        start = data.find(JPEG_2000, 0, 4096)
        if start >= 0:
            return _jpeg_2000(data, start + 4)
    except struct.error as error:
        raise BadImage(UNREADABLE, "the compressed picture is cut short") from error
    raise BadImage(UNREADABLE, "the compressed picture is neither JPEG nor JPEG 2000")


def _jpeg(data: bytes) -> PictureHeader:
    at = 2
    while True:
        lead, marker = struct.unpack_from(">BB", data, at)
        if lead != 0xFF:
            raise BadImage(UNREADABLE, "the compressed picture is damaged before its size")
        if marker == 0xFF:
            at += 1
            continue
        if marker in FRAMES:
            bits, height, width, samples = struct.unpack_from(">BHHB", data, at + 4)
            return PictureHeader(width, height, samples, bits)
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _jpeg_2000(data: bytes, at: int) -> PictureHeader:
    right, bottom, left, top = struct.unpack_from(">4I", data, at + 4)
    samples, depth = struct.unpack_from(">HB", data, at + 36)
    return PictureHeader(right - left, bottom - top, samples, (depth & 0x7F) + 1)
