"""DICOM files made for tests: uncompressed, or compressed in any way that has an encoder here."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

DIGITAL_RADIOGRAPH = "1.2.840.10008.5.1.4.1.1.1.1"


def dataset(pixels: np.ndarray, **tags: Any) -> Dataset:
    """A radiograph of `pixels` `(rows, columns)`, of 8 or 16 bits; tags set on top."""
    held = Dataset()
    held.file_meta = FileMetaDataset()
    held.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    held.file_meta.MediaStorageSOPClassUID = held.SOPClassUID = DIGITAL_RADIOGRAPH
    held.file_meta.MediaStorageSOPInstanceUID = held.SOPInstanceUID = generate_uid()
    held.Modality = "DX"
    held.Rows, held.Columns = pixels.shape[:2]
    held.SamplesPerPixel = 1
    held.PhotometricInterpretation = "MONOCHROME2"
    held.BitsAllocated = held.BitsStored = 8 * pixels.dtype.itemsize
    held.HighBit = held.BitsStored - 1
    held.PixelRepresentation = int(pixels.dtype.kind == "i")
    held.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    held["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    for name, value in tags.items():
        setattr(held, name, value)
    return held


def written(held: Dataset) -> bytes:
    """The bytes of the file."""
    buffer = io.BytesIO()
    held.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def dicom(pixels: np.ndarray, **tags: Any) -> bytes:
    """An uncompressed file."""
    return written(dataset(pixels, **tags))


def compressed(pixels: np.ndarray, syntax: str, **tags: Any) -> bytes:
    """A file in JPEG 2000 or run lengths."""
    held = dataset(pixels, **tags)
    held.compress(syntax)
    return written(held)


def jpeg(pixels: np.ndarray, syntax: str = JPEGBaseline8Bit, **tags: Any) -> bytes:
    """A file around a JPEG of 8 bits."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return around(buffer.getvalue(), pixels, syntax, **tags)


def around(stream: bytes, pixels: np.ndarray, syntax: str, **tags: Any) -> bytes:
    """A file around any compressed picture."""
    held = dataset(pixels, **tags)
    held.file_meta.TransferSyntaxUID = syntax
    held.PixelData = encapsulate([stream])
    held["PixelData"].VR = "OB"
    held["PixelData"].is_undefined_length = True
    return written(held)
