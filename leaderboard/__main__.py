"""`python -m leaderboard`: render the stored results."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

EPILOG = """\
what it reads:  <output>/<dataset>/<method>/<key>/run.json and scores.parquet; to compare methods
                with ERM on the same patients also predictions.parquet, where it is there
what it writes: index.html        one self-contained page: open it in a browser
                leaderboard.md    the headline tables, for a repository or a wiki
                leaderboard.csv   every aggregated number, not rounded
                figures/*.svg     the pictures of the page

examples:
  python -m leaderboard                          everything in the output directory
  python -m leaderboard --experiment default     only the runs of one experiment
  python -m leaderboard --output results --out site

exit status: 0 written (also when no run has finished yet), 2 wrong usage or no output directory
In Python: `from leaderboard import collect; frame = collect()`; see docs/analysis.ipynb."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m leaderboard",
        description="Turn stored results into a leaderboard. Methods are compared within a data "
        "set, simulated and real data strictly apart; failed runs are listed, never compared.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--experiment", metavar="NAME", help="only runs of this experiment")
    made.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where the results lie (default: $TRILEMMA_OUTPUT, or output in the checkout)",
    )
    made.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where to write (default: leaderboard below --output)",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 written, 2 wrong usage or nothing to read from."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    # After parsing, so that --help answers without importing the drawing.
    from leaderboard.collect import default_output, read_store
    from leaderboard.render import FIRST_RUN, render

    output = options.output or default_output()
    out = options.out or output / "leaderboard"
    try:
        store = read_store(output, options.experiment)
    except (FileNotFoundError, KeyError) as error:
        print(f"leaderboard: {error}", file=sys.stderr)
        return 2
    written = render(store, out, experiment=options.experiment)
    print(f"{written.page}\n{written.markdown}\n{written.table}")
    print(
        f"{len(written.figures)} figures in {out / 'figures'}" if written.figures else "no figures"
    )
    print(
        f"{written.runs} finished runs in {written.entrants} rows; "
        f"{written.unfinished} not compared, {written.left_out} left out"
    )
    if not written.runs:
        print(f"no finished runs yet; make a first one: {FIRST_RUN}")
        return 0
    print(f"next: open {written.page} in a browser")
    return 0


if __name__ == "__main__":
    sys.exit(main())
