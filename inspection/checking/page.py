"""The page and the text of a check."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from inspection.checking.checker import Checked, told_seconds
from inspection.checking.problems import SEVERITIES, Problem, counted
from inspection.page import Cell, Table, rendered, table
from inspection.prepare import told_bytes
from metrics.audit import words
from metrics.audit.records import Row, records
from metrics.cells import MINIMUM_PATIENTS

PAGE = "check.html"
WIDTH = 96
"""Characters of a line on the terminal."""


def verdict(checked: Checked) -> str:
    """The outcome in one sentence."""
    if not checked.problems:
        return "Nothing was found."
    told = counted(checked.problems)
    return f"{told[0].upper()}{told[1:]}."


def facts(checked: Checked) -> list[tuple[str, str]]:
    """What was looked at, and what a run will need."""
    found = []
    if checked.images:
        held = f"{words.counted(checked.images, 'image')} of " + words.counted(
            checked.patients, "patient"
        )
        found.append(("table", held))
    if checked.dropped:
        found.append(("left out", "; ".join(f"{r} {n:,}" for r, n in checked.dropped.items())))
    if checked.folds:
        parts = [
            f"{name} {images:,} ({patients:,} patients)" for name, images, patients in checked.folds
        ]
        if not any(name == "audit" for name, *_ in checked.folds):
            parts.append("attackers learn from train: too few patients for an audit fold")
        found.append(("folds", "; ".join(parts)))
    if checked.looked:
        found.append(("looked at", f"{checked.looked:,} images, decoded"))
    needs = checked.needs if checked.looked else None
    if needs is not None and not needs.images:
        found.append(("to prepare", "nothing: all images are in the cache"))
    elif needs is not None:
        found.append(("to prepare", words.counted(needs.images, "image")))
        found.append(("disk", f"{told_bytes(needs.disk)} needed, {told_bytes(needs.free)} free"))
        found.append(("time", f"{told_seconds(needs.seconds)} on {needs.cores} cores"))
        found.append(("memory", f"up to {told_bytes(needs.memory)}"))
    return found


def text(checked: Checked) -> str:
    """The problems by severity and the facts, for the terminal."""
    lines = [f"{checked.name}: {verdict(checked)}", ""]
    for one in checked.problems:
        lines += _wrapped(f"{one.severity}: {one.text}", "")
        if one.remedy:
            lines += _wrapped(one.remedy, "    ")
        if one.reason:
            lines += _wrapped(f"reason: {one.reason}", "    ")
        lines += [f"      {example}" for example in one.examples]
        if one.examples and one.count > len(one.examples):
            lines.append(f"      and {one.count - len(one.examples):,} more")
    if checked.problems:
        lines.append("")
    lines += [f"{name:<12} {told}" for name, told in facts(checked)]
    return "\n".join(lines)


def _wrapped(told: str, indent: str) -> list[str]:
    return textwrap.wrap(
        told,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "    ",
        break_long_words=False,
    )


def html(checked: Checked, command: str, following: str) -> str:
    """The page, self-contained; every name in it is escaped."""
    by_severity: dict[str, list[Problem]] = {
        s: [p for p in checked.problems if p.severity == s] for s in SEVERITIES
    }
    return rendered(
        "check.html.j2",
        checked=checked,
        verdict=verdict(checked),
        by_severity={s: found for s, found in by_severity.items() if found},
        facts=facts(checked),
        cells=cells(checked),
        command=command,
        following=following,
    )


def cells(checked: Checked) -> list[Table]:
    """Patients with and without each finding in the test fold: in all, and by every attribute."""
    if checked.cells.empty:
        return []
    parts = checked.cells.groupby("attribute", sort=False)
    return [_cells(str(name), records(part), checked) for name, part in parts]


def _cells(attribute: str, held: Sequence[Row], checked: Checked) -> Table:
    across = list(dict.fromkeys(str(r["group"]) for r in held))
    by_key = {(r["finding"], r["group"]): r for r in held}
    rows = [
        (Cell(str(finding)), *(_with_without(by_key[finding, g], checked) for g in across))
        for finding in dict.fromkeys(r["finding"] for r in held)
    ]
    return table(attribute or "everybody", ("finding", *across), rows)


def _with_without(row: Row, checked: Checked) -> Cell:
    told = [_count(int(row[k]), checked.restricted) for k in ("positives", "negatives")]
    few = min(row["positives"], row["negatives"]) < MINIMUM_PATIENTS
    return Cell(" / ".join(told), "too few" if few else "")


def _count(patients: int, restricted: bool) -> str:
    return "1-9" if restricted and 0 < patients < 10 else f"{patients:,}"
