"""`python -m benchmarks study`: search the fields of a method, then test what was found once."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import options
from registry import SELECTION, unknown
from runner import (
    DONE,
    FAILED,
    USER_ERRORS,
    interrupted,
    refuse,
    terminal_log,
)
from runs.plan import resolve
from runs.process import settle
from runs.progress import Progress
from runs.request import Request

if TYPE_CHECKING:
    from benchmarks.study_report import Report, Rerun
    from runs.goals import Goal
    from runs.plan import Plan
    from runs.preparation import Loaded, Prepared
    from runs.study import Found, Range, Study
    from tracking.store import Store

REFERENCE = "erm"
"""The method that gets the same budget, so that a gain is not that of having searched."""


@dataclass(frozen=True)
class Asked:
    """What a study is asked for."""

    request: Request
    objectives: tuple[str, ...]
    trials: int
    final_seeds: int
    select: str = ""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs that are tested: none of them made a trial."""
        first = int(self.request.seed) + 1
        return tuple(range(first, first + self.final_seeds))

    def of_reference(self) -> Asked:
        """The same for ERM, with the fixed fields that ERM has too."""
        from methods.base import Method

        known = {f.name for f in dataclasses.fields(Method)}
        kept = {name: value for name, value in self.request.set.items() if name in known}
        return replace(self, request=replace(self.request, method=REFERENCE, set=kept))

    def command(self, *, trials: int = 0) -> str:
        """The command that asks for this, or for another number of trials."""
        request = self.request
        words = ["python", "-m", "benchmarks", "study"]
        words += ["--method", request.method, "--dataset", request.dataset]
        words += ["--objectives", ",".join(self.objectives), "--trials", str(trials or self.trials)]
        for flag, fields in (("--set", request.set), ("--data", request.data)):
            for name, value in fields.items():
                words += [flag, f"{name}={value}"]
        for field in dataclasses.fields(Request):
            if field.name in ("method", "dataset", "set", "data", "plugins"):
                continue
            value = getattr(request, field.name)
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            if value and text != str(field.default):
                words += [f"--{field.name.replace('_', '-')}", text]
        for plugin in request.plugins:
            words += ["--plugin", plugin]
        if self.final_seeds != 3:
            words += ["--final-seeds", str(self.final_seeds)]
        if self.select:
            words += ["--select", self.select]
        return shlex.join(words)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of a study."""
    parser.description = (
        "Search the tunable fields of a method on validation patients, with Optuna; run the best "
        "again with new seeds and score those once on test patients. ERM gets the same budget "
        "first. The same command continues a study that was cut off; more --trials extend it."
    )
    what = parser.add_argument_group("what to search")
    what.add_argument("--method", metavar="NAME", required=True)
    what.add_argument("--dataset", metavar="NAME", required=True)
    what.add_argument(
        "--objectives", metavar="A,B", required=True,
        help="metrics as metric[:attribute], such as auc,fnr_contrast:race",
    )  # fmt: skip
    what.add_argument("--trials", metavar="N", default="12", help="complete trials (12)")
    what.add_argument("--seed", metavar="N", default="0", help="of the search and of trials (0)")
    what.add_argument(
        "--final-seeds", metavar="N", default="3", help="runs of each chosen trial (3)"
    )
    what.add_argument(
        "--select", metavar="STRATEGY", default="",
        help="run again the one trial that a strategy of selection chooses, see runner.py --list "
        "selection (at most three by the front of the objectives)",
    )  # fmt: skip
    for flag, said in (("--set", "fix a field of the method"), ("--data", "set a data field")):
        what.add_argument(
            flag, action="append", metavar="FIELD=VALUE", default=[], help=f"{said} (repeatable)"
        )
    what.add_argument("--data-root", metavar="DIR", default="")
    what.add_argument("--split", metavar="S", default="", help="as in runner.py")
    what.add_argument("--limit-patients", metavar="N", default="0", help="as in runner.py (all)")
    what.add_argument("--findings", metavar="A,B", default="")
    what.add_argument("--attributes", metavar="A,B", default="")
    what.add_argument("--plugin", action="append", metavar="FILE.py", default=[])
    where = parser.add_argument_group("where and how")
    where.add_argument("--output", metavar="DIR", default="")
    where.add_argument("--tracking-uri", metavar="U", default="")
    where.add_argument("--experiment", metavar="E", default="default")
    where.add_argument("--device", metavar="D", default="auto")
    where.add_argument("--threads", metavar="N", default="1")
    where.add_argument("--on-bad-image", metavar="P", default="error")


def main(given: argparse.Namespace) -> int:
    """Search, test and report; the exit code."""
    log = terminal_log()
    try:
        asked = requested(given)
        data = Data()
        studies = prepare(asked, data)
        from tracking.store import Store

        plan = studies[-1].prepared.plan
        store = Store(plan.tracking_uri, plan.experiment)
    except USER_ERRORS as error:
        return refuse(error)
    except KeyboardInterrupt:
        return interrupted()
    from runs.search import StudyFailed

    try:
        return carry_out(asked, studies, data, store, log)
    except KeyboardInterrupt:
        return interrupted()
    except (*USER_ERRORS, StudyFailed) as error:
        print("failed: " + " ".join(str(error).split()), file=sys.stderr)  # noqa: T201
        return FAILED


def requested(given: argparse.Namespace) -> Asked:
    """What a command line asks for.

    Raises:
        ValueError: a number or an assignment breaks a rule.
    """
    numbers = {}
    for name in ("trials", "final_seeds"):
        flag, text = f"--{name.replace('_', '-')}", getattr(given, name)
        if not text.isdigit() or not 1 <= int(text) <= 100_000:
            raise ValueError(f"{flag} must be a whole number from 1 to 100000, but got {text!r}")
        numbers[name] = int(text)
    if "+" in given.seed or not given.seed.isdigit():
        raise ValueError(f"--seed must be a whole number from 0, but got {given.seed!r}")
    request = Request(
        method=given.method,
        set=options.assignments(given.set, "--set"),
        dataset=given.dataset,
        data=options.assignments(given.data, "--data"),
        data_root=given.data_root,
        seed=int(given.seed),
        split=given.split,
        limit_patients=given.limit_patients,
        findings=_names(given.findings),
        attributes=_names(given.attributes),
        device=given.device,
        threads=given.threads,
        on_bad_image=given.on_bad_image,
        experiment=given.experiment,
        tracking_uri=given.tracking_uri,
        output=given.output,
        plugins=tuple(given.plugin),
    )
    return Asked(request, _names(given.objectives), **numbers, select=given.select)


def prepare(asked: Asked, data: Data) -> tuple[Study, ...]:
    """The study of ERM, where the method is another, and that of the method. Nothing is stored.

    Raises:
        UnknownName, ValueError, FileNotFoundError: something breaks a rule.
    """
    from runs.study import Study

    plan = resolve(asked.request)
    _check_strategies(asked.select, plan)
    settle(plan.threads)
    several = [asked] if asked.request.method == REFERENCE else [asked.of_reference(), asked]
    drafts = [_draft(one) for one in several]
    if not drafts[-1].space:
        raise ValueError(
            f"a study needs a tunable field to search, but all of {asked.request.method!r} are "
            "fixed by --set, or it has none; leave one free, or run it with runner.py"
        )
    return tuple(
        Study(data.prepared(d.plan), d.fixed, d.space, d.goals, asked.select) for d in drafts
    )


def _check_strategies(select: str, plan: Plan) -> None:
    if select and select not in SELECTION.names():
        raise unknown("selection strategy", select, SELECTION.names())
    for flag, name in (("--select", select), ("--set selection", plan.method.selection)):
        # What it chose would be tested by ordinary runs, which do not know how they were chosen.
        if name and SELECTION.entries()[name].facts.get("oracle"):
            raise ValueError(
                f"{flag} must choose by what a study can know, but {name!r} is an oracle; choose "
                "another, or use it in a single run"
            )


class Data:
    """Data of plans, loaded once for all that share it."""

    def __init__(self) -> None:
        self._held: dict[tuple[object, ...], Loaded] = {}

    def prepared(self, plan: Plan) -> Prepared:
        """The plan with its data."""
        from runs.preparation import load_data, load_table, prepare_run, same_data

        key = same_data(plan)
        if key not in self._held:
            progress = Progress("preparing images")
            self._held[key] = load_data(plan, load_table(plan), progress)
        return prepare_run(plan, loaded=self._held[key])


@dataclass(frozen=True)
class _Draft:
    """A study whose names are checked and whose images are not decoded yet."""

    plan: Plan
    fixed: Mapping[str, Any]
    space: Mapping[str, Range]
    goals: tuple[Goal, ...]


def _draft(asked: Asked) -> _Draft:
    from runs.study import search_space

    plan = resolve(asked.request)
    fixed = asked.request.set
    goals = _goals(plan, asked.objectives)
    return _Draft(plan, fixed, search_space(type(plan.method), fixed), goals)


def _goals(plan: Plan, names: Sequence[str]) -> tuple[Goal, ...]:
    from runs.goals import read_goals
    from runs.preparation import checked_task, load_table, split
    from runs.provenance import primary_contrasts

    table = load_table(plan)
    task = checked_task(plan, table)
    folds = split(plan, table).folds
    contrasts = primary_contrasts(plan.dataset, task, folds)
    return read_goals(names, folds[0].val, task, contrasts, plan.method.operating_point)


def carry_out(
    asked: Asked, studies: Sequence[Study], data: Data, store: Store, log: logging.Logger
) -> int:
    """Search and test each study in turn, report, and say what to type next; the exit code."""
    from benchmarks.study_report import Report, summary

    report: Report | None = None
    for study in studies:
        with _alone(study, log):
            found = _search(study, asked.trials, store, log)
            reruns = tuple(_rerun(found, asked, data, log))
            further = asked if study is studies[-1] else asked.of_reference()
            report = Report(found, reruns, report, further.command(trials=2 * asked.trials))
            report.write()
            _finish(report, store, log)
    if report is None:
        return DONE
    print(summary(report))  # noqa: T201 - the end of the command
    failed = [r for of in report.both for r in of.reruns if r.error]
    return FAILED if failed else DONE


def _search(study: Study, trials: int, store: Store, log: logging.Logger) -> Found:
    from runs.search import search

    searched = "; ".join(f"{name} {r}" for name, r in study.space.items()) or "nothing to search"
    log.info("study of %s in %s: %s", study.name, study.path, searched)
    return search(study, trials, store, log)


def _rerun(found: Found, asked: Asked, data: Data, log: logging.Logger) -> Iterator[Rerun]:
    """The chosen trials as ordinary runs with new seeds; each reads the test patients once."""
    from benchmarks.study_report import Rerun
    from runs.pipeline import execute
    from runs.search import clock

    study, started = found.study, time.perf_counter()
    wanted = [(choice, seed) for choice in found.chosen for seed in asked.seeds]
    for number, (choice, seed) in enumerate(wanted, start=1):
        request = replace(
            asked.request,
            method=study.name,
            set={**study.fixed, **choice.trial.fields},
            seed=seed,
        )
        prepared = data.prepared(resolve(request))
        directory = prepared.directory
        done = directory.finished and directory.record().logged
        elapsed = time.perf_counter() - started
        left = elapsed / max(1, number - 1) * (len(wanted) - number + 1)
        log.info(
            "test run %d of %d: %s trial %d with seed %d%s%s",
            number, len(wanted), study.name, choice.trial.number, seed,
            " (already done)" if done else "",
            f"  ({clock(elapsed)} so far, about {clock(left)} left)" if number > 1 else "",
        )  # fmt: skip
        error = ""
        try:
            if not done:
                execute(prepared, log)
        except Exception as raised:  # noqa: BLE001 - recorded by the run itself; others go on
            error = " ".join(str(raised).split()) or type(raised).__name__
            log.warning("failed: %s", error)
            if directory.exists():
                # As the run recorded it: without ids of patients or images.
                error = directory.record().error or "see its run.log"
        yield Rerun(choice, seed, directory, error)


def _finish(report: Report, store: Store, log: logging.Logger) -> None:
    """Close the parent run, with the best value of each objective and the files of the report."""
    from tracking.store import StoreError

    found = report.found
    metrics = {"trials": float(len(found.complete))}
    for column, goal in enumerate(found.study.goals):
        values = [trial.values[column] for trial in found.complete]
        metrics[f"val/best/{goal.name}"] = min(values, key=goal.cost)
    try:
        store.finish(found.run_id, metrics, report.files, found.study.path)
    except StoreError as error:
        log.warning("the study is complete, but was not logged whole: %s", error)


def _alone(study: Study, log: logging.Logger) -> AbstractContextManager[None]:
    """One process works on a study; a second one waits, and then finds the trials done."""
    from methods.shared import alone

    told = f"another process works on this study of {study.name}; waiting for it"
    return alone(study.locked(), told, log)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
