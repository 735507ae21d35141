"""TFRecord files against an independent writer, whole and damaged."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from trees import tfrecords as write

from datasets.tfrecord import checksum, example, masked_checksum, records


def test_the_checksum_is_that_of_the_standard() -> None:
    # RFC 3720, appendix B.4.
    assert checksum(bytes(32)) == 0x8A9136AA
    assert checksum(bytes([0xFF] * 32)) == 0x62A8AB43
    assert checksum(bytes(range(32))) == 0x46DD794E
    assert struct.pack("<I", masked_checksum(b"chest")) == write.masked(b"chest")


def test_an_example_holds_numbers_and_texts() -> None:
    features = example(
        write.example(
            embedding=write.floats([1.5, -2.0, 0.25]),
            image__id=write.field(1, write.field(1, b"abc")),
            counts=write.field(3, write.field(1, write.varint(7) + write.varint(300))),
        )
    )
    assert np.array_equal(features["embedding"], np.array([1.5, -2.0, 0.25], np.float32))
    assert features["image/id"] == [b"abc"]
    assert list(features["counts"]) == [7, 300]


def test_numbers_written_one_by_one_are_read_too() -> None:
    payload = write.example(embedding=write.floats([1.0, 2.0], packed=False))
    assert example(payload)["embedding"].tolist() == [1.0, 2.0]  # type: ignore[union-attr]


def test_negative_integers_are_read() -> None:
    payload = write.example(n=write.field(3, write.field(1, write.varint(2**64 - 5))))
    assert list(example(payload)["n"]) == [-5]


def test_unknown_fields_are_passed_over() -> None:
    extra = write.varint(9 << 3 | 0) + write.varint(5) + write.varint(8 << 3 | 1) + bytes(8)
    payload = write.example(embedding=write.floats([3.0, 4.0])) + extra
    assert list(example(payload)) == ["embedding"]


def test_records_come_in_order() -> None:
    assert list(records(write.record(b"a") + write.record(b"bc"))) == [b"a", b"bc"]


def damaged(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


WHOLE = write.embedding([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (WHOLE[:5], "within its length"),
        (WHOLE[:-5], "the file ends after"),
        (damaged(WHOLE, 20), "checksum of the record"),
        (damaged(WHOLE, 0), "checksum of the length"),
        (struct.pack("<Q", 2**60) + write.masked(struct.pack("<Q", 2**60)), "at most"),
    ],
    ids=["cut in the length", "cut in the payload", "bit of payload", "bit of length", "absurd"],
)
def test_a_damaged_file_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        list(records(data))


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"\x0a\xff\x01", "claims"),
        (b"\x0b", "does not exist"),
        (b"\x80" * 11, "more than 64 bits"),
        (b"\x80", "within a number"),
        (b"\x08\x01", "a message must stand"),
    ],
)
def test_a_payload_that_is_no_example_is_refused(payload: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        example(payload)
