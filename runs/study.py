"""A study: the fields of a method that are searched, for what, and what was found."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import BaseFileLock, FileLock

import options
from methods.base import Method
from methods.compose import method_class
from methods.selection.base import Strategy
from methods.selection.order import Measured
from runs.goals import Goal
from runs.preparation import Prepared

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

STARTUP = 6
"""Trials that are drawn at random before the sampler learns: half of a study of twelve. Optuna's
own default of 10 would leave such a study next to no search."""
DIGITS = 3
"""Significant digits of a searched number: enough to tell, few enough to be read and typed."""
MOST_CHOSEN = 3
SHARED = "image_size"
"""All trials look at the same decoded images, and averages run over the same findings."""


@dataclass(frozen=True)
class Range:
    """What a study may give to one field: `low` to `high`, or one of `choices`.

    Whole numbers where `default` is one. `default` is what the first trial takes.
    """

    default: Any
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    choices: tuple[Any, ...] = ()

    def distribution(self) -> BaseDistribution:
        """As Optuna has it; choices by their text, since a tuple would come back as a list."""
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        if self.choices:
            return CategoricalDistribution([str(c) for c in self.choices])
        if isinstance(self.default, int):
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def parameter(self) -> Any:
        """The default as a value of the distribution."""
        return str(self.default) if self.choices else self.default

    def value(self, parameter: Any) -> Any:
        """The field's value for a drawn parameter; fractions keep three significant digits."""
        if self.choices:
            return next(c for c in self.choices if str(c) == parameter)
        if isinstance(self.default, int) or parameter == self.default:
            return parameter
        return min(max(float(f"{parameter:.{DIGITS}g}"), self.low), self.high)

    def __str__(self) -> str:
        if self.choices:
            return ", ".join(map(str, self.choices))
        return f"{self.low:g} to {self.high:g}{' (log)' if self.log else ''}"


def search_space(cls: type[Method], fixed: Mapping[str, Any]) -> dict[str, Range]:
    """The tunable fields of a method that are not fixed.

    Raises:
        ValueError: the size of images is among them.
    """
    space = {
        f.name: Range(default=f.default, **f.metadata["tunable"])
        for f in dataclasses.fields(cls)
        if "tunable" in f.metadata and f.name not in fixed
    }
    if SHARED in space:
        raise ValueError(
            f"{SHARED} must be the same in all trials, but {cls.registered_name!r} lets it be "
            f"searched; fix it with --set {SHARED}={space[SHARED].default}"
        )
    return space


@dataclass(frozen=True)
class Study:
    """What is searched, for what, and on which data. The number of trials is no part of it."""

    prepared: Prepared
    """The plan with the defaults of the searched fields; trials take labels away themselves."""
    fixed: Mapping[str, Any]
    space: Mapping[str, Range]
    goals: tuple[Goal, ...]
    select: str = ""
    """The strategy of selection by which one trial is chosen; empty: by the front of the goals. No
    part of the key, since every strategy has judged every trial."""

    @property
    def name(self) -> str:
        """The method's name."""
        return self.prepared.plan.method.registered_name

    @property
    def key(self) -> str:
        """A hash of all that can change a trial."""
        prepared = self.prepared
        said = {
            "plan": prepared.plan.identity(),
            "space": {name: dataclasses.asdict(r) for name, r in self.space.items()},
            "goals": [g.words for g in self.goals],
            "digests": [prepared.data_digest, prepared.split_digest, prepared.source_digest],
            "sampler": ["tpe", STARTUP, DIGITS],
        }
        return short_hash(said)

    @property
    def path(self) -> Path:
        """Its directory."""
        return self.prepared.plan.output / "studies" / self.key

    def locked(self) -> BaseFileLock:
        """A lock on the study, for one process at a time."""
        folder = self.path.parent / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{self.key}.lock")

    def method(self, fields: Mapping[str, Any]) -> Method:
        """The method with the fields of a trial."""
        given = {**self.fixed, **fields}
        return options.build(method_class(self.name), given, flag="--set", owner=self.name)


@dataclass(frozen=True)
class Trial:
    """One told trial. `values` are as measured on validation, one per goal, with the bounds of
    their 95 % patient intervals and what the score notes; all are empty where `note` says why the
    trial failed. `selection` is what each strategy of selection made of it, and `undefined` why the
    others made nothing of it."""

    number: int
    fields: Mapping[str, Any]
    values: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0
    note: str = ""
    selection: Mapping[str, float] = field(default_factory=dict)
    undefined: Mapping[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether it has no values."""
        return bool(self.note)


@dataclass(frozen=True)
class Choice:
    """A trial that is to be run again, and why."""

    trial: Trial
    why: str


@dataclass(frozen=True)
class Found:
    """A study at its end: trials up to the last that counts, and which of them were chosen."""

    study: Study
    trials: tuple[Trial, ...]
    cut_off: int
    """Attempts that were killed and made again."""
    run_id: str
    """The parent run in MLflow."""

    @property
    def complete(self) -> tuple[Trial, ...]:
        """The trials that have values."""
        return tuple(t for t in self.trials if not t.failed)

    @property
    def front(self) -> tuple[Trial, ...]:
        """The trials that no other betters in every objective."""
        return tuple(self.complete[i] for i in front(_costs(self.complete, self.study.goals)))

    @property
    def chosen(self) -> tuple[Choice, ...]:
        """What is run again with new seeds."""
        if self.study.select:
            return choose_by(self.study.select, self.complete)
        return choose(self.complete, self.study.goals)


def front(costs: np.ndarray) -> list[int]:
    """Rows of `costs` `(n, goals)` that no other row betters: none is at most as costly in every
    goal and less costly in one. Of equal rows the first stands for all."""
    kept = []
    for i, row in enumerate(costs):
        better = (costs <= row).all(axis=1) & (costs < row).any(axis=1)
        same_before = (costs[:i] == row).all(axis=1)
        if not better.any() and not same_before.any():
            kept.append(i)
    return kept


def choose(complete: Sequence[Trial], goals: Sequence[Goal]) -> tuple[Choice, ...]:
    """At most three trials of the front, by a rule that looks at validation alone.

    First the knee: of at least three on the front, the one nearest to the best value of every goal,
    each goal scaled to 0 … 1 over the front. Then the best of each goal in the order given; where
    several are equally good, the nearest.
    """
    costs = _costs(complete, goals)
    rows = front(costs)
    if not rows:
        return ()
    held = costs[rows]
    spread = np.ptp(held, axis=0)
    scaled = (held - held.min(axis=0)) / np.where(spread > 0, spread, 1)
    distance = np.linalg.norm(scaled, axis=1)
    picks = [("knee", int(distance.argmin()))] if len(rows) > 2 and len(goals) > 1 else []
    for column, goal in enumerate(goals):
        picks.append((f"best {goal.name}", int(np.lexsort((distance, held[:, column]))[0])))
    wanted = list(dict.fromkeys(row for _, row in picks))[:MOST_CHOSEN]
    return tuple(
        Choice(complete[rows[row]], ", ".join(why for why, r in picks if r == row))
        for row in sorted(wanted)
    )


def choose_by(name: str, complete: Sequence[Trial]) -> tuple[Choice, ...]:
    """The one trial that a strategy of selection chooses, by the rule that chooses epochs.

    Raises:
        ValueError: no trial was judged by this strategy.
    """
    if not complete:
        return ()
    if not any(name in (*t.selection, *t.undefined) for t in complete):
        raise ValueError(
            f"--select must name a strategy that judged the trials, but {name!r} came later than "
            "they did; give the study another --seed"
        )
    measured = [
        Measured(*(t.selection.get(n, math.nan) for n in (name, "macro_auc", "loss")))
        for t in complete
    ]
    trial = complete[Strategy.named(name).order.chosen(measured)]
    if name in trial.selection:
        return (Choice(trial, f"best by {name}"),)
    why = trial.undefined.get(name, "it was not judged by it")
    instead = "macro_auc" if "macro_auc" in trial.selection else "loss"
    return (Choice(trial, f"best by {instead}, since {name} has no value: {why}"),)


def _costs(trials: Sequence[Trial], goals: Sequence[Goal]) -> np.ndarray:
    costs = [[g.cost(v) for g, v in zip(goals, t.values, strict=True)] for t in trials]
    return np.array(costs, np.float64).reshape(len(trials), len(goals))


def short_hash(thing: Any) -> str:
    """Sixteen digits that name plain values."""
    text = json.dumps(thing, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
