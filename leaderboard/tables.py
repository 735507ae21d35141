"""The tables of the page as text cells, the same for HTML and Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from leaderboard.against import Measure as Compared
from leaderboard.aggregate import Estimate
from leaderboard.board import REID, Contrast, Entrant, Section
from leaderboard.numbers import count, decimal, duration, interval, pair, undefined
from registry import METRICS

BETTER = {
    "higher": "↑ higher is better",
    "lower": "↓ lower is better",
    "zero": "→0← closer to zero is better",
    "one": "→1← closer to one is better",
}
LABELS = {"true": "true labels", "recorded": "recorded labels"}
EMBEDDING_REID = "embedding_reid_auc"
"""Re-identification by the model's features."""
ATTACKERS = (
    ("static_reid_auc", "static, on originals"),
    ("retrained_reid_auc", "retrained, on released"),
    ("cross_reid_auc", "cross, on both"),
)
MEMORISATION, EPSILON, EPSILON_BOUND = "release_memorisation_auc", "epsilon", "epsilon_rdp"
ATTRIBUTE = "attribute_auc"
SYNTHETIC = "synthetic images released"
"""What a run says of the images it would publish."""
LEAKING = "⚠ leakage"
"""Stands beside a method whose folds share persons or pictures; its notes give the reason."""
ENDLESS = "infinite"
"""Stands in the note of an epsilon that is no number."""


@dataclass(frozen=True)
class Cell:
    """A cell: its text, lines of small type beneath, what the pointer shows, rows covered, and
    a warning beside the text."""

    text: str
    small: tuple[str, ...] = ()
    title: str = ""
    span: int = 1
    mark: str = ""


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
Single = Callable[[Entrant], Cell]
"""A column's cell of an entrant whatever the labels."""


def headline_tables(section: Section) -> tuple[Table, Table, Table]:
    """The headline tables: accuracy and cost; contrasts of error rates; privacy.

    Each has one row per method; of the first two, where the truth is simulated, one line per label
    set.
    """
    compared = any(entrant.reference for entrant in section.entrants)
    accuracy: list[tuple[Column, Measure]] = [(Column("macro", "AUC", better("auc")), _overall)]
    if compared:
        accuracy += [(Column("minus ERM's", "AUC", better("auc")), _against(Compared("auc")))]
    accuracy += [
        (_column(a, "worst_group_auc", "Worst-group AUC"), _worst(a)) for a in section.attributes
    ]
    contrasts: list[tuple[Column, Measure]] = []
    for metric, title in (("fnr_contrast", "FNR contrast"), ("fpr_contrast", "FPR contrast")):
        contrasts += [
            (_column(_pair(c), metric, title), _contrast(metric, c)) for c in section.contrasts
        ]
        # No direction: whether less is nearer to zero depends on where ERM stands.
        contrasts += [
            (Column(_pair(c), f"{title} minus ERM's"), _against(measure))
            for c in section.contrasts
            if compared and (measure := Compared(metric, c.attribute, c.pair)) in section.measures
        ]
    once: list[tuple[Column, Single]] = [
        (_column("worst attacker", REID, "Re-identification AUC"), _released),
        (Column("runs"), _runs),
        (Column("training time", "Cost"), lambda e: Cell(duration(e.train_seconds))),
        (Column("parameters", "Cost"), lambda e: Cell(count(e.parameters))),
        (
            Column("needed at test time"),
            lambda e: Cell(", ".join(e.attributes_at_test) or "nothing"),
        ),
    ]
    return (
        _table("Accuracy, re-identification and cost", section, accuracy, once),
        _table("Contrasts of error rates, mean over findings", section, contrasts, []),
        privacy_table(section),
    )


def privacy_table(section: Section) -> Table:
    """What released images, model and training give away; columns that no method has are left out.

    One row per method: none of these depends on the labels.
    """
    images = "Re-identification AUC, released images"
    columns: list[tuple[Column, Single]] = [
        (_column(title, metric, images), _attacked(metric))
        for metric, title in ATTACKERS
        if _held(section, metric)
    ]
    if _held(section, REID):
        columns += [(_column("worst attacker", REID, images), _worst_attacker)]
    if _held(section, EMBEDDING_REID):
        column = _column("model features", EMBEDDING_REID, "Re-identification AUC")
        columns += [(column, _plain(EMBEDDING_REID))]
    if _held(section, MEMORISATION):
        column = _column("synthetic images", MEMORISATION, "Memorisation AUC")
        columns += [(column, _memorised)]
    if _held(section, EPSILON):
        columns += [(_column("of training", EPSILON, "Privacy loss epsilon"), _epsilon)]
    columns += [
        (_column(a, ATTRIBUTE, "Attributes readable from features, AUC"), _plain(ATTRIBUTE, a))
        for a in _probed(section)
    ]
    if columns:
        columns.insert(0, (Column("released images"), _kind_of_release))
    rows = [Row((named(e), *(measure(e) for _, measure in columns))) for e in section.entrants]
    heads = (Column("method"), *(column for column, _ in columns))
    return Table("Privacy", heads, tuple(rows))


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
    once: list[tuple[Column, Single]],
) -> Table:
    """A table with `measures` once per label set and the columns of `once` once per method."""
    several = len(section.labels) > 1
    head = [Column("method"), *([Column("labels")] if several else [])]
    rows = []
    for entrant in section.entrants:
        for line, labels in enumerate(section.labels):
            span = len(section.labels)
            cells: list[Cell | None] = [replace(named(entrant), span=span) if line == 0 else None]
            cells += [Cell(labels)] if several else []
            cells += [measure(entrant, labels) for _, measure in measures]
            for _, single in once:
                cells.append(replace(single(entrant), span=span) if line == 0 else None)
            rows.append(Row(tuple(cells), line == 0))
    columns = (*head, *(column for column, _ in measures), *(column for column, _ in once))
    return Table(caption, columns, tuple(rows))


def named(entrant: Entrant) -> Cell:
    """The cell that names a row."""
    mark = LEAKING if entrant.leaking else ""
    return Cell(entrant.method, (entrant.shown,) if entrant.shown else (), mark=mark)


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


def uncompared(entrant: Entrant, measure: Compared, labels: str) -> Cell:
    """Why there is no difference to ERM: the number itself is undefined, or no run is its pair."""
    own = entrant.get(measure.metric, labels, attribute=measure.attribute, group=measure.group)
    if own is not None and math.isnan(own.value):
        return cell(own)
    return Cell("n/a", ("(no ERM run with its seeds and patients)",))


def _against(measure: Compared) -> Measure:
    """The difference to ERM; in brackets where its interval holds zero: none is shown then."""

    def cell_of(entrant: Entrant, labels: str) -> Cell:
        if not entrant.reference:
            return Cell("reference")
        found = entrant.differences.get((measure, labels))
        if found is None:
            return uncompared(entrant, measure, labels)
        named = entrant.reference.partition(" ")[2]
        beside = f"to ERM {named}" if named else ""
        made = cell(found, runs=len(entrant.runs), signed=True, beside=beside)
        shown = found.low > 0 or found.high < 0  # never where there is no interval
        return made if shown else replace(made, text=f"({made.text})")

    return cell_of


def _runs(entrant: Entrant) -> Cell:
    tests = f"{entrant.tests} test set{'s' if entrant.tests != 1 else ''}"
    return Cell(str(len(entrant.runs)), (tests,))


def _released(entrant: Entrant) -> Cell:
    return _linked(entrant, REID, entrant.released)


def _kind_of_release(entrant: Entrant) -> Cell:
    """What kind of images, and by what they were changed; the column says what becomes of them."""
    words = [w for w in entrant.released.split() if w not in ("images", "released")]
    kind, by, what = " ".join(words).partition(" by ")
    return Cell(kind or "n/a", (f"by {what}",) if by else ())


def _worst_attacker(entrant: Entrant) -> Cell:
    found = unlabelled(entrant, REID)
    note = "" if found is None else found.note
    named = dict.fromkeys(re.findall(r"(\w+) attacker, the worst of", note))
    return _linked(entrant, REID, " or ".join(named))


def _attacked(metric: str) -> Single:
    return lambda entrant: _linked(entrant, metric)


def _linked(entrant: Entrant, metric: str, beside: str = "") -> Cell:
    """Re-identification by released images, or in few words why there is none."""
    found, worst = unlabelled(entrant, metric), unlabelled(entrant, REID)
    if worst is not None and math.isnan(worst.value) and entrant.released == SYNTHETIC:
        # Synthetic images show nobody, so no two of them can be linked.
        return Cell("n/a", ("(shows nobody)",), worst.note)
    if found is None and worst is not None and not math.isnan(worst.value):
        # Of images that the method left as they were all attackers are the same one.
        return Cell("n/a", ("(one attacker)",))
    return cell(found, runs=len(entrant.runs), beside=beside)


def _memorised(entrant: Entrant) -> Cell:
    found = unlabelled(entrant, MEMORISATION)
    if found is None and entrant.released != SYNTHETIC:
        return Cell("n/a", ("(not synthetic)",))
    return cell(found, runs=len(entrant.runs))


def _epsilon(entrant: Entrant) -> Cell:
    """Epsilon with its delta in small type; infinite where training had no noise."""
    found = unlabelled(entrant, EPSILON)
    if found is None:
        return Cell("n/a", ("(no guarantee)",))
    if endless(found):
        return Cell("∞", ("no noise",), found.note)
    bound = unlabelled(entrant, EPSILON_BOUND)
    deltas = dict.fromkeys(re.findall(r"delta ([\d.e+-]+)", found.note))
    beside = [f"delta {' or '.join(deltas)}"] if deltas else []
    if bound is not None and not math.isnan(bound.value):
        beside.append(f"Rényi {decimal(bound.value)}")
    # An interval over seeds that all spent the same would be a point.
    still = replace(found, low=math.nan, high=math.nan) if found.low == found.high else found
    made = cell(still, runs=len(entrant.runs))
    return replace(made, small=(*made.small, *beside), title=found.note)


def _plain(metric: str, attribute: str = "") -> Single:
    def cell_of(entrant: Entrant) -> Cell:
        return cell(unlabelled(entrant, metric, attribute), runs=len(entrant.runs))

    return cell_of


def _held(section: Section, metric: str) -> bool:
    return any(unlabelled(entrant, metric) is not None for entrant in section.entrants)


def _probed(section: Section) -> tuple[str, ...]:
    """Attributes whose readability is stored, those with a registered contrast first."""
    stored = (
        attribute
        for entrant in section.entrants
        for metric, _, attribute, *_ in entrant.scores
        if metric == ATTRIBUTE
    )
    found = dict.fromkeys(stored)
    return tuple(dict.fromkeys([*(a for a in section.attributes if a in found), *found]))


def unlabelled(entrant: Entrant, metric: str, attribute: str = "") -> Estimate | None:
    """An estimate that depends on no label set, so any that holds it will do."""
    found = (entrant.get(metric, labels, attribute=attribute) for labels in ("recorded", "true"))
    return next((estimate for estimate in found if estimate is not None), None)


def endless(estimate: Estimate) -> bool:
    """Whether an epsilon is undefined because it is infinite."""
    return math.isnan(estimate.value) and ENDLESS in estimate.note


def _counts(estimate: Estimate | None) -> tuple[Cell, ...]:
    if estimate is None:
        return (Cell("n/a"), Cell("n/a"), Cell("n/a"), Cell(""))
    numbers = (estimate.n, estimate.positives, estimate.negatives)
    return (*(Cell(count(number)) for number in numbers), Cell(estimate.note))
