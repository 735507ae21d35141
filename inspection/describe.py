"""`python -m datasets describe`: who is in a data set, and how findings differ between groups."""

from __future__ import annotations

import argparse
import os
import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from inspection.asking import add_dataset, add_split, asked

if TYPE_CHECKING:
    import numpy as np

    from datasets.base import ChestXrayDataset
    from datasets.split import Split
    from inspection.description.describing import Description

DONE = 0
WIDTH = 96
"""Characters of a line on the terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_dataset(parser)
    add_split(parser)
    parser.add_argument(
        "--out", metavar="DIR", default="", help="where to write (describe-<data set>)"
    )
    parser.add_argument(
        "--experiment", metavar="E", default="datasets", help="MLflow experiment (datasets)"
    )
    parser.add_argument(
        "--tracking-uri", metavar="U", default="",
        help="MLflow store ($MLFLOW_TRACKING_URI or sqlite mlflow.db)",
    )  # fmt: skip


def main(options: argparse.Namespace) -> int:
    """Describe a data set; the exit code."""
    from inspection.description.describing import describe
    from inspection.description.page import PAGE, files
    from inspection.page import check_writable, write

    out = Path(options.out or f"describe-{options.dataset.replace('+', '-')}")
    check_writable(out)
    dataset, root = asked(options)
    table = dataset.table(root)
    fold, notes = folds_of(table, options.split or dataset.default_split)
    made = describe(
        table,
        fold=fold,
        intersections=dataset.intersections,
        references={a: pair[1] for a, pair in dataset.primary_contrasts.items()},
        restricted=dataset.terms == "restricted",
        notes=(*table.notes, *notes),
    )
    written = write(out, files(made, _command(options)))
    uri = _logged(made, dataset, table, options, out, written)
    print(summary(made))
    print(f"\n{out / PAGE}\n{len(written) - 1} tables and pictures beside it; logged to {uri}")
    root_flag = "".join(f" --data-root {shlex.quote(named)}" for named in options.data_root)
    print(f"next: open {out / PAGE} in a browser, then")
    print(f"      python runner.py --method erm --dataset {options.dataset}{root_flag}")
    return DONE


def folds_of(table: Split, split: str) -> tuple[np.ndarray | None, list[str]]:
    """The fold of each image by a division such as "official", and what is to be said of it.

    None with a note where the table cannot be divided.

    Raises:
        ValueError, FileNotFoundError: `split` names no division.
    """
    from datasets.division import Division, divide
    from datasets.folds import manifest

    division = Division.named(split)
    try:
        divided = divide(table, division)
    except ValueError:
        # The reason may name patients; `python -m datasets check` tells it on the terminal.
        return None, [f"No folds: --split {division.short} does not divide these images."]
    listed = manifest(divided.folds[0])
    # An audit fold that reuses the training patients comes after them, and tells nothing new.
    first = listed.drop_duplicates("image_id").set_index("image_id")["fold"]
    found: np.ndarray = table.frame["image_id"].map(first).fillna("").to_numpy(dtype=str)
    return found, [f"Folds: --split {division.short}.", *divided.notes]


def summary(made: Description) -> str:
    """The description in a few lines for the terminal."""
    from inspection.description.short import in_short
    from inspection.description.shown import whole
    from metrics.audit.records import records

    lines = [f"{made.name}: {len(made.findings)} findings, {len(made.attributes)} attributes", ""]
    for name in made.attributes:
        part = made.counts[made.counts["attribute"] == name]
        told = [f"{r['group']} {whole(r['patients'])}" for r in records(part)]
        text = f"{name:<12} " + ", ".join(told) + "  (patients)"
        lines += textwrap.wrap(text, WIDTH, subsequent_indent=" " * 13)
    lines.append("")
    for sentence in in_short(made):
        lines += textwrap.wrap(sentence, WIDTH)
    return "\n".join(lines)


def _command(options: argparse.Namespace) -> str:
    words = ["python", "-m", "datasets", "describe", "--dataset", options.dataset]
    for pair in options.data:
        words += ["--data", pair]
    for plugin in options.plugin:
        words += ["--plugin", plugin]
    # The folder is the user's own matter, and a page may be passed on.
    return shlex.join(words) + (" --data-root DIR" if options.data_root else "")


def _logged(
    made: Description, dataset: ChestXrayDataset, table: Split, options: argparse.Namespace,
    out: Path, written: list[Path],
) -> str:  # fmt: skip
    """Log numbers and files to MLflow; the address, without a password."""
    from datasets.folds import digest
    from inspection.description.logged import metrics
    from options import plain
    from registry import ROOT
    from tracking.store import Store, without_password

    default = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{ROOT}/mlflow.db"
    uri = options.tracking_uri or default
    store = Store(uri, options.experiment)
    content = digest(table.frame)
    name = dataset.registered_name
    tags = {"key": f"describe-{name}-{content}", "kind": "description", "dataset": name,
            "data_kind": dataset.kind, "terms": dataset.terms}  # fmt: skip
    run = store.start(
        f"describe/{made.name}",
        tags=tags,
        params={"dataset": dataset.registered_name, **plain(dataset)},
        lineage=(made.name, content, dataset.registered_name),
    )
    store.finish(run, metrics(made), written, out)
    return without_password(uri)
