"""Print every speed figure: `python -m benchmarks.speed`, or `make bench`."""

from __future__ import annotations

import os
import platform
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> int:
    """Measure one thing after the other; the exit code."""
    from benchmarks.speed import (
        chexpert_table,
        engine,
        loop,
        mimic,
        nih_table,
        overlap,
        phantom,
        pipeline,
        preparation,
    )

    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print("close other programs: wall times below are only as good as the machine is idle")
    for part in (loop, pipeline, preparation, phantom, engine, overlap, nih_table, chexpert_table,
                 mimic):  # fmt: skip
        for line in part.measure():
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
