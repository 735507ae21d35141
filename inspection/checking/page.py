"""The page and the text of a check."""

from __future__ import annotations

import textwrap

from inspection.checking.checker import Checked, told_seconds
from inspection.checking.problems import SEVERITIES, Problem, counted
from inspection.page import Cell, Table, rendered, table
from inspection.prepare import told_bytes
from metrics.audit import words
from metrics.audit.records import records
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


def cells(checked: Checked) -> Table | None:
    """Patients with and without each finding in every group of the test fold."""
    if checked.cells.empty:
        return None
    frame = checked.cells
    across = list(dict.fromkeys(zip(frame["attribute"], frame["group"], strict=True)))
    by_key = {(r["finding"], r["attribute"], r["group"]): r for r in records(frame)}
    rows = []
    for finding in dict.fromkeys(frame["finding"]):
        row = [Cell(str(finding))]
        for attribute, group in across:
            held = by_key[finding, attribute, group]
            told = [_count(int(held[k]), checked.restricted) for k in ("positives", "negatives")]
            few = min(held["positives"], held["negatives"]) < MINIMUM_PATIENTS
            row.append(Cell(f"{told[0]} / {told[1]}", "too few" if few else ""))
        rows.append(row)
    head = ("finding", *(f"{a}: {g}" if a else "everybody" for a, g in across))
    return table("Test fold: patients with / without each finding", head, rows)


def _count(patients: int, restricted: bool) -> str:
    return "1-9" if restricted and 0 < patients < 10 else f"{patients:,}"
