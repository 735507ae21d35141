"""Many runs with one command: `python -m benchmarks run SUITE`, and studies of one method."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

# One thread per process unless asked otherwise, before any numerical library starts its own.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from registry import UnknownName

HERE = Path(__file__).resolve().parent
DONE, FAILED, WRONG_USAGE = 0, 1, 2

EPILOG = """\
exit codes: 0 done or already done, 1 a run failed, 2 wrong usage (nothing was started).
"""


class UsageError(ValueError):
    """Wrong usage, as one sentence."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, not a page."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the whole usage."""
        raise UsageError(f"{message}; see {self.prog} --help")


def parser(command: str = "") -> argparse.ArgumentParser:
    """The command line; only the flags of `command` need the file that defines them."""
    made = Parser(
        prog="python -m benchmarks",
        description="Run many methods and seeds, or search the fields of one method.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    if (HERE / "study.py").is_file():
        study = commands.add_parser("study", help="search the fields of one method")
        if command == "study":
            from benchmarks.study import add_arguments

            add_arguments(study)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = parser(given[0] if given else "").parse_args(given)
        if options.command == "study":
            from benchmarks.study import main as study

            return study(options)
    except (ValueError, UnknownName, OSError) as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return WRONG_USAGE
    return DONE


if __name__ == "__main__":
    sys.exit(main())
