"""Run one method on one data set: `python runner.py --method erm --dataset phantom`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent
# Hugging Face publishes a package named `datasets`, Opacus ships one named `benchmarks`;
# the checkout goes first so that ours are found from any working directory.
sys.path.insert(0, str(ROOT))
# One thread per process unless asked otherwise, before any numerical library starts its own.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import options  # noqa: E402
from methods import STAGES  # noqa: E402
from registry import (  # noqa: E402
    DATASETS,
    METHODS,
    METRICS,
    SELECTION,
    Registry,
    UnknownName,
    load_plugins,
)
from runs.plan import Plan, resolve  # noqa: E402
from runs.progress import Progress  # noqa: E402
from runs.request import Request  # noqa: E402

DONE, FAILED, WRONG_USAGE = 0, 1, 2
LISTS: dict[str, Registry[Any]] = {
    "methods": METHODS,
    "datasets": DATASETS,
    "metrics": METRICS,
    "selection": SELECTION,
}

EXAMPLES = """\
examples:
  python runner.py --method erm --dataset phantom
  python runner.py --method upsample --dataset phantom --set cells=group_label --seed 1
  python runner.py --method erm --dataset covid-chestxray --data-root DIR --folds 5 \\
      --on-bad-image drop --set epochs=75 --set patience=75
  python runner.py --config output/phantom/erm/KEY/config.yaml --again
  python runner.py --list methods

then:
  python -m leaderboard                                     the leaderboard as a page
  mlflow ui --backend-store-uri sqlite:///mlflow.db         browse the runs

exit codes: 0 done or already done, 1 failed, 2 wrong usage or bad data (nothing was stored).
"""


class UsageError(ValueError):
    """Wrong usage, as one sentence."""


USER_ERRORS = (ValueError, UnknownName, OSError)
"""What bad input raises before a run begins; shown as one sentence with exit code 2."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, not a page."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the whole usage."""
        raise UsageError(f"{message}; see python runner.py --help")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = Parser(
        prog="runner.py",
        description="Train one method on one data set, measure its accuracy, fairness and "
        "re-identification risk, and log everything to MLflow.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = p.add_argument_group("what to run")
    what.add_argument("--method", metavar="NAME", help="see --list methods")
    what.add_argument(
        "--dataset", metavar="NAME", help="see --list datasets; A+B trains on both together"
    )
    what.add_argument(
        "--set",
        action="append",
        metavar="FIELD=VALUE",
        default=[],
        help="set a hyper-parameter of the method (repeatable)",
    )
    what.add_argument(
        "--data",
        action="append",
        metavar="FIELD=VALUE",
        default=[],
        help="set an option of the data set, or NAME.FIELD=VALUE of the one named (repeatable)",
    )
    what.add_argument(
        "--data-root",
        action="append",
        metavar="[NAME=]DIR",
        default=[],
        help="where the data set was downloaded to (repeatable, by name)",
    )
    what.add_argument("--val-dataset", metavar="NAME", help="choose models and thresholds on it")
    what.add_argument(
        "--test-dataset",
        action="append",
        metavar="NAME",
        help="test on it too, out of domain (repeatable)",
    )
    what.add_argument(
        "--rename-finding",
        action="append",
        metavar="OLD=NEW",
        help="another name for a finding of any data set (repeatable)",
    )
    what.add_argument("--seed", metavar="N", help="seed of everything random in the run (0)")
    what.add_argument("--findings", metavar="A,B", help="only these findings")
    what.add_argument("--attributes", metavar="A,B", help="only these attributes")
    what.add_argument(
        "--split",
        metavar="S",
        help="official, patient, fold:i/k, or manifest.csv[#sha256:HEX] (the data set's own)",
    )
    what.add_argument("--folds", metavar="K", help="patient k-fold, pooled (0: one split)")
    what.add_argument(
        "--limit-patients", metavar="N", help="a trial on N patients, every fold keeps its share"
    )
    what.add_argument(
        "--plugin",
        action="append",
        metavar="FILE.py",
        default=[],
        help="a file outside the suite that registers methods or data sets",
    )
    again = p.add_argument_group("earlier runs")
    again.add_argument("--config", metavar="FILE", help="take everything from a run's config.yaml")
    again.add_argument(
        "--from-run",
        metavar="RUN",
        help="score the stored weights of a run (directory or key), no training",
    )
    again.add_argument("--again", action="store_true", help="repeat a run that is already done")
    where = p.add_argument_group("where and how")
    where.add_argument("--experiment", metavar="E", help="MLflow experiment (default)")
    where.add_argument(
        "--tracking-uri",
        metavar="U",
        help="MLflow store ($MLFLOW_TRACKING_URI or sqlite mlflow.db)",
    )
    where.add_argument("--output", metavar="DIR", help="results ($TRILEMMA_OUTPUT or output/)")
    where.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 … (auto)")
    where.add_argument("--threads", metavar="N", help="threads per process (1)")
    where.add_argument("--on-bad-image", metavar="P", help="error (default) or drop")
    where.add_argument(
        "--same-person",
        metavar="FILE.csv",
        help="pairs of patient ids that are one person (columns patientid_a, patientid_b)",
    )
    where.add_argument(
        "--allow-leakage",
        metavar="REASON",
        help="go on although persons or pictures stand in two folds; the reason stays visible",
    )
    where.add_argument(
        "--write-ids",
        action="store_true",
        help="write ids.csv beside the results: the raw ids of patients and images. The terms of "
        "use of the data hold for it; it is never logged",
    )
    look = p.add_argument_group("look first")
    look.add_argument("--dry-run", action="store_true", help="print the resolved run and stop")
    look.add_argument("--list", choices=sorted(LISTS), help="what there is, and stop")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    try:
        given = parser().parse_args(arguments)
        load_plugins(given.plugin)
        if given.list:
            print(listing(given.list))
            return DONE
        request = requested(given)
    except USER_ERRORS as error:
        return refuse(error)
    return run(request, again=given.again, dry=given.dry_run, ids=given.write_ids)


def run(request: Request, *, again: bool = False, dry: bool = False, ids: bool = False) -> int:
    """Run one request with progress and a summary on the terminal; the exit code."""
    log = terminal_log()
    try:
        plan = resolve(request)
        from runs.foreign import sizes_of
        from runs.pipeline import execute
        from runs.preparation import checked_task, load_table, prepare_run, split
        from runs.process import settle
        from runs.provenance import environment
        from runs.summary import summary
        from tracking.identifiers import WARNING, write_ids
        from tracking.pseudonyms import Pseudonyms
        from tracking.rundir import IDS
        from tracking.store import StoreError

        settle(plan.threads)
        print(described(plan, environment(plan.device)))
        if dry:
            table = load_table(plan)
            checked_task(plan, table)
            divided = split(plan, table)
            for note in divided.notes:
                print(f"note: {note}")
            for part, folds in enumerate(divided.folds):
                sizes = [
                    f"{f.name} {len(f)} images of {len(f.patients)} patients" for f in folds.all()
                ]
                print(f"part {part + 1}: " + ", ".join(sizes))
            for placed in plan.named.others:
                print(sizes_of(placed, plan.limit_patients))
            print("\ndry run: nothing was stored; leave out --dry-run to run it")
            return DONE
        prepared = prepare_run(plan, Progress("preparing images"))
        directory = prepared.directory
        done = directory.finished and directory.record().logged
    except USER_ERRORS as error:
        return refuse(error)
    except KeyboardInterrupt:
        return interrupted()
    for reason, rows in prepared.dropped.items():
        log.info("left out: %d rows, %s", rows, reason)
    for note in prepared.notes:
        log.info("note: %s", note)
    if ids:
        print(f"warning: {IDS} holds {WARNING}", file=sys.stderr)
    if done and not again:
        if ids:
            names = Pseudonyms(plan.output, plan.dataset.registered_name)
            write_ids(directory.path, names, prepared.tables)
        print(f"already done: {directory.path}\n(repeat it with --again)\n")
        print(summary(directory))
        return DONE
    try:
        record = execute(prepared, log, again=again, ids=ids)
    except KeyboardInterrupt:
        return interrupted()
    except Exception as error:  # noqa: BLE001 - the last line of defence: recorded, then told
        begun = directory.aside if again else directory
        if isinstance(error, StoreError) and not begun.exists():
            return refuse(error)
        # As it was recorded: this text may be kept, and must not name patients or images.
        told = begun.record().error if begun.exists() else type(error).__name__
        where = begun.path / "run.log"
        print(f"failed: {told}\n(recorded as failed; details: {where})", file=sys.stderr)
        return FAILED
    print(summary(directory))
    if not record.logged:
        print("the tracking store did not take the results; the same command logs them",
              file=sys.stderr)  # fmt: skip
    return DONE if record.logged else FAILED


def interrupted() -> int:
    """Say how to go on after Ctrl-C; the exit code."""
    print("\ninterrupted; the same command continues where it stopped", file=sys.stderr)
    return FAILED


def requested(given: argparse.Namespace) -> Request:
    """The request of a command line: what a config holds, with every given flag on top."""
    request = Request.from_config(Path(given.config)) if given.config else Request()
    changes: dict[str, Any] = {
        name: value
        for name in (
            "method",
            "dataset",
            "val_dataset",
            "seed",
            "split",
            "folds",
            "limit_patients",
            "experiment",
            "device",
            "tracking_uri",
            "output",
            "threads",
            "on_bad_image",
            "same_person",
            "allow_leakage",
            "from_run",
        )
        if (value := getattr(given, name)) is not None
    }
    for name in ("findings", "attributes"):
        if (text := getattr(given, name)) is not None:
            changes[name] = tuple(part.strip() for part in text.split(",") if part.strip())
    for name, texts in (
        ("test_datasets", given.test_dataset),
        ("rename_findings", given.rename_finding),
    ):
        if texts is not None:
            changes[name] = tuple(texts)
    if given.data_root:
        roots = options.directories(given.data_root, "--data-root")
        changes |= {"data_root": roots.pop("")} if "" in roots else {}
        changes["data_roots"] = {**request.data_roots, **roots}
    if given.plugin:
        changes["plugins"] = tuple(dict.fromkeys((*request.plugins, *given.plugin)))
    request = request.changed(**changes)
    for name, texts in (("set", given.set), ("data", given.data)):
        if texts:
            fields = {**getattr(request, name), **options.assignments(texts, f"--{name}")}
            request = request.changed(**{name: fields})
    return request


def refuse(error: BaseException) -> int:
    """Print one sentence; the exit code of wrong usage."""
    print("error: " + " ".join(str(error).split()), file=sys.stderr)
    return WRONG_USAGE


def listing(kind: str) -> str:
    """A line per registered thing: name, what it overrides or its facts, first docstring line."""
    lines = []
    entries = LISTS[kind].entries()
    width = max((len(name) for name in entries), default=0)
    for name, entry in entries.items():
        if kind == "methods":
            told = ", ".join(s for s in STAGES if s in entry.defines) or "-"
        else:
            told = ", ".join(str(entry.facts[f]) for f in ("direction", "unit") if f in entry.facts)
        lines.append(f"{name:<{width}}  {f'[{told}]  ' if told else ''}{entry.summary}")
    return "\n".join(lines)


def terminal_log() -> logging.Logger:
    """The log that shows progress on standard error."""
    log = logging.getLogger("trilemma")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    handler = logging.StreamHandler()
    handler.setLevel(logging.INFO)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers[:] = [handler]
    return log


def described(plan: Plan, environment: dict[str, str]) -> str:
    """The environment and every resolved field."""
    lines = ["environment  " + "  ".join(f"{k} {v}" for k, v in environment.items())]
    things: list[tuple[str, Any]] = [("method", plan.method), ("dataset", plan.dataset)]
    things += [("beside it", placed.dataset) for placed in plan.named.others]
    for title, thing in things:
        lines.append(f"{title:<12} {thing.registered_name}")
        lines += [f"    {k} = {v}" for k, v in options.plain(thing).items()]
    rest = {k: v for k, v in plan.config().items() if k not in ("method", "set", "dataset", "data")}
    lines += [f"{k:<12} {v}" for k, v in rest.items() if v not in (None, [], {}, "")]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
