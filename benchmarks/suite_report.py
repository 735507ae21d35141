"""What the terminal shows of suites: the list, the runs, the outcome and what to type next."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import options
from benchmarks.launch import FAILED, SKIPPED, STATES, Outcome
from benchmarks.suites.base import Suite, load
from registry import SUITES

if TYPE_CHECKING:
    from benchmarks.expand import Choice, Known


def listing() -> str:
    """A line per suite: name, runs of each budget, description."""
    rows = []
    for name in SUITES.names():
        suite = load(name)
        arms = len(suite.arms) * len(suite.datasets)
        runs = ", ".join(
            f"{arms * len(suite.seeds_of(budget))} runs ({title})"
            for title, budget in suite.budgets.items()
        )
        rows.append((name, runs, suite.description))
    widths = [max((len(row[k]) for row in rows), default=0) for k in (0, 1)]
    return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows)


def heading(suite: Suite, choice: Choice, known: Sequence[Known]) -> str:
    """What the suite is and how many of its runs are left."""
    arms = {k.planned.arm.name for k in known}
    datasets = dict.fromkeys(k.planned.data.name for k in known)
    seeds = sorted({k.planned.plan.seed for k in known})
    done, skipped = sum(k.done for k in known), sum(bool(k.skipped) for k in known)
    return (
        f"{suite.name}, budget {suite.budget_name(choice.budget)}: {suite.description}\n"
        f"{len(known)} runs: {len(arms)} arms on {', '.join(datasets)}, "
        f"seeds {', '.join(map(str, seeds))}\n"
        f"{done} already done, {skipped} cannot run, {len(known) - done - skipped} to do"
    )


def line(known: Known) -> str:
    """The command of a run, and whether it is done."""
    if known.skipped:
        return f"  cannot run    {known.skipped}"
    state = "already done" if known.done else "to do"
    return f"  {state:<12}  {shlex.join(known.planned.command())}"


def shown(suite: Suite, choice: Choice, known: Sequence[Known]) -> str:
    """Every run of a suite as a command, with all fields of each arm and data set once."""
    lines = [heading(suite, choice, known)]
    plans = {k.planned.data.name: k.planned.plan for k in known}
    for name, plan in plans.items():
        lines += ["", f"data set {name}", _paragraph(options.plain(plan.dataset).items())]
    arms: dict[tuple[str, str], list[Known]] = {}
    for k in known:
        arms.setdefault((k.planned.data.name, k.planned.arm.name), []).append(k)
    for (data, arm), its in arms.items():
        method = its[0].planned.plan.method
        lines += ["", f"{arm} on {data}", _paragraph(options.plain(method).items())]
        lines += [line(k) for k in its]
    return "\n".join(lines)


def summary(outcomes: Sequence[Outcome]) -> str:
    """A line per data set and arm: runs by what became of them, and minutes; then the reasons."""
    arms: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        arms.setdefault((outcome.dataset, outcome.arm), []).append(outcome)
    width = max((len(name) for pair in arms for name in pair), default=0)
    lines, dataset = [], ""
    for data, arm in sorted(arms, key=lambda pair: pair[0]):
        its = arms[data, arm]
        if data != dataset:
            dataset = data
            lines.append(f"{data:<{width}}" + "".join(f"  {s:>12}" for s in (*STATES, "minutes")))
        counts = [sum(o.state == state for o in its) for state in STATES]
        minutes = sum(o.seconds for o in its) / 60
        cells = "".join(f"  {count or '-':>12}" for count in counts)
        lines.append(f"{arm:<{width}}{cells}  {minutes:>12.1f}")
    for state in (FAILED, SKIPPED):
        told = {(o.arm, o.dataset, o.told) for o in outcomes if o.state == state}
        lines += [f"{state}: {arm} on {data}: {reason}" for arm, data, reason in sorted(told)]
    return "\n".join(lines)


def next_steps(choice: Choice, known: Sequence[Known], outcomes: Sequence[Outcome]) -> str:
    """The commands that show the results."""
    from tracking.store import without_password

    plan = known[0].planned.plan
    output = f" --output {shlex.quote(choice.output)}" if choice.output else ""
    made_for = {
        k.directory.record().experiment for k in known if k.directory and k.directory.finished
    }
    # Runs that were done before, by hand, stay in the experiment that they were made for.
    whole = made_for <= {plan.experiment}
    only = f" --experiment {shlex.quote(plan.experiment)}" if whole else ""
    lines = [
        f"next  python -m leaderboard{output}{only}",
        f"      mlflow ui --backend-store-uri {without_password(plan.tracking_uri)}",
    ]
    if any(o.state == FAILED for o in outcomes):
        lines.append("      the same command tries the failed runs again")
    return "\n".join(lines)


def _paragraph(fields: Iterable[tuple[str, object]]) -> str:
    words = " ".join(f"{name}={value if value != '' else repr('')}" for name, value in fields)
    return textwrap.fill(
        words, 100, initial_indent="    ", subsequent_indent="    ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
