"""What a study leaves to be read: every trial as CSV, a picture of the front, and a page."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import pandas as pd

import options
from metrics.score import MACRO
from registry import ROOT
from runs.goals import Goal
from runs.study import Choice, Found, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tracking.rundir import RunDirectory

TRIALS, FRONT, PAGE = "trials.csv", "front.png", "study.md"
BETTER = {
    "higher": "higher is better",
    "lower": "lower is better",
    "zero": "closer to zero is better",
}
INK, FAINT = "#1a1a1a", "#8a8a8a"


@dataclass(frozen=True)
class Rerun:
    """A chosen trial as an ordinary run with a new seed; `error` says why it has no scores."""

    choice: Choice
    seed: int
    directory: RunDirectory
    error: str = ""


@dataclass(frozen=True)
class Report:
    """A finished study beside that of ERM, which is None where the method is ERM."""

    found: Found
    reruns: tuple[Rerun, ...]
    reference: Report | None
    further: str
    """The command that adds trials."""

    @property
    def both(self) -> tuple[Report, ...]:
        """This report, and that of ERM."""
        return (self,) if self.reference is None else (self, self.reference)

    @property
    def path(self) -> Path:
        """The directory of the study."""
        return self.found.study.path

    @property
    def files(self) -> tuple[Path, ...]:
        """What is written, none of it with a row per patient or image."""
        return tuple(self.path / name for name in (TRIALS, FRONT, PAGE))

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The objectives, the same for both methods."""
        return self.found.study.goals

    @property
    def simulated(self) -> bool:
        """Whether the patients are simulated."""
        return self.found.study.prepared.plan.dataset.kind == "simulated"

    def write(self) -> None:
        """Write all files; each appears whole."""
        table = pd.concat([_table(of.found) for of in self.both], ignore_index=True)
        _write(self.path / TRIALS, table.to_csv(index=False, lineterminator="\n").encode())
        draw(self, self.path / FRONT)
        _write(self.path / PAGE, page(self).encode())

    @cached_property
    def tested(self) -> pd.DataFrame:
        """The leaderboard's aggregated numbers over the re-runs alone, with their intervals.

        Made by the leaderboard itself, in a directory that holds nothing but these runs.
        """
        runs = self.path / "runs"
        rmtree(runs, ignore_errors=True)
        scored = [r for of in self.both for r in of.reruns if not r.error]
        if not scored:
            return pd.DataFrame()
        for rerun in scored:
            real = rerun.directory.path
            link = runs / real.parent.parent.name / real.parent.name / real.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(real, link.parent))
        out = self.path / "leaderboard"
        words = [sys.executable, "-m", "leaderboard", "--output", str(runs), "--out", str(out)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the leaderboard of the study failed: {done.stderr.strip()}")
        table = pd.read_csv(out / "leaderboard.csv", keep_default_na=False, na_values=[""])
        text = ["method", "method_variant", "attribute", "group", "note", "of"]
        return table.assign(**{c: table[c].fillna("").astype(str) for c in text})


def page(report: Report) -> str:
    """The page as Markdown."""
    found, plan = report.found, report.found.study.prepared.plan
    seeds = sorted({r.seed for r in report.reruns})
    lines = [f"# Study of {found.study.name} on {plan.dataset.registered_name}", ""]
    if report.simulated:
        lines += ["**SIMULATED data: nothing about real groups follows from these numbers.**", ""]
    lines += [*_how(report), "", f"![the trials and their front]({FRONT})", ""]
    lines += ["## Chosen on validation patients", "", *_validation(report), ""]
    lines += [
        "These values flatter: the trials were chosen by them, and the thresholds were fitted on "
        "the same patients. The intervals are over validation patients.",
        "",
        "## On test patients, read once",
        "",
        *_test(report),
        "",
        f"Mean over new seeds ({', '.join(map(str, seeds))}); 95 % intervals over patients and "
        "seeds. All rows have the same test patients, so two intervals may overlap and still "
        "differ: the difference from ERM, patient by patient, is in `leaderboard/index.html`.",
        "",
    ]
    if notes := list(_failures(report)):
        lines += ["## What failed", "", *notes, ""]
    lines += ["## Next", "", "```", f"{report.further}   # twice the trials"]
    lines += [f"python -m leaderboard --output {plan.output}", "```"]
    return "\n".join(lines) + "\n"


def summary(report: Report) -> str:
    """The end of a study on the terminal."""
    lines = [""]
    if report.simulated:
        lines.append("SIMULATED data: no sentence about real groups follows from these numbers")
    lines += [*_test(report), ""]
    lines += [f"report       {report.path / PAGE}", f"picture      {report.path / FRONT}"]
    lines += [f"leaderboard  {report.path / 'leaderboard' / 'index.html'}"]
    failed = [r for of in report.both for r in of.reruns if r.error]
    if failed:
        lines.append(f"failed       {len(failed)} test runs; the same command tries them again")
    lines.append(f"next         {report.further}")
    return "\n".join(lines)


def _how(report: Report) -> Iterator[str]:
    """What was searched, how much, and by which rule something was chosen."""
    study = report.found.study
    plan = study.prepared.plan
    val = study.prepared.folds[0].val
    objectives = "; ".join(f"{g.words}, {BETTER[g.direction]}" for g in report.goals)
    yield f"- Objectives: {objectives}."
    yield f"  Recorded labels, {len(val)} images of {len(val.patients)} validation patients;"
    yield f"  {'; '.join(_averaged(report))}. No test label was within reach of a trial."
    for of in report.both:
        name, found = of.found.study.name, of.found
        searched = "; ".join(f"`{k}` {r}" for k, r in found.study.space.items()) or "nothing"
        yield f"- {name}: {len(found.complete)} complete trials over {searched}"
        beside = []
        if failed := len(found.trials) - len(found.complete):
            beside.append(f"{failed} failed")
        if found.cut_off:
            beside.append(f"{found.cut_off} cut off and made again")
        yield f"  ({', '.join([*beside, _spent(found)])})."
    fixed = options.non_defaults(plan.method, leave_out=study.space)
    yield f"- Fixed: {', '.join(f'`{f}`' for f in fixed) or 'nothing beside the defaults'}."
    yield "- Trial 0 takes the defaults of the searched fields. All trials have the study's seed,"
    yield f"  {plan.seed}, so they differ by fields alone."
    yield "- Sampler: TPE, multivariate, seeded by the study's seed and the number of the trial, so"
    yield "  a study that was cut off proposes what an uninterrupted one does."
    if study.select:
        yield f"- Chosen is the best trial by the strategy {study.select}, as an epoch is chosen"
        yield "  (`python runner.py --list selection`). The front is shown, and chose nothing."
        return
    yield "- Chosen are at most three trials that no other betters in every objective: the knee"
    yield "  (nearest to the best of all, each objective scaled over the front; of three or more),"
    yield "  then the best of each objective in their order."


def _averaged(report: Report) -> Iterator[str]:
    """What each objective is a mean of, as the first trial notes it."""
    first = report.found.complete[0]
    for goal, remark in zip(report.goals, first.remarks, strict=True):
        yield f"{goal.name}: {remark.split(';')[0]}"


def _validation(report: Report) -> Iterator[str]:
    yield _row(["trial", "chosen as", "fields", *(g.words for g in report.goals)])
    yield _row(["---"] * (3 + len(report.goals)))
    for of in report.both:
        name = of.found.study.name
        for choice in of.found.chosen:
            yield _row([f"{name} {choice.trial.number}", choice.why, *_measured(of, choice.trial)])
        first = of.found.complete[0]
        if first.number == 0 and first not in [c.trial for c in of.found.chosen]:
            yield _row([f"{name} 0", "not chosen: the defaults", *_measured(of, first)])


def _measured(report: Report, trial: Trial) -> Iterator[str]:
    yield " ".join(f"{k}={v}" for k, v in trial.fields.items()) or "defaults"
    for goal, *number in zip(report.goals, trial.values, trial.low, trial.high, strict=True):
        yield _told(goal, *number)


def _test(report: Report) -> Iterator[str]:
    table = report.tested
    if table.empty:
        yield "No test run was scored."
        return
    kinds = [k for k in ("recorded", "true") if (table["labels"] == k).any()]
    heads = [f"{g.words}, {k} labels" for g in report.goals for k in kinds]
    yield _row(["method", "chosen as", *heads])
    yield _row(["---"] * (2 + len(heads)))
    for of in report.both:
        for choice in of.found.chosen:
            scored = [r for r in of.reruns if r.choice == choice and not r.error]
            name = f"{of.found.study.name} {choice.trial.number}"
            if not scored:
                yield _row([name, choice.why, *["failed"] * len(heads)])
                continue
            variant = scored[0].directory.record().method_variant
            own = (table["method"] == of.found.study.name) & (table["method_variant"] == variant)
            cells = [_cell(table[own], g, k) for g in report.goals for k in kinds]
            yield _row([name, choice.why, *cells])


def _cell(table: pd.DataFrame, goal: Goal, labels: str) -> str:
    named = (MACRO, goal.metric, goal.attribute, goal.group, labels)
    columns = ("finding", "metric", "attribute", "group", "labels")
    held = pd.Series(True, index=table.index)
    for column, value in zip(columns, named, strict=True):
        held &= table[column] == value
    (row,) = table[held].to_dict("records") or [{"value": math.nan, "note": "no such score"}]
    if pd.isna(row["value"]):
        return f"n/a ({row['note']})"
    few = re.search(r"mean over (\d+) of (\d+) findings", str(row["note"]))
    part = f" ({few[1]} of {few[2]} findings)" if few and few[1] != few[2] else ""
    return _told(goal, row["value"], row["low"], row["high"]) + part


def _told(goal: Goal, value: float, low: float, high: float) -> str:
    signed = "+" if goal.direction == "zero" else ""
    interval = "" if math.isnan(low) else f" [{low:{signed}.3f}, {high:{signed}.3f}]"
    return f"{value:{signed}.3f}{interval}"


def _failures(report: Report) -> Iterator[str]:
    for of in report.both:
        name = of.found.study.name
        for trial in of.found.trials:
            if trial.failed:
                fields = " ".join(f"{k}={v}" for k, v in trial.fields.items())
                yield f"- {name} trial {trial.number} ({fields}): {trial.note}"
        for rerun in of.reruns:
            if rerun.error:
                yield f"- {name} {rerun.choice.trial.number}, seed {rerun.seed}: {rerun.error}"


def _spent(found: Found) -> str:
    from runs.search import clock

    return clock(sum(t.seconds for t in found.trials))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _table(found: Found) -> pd.DataFrame:
    """Every trial that ended by itself, one row each, failed ones with their note."""
    chosen = {c.trial.number: c.why for c in found.chosen}
    on_front = {t.number for t in found.front}
    strategies = dict.fromkeys(n for t in found.complete for n in (*t.selection, *t.undefined))
    rows: list[dict[str, Any]] = []
    for trial in found.trials:
        row: dict[str, Any] = {"method": found.study.name, "trial": trial.number}
        row |= {f"field:{name}": value for name, value in trial.fields.items()}
        for column, goal in enumerate(found.study.goals):
            for bound, held in (("", trial.values), ("/low", trial.low), ("/high", trial.high)):
                row[f"val:{goal.name}{bound}"] = held[column] if held else math.nan
        row |= {f"select:{n}": trial.selection.get(n, math.nan) for n in strategies}
        row["front"] = trial.number in on_front
        row["chosen"] = chosen.get(trial.number, "")
        row["seconds"], row["note"] = trial.seconds, trial.note
        rows.append(row)
    return pd.DataFrame(rows)


def draw(report: Report, file: Path) -> None:
    """The trials of both methods on validation and their fronts, told apart without colour."""
    from matplotlib.figure import Figure

    pairs = [(0, column) for column in range(1, len(report.goals))] or [(0, -1)]
    figure = Figure(figsize=(6.4 * len(pairs), 4.8), layout="constrained")
    for axes, (down, across) in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs,
                                    strict=True):  # fmt: skip
        for of in reversed(report.both):
            _trials(axes, of, down, across)
        axes.set_ylabel(_axis(report.goals[down]))
        axes.set_xlabel("trial" if across < 0 else _axis(report.goals[across]))
        axes.grid(lw=0.4, color="0.88")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(0.09)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2,
                  frameon=False, fontsize=8)  # fmt: skip
    simulated = "SIMULATED · " if report.simulated else ""
    plan = report.found.study.prepared.plan
    figure.suptitle(
        f"{simulated}study of {report.found.study.name} on {plan.dataset.registered_name}, "
        f"seed {plan.seed}: validation patients",
        fontsize=10,
    )
    partial = file.with_suffix(".partial")
    figure.savefig(partial, format="png", dpi=130, metadata={"Software": None})
    partial.replace(file)


def _trials(axes: Axes, report: Report, down: int, across: int) -> None:
    """One method's trials as points, its front as a line, what was chosen with its number."""
    found, goals = report.found, report.goals
    filled = report.reference is not None or found.study.name != "erm"
    marker, face, line = ("o", INK, "-") if filled else ("s", "white", "--")

    def at(trial: Trial) -> tuple[float, float]:
        x = trial.number if across < 0 else _shown(goals[across], trial.values[across])
        return x, _shown(goals[down], trial.values[down])

    points = [at(t) for t in found.complete]
    axes.plot(*zip(*points, strict=True), marker, ms=5, mfc=face, mec=INK, mew=1, ls="none",
              label=f"{found.study.name}, {len(points)} trials", zorder=3)  # fmt: skip
    if across < 0:
        best = [min((t.values[down] for t in found.complete[: i + 1]), key=goals[down].cost)
                for i in range(len(points))]  # fmt: skip
        axes.step([p[0] for p in points], [_shown(goals[down], b) for b in best], where="post",
                  ls=line, color=FAINT, lw=1.2,
                  label=f"{found.study.name}, best so far")  # fmt: skip
    else:
        axes.plot(*zip(*sorted(at(t) for t in found.front), strict=True), ls=line, color=FAINT,
                  lw=1.2, label=f"{found.study.name}, the front", zorder=1)  # fmt: skip
    named = {choice.trial.number: str(choice.trial.number) for choice in found.chosen}
    for choice in found.chosen:
        axes.plot(*at(choice.trial), marker, ms=11, mfc="none", mec=INK, mew=0.9, zorder=2)
    if found.complete[0].number == 0:
        named[0] = "0 (defaults)"
    for trial in found.complete:
        axes.annotate(named.get(trial.number, ""), at(trial), (7, 6),
                      textcoords="offset points", fontsize=8)  # fmt: skip


def _shown(goal: Goal, value: float) -> float:
    return abs(value) if goal.direction == "zero" else value


def _axis(goal: Goal) -> str:
    name = f"|{goal.words}|" if goal.direction == "zero" else goal.words
    return f"{name}, {BETTER[goal.direction]}"


def _write(path: Path, content: bytes) -> None:
    partial = path.with_suffix(f"{path.suffix}.partial")
    partial.write_bytes(content)
    partial.replace(path)
