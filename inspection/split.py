"""`python -m datasets split`: who is in which fold, and a manifest of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inspection.asking import add_dataset, asked

if TYPE_CHECKING:
    from datasets.division import Divided
    from datasets.split import Split

FIRST = 26
"""Width of the column of names, in characters."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    parser.description = (
        "Show how many patients of each group and with each finding a split puts into each fold. "
        "With --out and --write-ids, write it as a manifest for runner.py --split."
    )
    add_dataset(parser)
    parser.add_argument(
        "--split", metavar="S", default="",
        help="official, patient, fold:i/k, or manifest.csv[#sha256:HEX] (the data set's own)",
    )  # fmt: skip
    parser.add_argument("--seed", metavar="N", default="0", help="of what is dealt (0, as in runs)")
    parser.add_argument("--limit-patients", metavar="N", default="0", help="only N patients (all)")
    parser.add_argument("--out", metavar="FILE.csv", default="", help="where the manifest goes")
    parser.add_argument(
        "--write-ids", action="store_true",
        help="write the manifest, which holds raw ids of patients; the terms of use of the data "
        "hold for it",
    )  # fmt: skip


def main(options: argparse.Namespace) -> int:
    """Print the counts and the digest, and write the manifest if asked; the exit code.

    Raises:
        UnknownName, ValueError, FileNotFoundError: a name, the data or a flag breaks a rule.
    """
    from datasets.division import Division, divide
    from datasets.folds import split_digest
    from runs.values import whole

    if bool(options.out) is not options.write_ids:
        raise ValueError(
            "a manifest holds raw ids of patients, so --out and --write-ids must be given "
            "together, but only one was; give both, or neither to see the counts"
        )
    if options.out and not options.out.lower().endswith(".csv"):
        raise ValueError(f"--out must name a .csv file, but got {options.out!r}")
    seed = whole(options.seed, "--seed", low=0, high=2**31 - 1)
    limit = whole(options.limit_patients, "--limit-patients", low=0, high=2**31 - 1)
    dataset, root = asked(options)
    table = dataset.table(root)
    division = Division.named(options.split or dataset.default_split)
    divided = divide(table, division, limit=limit, seed=seed)
    print("\n".join(told(divided)))
    print(f"\nsplit {division.short}, seed {seed}, digest {split_digest(divided.folds)}")
    if options.out:
        print(_written(divided, Path(options.out)))
    return 0


def told(divided: Divided) -> Iterator[str]:
    """The lines of the table: patients by fold, in all, by group and by finding; what is left out.

    A patient counts in every group, and for every finding, that one of the images has.
    """
    (folds,) = divided.folds
    sides = [side for side in folds.all() if side.name != "audit" or not folds.audit_reuses_train]
    yield _row("patients", [side.name for side in sides])
    yield _row("all", [f"{len(side.patients)}" for side in sides])
    yield _row("images", [f"{len(side)}" for side in sides])
    for attribute in divided.table.attributes:
        yield attribute
        for group in divided.table.groups_of(attribute):
            yield _row(f"  {group}", [_count(s, attribute, group) for s in sides])
    yield "findings"
    for finding in divided.table.findings:
        yield _row(f"  {finding}", [_count(side, finding, 1) for side in sides])
    if folds.audit_reuses_train:
        yield "audit reuses train: too few patients for a fold of its own"
    yield from divided.notes
    yield from (f"left out: {n} rows, {why}" for why, n in divided.table.dropped.items())


def _count(side: Split, column: str, value: object) -> str:
    """Patients of a fold with a row of this value, and their share."""
    values = side.frame[column]
    here = (values.astype(str) if isinstance(value, str) else values) == value
    count = len(np.unique(side.frame["patient_id"].to_numpy(dtype=str)[here.to_numpy()]))
    return f"{count} ({count / len(side.patients):.1%})"


def _row(name: str, cells: list[str]) -> str:
    return f"{name:<{FIRST}}" + "".join(f"{cell:>16}" for cell in cells)


def _written(divided: Divided, path: Path) -> str:
    """What is said of the manifest, once it is written: columns `patient_id` and `fold`."""
    from datasets.manifests import Manifest
    from tracking.identifiers import WARNING, write_private

    frame = divided.table.frame[["patient_id"]].astype(str).assign(fold=divided.names)
    rows = frame.drop_duplicates().sort_values("patient_id", kind="stable")
    write_private(path, rows.to_csv(index=False, lineterminator="\n"))
    print(f"warning: {path} holds {WARNING}", file=sys.stderr)
    return f"written: use it with --split {Manifest.named(str(path))}"
