"""Miniature trees of data sets, each in the file that is named for its data set."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from registry import DATASETS, ROOT

NEEDING = [
    name
    for name, entry in DATASETS.entries().items()
    if entry.file.is_relative_to(ROOT) and DATASETS.get(name).needs_root
]
"""The data sets of the suite that read files."""


def tree_of(name: str) -> Callable[[Path], None]:
    """What writes the miniature tree of a data set."""
    make: Callable[[Path], None] = import_module(f"trees.{name.replace('-', '_')}").make
    return make
