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
        nih_table,
        overlap,
        phantom,
        pipeline,
    )

    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print("close other programs: wall times below are only as good as the machine is idle")
    print(loop.measure(), flush=True)
    print(pipeline.measure(), flush=True)
    print(nih_table.measure(), flush=True)
    for line in (*phantom.measure(), *engine.measure(), *overlap.measure()):
        print(line, flush=True)
    for line in chexpert_table.measure():
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
