"""TFRecord files of `tf.train.Example`, read without TensorFlow.

A record is its length (8 bytes, little-endian), a checksum of these, the payload, and a checksum
of it. The payload is a protocol buffer: an example holds features, features map names to one
feature each, and a feature is a list of byte strings, of float32 or of int64.

Source: the format as TensorFlow documents it (tfrecord.md, "TFRecords format details";
example.proto and feature.proto); RFC 3720, appendix B.4, for CRC-32C; Protocol Buffers, "Encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

MOST_BYTES = 64 * 2**20
"""Largest payload; an embedding has some kilobytes, so more is damage or an attack."""
FRAME = struct.Struct("<QI")
CHECKSUM = struct.Struct("<I")
POLYNOMIAL = 0x82F63B78
"""Castagnoli's, with its bits reversed."""
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FLOATS, INTEGERS = 2, 3
"""Fields of a feature; 1 is a list of byte strings."""


def records(data: bytes) -> Iterator[bytes]:
    """The payloads of a TFRecord file in order, each checked against its checksum.

    Raises:
        ValueError: the file is cut short, claims an absurd length, or fails a checksum.
    """
    at = 0
    while at < len(data):
        if len(data) - at < FRAME.size:
            raise ValueError(f"a record begins at byte {at}, but the file ends within its length")
        length, check = FRAME.unpack_from(data, at)
        # The length first: of a damaged one nothing that follows can be told.
        if masked_checksum(data[at : at + 8]) != check:
            raise ValueError(f"the checksum of the length at byte {at} is wrong")
        start = at + FRAME.size
        if length > MOST_BYTES:
            raise ValueError(
                f"a record must have at most {MOST_BYTES} bytes, but that at byte {at} claims "
                f"{length}"
            )
        if len(data) - start < length + CHECKSUM.size:
            raise ValueError(
                f"the record at byte {at} has {length} bytes, but the file ends after "
                f"{len(data) - start}"
            )
        payload = data[start : start + length]
        if masked_checksum(payload) != CHECKSUM.unpack_from(data, start + length)[0]:
            raise ValueError(f"the checksum of the record at byte {at} is wrong")
        yield payload
        at = start + length + CHECKSUM.size


def example(payload: bytes) -> dict[str, np.ndarray | list[bytes]]:
    """The features of a `tf.train.Example` by name: float32 or int64 `(k,)`, or byte strings.

    Raises:
        ValueError: the payload is not one.
    """
    found: dict[str, np.ndarray | list[bytes]] = {}
    for field, features in _fields(payload):
        if field != 1:
            continue
        for number, entry in _fields(_message(features)):
            if number != 1:
                continue
            parts = dict(_fields(_message(entry)))
            name = _message(parts.get(1, b"")).decode("utf-8", "replace")
            found[name] = _feature(_message(parts.get(2, b"")))
    return found


def checksum(data: bytes) -> int:
    """CRC-32C of `data`.

    >>> hex(checksum(b"123456789"))
    '0xe3069283'
    """
    return int(_compiled()(np.frombuffer(data, np.uint8), _table()))


def masked_checksum(data: bytes) -> int:
    """CRC-32C of `data`, turned by 15 bits and shifted, as TFRecord stores it."""
    plain = checksum(data)
    return ((plain >> 15 | plain << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _feature(message: bytes) -> np.ndarray | list[bytes]:
    for kind, value in _fields(message):
        values = list(_fields(_message(value)))
        if kind == FLOATS:
            # Packed, as all writers do it, or one by one.
            return np.frombuffer(b"".join(_message(v) for _, v in values), "<f4").astype(np.float32)
        if kind == INTEGERS:
            return np.array([n for _, v in values for n in _integers(v)], np.int64)
        return [_message(v) for _, v in values]
    return []


def _integers(value: bytes | int) -> Iterator[int]:
    if isinstance(value, int):
        yield _signed(value)
        return
    at = 0
    while at < len(value):
        number, at = _varint(value, at)
        yield _signed(number)


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number


def _message(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise ValueError("a protocol buffer holds a number where a message must stand")
    return value


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and content of each field; fixed-width numbers as their bytes.

    Raises:
        ValueError: the message ends within a field, or has a kind of field that does not exist.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        field, kind = tag >> 3, tag & 7
        if kind == VARINT:
            number, at = _varint(message, at)
            yield field, number
            continue
        if kind == BYTES:
            length, at = _varint(message, at)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"a protocol buffer has a field of kind {kind}, which does not exist")
        if length > len(message) - at:
            raise ValueError(
                f"a field of a protocol buffer claims {length} bytes, but {len(message) - at} are "
                "left"
            )
        yield field, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("a protocol buffer ends within a number")
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("a protocol buffer holds a number of more than 64 bits")


@cache
def _table() -> np.ndarray:
    """What each byte does to a checksum, uint32 `(256,)`."""
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, values >> 1 ^ np.uint32(POLYNOMIAL), values >> 1)
    return values.astype(np.uint32)


@cache
def _compiled() -> Any:
    # Byte by byte in Python a set of 240,000 embeddings would take an hour.
    import numba

    return numba.njit(cache=True, nogil=True)(_crc)


def _crc(data: np.ndarray, table: np.ndarray) -> np.uint32:
    state = np.uint32(0xFFFFFFFF)
    for byte in data:
        state = table[(state ^ byte) & np.uint32(0xFF)] ^ (state >> np.uint32(8))
    return state ^ np.uint32(0xFFFFFFFF)
