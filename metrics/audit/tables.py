"""The tables of a report as text, the same for HTML and Markdown; metrics from the registry."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metrics.audit import words
from metrics.audit.contrasts import DIFFERS, ECHO, INCONCLUSIVE, UNDEFINED, is_pair
from metrics.audit.records import Row, records
from metrics.score import ALL, MACRO
from registry import METRICS

if TYPE_CHECKING:
    from metrics.audit.engine import Audit

VERDICTS = {
    DIFFERS: "differs",
    INCONCLUSIVE: "inconclusive",
    UNDEFINED: "n/a",
    ECHO: "same test as above",
}


@dataclass(frozen=True)
class Cell:
    """A text, a line of small type beneath, and what the pointer shows."""

    text: str
    small: str = ""
    title: str = ""


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows; `strong` are the rows that carry the weight."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    strong: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Definition:
    """What the registry says of a metric."""

    name: str
    title: str
    better: str
    unit: str
    summary: str


def definitions(audit: Audit) -> list[Definition]:
    """Every metric of the report, in the order of the registry."""
    entries, found = METRICS.entries(), []
    for name in dict.fromkeys(audit.scores["metric"]):
        entry = entries[name]
        better = words.BETTER.get(str(entry.facts.get("direction")), "")
        found.append(
            Definition(name, words.title(name), better, entry.facts["unit"], entry.summary)
        )
    return found


def thresholds(audit: Audit) -> Table | None:
    """The threshold of every finding; None where there is none."""
    if not audit.decided.limits:
        return None
    unit = audit.material.scale.kind
    rows = tuple(
        (Cell(t.finding), Cell(words.decimal(t.value, digits=4)), Cell(t.note or t.origin))
        for t in audit.decided.limits
    )
    return Table(f"Thresholds, as {unit}", ("finding", "positive from", "where from"), rows)


def overall(audit: Audit) -> Table:
    """Every metric of everybody, a column per finding."""
    rows = _recorded(audit, attribute="", group=ALL)
    findings = _findings(audit)
    by_key = {(r["metric"], r["finding"]): r for r in rows}
    return _by_metric(
        "Every metric", [words.finding(f) for f in findings], findings, by_key,
        list(dict.fromkeys(r["metric"] for r in rows)),
    )  # fmt: skip


def of_groups(audit: Audit, attribute: str, finding: str) -> Table:
    """Every metric of a finding, a column per group of an attribute."""
    groups = audit.material.test.groups[attribute]
    rows = [
        r
        for r in _recorded(audit, attribute=attribute, finding=finding)
        if r["group"] in groups and r["group"] != ALL
    ]
    by_key = {(r["metric"], r["group"]): r for r in rows}
    caption = f"{attribute}: {words.finding(finding)}"
    metrics = list(dict.fromkeys(r["metric"] for r in rows))
    return _by_metric(caption, list(groups), groups, by_key, metrics)


def over_groups(audit: Audit, attribute: str) -> Table | None:
    """Numbers that sum up all groups of an attribute, such as a gap; None where there is none."""
    groups = audit.material.test.groups[attribute]
    rows = [
        r
        for r in _recorded(audit, attribute=attribute)
        if r["group"] not in groups and not is_pair(r["group"], groups)
    ]
    if not rows:
        return None
    findings = _findings(audit)
    by_key = {(r["metric"], r["finding"]): r for r in rows}
    metrics = list(dict.fromkeys(r["metric"] for r in rows))
    body = tuple((_named(m), *(_number(by_key.get((m, f))) for f in findings)) for m in metrics)
    head = ("over all groups", *map(words.finding, findings))
    return Table(f"{attribute}: all groups in one number", head, body)


def contrast_table(audit: Audit, attribute: str, *, headline: bool) -> Table | None:
    """Contrasts of an attribute: of the headline, or of single findings; None without any."""
    found = audit.contrasts
    found = found[
        (found["attribute"] == attribute)
        & (found["labels"] == "recorded")
        & (found["headline"] == headline)
    ]
    if found.empty:
        return None
    rows: list[tuple[Cell, ...]] = []
    strong: set[int] = set()
    for row in records(found):
        if row["verdict"] == DIFFERS:
            strong.add(len(rows))
        named = [Cell(words.quantity(row["metric"]), title=_summary(row["metric"]))]
        if not headline:
            named.append(Cell(words.finding(row["finding"])))
        rows.append(
            (
                *named,
                Cell(words.pair(row["group"])),
                _number(row, signed=True),
                Cell(words.p_value(row["holm"])),
                Cell(VERDICTS[row["verdict"]], title=row["note"]),
                Cell(words.decimal(row["detectable"])),
                _patients(row),
            )
        )
    finding = () if headline else ("finding",)
    head = (
        "metric", *finding, "groups", "difference", "p (Holm)", "tested together", "detectable",
        "patients",
    )  # fmt: skip
    which = words.finding(audit.headline) if headline else "single findings (exploratory)"
    return Table(f"{attribute}: contrasts, {which}", head, tuple(rows), frozenset(strong))


def single_findings(audit: Audit) -> tuple[str, ...]:
    """The findings beside the headline."""
    return tuple(f for f in audit.material.test.findings if f != audit.headline)


def notes(audit: Audit) -> list[str]:
    """Why numbers are missing: the different notes of undefined ones, and how often each stands."""
    undefined = audit.scores[audit.scores["value"].isna() & (audit.scores["labels"] == "recorded")]
    counts = undefined.groupby("note", sort=False).size().sort_values(ascending=False)
    return [f"{note} ({number:,})" for note, number in counts.items()]


def _findings(audit: Audit) -> tuple[str, ...]:
    return (audit.headline, *single_findings(audit))


def _recorded(audit: Audit, **wanted: str) -> list[Row]:
    rows = audit.scores[audit.scores["labels"] == "recorded"]
    if audit.headline != MACRO:
        rows = rows[rows["finding"] != MACRO]
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    return records(rows)


def _by_metric(
    caption: str,
    names: Sequence[str],
    columns: Iterable[str],
    by_key: Mapping[tuple[str, str], Row],
    metrics: Sequence[str],
) -> Table:
    """Patients on top, then a row per metric."""
    keys = tuple(columns)
    body = [(Cell("patients", "with, and without, the finding"), *(_most(by_key, k) for k in keys))]
    body += [
        (_named(m), *(_number(by_key.get((m, k))) for k in keys))
        for m in metrics
    ]  # fmt: skip
    return Table(caption, ("metric", *names), tuple(body))


def _named(metric: str) -> Cell:
    better = words.BETTER.get(str(METRICS.entries()[metric].facts.get("direction")), "")
    return Cell(words.title(metric), better, _summary(metric))


def _most(by_key: Mapping[tuple[str, str], Row], key: str) -> Cell:
    """The counts of a column; a metric may count fewer, where images have no decision."""
    rows = [r for (_, k), r in by_key.items() if k == key]
    return _patients(max(rows, key=lambda r: r["n"])) if rows else Cell("")


def _patients(row: Row) -> Cell:
    return Cell(f"{row['n']:,}", f"{row['positives']:,} + {row['negatives']:,}")


def _number(row: Row | None, *, signed: bool = False) -> Cell:
    if row is None:
        return Cell("")
    if math.isnan(row["value"]):
        return Cell("n/a", title=row["note"])
    signed = signed or METRICS.entries()[row["metric"]].facts.get("direction") == "zero"
    text = words.decimal(row["value"], signed=signed)
    return Cell(text, words.interval(row["low"], row["high"], signed=signed), row["note"])


def _summary(metric: str) -> str:
    return METRICS.entries()[metric].summary
