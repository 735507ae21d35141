"""TFRecord files, written by hand: an independent writer for the reader that is tested."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np


def crc32c(data: bytes) -> int:
    """CRC-32C bit by bit, from its polynomial."""
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    """The checksum as it stands in a file."""
    plain = crc32c(data)
    return struct.pack("<I", ((plain >> 15 | plain << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(number: int) -> bytes:
    """A number in groups of seven bits."""
    parts = b""
    while number > 0x7F:
        parts += bytes([number & 0x7F | 0x80])
        number >>= 7
    return parts + bytes([number])


def field(number: int, content: bytes) -> bytes:
    """A field with a length."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def floats(values: Sequence[float], *, packed: bool = True) -> bytes:
    """A feature of numbers."""
    if packed:
        return field(2, field(1, np.asarray(values, "<f4").tobytes()))
    return field(2, b"".join(varint(1 << 3 | 5) + struct.pack("<f", v) for v in values))


def example(**features: bytes) -> bytes:
    """A `tf.train.Example`; a double underscore stands for a slash."""
    entries = b"".join(
        field(1, field(1, name.replace("__", "/").encode()) + field(2, feature))
        for name, feature in features.items()
    )
    return field(1, entries)


def record(payload: bytes) -> bytes:
    """One record with its checksums."""
    length = struct.pack("<Q", len(payload))
    return length + masked(length) + payload + masked(payload)


def embedding(values: Sequence[float], name: str = "made-up") -> bytes:
    """A file of one embedding, as the release has it."""
    told = field(1, field(1, name.encode()))
    return record(example(embedding=floats(values), image__id=told))
