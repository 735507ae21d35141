"""Every kind of image file becomes the same grey square, or is named as bad."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.decode import BadImage, decode, fit

HALVES = np.repeat(np.array([[40, 220]], dtype=np.uint8), 32, axis=1).repeat(64, axis=0)
"""64 x 64, dark on the left and bright on the right."""


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_wide_picture_is_centred_between_black_bars() -> None:
    square = decode(encoded(Image.new("L", (200, 100), 180)), 64)
    assert square.shape == (64, 64) and square.dtype == np.uint8
    assert (square[16:48] == 180).all()
    assert (square[:16] == 0).all() and (square[48:] == 0).all()


def test_tall_picture_of_odd_width_keeps_its_aspect() -> None:
    square = decode(encoded(Image.new("L", (50, 150), 90)), 64)
    # 50 * 64 / 150 = 21.3 columns, so 21 of 64, starting at (64 - 21) // 2 = 21.
    assert (square[:, 21:42] == 90).all()
    assert (square[:, :21] == 0).all() and (square[:, 42:] == 0).all()


def test_small_picture_is_enlarged_to_the_size() -> None:
    assert (decode(encoded(Image.new("L", (20, 20), 7)), 32) == 7).all()


def modes() -> dict[str, bytes]:
    grey = Image.fromarray(HALVES)
    deep = Image.fromarray(HALVES.astype(np.uint16) * 16)
    return {
        "png grey": encoded(grey),
        "png colour": encoded(grey.convert("RGB")),
        "png opaque": encoded(grey.convert("RGBA")),
        "png grey opaque": encoded(grey.convert("LA")),
        "png palette": encoded(grey.convert("P")),
        "png one bit": encoded(grey.point(lambda v: 255 * (v > 128)).convert("1")),
        "png 16 bit": encoded(deep),
        "tiff 16 bit": encoded(deep, "TIFF"),
        "tiff float": encoded(Image.fromarray(HALVES.astype(np.float32)), "TIFF"),
        "tiff 32 bit": encoded(Image.fromarray(HALVES.astype(np.int32)), "TIFF"),
        "jpeg grey": encoded(grey, "JPEG", quality=95),
        "jpeg colour": encoded(grey.convert("RGB"), "JPEG", quality=95),
        "jpeg cmyk": encoded(grey.convert("CMYK"), "JPEG", quality=95),
        "bmp": encoded(grey, "BMP"),
        "gif": encoded(grey, "GIF"),
        "webp": encoded(grey.convert("RGB"), "WEBP", lossless=True),
    }


@pytest.mark.parametrize("name", modes())
def test_every_mode_stays_dark_left_and_bright_right(name: str) -> None:
    square = decode(modes()[name], 32)
    assert square[:, :14].max() < 60
    assert square[:, 18:].min() > 200


def test_transparent_margin_is_black_like_padding() -> None:
    layers = np.full((64, 64, 4), 200, dtype=np.uint8)
    layers[:, :32, 3], layers[:, 32:, 3] = 0, 255
    square = decode(encoded(Image.fromarray(layers)), 64)
    assert (square[:, :31] == 0).all() and (square[:, 33:] == 200).all()


def test_transparent_palette_entry_is_black() -> None:
    picture = Image.new("P", (64, 64), 1)
    picture.putpalette([0, 0, 0, 250, 250, 250])
    assert (decode(encoded(picture, transparency=1), 32) == 0).all()


def test_twelve_bits_in_a_sixteen_bit_file_fill_the_range_despite_a_white_marker() -> None:
    ramp = np.tile(np.linspace(0, 4095, 256, dtype=np.uint16), (256, 1))
    ramp[:4, :4] = 65535
    square = decode(encoded(Image.fromarray(ramp)), 256)
    # The percentiles cut half a percent on either side, so the middle is at half.
    assert square[128, 0] == 0 and square[128, 255] == 255
    assert abs(int(square[128, 128]) - 128) <= 2


def test_constant_deep_picture_is_black() -> None:
    assert (decode(encoded(Image.fromarray(np.full((32, 32), 900, np.uint16))), 32) == 0).all()


def test_exif_orientation_is_obeyed() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: the viewer turns the picture clockwise
    square = decode(encoded(Image.fromarray(HALVES), "JPEG", exif=exif, quality=95), 32)
    assert square[:14].max() < 60 and square[18:].min() > 200


def test_downsampling_averages_rather_than_picks() -> None:
    board = np.indices((256, 256)).sum(axis=0) % 2 * 255
    square = decode(encoded(Image.fromarray(board.astype(np.uint8))), 32)
    assert abs(square.astype(int) - 127).max() <= 2


def test_smooth_picture_equals_block_means() -> None:
    y, x = np.mgrid[:512, :512]
    smooth = (127 + 60 * np.sin(x / 80) + 60 * np.cos(y / 60)).astype(np.uint8)
    square = decode(encoded(Image.fromarray(smooth)), 64)
    means = smooth.reshape(64, 8, 64, 8).mean(axis=(1, 3))
    assert abs(square[2:-2, 2:-2] - means[2:-2, 2:-2]).max() < 2.5


def test_fast_jpeg_path_agrees_with_decoding_in_full() -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (24, 32), dtype=np.uint8))
    data = encoded(coarse.resize((1600, 1200)).convert("RGB"), "JPEG", quality=90)
    full = Image.open(io.BytesIO(data)).convert("L").resize((64, 48), Image.Resampling.LANCZOS)
    square = decode(data, 64)
    assert abs(square[8:56].astype(int) - np.asarray(full, dtype=int)).mean() < 1


@pytest.mark.parametrize("size", [(15, 400), (400, 15)])
def test_icon_is_refused_with_its_size(size: tuple[int, int]) -> None:
    with pytest.raises(BadImage) as caught:
        decode(encoded(Image.new("L", size)), 32)
    assert f"{size[0]} x {size[1]}" in caught.value.detail


@pytest.mark.parametrize("side", [10_001, 30_000])
def test_bomb_is_refused_from_its_header(side: int) -> None:
    with pytest.raises(BadImage) as caught:
        decode(png_header(side, side), 32)
    assert "100 million px" in caught.value.detail or "bomb" in caught.value.detail


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_cut_file_is_bad_and_not_half_black(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(BadImage, match="unreadable"):
        decode(data[: int(len(data) * share)], 32)


@pytest.mark.parametrize("data", [b"", b"not an image", b"<svg/>", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_other_files_are_bad(data: bytes) -> None:
    with pytest.raises(BadImage, match="unreadable"):
        decode(data, 32)


def test_random_damage_raises_only_bad_image() -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8))
    for kind in ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP"):
        clean = np.frombuffer(encoded(noise, kind), dtype=np.uint8)
        for _ in range(60):
            damaged = clean.copy()
            places = rng.integers(0, min(len(clean), 400), 6)
            damaged[places] = rng.integers(0, 256, 6)
            with contextlib.suppress(BadImage):
                assert decode(damaged.tobytes(), 32).shape == (32, 32)


def test_fit_pads_a_row_of_a_stack_as_a_file_is_padded() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (48, 96), dtype=np.uint8)
    assert np.array_equal(fit(picture, 32), decode(encoded(Image.fromarray(picture)), 32))
