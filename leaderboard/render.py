"""From a store to files: one page, one Markdown file, one table, and the figures."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from markupsafe import Markup, escape

from leaderboard import figures
from leaderboard.across import across
from leaderboard.aggregate import aggregate
from leaderboard.board import Entrant, Section, sections
from leaderboard.collect import Run, Store, tidy
from leaderboard.compared import compared
from leaderboard.concluded import concluded_table
from leaderboard.domains import Elsewhere, domain_tables, elsewhere
from leaderboard.numbers import count
from leaderboard.tables import (
    LABELS,
    LEAKING,
    Table,
    finding_table,
    group_table,
    headline_tables,
    pair_table,
)
from leaderboard.tradeoff import tradeoff

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).resolve().parent
FIRST_RUN = "python runner.py --method erm --dataset phantom"
DOCS = ("docs/statistics.md", "docs/privacy-protocol.md", "docs/phantom.md")


@dataclass(frozen=True)
class Picture:
    """A figure: where it lies below the output folder, its SVG, and what it shows, in words."""

    path: str
    svg: bytes
    alt: str

    @property
    def source(self) -> str:
        """The picture as a data address: inside an `img`, SVG runs no script and shares no ids."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode("ascii")


@dataclass(frozen=True)
class Detail:
    """What the page shows of one method on one data set below the headline."""

    entrant: Entrant
    anchor: str
    picture: Picture | None
    findings: Table
    groups: Table
    pairs: Table


@dataclass(frozen=True)
class View:
    """What the page shows of one section."""

    section: Section
    anchor: str
    accuracy: Table
    contrasts: Table
    privacy: Table
    concluded: Table
    domains: tuple[Table, ...]
    """A table for each other data set that methods were tested on."""
    tradeoff: Picture | None
    forest: Picture | None
    details: tuple[Detail, ...]

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All figures of the section."""
        found = (self.tradeoff, self.forest, *(detail.picture for detail in self.details))
        return tuple(picture for picture in found if picture is not None)


@dataclass(frozen=True)
class Together:
    """What the page shows of at least five data sets of one kind together."""

    data_sets: tuple[str, ...]
    table: Table
    picture: Picture


@dataclass(frozen=True)
class Page:
    """Everything the templates read. Simulated and real sections are apart from the start.

    What each kind's data sets say together is None where there are fewer than five.
    """

    simulated: tuple[View, ...]
    real: tuple[View, ...]
    simulated_together: Together | None
    real_together: Together | None
    unfinished: tuple[Run, ...]
    left_out: tuple[str, ...]
    experiment: str | None

    @property
    def leaking(self) -> bool:
        """Whether a method on it ran on folds that share persons or pictures."""
        return any(entrant.leaking for view in self.views for entrant in view.section.entrants)

    @property
    def elsewhere(self) -> bool:
        """Whether a method on it was tested on another data set than its own."""
        return any(view.domains for view in self.views)

    @property
    def views(self) -> tuple[View, ...]:
        """All sections in the order of the page."""
        return self.simulated + self.real


@dataclass(frozen=True)
class Written:
    """Paths of what was written, and how much of it there is."""

    page: Path
    markdown: Path
    table: Path
    figures: tuple[Path, ...]
    runs: int
    entrants: int
    unfinished: int
    left_out: int


def render(store: Store, out: Path, *, experiment: str | None = None) -> Written:
    """Write the leaderboard of a store into `out`; the same store gives the same bytes."""
    table, other = aggregate(tidy(store)), elsewhere(store)
    page = build(store, table, experiment, other)
    pictures = [picture for view in page.views for picture in view.pictures]
    together = (page.simulated_together, page.real_together)
    pictures += [found.picture for found in together if found is not None]
    for picture in pictures:
        write(out / picture.path, picture.svg)
    write(out / "leaderboard.csv", table_csv(page, table, other).encode())
    write(out / "leaderboard.md", markdown(page).encode())
    write(out / "index.html", html(page).encode())
    return Written(
        page=out / "index.html",
        markdown=out / "leaderboard.md",
        table=out / "leaderboard.csv",
        figures=tuple(out / picture.path for picture in pictures),
        runs=len(store.finished),
        entrants=sum(len(view.section.entrants) for view in page.views),
        unfinished=len(store.unfinished),
        left_out=len(store.left_out),
    )


def build(
    store: Store,
    table: pd.DataFrame,
    experiment: str | None = None,
    other: Elsewhere | None = None,
) -> Page:
    """The page of a store and what `aggregate` makes of it, figures drawn.

    `other` is what `elsewhere` makes of the store, where it is already there.
    """
    found = elsewhere(store) if other is None else other
    views = tuple(_view(section, found) for section in sections(store, table))
    simulated = tuple(view for view in views if view.section.simulated)
    real = tuple(view for view in views if not view.section.simulated)
    return Page(
        simulated=simulated,
        real=real,
        simulated_together=_together("simulated", simulated),
        real_together=_together("real", real),
        unfinished=store.unfinished,
        left_out=store.left_out,
        experiment=experiment,
    )


def table_csv(page: Page, table: pd.DataFrame, other: Elsewhere) -> str:
    """All estimates, those out of domain, then comparisons of methods; nothing is rounded."""
    text: str = table.to_csv(index=False, lineterminator="\n")
    for rows in (other.table, compared(view.section for view in page.views)):
        if len(rows):
            rows = rows[list(table.columns)]
            text += rows.to_csv(index=False, header=False, lineterminator="\n")
    return text


def html(page: Page) -> str:
    """The page as one self-contained HTML file; every name in it is escaped."""
    style = Markup((HERE / "style.css").read_text(encoding="utf-8"))  # our own file
    template = _environment().get_template("index.html.j2")
    return template.render(style=style, **_globals(page))


def markdown(page: Page) -> str:
    """The headline as Markdown; every name in it is escaped."""
    template = _environment(finalize=escape_markdown).get_template("leaderboard.md.j2")
    return template.render(**_globals(page))


def _environment(**options: Any) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )
    environment.filters["whole"] = count
    environment.filters["breakable"] = breakable
    return environment


def breakable(name: str) -> Markup:
    """A method's name that may be broken where methods were joined."""
    return escape(name).replace("+", Markup("+<wbr>"))


def escape_markdown(value: Any) -> Markup:
    """A value as Markdown text that opens no tag, link, cell, code or emphasis."""
    if isinstance(value, Markup):  # what a macro of the template has made
        return value
    text = " ".join(str(value).split()).replace("&", "&amp;")
    text = text.replace("<", "&lt;").replace(">", "&gt;")
    return Markup(re.sub(r"([\\`*\[\]|])", r"\\\1", text))


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)  # mkstemp makes files that only their owner can read
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _view(section: Section, found: Elsewhere) -> View:
    name = _slug(*map(str, (section.kind, section.title, section.operating_point)))
    accuracy, contrasts, privacy = headline_tables(section)
    return View(
        section=section,
        anchor=name,
        accuracy=accuracy,
        contrasts=contrasts,
        privacy=privacy,
        concluded=concluded_table(section),
        domains=domain_tables(section, found),
        tradeoff=_picture(
            f"{name}-tradeoff",
            tradeoff(section),
            f"Macro AUC of each method on {section.title} against re-identification AUC, against "
            "the FNR contrast and against epsilon, where measured, with 95 % intervals; the "
            "numbers stand in the tables above.",
        ),
        forest=_picture(
            f"{name}-contrasts",
            figures.contrast_forest(section),
            f"FNR contrasts of each method on {section.title} with 95 % intervals; the numbers "
            "stand in the table above.",
        ),
        details=tuple(_detail(section, entrant, name) for entrant in section.entrants),
    )


def _together(kind: str, views: Sequence[View]) -> Together | None:
    found = across([view.section for view in views])
    if found is None:
        return None
    alt = (
        f"Critical-difference diagram of {len(found.data_sets)} {kind} data sets; the mean ranks "
        "stand in the table above."
    )
    picture = Picture(f"figures/{kind}-together.svg", found.picture, alt)
    return Together(found.data_sets, found.table, picture)


def _detail(section: Section, entrant: Entrant, prefix: str) -> Detail:
    anchor = f"{prefix}-{_slug(entrant.method, entrant.variant)}"
    alt = (
        f"FNR and FPR contrasts of {entrant.name} on {section.title}, finding by finding, with "
        "95 % intervals; the numbers stand in the table of all pairs."
    )
    return Detail(
        entrant=entrant,
        anchor=anchor,
        picture=_picture(anchor, figures.finding_forest(section, entrant), alt),
        findings=finding_table(section, entrant),
        groups=group_table(section, entrant),
        pairs=pair_table(section, entrant),
    )


def _picture(name: str, content: bytes | None, alt: str) -> Picture | None:
    return None if content is None else Picture(f"figures/{name}.svg", content, alt)


def _slug(*parts: str) -> str:
    """A name for files and anchors; a hash keeps names apart that differ in other characters."""
    plain = re.sub(r"[^a-z0-9]+", "-", " ".join(parts).lower()).strip("-")[:48]
    return f"{plain}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:6]}"


def _globals(page: Page) -> dict[str, Any]:
    return {
        "page": page,
        "labels": LABELS,
        "docs": DOCS,
        "first_run": FIRST_RUN,
        "leaking": LEAKING,
    }
