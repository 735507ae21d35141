"""From a suite to its runs: every name resolved, every key known, before anything starts."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.suites.base import JOIN, Arm, Data, Suite, fields_of, options_of
from registry import DATASETS, ROOT, UnknownName, load_plugins, unknown

if TYPE_CHECKING:
    from runs.plan import Plan
    from tracking.rundir import RunDirectory


@dataclass(frozen=True)
class Choice:
    """What the command line says of how a suite is run; empty means what the suite says."""

    budget: str = ""
    seeds: tuple[int, ...] = ()
    only: str = ""
    """Pattern of labels or methods."""
    output: str = ""
    tracking_uri: str = ""
    experiment: str = ""
    """Empty means the suite's name."""
    data_roots: Mapping[str, str] = field(default_factory=dict)
    """Directories by data set; that of "" is for all that are not named."""
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planned:
    """One run of a suite, resolved."""

    arm: Arm
    data: Data
    plan: Plan
    first: bool
    """Whether it is the first seed of its arm, which fits what the others share."""
    choice: Choice

    @property
    def name(self) -> str:
        """What it is called in the progress."""
        return f"{self.arm.name}, seed {self.plan.seed}"

    @property
    def cost(self) -> float:
        """Expected time, in runs of ERM."""
        return self.arm.cost + self.first * self.arm.shared_cost

    def command(self) -> list[str]:
        """The words of the command that runs it, without a password."""
        from tracking.store import without_password

        words = shlex.split(self.plan.command())
        if self.choice.output:
            words += ["--output", str(self.plan.output)]
        if self.choice.tracking_uri:
            words += ["--tracking-uri", without_password(self.choice.tracking_uri)]
        return words

    def executed(self) -> list[str]:
        """The same for this interpreter and from any directory.

        The tracking store goes by the environment: its address may hold a password, and commands
        can be read by everybody on the machine.
        """
        words = replace(self, choice=replace(self.choice, tracking_uri="")).command()
        return [sys.executable, str(ROOT / "runner.py"), *words[2:]]


@dataclass(frozen=True)
class Known:
    """A planned run with its key: what is known of it before it starts."""

    planned: Planned
    directory: RunDirectory | None
    """Where its results are or will be; None if it cannot run."""
    done: bool = False
    skipped: str = ""
    """Why the method cannot run on this task; empty if it can."""


def expand(suite: Suite, choice: Choice) -> list[Planned]:
    """All runs, in the order in which they start.

    The first seed of every arm goes before any second one: two seeds started side by side would
    both wait for the one generator or attacker that they share. Within a seed, what takes longest
    goes first, so that short runs fill the other worker at the end.

    Raises:
        UnknownName, ValueError, FileNotFoundError: a name or value is wrong; the message says of
            which arm.
    """
    load_plugins(plugins := (*suite.plugins, *choice.plugins))
    budget = suite.budget(choice.budget)
    seeds = choice.seeds or suite.seeds_of(budget)
    arms = suite.matching(choice.only) if choice.only else suite.arms
    _check_names(suite, arms, choice)
    runs = [
        Planned(arm, data, _resolved(suite, arm, data, seed, choice, plugins), not place, choice)
        for data in suite.datasets
        for arm in arms
        for place, seed in enumerate(seeds)
    ]
    _check_distinct(runs)
    turn = {seed: place for place, seed in enumerate(seeds)}
    return sorted(runs, key=lambda run: (turn[run.plan.seed], -run.cost))


def look(
    runs: list[Planned], progress: Callable[[str], Callable[[int, int], None]] | None = None
) -> list[Known]:
    """What is known of each run: its key, whether it is done, whether it cannot run.

    Data is loaded and decoded once for all runs that share it. `progress` makes the function that
    is told of images done and images in all.

    Raises:
        ValueError, FileNotFoundError, UnknownName: the data breaks a rule; nothing was stored.
    """
    from methods.fit import Incompatible
    from runs.preparation import Loaded, load_data, load_table, prepare_run, same_data

    loaded: dict[tuple[object, ...], Loaded] = {}
    known = []
    for run in runs:
        plan = run.plan
        shared = same_data(plan)
        if shared not in loaded:
            size = plan.method.image_size
            tell = progress(f"preparing {run.data.name} at {size} px") if progress else None
            loaded[shared] = load_data(plan, load_table(plan), tell)
        try:
            directory = prepare_run(plan, loaded=loaded[shared]).directory
        except Incompatible as reason:
            known.append(Known(run, None, skipped=str(reason)))
        else:
            done = directory.finished and directory.record().logged
            known.append(Known(run, directory, done=done))
    return known


def _resolved(
    suite: Suite, arm: Arm, data: Data, seed: int, choice: Choice, plugins: tuple[str, ...]
) -> Plan:
    from methods.compose import method_class
    from runs.plan import resolve
    from runs.request import Request

    budget = suite.budget(choice.budget)
    smallest = dict(method_class(arm.method).smallest) if budget.smallest else {}
    roots, names = choice.data_roots, data_sets_of(data)
    root = roots.get(data.name) or (roots.get("") if _needs_root(data) else "") or data.root
    request = Request(
        method=arm.method,
        set=smallest | fields_of(arm, budget),
        dataset=data.name,
        data=options_of(data, budget),
        data_root=root,
        data_roots={n: d for n, d in roots.items() if n in names and n != data.name},
        test_datasets=data.test_datasets,
        seed=seed,
        split=data.split,
        folds=data.folds,
        limit_patients=data.limit_patients,
        findings=data.findings,
        attributes=data.attributes,
        on_bad_image=data.on_bad_image,
        experiment=choice.experiment or suite.name,
        tracking_uri=choice.tracking_uri,
        output=choice.output,
        plugins=plugins,
    )
    try:
        return resolve(request)
    except UnknownName as error:
        raise UnknownName(f"arm {arm.name!r} of suite {suite.name!r}: {error}") from error
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"arm {arm.name!r} of suite {suite.name!r}: {error}") from error


def data_sets_of(data: Data) -> tuple[str, ...]:
    """The names of all data sets that a run on `data` reads, unions taken apart."""
    asked = (data.name, *data.test_datasets)
    return tuple(part.strip() for name in asked for part in name.split(JOIN))


def _needs_root(data: Data) -> bool:
    return any(DATASETS.get(name).needs_root for name in data_sets_of(data))


def _check_names(suite: Suite, arms: tuple[Arm, ...], choice: Choice) -> None:
    """Refuse unknown names before anything slow is imported for them."""
    from registry import METHODS

    for arm in arms:
        for part in arm.method.split("+"):
            if part.strip() not in METHODS.names():
                raise UnknownName(
                    f"arm {arm.name!r} of suite {suite.name!r}: "
                    f"{unknown('method', part.strip(), METHODS.names())}"
                )
    names = [name for data in suite.datasets for name in data_sets_of(data)]
    for name in names:
        if name not in DATASETS.names():
            raise unknown("data set", name, DATASETS.names())
    for name in choice.data_roots:
        if name and name not in names:
            raise unknown(f"data set of suite {suite.name}", name, names)


def _check_distinct(runs: list[Planned]) -> None:
    seen: dict[str, Planned] = {}
    for run in runs:
        identity = repr(run.plan.identity())
        if identity in seen:
            raise ValueError(
                f"each arm must be another run, but {seen[identity].arm.name!r} and "
                f"{run.arm.name!r} have the same fields on {run.data.name!r}"
            )
        seen[identity] = run


def folder_of(suite: Suite, output: Path) -> Path:
    """Where the logs and the table of a suite's runs lie."""
    return output / "suites" / suite.name
