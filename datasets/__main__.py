"""Look at a data set before it is used: `python -m datasets COMMAND`. The commands lie elsewhere.

Each is a file `inspection/<command>.py` with `add_arguments(parser)` and `main(options) -> int`;
one that is not there is not offered. Only the file of the command that is asked for is imported.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
# One thread per process unless asked otherwise, before any numerical library starts its own.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from registry import UnknownName  # noqa: E402

FAILED, WRONG_USAGE = 1, 2
COMMANDS = {
    "check": "validate a downloaded tree before hours are spent on it",
    "describe": "who is in a data set, and how labels differ between groups",
    "prepare": "decode all images into the cache, on all cores",
    "embed": "turn images into an embedding data set with a frozen encoder",
    "split": "write the folds of a data set as a manifest",
}

EXAMPLES = """\
examples:
  python -m datasets check --dataset nih-cxr14 --data-root DIR
  python -m datasets describe --dataset phantom
  python -m datasets prepare --dataset nih-cxr14 --data-root DIR
  python -m datasets embed --dataset phantom --weights encoder.pt --out DIR
  python -m datasets COMMAND --help

which data sets there are: python runner.py --list datasets

exit codes: 0 done, 1 failed or faults were found, 2 wrong usage or bad data (one sentence).
"""


class UsageError(ValueError):
    """Wrong usage, as one sentence."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, not a page."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the whole usage."""
        raise UsageError(f"{message}; see {self.prog} --help")


def commands() -> dict[str, str]:
    """What each command that is there does, in one line."""
    return {n: told for n, told in COMMANDS.items() if (ROOT / f"inspection/{n}.py").is_file()}


def parser(command: str = "") -> argparse.ArgumentParser:
    """The command line; only the flags of `command` need the file that defines them."""
    made = Parser(
        prog="python -m datasets",
        description="Look at a data set, or get it ready, before anything is trained on it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    there = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, told in commands().items():
        raw = argparse.RawDescriptionHelpFormatter
        one = there.add_parser(name, help=told, description=told, formatter_class=raw)
        if name == command:
            importlib.import_module(f"inspection.{name}").add_arguments(one)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = parser(given[0] if given else "").parse_args(given)
        code: int = importlib.import_module(f"inspection.{options.command}").main(options)
        return code
    except (ValueError, UnknownName, OSError) as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return WRONG_USAGE
    except KeyboardInterrupt:
        print("\ninterrupted; the same command continues where it stopped", file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
