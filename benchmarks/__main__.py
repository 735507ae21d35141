"""Many runs with one command: `python -m benchmarks run SUITE`, and studies of one method."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

# One thread per process unless asked otherwise, before any numerical library starts its own.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from options import directories
from registry import UnknownName, load_plugins

if TYPE_CHECKING:
    from benchmarks.expand import Choice

HERE = Path(__file__).resolve().parent
DONE, FAILED, WRONG_USAGE = 0, 1, 2
CLEAR = "\r\x1b[K"
"""To the start of the line, and all of it gone."""

EXAMPLES = """\
examples:
  python -m benchmarks list
  python -m benchmarks show card
  python -m benchmarks run smoke
  python -m benchmarks run card --budget quick --workers 2
  python -m benchmarks run card --only 'dpsgd*' --seeds 0,1
  python -m benchmarks run my-suite.yaml --data-root DIR

The same command again continues: finished runs are recognised, failed ones are tried again.

exit codes: 0 all done or already done, 1 a run failed, 2 wrong usage (nothing was started).
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
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    listed = commands.add_parser("list", help="the suites there are")
    show = commands.add_parser("show", help="every run of a suite, and which are finished")
    run = commands.add_parser("run", help="start the runs of a suite that are not finished")
    for one in (listed, show, run):
        one.add_argument(
            "--plugin", action="append", metavar="FILE.py", default=[],
            help="a file outside the checkout that registers suites, methods or data sets",
        )  # fmt: skip
    for one in (show, run):
        one.add_argument("suite", metavar="SUITE", help="a name (see list) or a YAML file")
        for flag, metavar, told in (
            ("--budget", "B", "how much is spent (the suite's first)"),
            ("--seeds", "0,1,2", "these seeds instead of the budget's"),
            ("--only", "PATTERN", "only arms whose label or method matches, such as 'dpsgd*'"),
            ("--output", "DIR", "results ($TRILEMMA_OUTPUT or output/)"),
            ("--tracking-uri", "U", "MLflow store ($MLFLOW_TRACKING_URI or sqlite mlflow.db)"),
            ("--experiment", "E", "MLflow experiment (the suite's name)"),
        ):
            one.add_argument(flag, metavar=metavar, default="", help=told)
        one.add_argument(
            "--data-root", action="append", metavar="[NAME=]DIR", default=[],
            help="where the data set was downloaded to (repeatable)",
        )  # fmt: skip
    run.add_argument("--workers", metavar="N", help="runs side by side (one per usable core)")
    run.add_argument("--dry-run", action="store_true", help="say what would run, and stop")
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
        load_plugins(options.plugin)
        if options.command == "list":
            from benchmarks.suite_report import listing

            print(listing())
            return DONE
        return suite(options)
    except (ValueError, UnknownName, OSError) as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return WRONG_USAGE
    except KeyboardInterrupt:
        print("\ninterrupted before anything was started", file=sys.stderr)
        return FAILED


def suite(options: argparse.Namespace) -> int:
    """Show or run a suite; the exit code."""
    from benchmarks import suite_report as report
    from benchmarks.expand import expand, folder_of, look
    from benchmarks.launch import FAILED as WENT_WRONG
    from benchmarks.launch import Interrupted, Launcher
    from benchmarks.suites.base import load

    made, choice = load(options.suite), chosen(options)
    workers = _workers(options.workers) if options.command == "run" else 0
    planned = expand(made, choice)
    from runs.process import settle
    from runs.progress import Progress

    settle(1)
    known = look(planned, Progress)
    if options.command == "show":
        print(report.shown(made, choice, known))
        return DONE
    print(report.heading(made, choice, known), flush=True)
    if options.dry_run:
        print("\n".join(map(report.line, known)))
        print("\ndry run: nothing was started; leave out --dry-run to run it")
        return DONE
    folder = folder_of(made, planned[0].plan.output)
    print(f"{workers} at a time; logs and the table of runs: {folder}\n", flush=True)
    budget = made.budget_name(choice.budget)
    launcher = Launcher(known, folder=folder, budget=budget, workers=workers, terminal=Terminal())
    try:
        outcomes = launcher.go()
    except Interrupted:
        print("interrupted; the same command continues where it stopped", file=sys.stderr)
        return FAILED
    print("\n" + report.summary(outcomes))
    print("\n" + report.next_steps(choice, known, outcomes))
    return FAILED if any(o.state == WENT_WRONG for o in outcomes) else DONE


def chosen(options: argparse.Namespace) -> Choice:
    """What the command line says of how the suite is run."""
    from benchmarks.expand import Choice

    return Choice(
        budget=options.budget,
        seeds=_seeds(options.seeds),
        only=options.only,
        output=options.output,
        tracking_uri=options.tracking_uri,
        experiment=options.experiment,
        data_roots=directories(options.data_root, "--data-root"),
        plugins=tuple(options.plugin),
    )


class Terminal:
    """Lines that stay, and on a terminal one below them that changes once a second."""

    def __init__(self) -> None:
        self._shows = sys.stdout.isatty()
        self._told = 0.0

    def say(self, text: str) -> None:
        """Print a line that stays."""
        print(f"{CLEAR if self._shows else ''}{text}", flush=True)

    def live(self, text: Callable[[], str]) -> None:
        """Show what `text` returns in place of what was shown before."""
        if self._shows and time.monotonic() - self._told >= 1:
            self._told = time.monotonic()
            width = shutil.get_terminal_size().columns
            print(f"{CLEAR}{text()[: width - 1]}", end="", flush=True)


def _seeds(text: str) -> tuple[int, ...]:
    if not text:
        return ()
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words) or len({*map(int, words)}) < len(words):
        raise UsageError(f"--seeds must be different whole numbers like 0,1,2, but got {text!r}")
    return tuple(map(int, words))


def _workers(text: str | None) -> int:
    from datasets.shards import usable_cores

    if text is None:
        return usable_cores()
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise UsageError(f"--workers must be a whole number from 1 to 1024, but got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
