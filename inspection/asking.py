"""The flags that name a data set, shared by all commands, and the data set they name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets.base import ChestXrayDataset


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """Add --dataset, --data, --data-root and --plugin, as runner.py has them."""
    parser.add_argument(
        "--dataset", metavar="NAME", required=True, help="see python runner.py --list datasets"
    )
    parser.add_argument(
        "--data", action="append", metavar="FIELD=VALUE", default=[],
        help="set an option of the data set (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--data-root", action="append", metavar="[NAME=]DIR", default=[],
        help="where the data set was downloaded to (repeatable, by name)",
    )  # fmt: skip
    parser.add_argument(
        "--plugin", action="append", metavar="FILE.py", default=[],
        help="a file outside the suite that registers data sets",
    )  # fmt: skip


def asked(options: argparse.Namespace) -> tuple[ChestXrayDataset, Path]:
    """The data set that the flags name, its fields set, and the root to give to its `table`.

    The root exists: `--data-root`, or where recipes lie for a data set that needs none.

    Raises:
        UnknownName: a name or field that is not known.
        ValueError, FileNotFoundError: a value breaks a rule.
    """
    from datasets.images import cache_dir
    from options import assignments, directories
    from registry import load_plugins
    from runs.plan import dataset_of
    from runs.request import Request

    load_plugins(options.plugin)
    roots = directories(options.data_root, "--data-root")
    request = Request(
        dataset=options.dataset,
        data=assignments(options.data, "--data"),
        data_root=roots.pop("", ""),
        data_roots=roots,
    )
    dataset, root = dataset_of(request)
    root = root or cache_dir() / "recipes"
    root.mkdir(parents=True, exist_ok=True)
    return dataset, root


def add_split(parser: argparse.ArgumentParser) -> None:
    """Add --split, as runner.py has it."""
    parser.add_argument(
        "--split", metavar="S", default="",
        help="the folds that are looked at: official, patient, fold:i/k or a csv file (the split "
        "that a run has where none is named)",
    )  # fmt: skip


def whole_number(text: str, flag: str, *, low: int, high: int) -> int:
    """The number that a flag gives.

    Raises:
        ValueError: it is no whole number, or lies outside the limits.
    """
    if not text.isdecimal():
        raise ValueError(f"{flag} must be a whole number, but got {text!r}")
    if not low <= int(text) <= high:
        raise ValueError(f"{flag} must lie between {low} and {high}, but got {text}")
    return int(text)
