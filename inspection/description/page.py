"""The files of a description: a page, a csv table of every kind of number, the pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass

from inspection.description import pictures, shown
from inspection.description.describing import RECORDED, TRUTH, Description
from inspection.description.groupings import FOLD
from inspection.description.short import in_short
from inspection.page import Picture, Table, rendered
from metrics.audit import words
from metrics.audit.pictures import LOOKS
from metrics.intersections import AND

PAGE = "description.html"
MOST_CELLS = 80
"""Cells of a picture of two attributes; larger ones are in the csv only."""


@dataclass(frozen=True)
class Section:
    """What is shown of one attribute."""

    name: str
    anchor: str
    groups: Table
    pictures: tuple[Picture, ...]
    tests: tuple[Table, ...]
    numbers: tuple[Table, ...]


@dataclass(frozen=True)
class View:
    """What a page shows."""

    title: str
    simulated: bool
    short: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    who: Picture | None
    imbalance: Table | None
    findings: Table
    cooccurrence: Picture | None
    sections: tuple[Section, ...]
    joint: tuple[Picture, ...]
    joint_imbalance: Table | None
    missing: Table | None
    recording: tuple[Table, ...]
    command: str

    @property
    def pictures(self) -> list[Picture]:
        """All pictures of the page."""
        found = [self.who, self.cooccurrence, *self.joint]
        found += [p for section in self.sections for p in section.pictures]
        return [p for p in found if p is not None]


def files(made: Description, command: str) -> dict[str, bytes]:
    """Every file of a description by its name below the folder."""
    view = build(made, command)
    tables = {
        f"{name}.csv": frame.to_csv(index=False, lineterminator="\n").encode()
        for name, frame in made.tables().items()
    }
    page = rendered("description.html.j2", view=view).encode()
    return {PAGE: page, **tables, **{p.path: p.svg for p in view.pictures}}


def build(made: Description, command: str) -> View:
    """The tables of a description, and its pictures, drawn."""
    names = list(made.attributes)
    if (made.counts["attribute"] == FOLD).any():
        names.append(FOLD)
    joint = [n for n in dict.fromkeys(made.counts["attribute"]) if AND in n]
    several = [shown.recording(made, name) for name in names]
    return View(
        title=made.name,
        simulated=made.simulated,
        short=tuple(in_short(made)),
        facts=_facts(made),
        notes=made.notes,
        who=_who(made, names) if names else None,
        imbalance=shown.imbalance(made, names, "How uneven the groups are") if names else None,
        findings=shown.findings(made),
        cooccurrence=_cooccurrence(made),
        sections=tuple(_section(made, name) for name in names),
        joint=tuple(
            _joint(made, name)
            for name in joint
            if name.count(AND) == 1 and (made.counts["attribute"] == name).sum() <= MOST_CELLS
        ),
        joint_imbalance=shown.imbalance(made, joint, "How uneven the combinations are")
        if joint
        else None,
        missing=shown.missing(made),
        recording=tuple(t for t in several if t is not None),
        command=command,
    )


def _facts(made: Description) -> tuple[tuple[str, str], ...]:
    facts = [
        ("images", f"{made.images:,}"),
        ("patients", f"{made.patients:,}"),
        ("findings", words.listed(made.findings)),
        ("attributes", words.listed(made.attributes) or "none"),
    ]
    if made.dropped:
        reasons = [f"{reason} {n:,}" for reason, n in made.dropped.items()]
        facts.append(("left out", words.listed(reasons)))
    if made.restricted:
        facts.append(("terms", "restricted: cells of 1 to 9 patients are withheld"))
    return tuple(facts)


def _who(made: Description, names: list[str]) -> Picture:
    drawn = pictures.group_sizes(made.counts, names)
    return Picture("figures/groups.svg", drawn, "Patients in every group, and their share of all.")


def _cooccurrence(made: Description) -> Picture | None:
    if len(made.findings) < 2:
        return None
    drawn = pictures.cooccurrence(made.cooccurrence, made.findings)
    told = "Findings that are recorded together, as a share of the images with the first of them."
    return Picture("figures/cooccurrence.svg", drawn, told)


def _joint(made: Description, name: str) -> Picture:
    first, second = name.split(AND)
    drawn = pictures.joint_counts(made.counts, name, made.patients)
    told = f"Patients by {first} (rows) and {second} (columns)."
    return Picture(f"figures/joint-{_anchor(name)}.svg", drawn, told)


def _section(made: Description, name: str) -> Section:
    cells = made.prevalence[made.prevalence["attribute"] == name]
    recorded = cells[cells["labels"] == RECORDED]
    ratios = made.odds_ratios
    if len(ratios):
        ratios = ratios[(ratios["attribute"] == name) & (ratios["labels"] == RECORDED)]
    found = []
    chosen = _largest(made, name)
    if chosen:
        left = made.counts[made.counts["attribute"] == name]["group"].nunique() - len(chosen)
        more = f" Only the {len(chosen)} largest groups are drawn." if left > 0 else ""
        told = (
            f"Share of images with each finding by {name}, with 95 % intervals over patients.{more}"
        )
        drawn = pictures.prevalence(recorded, chosen, made.findings)
        found.append(Picture(f"figures/prevalence-{_anchor(name)}.svg", drawn, told))
    odds = pictures.odds(ratios, made.findings) if len(ratios) else None
    if odds is not None:
        told = (
            f"Log odds of each finding in a group minus those in the reference, by {name}. Filled: "
            "away from 0 when all of these are tested together (Holm)."
        )
        found.append(Picture(f"figures/odds-{_anchor(name)}.svg", odds, told))
    kinds = (RECORDED, TRUTH)
    return Section(
        name=name,
        anchor=f"by-{_anchor(name)}",
        groups=shown.groups(made, name),
        pictures=tuple(found),
        tests=tuple(t for k in kinds if (t := shown.tests(made, name, k)) is not None),
        numbers=tuple(t for k in kinds if (t := shown.prevalence(made, name, k)) is not None),
    )


def _largest(made: Description, name: str) -> list[str]:
    """The groups that are drawn: those with patients, at most six, in their order."""
    counts = made.counts[made.counts["attribute"] == name]
    counts = counts[counts["patients"].fillna(0) > 0]
    kept = counts["patients"].sort_values(ascending=False, kind="stable").index[: len(LOOKS)]
    return [str(g) for g in counts.loc[counts.index.isin(kept), "group"]]


def _anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60]
