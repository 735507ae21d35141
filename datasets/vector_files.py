"""Files that hold embeddings: one vector, a stack of them, or an archive of named ones."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from pathlib import Path

import numpy as np

from datasets import tfrecord
from datasets.decode import BadImage

FEATURE = "embedding"
"""Name of the feature of a TFRecord that is the vector."""
MISSING, UNREADABLE = "embedding file missing", "embedding unreadable"
NOT_FINITE, CONSTANT = "embedding not finite", "embedding constant"
WIDTHS = (2, 65_536)
"""Shortest and longest vector."""
DAMAGED = (OSError, KeyError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error,
           lzma.LZMAError)  # fmt: skip
"""What is raised where an archive is damaged, encrypted or packed in an unknown way."""
MOST_BYTES = tfrecord.MOST_BYTES
"""Of a file of one vector."""
BLOCK = 4096
"""Rows of a stack that are checked at once."""
SUFFIXES = (".npy", ".npz", ".tfrecord")


def read_file(file: str) -> np.ndarray:
    """The one vector float32 `(width,)` of a `.npy` or `.tfrecord` file.

    Raises:
        BadImage: the file is damaged, or what it holds is no vector of finite, differing numbers.
    """
    try:
        if (size := Path(file).stat().st_size) > MOST_BYTES:
            raise BadImage(
                UNREADABLE,
                f"a file of one vector must have at most {MOST_BYTES} bytes, but has {size}",
            )
        data = Path(file).read_bytes()
    except OSError as error:
        raise BadImage(UNREADABLE, error.strerror or type(error).__name__) from error
    if file.endswith(".npy"):
        return _vector(_array(data))
    if not file.endswith(".tfrecord"):
        raise BadImage(UNREADABLE, f"the file must be one of {', '.join(SUFFIXES)}")
    try:
        payloads = list(tfrecord.records(data))
        if len(payloads) != 1:
            raise ValueError(f"it must hold one record, but holds {len(payloads)}")
        features = tfrecord.example(payloads[0])
    except ValueError as error:
        raise BadImage(UNREADABLE, str(error)) from error
    held = features.get(FEATURE)
    if not isinstance(held, np.ndarray) or held.dtype != np.float32:
        names = ", ".join(map(repr, features)) or "none"
        raise BadImage(UNREADABLE, f"no list of numbers is called {FEATURE!r}; features: {names}")
    return _vector(held)


class Archive:
    """A `.npz` file of named vectors, read one by one.

    Raises:
        BadImage: the file is no archive.
    """

    def __init__(self, file: str) -> None:
        try:
            self._zip = zipfile.ZipFile(file)
        except (OSError, zipfile.BadZipFile) as error:
            raise BadImage(UNREADABLE, f"not an archive of numpy: {error}") from error
        self.names = frozenset(n.removesuffix(".npy") for n in self._zip.namelist())

    def read(self, name: str) -> np.ndarray:
        """The vector float32 `(width,)` called `name`.

        Raises:
            BadImage: there is none, or it is damaged or no vector of finite, differing numbers.
        """
        if name not in self.names:
            raise BadImage(MISSING, f"the archive holds nothing called {name!r}")
        try:
            with self._zip.open(f"{name}.npy") as opened:
                # The archive may claim any size, so no more is unpacked than a vector has.
                data = opened.read(8 * WIDTHS[1] + 4096)
        except DAMAGED as error:
            raise BadImage(UNREADABLE, f"{type(error).__name__}: {error}") from error
        return _vector(_array(data))


def open_stack(file: str) -> np.ndarray:
    """The memory-mapped stack `(n, width)` of float16, float32 or float64.

    Raises:
        BadImage: the file is no such stack.
    """
    try:
        stack: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadImage(UNREADABLE, f"not a stack of numpy: {error}") from error
    if stack.ndim != 2 or stack.dtype.kind != "f":
        raise BadImage(UNREADABLE, _wrong(stack.shape, stack.dtype, "a stack must be (n, width)"))
    _check_width(stack.shape[1])
    return stack


def flaws(stack: np.ndarray) -> dict[int, str]:
    """Rows of a stack that cannot be used, with the reason."""
    found = {}
    for start in range(0, len(stack), BLOCK):
        with np.errstate(over="ignore"):
            block = np.asarray(stack[start : start + BLOCK]).astype(np.float32)
        finite = np.logical_and.reduce(np.isfinite(block), axis=1)
        constant = block.min(axis=1) == block.max(axis=1)
        for row in np.flatnonzero(~finite | constant):
            found[start + int(row)] = CONSTANT if finite[row] else NOT_FINITE
    return found


def _array(data: bytes) -> np.ndarray:
    """The array of a `.npy` file, once its header is known to claim no more than a vector."""
    opened = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(opened)
        read = np.lib.format.read_array_header_1_0
        shape, _, dtype = (read if version == (1, 0) else np.lib.format.read_array_header_2_0)(
            opened
        )
        if np.prod(shape, dtype=float) > WIDTHS[1] and len(shape) < 3:
            raise ValueError(f"it claims the shape {shape}")
        if len(shape) > 2 or dtype.kind != "f":
            raise BadImage(UNREADABLE, _wrong(shape, dtype, "an embedding must be (width,)"))
        opened.seek(0)
        array: np.ndarray = np.load(opened, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise BadImage(UNREADABLE, f"not an array of numpy: {error}") from error
    return array


def _vector(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2 and len(array) == 1:
        array = array[0]
    if array.ndim != 1:
        raise BadImage(
            UNREADABLE, _wrong(array.shape, array.dtype, "an embedding must be (width,)")
        )
    _check_width(len(array))
    with np.errstate(over="ignore"):
        vector = array.astype(np.float32)
    if not np.isfinite(vector).all():
        raise BadImage(NOT_FINITE, "every number must be finite, but some are NaN or infinite")
    if vector.min() == vector.max():
        raise BadImage(
            CONSTANT, f"all numbers are {vector[0]:g}, as some readers fill in for a lost file"
        )
    return vector


def _check_width(width: int) -> None:
    if not WIDTHS[0] <= width <= WIDTHS[1]:
        raise BadImage(
            UNREADABLE,
            f"an embedding must have {WIDTHS[0]} to {WIDTHS[1]} numbers, but it has {width}",
        )


def _wrong(shape: tuple[int, ...], dtype: np.dtype, rule: str) -> str:
    size = " x ".join(map(str, shape))
    if len(shape) > 2:
        return (
            f"{rule} of floating-point numbers, but it is a map of {size}, such as ELIXR-C v2 "
            "gives; average it over its positions first"
        )
    return f"{rule} of floating-point numbers, but it is {dtype} {size}"
