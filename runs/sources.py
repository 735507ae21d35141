"""Which files of the suite can change a number of a plan: those that its run imports."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from registry import DATASETS, METHODS, ROOT, SELECTION
from runs.data_sets import files_of
from runs.plan import Plan

WHOLE = ("backbones.py", "datasets", "metrics")
"""Counted for every run, imported or not."""
FOLLOWED = ("methods", "runs")
"""Packages of which only what is imported counts."""
START = "runs/pipeline.py"
"""What runs; a method and a data set add their own files."""


def sources(plan: Plan) -> list[Path]:
    """Files whose text can change a number of this plan, sorted.

    A new method, or a module that only other methods or studies use, is not among them. An import
    within a function counts like any other. A folder of a registry counts whole, since names choose
    in it.
    """
    shared = [p for name in WHOLE for p in _python(ROOT / name)]
    own = {
        Path(str(sys.modules[c.__module__].__file__))
        for thing in (plan.method, *files_of(plan.named))
        for c in type(thing).__mro__[:-1]
    }
    # The strategy that chooses the epoch may lie outside the suite.
    own.add(SELECTION.entries()[plan.method.selection].file)
    registered = {e.file for r in (METHODS, DATASETS) for e in r.entries().values()}
    reached = _reached([ROOT / START, *own])
    return sorted({f for f in (*shared, *reached) if f not in registered} | own)


def _python(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    # A command line takes no part in a run.
    return sorted(p for p in path.rglob("*.py") if p.stem != "__main__")


def _reached(files: Iterable[Path]) -> set[Path]:
    """The files, and what they import of the followed packages, at any depth."""
    found: set[Path] = set()
    waiting = list(files)
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imported(file)
    return found


@cache
def _imported(file: Path) -> tuple[Path, ...]:
    """Files of the followed packages that a file imports."""
    return tuple(path for name in _names(file) for path in _files_of(name))


def _names(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _files_of(module: str) -> list[Path]:
    parts = module.split(".")
    if parts[0] not in FOLLOWED or len(parts) < 2:
        return []
    folder = ROOT / parts[0] / parts[1]
    if folder.is_dir():
        return _python(folder)
    file = folder.with_suffix(".py")
    return [file] if file.is_file() else []
