"""What several processes share on disk: made by one of them, and seen whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from filelock import BaseFileLock


def lock_of(item: Path) -> BaseFileLock:
    """The lock of one file or folder; it lies beside it."""
    from filelock import FileLock

    item.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{item}.lock")


@contextmanager
def alone(lock: BaseFileLock, told: str, log: logging.Logger) -> Iterator[None]:
    """Under a lock that may lie with another process for minutes; then `told` goes to the log."""
    from filelock import Timeout

    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s", told)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def save_stack(path: Path, stack: np.ndarray) -> None:
    """Write an array so that `path` holds all of it or does not exist."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        np.save(file, stack)
    partial.replace(path)
