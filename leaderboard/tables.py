"""The tables of the page as text cells, the same for HTML and Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from leaderboard.aggregate import Estimate
from leaderboard.board import Contrast, Entrant, Section
from leaderboard.numbers import count, decimal, duration, interval, pair, undefined
from registry import METRICS

BETTER = {
    "higher": "↑ higher is better",
    "lower": "↓ lower is better",
    "zero": "→0← closer to zero is better",
}
LABELS = {"true": "true labels", "recorded": "recorded labels"}
REID = (("image_reid_auc", "images"), ("embedding_reid_auc", "embeddings"))


@dataclass(frozen=True)
class Cell:
    """A cell: its text, lines of small type beneath, what the pointer shows, rows covered."""

    text: str
    small: tuple[str, ...] = ()
    title: str = ""
    span: int = 1


@dataclass(frozen=True)
class Column:
    """A column under a group heading; `better` says which direction is better."""

    title: str
    group: str = ""
    better: str = ""


@dataclass(frozen=True)
class Row:
    """A row; a cell is None where the row above covers it. `headline` rows carry the weight."""

    cells: tuple[Cell | None, ...]
    headline: bool = True


@dataclass(frozen=True)
class Table:
    """A table; the first column names the row."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def groups(self) -> tuple[tuple[str, str, int], ...]:
        """Neighbouring columns of one group: (group, better, how many)."""
        merged: list[tuple[str, str, int]] = []
        for column in self.columns:
            head = (column.group, column.better)
            if merged and merged[-1][:2] == head and column.group:
                merged[-1] = (*head, merged[-1][2] + 1)
            else:
                merged.append((*head, 1))
        return tuple(merged)


def better(metric: str) -> str:
    """Which direction of a metric is better, as its registration says; empty where it does not."""
    return BETTER.get(_directions().get(metric, ""), "")


@cache
def _directions() -> dict[str, str]:
    return {name: str(e.facts.get("direction", "")) for name, e in METRICS.entries().items()}


def cell(
    estimate: Estimate | None, *, runs: int = 1, signed: bool = False, beside: str = ""
) -> Cell:
    """A number with its interval; "n/a (reason)" where it is undefined.

    Where fewer than all `runs` of the method define it, the small type says how many do.
    """
    if estimate is None or math.isnan(estimate.value):
        return Cell("n/a", (f"({undefined(estimate)})",))
    defined = estimate.runs - estimate.undefined
    partial = f"{defined} of {runs} runs" if defined < runs else ""
    said = interval(estimate.low, estimate.high, signed=signed)
    covers = f"95 % interval over {estimate.of}" if estimate.of else "no interval"
    counted = f"{count(estimate.n)} patients" if estimate.n else ""
    return Cell(
        decimal(estimate.value, signed=signed),
        tuple(part for part in (said, partial, beside) if part),
        "; ".join(part for part in (covers, counted, estimate.note) if part),
    )


Measure = Callable[[Entrant, str], Cell]
"""A column's cell of an entrant against one label set."""


def headline_tables(section: Section) -> tuple[Table, Table]:
    """The two headline tables: accuracy, privacy and cost; then the contrasts of error rates.

    Each has one row per method, or, where the truth is simulated, one line per label set.
    """
    accuracy: list[tuple[Column, Measure]] = [
        (Column("macro", "AUC", better("auc")), _overall),
        *(
            (_column(a, "worst_group_auc", "Worst-group AUC"), _worst(a))
            for a in section.attributes
        ),
    ]
    contrasts = [
        (_column(_pair(c), metric, title), _contrast(metric, c))
        for metric, title in (("fnr_contrast", "FNR contrast"), ("fpr_contrast", "FPR contrast"))
        for c in section.contrasts
    ]
    fixed = [_column(title, metric, "Re-identification AUC") for metric, title in REID]
    fixed += [Column("runs"), Column("training time", "Cost"), Column("parameters", "Cost")]
    fixed += [Column("needed at test time")]
    return (
        _table("Accuracy, re-identification and cost", section, accuracy, fixed, _fixed_cells),
        _table("Contrasts of error rates, mean over findings", section, contrasts, [], _no_cells),
    )


def finding_table(section: Section, entrant: Entrant) -> Table:
    """AUC of each finding, with its patients."""
    sets = [Column(LABELS[labels], "AUC", better("auc")) for labels in section.labels]
    counts = [Column("patients"), Column("with finding"), Column("without"), Column("note")]
    rows = []
    for finding in (*section.findings, "macro"):
        found = [entrant.get("auc", labels, finding=finding) for labels in section.labels]
        cells = [cell(estimate, runs=len(entrant.runs)) for estimate in found]
        rows.append(Row((Cell(finding), *cells, *_counts(found[0])), finding != "macro"))
    caption = f"AUC by finding; counts by {LABELS[section.labels[0]]}"
    return Table(caption, (Column("finding"), *sets, *counts), tuple(rows))


def group_table(section: Section, entrant: Entrant) -> Table:
    """Macro AUC, FNR and FPR of the model in each recorded group, in the data set's order."""
    measures = (("auc", "AUC"), ("fnr", "FNR"), ("fpr", "FPR"))
    columns = tuple(
        Column(LABELS[labels], title, better(metric))
        for metric, title in measures
        for labels in section.labels
    )
    rows = []
    for attribute, group in section.groups:
        cells = [
            cell(
                entrant.get(metric, labels, attribute=attribute, group=group),
                runs=len(entrant.runs),
            )
            for metric, _ in measures
            for labels in section.labels
        ]
        rows.append(Row((Cell(attribute), Cell(group), *cells)))
    head = (Column("attribute"), Column("group"))
    return Table("Mean over findings, by recorded group", head + columns, tuple(rows))


def pair_table(section: Section, entrant: Entrant) -> Table:
    """FNR and FPR contrasts of all pairs of groups, mean over findings and finding by finding."""
    measures = (("fnr_contrast", "FNR contrast"), ("fpr_contrast", "FPR contrast"))
    columns = tuple(
        Column(LABELS[labels], title, better(metric))
        for metric, title in measures
        for labels in section.labels
    )
    rows = []
    for contrast in section.pairs:
        for finding in ("macro", *section.findings):
            cells = [
                cell(
                    entrant.contrast(metric, labels, contrast, finding=finding),
                    runs=len(entrant.runs),
                    signed=True,
                )
                for metric, _ in measures
                for labels in section.labels
            ]
            names = (Cell(contrast.attribute), Cell(pair(contrast.pair)), Cell(finding))
            rows.append(Row((*names, *cells), finding == "macro"))
    head = (Column("attribute"), Column("pair"), Column("finding"))
    return Table("All pairs of groups", head + columns, tuple(rows))


def _table(
    caption: str,
    section: Section,
    measures: list[tuple[Column, Measure]],
    fixed: list[Column],
    fixed_cells: Callable[[Entrant, str, int], tuple[Cell, ...]],
) -> Table:
    """A table with `measures` once per label set and `fixed` columns once per method."""
    several = len(section.labels) > 1
    head = [Column("method"), *([Column("labels")] if several else [])]
    rows = []
    for entrant in section.entrants:
        for line, labels in enumerate(section.labels):
            variant = (entrant.variant,) if entrant.variant else ()
            name = Cell(entrant.method, variant, span=len(section.labels))
            cells: list[Cell | None] = [name if line == 0 else None]
            cells += [Cell(labels)] if several else []
            cells += [measure(entrant, labels) for _, measure in measures]
            once = fixed_cells(entrant, section.labels[0], len(section.labels))
            cells += list(once) if line == 0 else [None] * len(once)
            rows.append(Row(tuple(cells), line == 0))
    columns = (*head, *(column for column, _ in measures), *fixed)
    return Table(caption, columns, tuple(rows))


def _column(title: str, metric: str, group: str) -> Column:
    return Column(title, group, better(metric))


def _pair(contrast: Contrast) -> str:
    return f"{contrast.attribute}: {pair(contrast.pair)}"


def _overall(entrant: Entrant, labels: str) -> Cell:
    return cell(entrant.get("auc", labels), runs=len(entrant.runs))


def _worst(attribute: str) -> Measure:
    def measure(entrant: Entrant, labels: str) -> Cell:
        found = entrant.get("worst_group_auc", labels, attribute=attribute)
        return cell(found, runs=len(entrant.runs))

    return measure


def _contrast(metric: str, contrast: Contrast) -> Measure:
    def measure(entrant: Entrant, labels: str) -> Cell:
        return cell(entrant.contrast(metric, labels, contrast), runs=len(entrant.runs), signed=True)

    return measure


def _fixed_cells(entrant: Entrant, labels: str, span: int) -> tuple[Cell, ...]:
    tests = f"{entrant.tests} test set{'s' if entrant.tests != 1 else ''}"
    main = entrant.get("auc", labels)
    covers = f"over {main.of}" if main is not None and main.of else ""
    cells = [
        cell(reidentification(entrant, metric), runs=len(entrant.runs), beside=beside)
        for (metric, _), beside in zip(REID, (entrant.released, ""), strict=True)
    ]
    cells += [
        Cell(str(len(entrant.runs)), tuple(part for part in (tests, covers) if part)),
        Cell(duration(entrant.train_seconds)),
        Cell(count(entrant.parameters)),
        Cell(", ".join(entrant.attributes_at_test) or "nothing"),
    ]
    return tuple(Cell(c.text, c.small, c.title, span) for c in cells)


def _no_cells(entrant: Entrant, labels: str, span: int) -> tuple[Cell, ...]:
    return ()


def reidentification(entrant: Entrant, metric: str) -> Estimate | None:
    """A re-identification estimate; it depends on no label set, so any that holds it will do."""
    recorded = entrant.get(metric, "recorded")
    return recorded if recorded is not None else entrant.get(metric, "true")


def _counts(estimate: Estimate | None) -> tuple[Cell, ...]:
    if estimate is None:
        return (Cell("n/a"), Cell("n/a"), Cell("n/a"), Cell(""))
    numbers = (estimate.n, estimate.positives, estimate.negatives)
    return (*(Cell(count(number)) for number in numbers), Cell(estimate.note))
