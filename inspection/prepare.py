"""`python -m datasets prepare`: all images decoded into the cache, on all cores, resumable."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from inspection.asking import add_dataset, asked, whole_number

if TYPE_CHECKING:
    from datasets.faults import Fault
    from datasets.split import Split

DONE, FAILED = 0, 1
NAMED = 5
"""Files that are named for each reason."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_dataset(parser)
    parser.add_argument(
        "--image-size", metavar="PX", default="224", help="side in pixels, as of the run (224)"
    )
    parser.add_argument(
        "--workers", metavar="N", default="", help="processes (one per usable core)"
    )
    parser.add_argument(
        "--on-bad-image", metavar="P", default="error",
        help="error (default): bad images make the exit code 1; drop: a run will leave them out",
    )  # fmt: skip


def main(options: argparse.Namespace) -> int:
    """Prepare a data set; the exit code."""
    from datasets.base import IMAGES
    from datasets.images import find_faults
    from datasets.shards import usable_cores
    from runs.plan import BAD_IMAGE_POLICIES
    from runs.progress import Progress, duration

    size = whole_number(options.image_size, "--image-size", low=32, high=1024)
    workers = usable_cores()
    if options.workers:
        workers = whole_number(options.workers, "--workers", low=1, high=1024)
    if options.on_bad_image not in BAD_IMAGE_POLICIES:
        raise ValueError(f"--on-bad-image must be error or drop, but got {options.on_bad_image!r}")
    dataset, root = asked(options)
    if dataset.holds != IMAGES:
        raise ValueError(
            f"a data set must hold images to be prepared, but {options.dataset!r} holds "
            f"{dataset.holds}; runs read those as they are"
        )
    table = dataset.table(root)
    words = [f"{table.name}: {len(table):,} images of {len(table.patients):,} patients"]
    print(f"{words[0]}, at {size} px with {workers} workers", file=sys.stderr)
    began = time.monotonic()
    faults = find_faults(table, size, workers=workers, progress=Progress("preparing images"))
    seconds = time.monotonic() - began
    bad = {fault.path for fault in faults}
    good = table.where(~table.frame["path"].astype(str).isin(bad).to_numpy())
    words.append(f"prepared     {len(good):,} images at {size} px in {duration(seconds)}")
    if len(good):
        shards, held = on_disk(good, size)
        words.append(f"cache        {shards:,} shards, {told_bytes(held)}, {cache_folder()}")
    words += _told_faults(faults, table)
    failed = bool(faults) and (options.on_bad_image == "error" or not len(good))
    words += _next(options, failed=failed, any_bad=bool(faults))
    print("\n".join(words))
    return FAILED if failed else DONE


def on_disk(table: Split, size: int) -> tuple[int, int]:
    """How many shards of the cache hold the images of a table, and their bytes with the lists."""
    from datasets.images import cache_dir, open_images

    inside = str(cache_dir())
    files = {str(getattr(stack, "filename", "")) for stack in open_images(table, size).stacks}
    shards = [Path(file) for file in files if file.startswith(inside)]
    beside = [shard.with_name(shard.name.replace(".npy", ".index.npy")) for shard in shards]
    return len(shards), sum(file.stat().st_size for file in (*shards, *beside))


def told_bytes(number: float) -> str:
    """Bytes in words, such as "5.6 GB"."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number / 1e3:.0f} kB"


def cache_folder() -> str:
    """Where the cache lies."""
    from datasets.images import cache_dir

    return str(cache_dir())


def _told_faults(faults: list[Fault], table: Split) -> list[str]:
    if not faults:
        return ["bad images   none"]
    rows = table.frame["path"].astype(str).value_counts()
    counted = Counter[str]()
    for fault in faults:
        counted[fault.reason] += int(rows[fault.path])
    lines = []
    for reason, count in counted.most_common():
        lines.append(f"bad images   {count:,} {reason}")
        of_it = [fault for fault in faults if fault.reason == reason]
        lines += [f"             {f.path}: {f.detail}" for f in of_it[:NAMED]]
        if len(of_it) > NAMED:
            lines.append(f"             and {len(of_it) - NAMED:,} more")
    return lines


def _next(options: argparse.Namespace, *, failed: bool, any_bad: bool) -> list[str]:
    what = ["--dataset", options.dataset]
    for pair in options.data:
        what += ["--data", pair]
    for named in options.data_root:
        what += ["--data-root", named]
    for plugin in options.plugin:
        what += ["--plugin", plugin]
    if failed:
        return ["next: mend these files and repeat this command, which does the rest, or leave "
                "them out with --on-bad-image drop"]  # fmt: skip
    run = ["python", "runner.py", "--method", "erm", *what]
    run += ["--set", f"image_size={options.image_size}"]
    run += ["--on-bad-image", "drop"] if any_bad else []
    return [f"next: {shlex.join(run)}"]
