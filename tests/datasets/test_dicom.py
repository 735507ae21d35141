"""A DICOM file becomes what its viewer would show, or is named as bad before it takes memory."""

from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_dicom import around, compressed, dataset, dicom, jpeg, written
from PIL import Image
from pydicom import DataElement, Dataset
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from datasets.decode import BadImage, decode, is_dicom
from datasets.dicom import picture, tags

HALVES = np.repeat(np.array([[40, 220]], dtype=np.uint8), 32, axis=1).repeat(64, axis=0)
"""64 x 64, dark on the left and bright on the right."""
RAMP = np.tile(np.arange(0, 4096, 16, dtype=np.uint16), (32, 1))
"""Twelve bits: 0 to 4080 in 256 columns."""


def refused(data: bytes) -> BadImage:
    with pytest.raises(BadImage) as caught:
        decode(data, 32)
    return caught.value


# Kinds of file


def kinds() -> dict[str, bytes]:
    deep = HALVES.astype(np.uint16) * 16
    window: dict[str, Any] = {"WindowCenter": 2048, "WindowWidth": 4096, "BitsStored": 12}
    colour = np.stack([HALVES] * 3, axis=2)
    rgb = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    implicit = dataset(HALVES)
    implicit.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    big = dataset(deep.astype(">u2"), **window)
    big.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    return {
        "8 bits": dicom(HALVES),
        "16 bits without window": dicom(deep),
        "12 bits with window": dicom(deep, **window),
        "signed": dicom(deep.astype(np.int16) - 2000, WindowCenter=48, WindowWidth=4096),
        "implicit": written(implicit),
        "big endian": written(big),
        "colour": dicom(colour, **rgb),
        "inverted": dicom(255 - HALVES, PhotometricInterpretation="MONOCHROME1"),
        "run lengths": compressed(deep, RLELossless, **window),
        "JPEG 2000 of 8 bits": compressed(HALVES, JPEG2000Lossless),
        "JPEG 2000 of 16 bits": compressed(deep, JPEG2000Lossless, WindowCenter=2048,
                                           WindowWidth=4096),
        "JPEG": jpeg(HALVES),
        "JPEG inverted": jpeg(255 - HALVES, PhotometricInterpretation="MONOCHROME1"),
        "JPEG in colour": jpeg(colour, **{**rgb, "PhotometricInterpretation": "YBR_FULL_422"}),
        "JPEG extended of 8 bits": jpeg(HALVES, JPEGExtended12Bit),
    }  # fmt: skip


@pytest.mark.parametrize("name", kinds())
def test_every_kind_stays_dark_left_and_bright_right(name: str) -> None:
    square = decode(kinds()[name], 32)
    assert square.shape == (32, 32) and square.dtype == np.uint8
    assert square[:, :14].max() < 60 and square[:, 18:].min() > 200


def test_eight_bits_are_the_pixels_of_the_same_png() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 50), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    assert np.array_equal(decode(dicom(pixels), 32), decode(buffer.getvalue(), 32))


def test_sixteen_bits_without_window_are_the_pixels_of_the_same_png() -> None:
    pixels = np.random.default_rng(0).integers(0, 5000, (80, 50), dtype=np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    assert np.array_equal(decode(dicom(pixels), 32), decode(buffer.getvalue(), 32))


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_lossless_compression_changes_no_pixel(syntax: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (64, 48), dtype=np.uint16)
    window: dict[str, Any] = {"WindowCenter": 2000, "WindowWidth": 3000}
    assert np.array_equal(
        picture(compressed(pixels, syntax, **window)), picture(dicom(pixels, **window))
    )


def test_file_without_preamble_is_read() -> None:
    held = dataset(HALVES)
    bare = io.BytesIO()
    del held.file_meta
    held.save_as(bare, implicit_vr=True, little_endian=True)
    assert is_dicom(bare.getvalue()) and bare.getvalue()[128:132] != b"DICM"
    assert np.array_equal(decode(bare.getvalue(), 32), decode(dicom(HALVES), 32))


def test_what_is_no_dicom_is_not_taken_for_it() -> None:
    for kind in ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP"):
        buffer = io.BytesIO()
        Image.fromarray(HALVES).save(buffer, kind)
        assert not is_dicom(buffer.getvalue())
    assert not is_dicom(b"") and not is_dicom(b"image_id,path\n")


def test_tiff_with_a_dicom_header_before_its_own_stays_a_tiff() -> None:
    buffer = io.BytesIO()
    Image.fromarray(HALVES).save(buffer, "TIFF")
    both = bytearray(buffer.getvalue())
    both[128:132] = b"DICM"
    assert not is_dicom(bytes(both))


# Grey values


def column(square: np.ndarray, at: int) -> int:
    return int(square[16, at])


def test_linear_window_has_the_ends_of_the_standard() -> None:
    # PS3.3 C.11.2.1.2.1 with centre 2048 and width 1024: black up to 1536, white above 2559.
    shown = picture(dicom(RAMP, BitsStored=12, WindowCenter=2048, WindowWidth=1024))
    assert column(shown, 96) == 0 and column(shown, 97) > 0
    assert column(shown, 159) < 255 and column(shown, 160) == 255
    # 2048 is column 128: ((2048 - 2047.5) / 1023 + 0.5) * 255 = 127.6
    assert column(shown, 128) == 128


def test_window_beyond_the_values_keeps_them_dark() -> None:
    # Scaling to the values there would make the brightest white; the window says it is not.
    shown = picture(dicom(RAMP // 4, BitsStored=12, WindowCenter=2048, WindowWidth=4096))
    assert shown.max() == round(255 * 1020 / 4095)


def test_first_of_several_windows_is_taken() -> None:
    one = dicom(RAMP, BitsStored=12, WindowCenter=1000, WindowWidth=500)
    several = dicom(RAMP, BitsStored=12, WindowCenter=[1000, 3000], WindowWidth=[500, 90])
    assert np.array_equal(picture(one), picture(several))


def test_sigmoid_window_is_a_logistic_curve() -> None:
    shown = picture(dicom(RAMP, BitsStored=12, WindowCenter=2048, WindowWidth=1024,
                          VOILUTFunction="SIGMOID"))  # fmt: skip
    # 2048 + 256 is column 144: 255 / (1 + exp(-4 * 256 / 1024)) = 186.4
    assert column(shown, 128) == 128 and column(shown, 144) == 186


def test_exact_linear_window_differs_by_half_a_value() -> None:
    shown = picture(dicom(RAMP, BitsStored=12, WindowCenter=2048, WindowWidth=1024,
                          VOILUTFunction="LINEAR_EXACT"))  # fmt: skip
    # ((2064 - 2048) / 1024 + 0.5) * 255 = 131.5 at column 129
    assert column(shown, 129) == round(0.515625 * 255)


def table(levels: np.ndarray, first: int, bits: int) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(levels), first, bits]
    item.LUTData = levels.tolist()
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    return item


def test_table_for_display_is_preferred_to_a_window() -> None:
    falling = table(np.arange(4095, -1, -1), 0, 12)
    shown = picture(dicom(RAMP, BitsStored=12, VOILUTSequence=[falling], WindowCenter=2048,
                          WindowWidth=4096))  # fmt: skip
    assert column(shown, 0) == 255 and column(shown, 255) == round(255 * 15 / 4095)


def test_table_of_twelve_bits_behind_a_header_of_sixteen_spans_black_to_white() -> None:
    shown = picture(dicom(RAMP, BitsStored=12, VOILUTSequence=[table(np.arange(4096), 0, 16)]))
    assert column(shown, 0) == 0 and column(shown, 255) >= 254


def test_values_outside_a_table_take_its_ends() -> None:
    shown = picture(dicom(RAMP, BitsStored=12, VOILUTSequence=[table(np.arange(256), 1024, 8)]))
    assert column(shown, 0) == 0 and column(shown, 100) == 255


def test_table_of_bytes_is_read_like_one_of_numbers() -> None:
    numbers = table(np.arange(4095, -1, -1), 0, 12)
    packed = table(np.arange(4095, -1, -1), 0, 12)
    packed["LUTData"] = DataElement("LUTData", "OW", np.arange(4095, -1, -1, "<u2").tobytes())
    shown = [picture(dicom(RAMP, BitsStored=12, VOILUTSequence=[t])) for t in (numbers, packed)]
    assert np.array_equal(*shown)


def test_window_applies_to_rescaled_values() -> None:
    plain = dicom(RAMP, BitsStored=12, WindowCenter=2048, WindowWidth=1024)
    # value * 2 - 1000, so the same window is at 2 * 2048 - 1000, twice as wide; the half value
    # that the standard takes off the centre is not doubled.
    rescaled = dicom(RAMP, BitsStored=12, RescaleSlope=2, RescaleIntercept=-1000,
                     WindowCenter=3096, WindowWidth=2048)  # fmt: skip
    assert abs(picture(plain).astype(int) - picture(rescaled)).max() <= 1


def test_negative_slope_turns_grey_values_round() -> None:
    for window in ({}, {"WindowCenter": -2048, "WindowWidth": 4096}):
        shown = picture(dicom(RAMP, BitsStored=12, RescaleSlope=-1, RescaleIntercept=0, **window))
        assert column(shown, 2) > 240 and column(shown, 253) < 15


def test_modality_table_comes_before_the_window() -> None:
    squeezed = table(np.arange(4096) // 16, 0, 8)
    shown = picture(dicom(RAMP, BitsStored=12, ModalityLUTSequence=[squeezed], WindowCenter=128,
                          WindowWidth=256))  # fmt: skip
    assert [column(shown, at) for at in (0, 100, 255)] == [0, 100, 255]


def test_monochrome1_is_the_inverse_and_its_shape_does_not_invert_again() -> None:
    window: dict[str, Any] = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
    inverted = dicom(RAMP, PhotometricInterpretation="MONOCHROME1",
                     PresentationLUTShape="INVERSE", **window)  # fmt: skip
    assert np.array_equal(picture(inverted), 255 - picture(dicom(RAMP, **window)))


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": 30000, "WindowWidth": 10},
        {"WindowCenter": 2048, "WindowWidth": 0},
        {"WindowCenter": 2048},
        {"WindowCenter": None, "WindowWidth": None},
        {"WindowCenter": 2048, "WindowWidth": 100, "VOILUTFunction": "OTHER"},
    ],
)
def test_window_that_shows_nothing_is_not_used(window: dict[str, Any]) -> None:
    assert np.array_equal(picture(dicom(RAMP, **window)), picture(dicom(RAMP)))


def test_values_above_the_stored_bits_are_seen() -> None:
    # Known of VinDr-CXR: 16 bits compressed behind a header that says 14.
    pixels = np.tile(np.arange(0, 65536, 256, dtype=np.uint16), (32, 1))
    held = dataset(pixels)
    held.compress(JPEG2000Lossless)
    held.BitsStored, held.HighBit = 14, 13
    shown = picture(written(held))
    assert (np.diff(shown[0].astype(int)) >= 0).all() and shown[0, 200] > shown[0, 100] > 60


# Refused


def test_many_frames_are_refused() -> None:
    pixels = np.zeros((3, 32, 32), np.uint8)
    held = dataset(pixels[0])
    held.NumberOfFrames, held.PixelData = 3, pixels.tobytes()
    assert "3 frames" in refused(written(held)).detail


@pytest.mark.parametrize("tag", ["Rows", "Columns"])
def test_absurd_size_is_refused_before_memory_is_taken(tag: str) -> None:
    data = dicom(HALVES, **{"Rows": 60000, "Columns": 60000, tag: 65535})
    decode(dicom(HALVES), 32)
    tracemalloc.start()
    assert "100 million px" in refused(data).detail
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_absurd_size_of_compressed_pixels_is_refused(syntax: str) -> None:
    held = dataset(HALVES)
    held.compress(syntax)
    held.Rows = held.Columns = 50000
    assert "100 million px" in refused(written(held)).detail


def stream(size: tuple[int, int], kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("L", size).save(buffer, kind)
    return buffer.getvalue()


def test_compressed_picture_of_another_size_than_its_header_is_refused() -> None:
    assert (
        "must agree" in refused(around(stream((80, 64)), HALVES, "1.2.840.10008.1.2.4.50")).detail
    )


def test_jpeg_2000_bomb_behind_a_small_header_is_refused() -> None:
    made = compressed(HALVES, JPEG2000Lossless)
    at = made.index(b"\xff\x4f\xff\x51") + 8
    bomb = made[:at] + struct.pack(">II", 200_000, 200_000) + made[at + 8 :]
    assert "must agree" in refused(bomb).detail


def test_deflated_file_is_refused_without_inflating_it() -> None:
    held = dataset(np.zeros((4000, 4000), np.uint16))
    held.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    bomb = written(held)
    tracemalloc.start()
    found = refused(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000 < held.Rows * held.Columns
    assert "transfer syntax" in found.reason and "dcmconv" in found.detail


@pytest.mark.parametrize(
    ("syntax", "told"),
    [
        (JPEGLosslessSV1, "pylibjpeg-libjpeg"),
        (JPEGLSLossless, "pyjpegls"),
        (MPEG2MPML, "no encoding of radiographs"),
    ],
)
def test_encoding_without_decoder_is_named_with_what_to_install(syntax: str, told: str) -> None:
    found = refused(around(stream((64, 64)), HALVES, syntax))
    assert "transfer syntax" in found.reason
    assert syntax in found.detail and told in found.detail


def test_unheard_of_encoding_is_named() -> None:
    made = jpeg(HALVES).replace(b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.49")
    assert "1.2.840.10008.1.2.4.49" in refused(made).detail


def test_jpeg_of_twelve_bits_is_named_with_what_to_install() -> None:
    twelve = bytearray(stream((64, 64)))
    twelve[twelve.index(b"\xff\xc0") + 4] = 12
    found = refused(around(bytes(twelve), HALVES.astype(np.uint16), JPEGExtended12Bit,
                           BitsStored=12))  # fmt: skip
    assert "JPEG Extended" in found.detail and "install" in found.detail


def test_palette_and_odd_depths_are_refused() -> None:
    assert "PALETTE" in refused(dicom(HALVES, PhotometricInterpretation="PALETTE COLOR")).detail
    assert "32" in refused(dicom(HALVES.astype(np.uint32))).detail


def test_icon_is_refused_with_its_size() -> None:
    assert "400 x 15" in refused(dicom(np.zeros((15, 400), np.uint8))).detail


def test_report_without_pixels_is_refused() -> None:
    held = dataset(HALVES)
    del held.PixelData
    assert "pixels" in refused(written(held)).detail
    del held.Rows
    assert "Rows" in refused(written(held)).detail


@pytest.mark.parametrize("name", kinds())
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.9, 0.99])
def test_cut_file_is_bad_and_not_half_black(name: str, share: float) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (64, 64), dtype=np.uint8)
    deep = rng.integers(0, 4096, (64, 64), dtype=np.uint16)
    data = {
        "JPEG": jpeg(noise),
        "JPEG 2000 of 8 bits": compressed(noise, JPEG2000Lossless),
        "JPEG 2000 of 16 bits": compressed(deep, JPEG2000Lossless),
        "run lengths": compressed(deep, RLELossless),
    }.get(name) or kinds()[name]
    refused(data[: int(len(data) * share)])


def test_random_damage_raises_only_bad_image() -> None:
    rng = np.random.default_rng(0)
    for data in kinds().values():
        clean = np.frombuffer(data, dtype=np.uint8)
        for _ in range(40):
            damaged = clean.copy()
            places = rng.integers(132, min(len(clean), 1200), 5)
            damaged[places] = rng.integers(0, 256, 5)
            with contextlib.suppress(BadImage):
                assert decode(damaged.tobytes(), 32).shape == (32, 32)


# Tags


def test_tags_are_read_without_pixels(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(dicom(HALVES, PatientSex="F", PatientAge="045Y")[:-3000])
    assert tags(tmp_path / "a", ["PatientSex", "PatientAge", "Manufacturer"]) == ("F", "045Y", "")


def test_tags_of_another_file_are_a_bad_image(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"no dicom")
    with pytest.raises(BadImage, match="not a DICOM file"):
        tags(tmp_path / "a", ["PatientSex"])
