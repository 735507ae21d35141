"""Values of flags that need nothing but themselves to be checked."""

from __future__ import annotations

import os
from pathlib import Path

LONGEST_REASON = 500
"""Characters."""


def check_writable(output: Path) -> None:
    """Refuse a folder of results that cannot be made.

    Raises:
        ValueError: it lies in what is no directory, or may not be written.
    """
    there = next(p for p in (output, *output.parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ValueError(
            f"--output must be a directory that can be written, but {str(there)!r} is not"
        )


def same_person(name: str) -> Path | None:
    """The csv file of pairs of one person, None where none is named.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not name:
        return None
    path = Path(name).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"--same-person must be a csv file, but {name!r} does not exist")
    return path.resolve()


def reason(text: str | None) -> str:
    """Why leakage is allowed, on one line; "" where it is not.

    Raises:
        ValueError: the text is blank or too long.
    """
    if text is None:
        return ""
    said = " ".join(text.split()) if isinstance(text, str) else ""
    if not 0 < len(said) <= LONGEST_REASON:
        raise ValueError(
            f"--allow-leakage must give a reason of 1 to {LONGEST_REASON} characters, but got "
            f"{text!r}; readers of the results will see it"
        )
    return said


def whole(value: int | str, flag: str, *, low: int, high: int) -> int:
    """The whole number that a flag was given.

    Raises:
        ValueError: it is none, or not between `low` and `high`.
    """
    try:
        if not isinstance(value, int | str) or isinstance(value, bool):
            raise ValueError
        number = int(value)
    except ValueError:
        raise ValueError(f"{flag} must be a whole number, but got {value!r}") from None
    if not low <= number <= high:
        raise ValueError(f"{flag} must lie between {low} and {high}, but got {number}")
    return number


def device_named(name: str) -> str:
    """The device that a name means; "auto" is a GPU where there is one.

    Raises:
        ValueError: it is none, or is not there.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"--device must be cpu, cuda or cuda:N, but got {name!r}") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"--device must be present, but {name!r} is not "
            f"({torch.cuda.device_count()} CUDA devices found); use --device cpu"
        )
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"--device must be cpu, cuda or cuda:N, but got {name!r}")
    return name
