"""The files of an audit: a page, a Markdown text, a table of numbers and the pictures."""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from metrics.audit import figures, tables, words
from metrics.score import ALL

if TYPE_CHECKING:
    from jinja2 import Environment

    from metrics.audit.engine import Audit

HERE = Path(__file__).resolve().parent
SUMMARY = {
    "contrasts": "Signed differences between the groups of {0}, with 95 % intervals. A filled "
    "marker is away from zero when all contrasts are tested together (Holm), a hollow one is not; "
    "a diamond is the mean over findings. The numbers stand in the table of contrasts.",
    "roc": "ROC curves{1}, with AUC and its 95 % interval. A filled marker is the operating point.",
    "calibration": "Predicted probability against the share of positive images{1}, in bins of "
    "equally many images, with 95 % intervals over patients. On the diagonal a score means what "
    "it says.",
}


@dataclass(frozen=True)
class Picture:
    """A figure: its path below the folder, its SVG, and what it shows, in words."""

    path: str
    svg: bytes
    caption: str

    @property
    def source(self) -> str:
        """The picture as a data address: inside an `img`, SVG runs no script."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode("ascii")


@dataclass(frozen=True)
class AttributeView:
    """What a report shows of one attribute."""

    name: str
    anchor: str
    forests: tuple[Picture, ...]
    groups: tables.Table
    over: tables.Table | None
    contrasts: tables.Table | None
    single: tuple[tables.Table, ...]
    curves: tuple[Picture, ...]
    undrawn: tuple[str, ...]

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All pictures of the attribute."""
        return self.forests + self.curves


@dataclass(frozen=True)
class View:
    """What a report shows."""

    title: str
    conclusion: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    missing: tuple[str, ...]
    thresholds: tables.Table | None
    overall: tables.Table
    attributes: tuple[AttributeView, ...]
    curves: tuple[Picture, ...]
    definitions: tuple[tables.Definition, ...]

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All pictures of the report."""
        return self.curves + tuple(p for a in self.attributes for p in a.pictures)


@dataclass(frozen=True)
class Written:
    """Where the files lie."""

    page: Path
    markdown: Path
    scores: Path
    figures: tuple[Path, ...]


def write(audit: Audit, directory: Path) -> Written:
    """Write all files; nothing is written unless all of them could be made.

    Raises:
        ValueError: the directory cannot be written to.
    """
    check_writable(directory)
    view = build(audit)
    content = {
        "report.html": html(view).encode(),
        "report.md": markdown(view).encode(),
        "scores.csv": audit.scores.to_csv(index=False, lineterminator="\n").encode(),
        **{picture.path: picture.svg for picture in view.pictures},
    }
    for name, data in content.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    pictures = tuple(directory / picture.path for picture in view.pictures)
    return Written(
        page=directory / "report.html",
        markdown=directory / "report.md",
        scores=directory / "scores.csv",
        figures=pictures,
    )


def check_writable(directory: Path) -> None:
    """Refuse a directory that cannot be written to, without making it.

    Raises:
        ValueError: it is no directory, or may not be written to.
    """
    there = directory.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise ValueError(
            f"--out must be a directory, but {there} is a file; name another directory"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(
            f"--out must be a directory that may be written to, but {there} may not; "
            "name another one, such as --out audit"
        )


def build(audit: Audit) -> View:
    """The tables of an audit, and its figures, drawn."""
    test = audit.material.test
    return View(
        title=Path(audit.material.name).name,
        conclusion=tuple(audit.conclusion.split("\n\n")),
        facts=_facts(audit),
        notes=(audit.decided.told, *audit.material.notes),
        missing=tuple(tables.notes(audit)),
        thresholds=tables.thresholds(audit),
        overall=tables.overall(audit),
        attributes=tuple(_attribute(audit, i, a) for i, a in enumerate(test.attributes)),
        curves=() if test.attributes else _curves(audit, "", "everybody"),
        definitions=tuple(tables.definitions(audit)),
    )


def _facts(audit: Audit) -> tuple[tuple[str, str], ...]:
    test = audit.material.test
    groups = [f"{a} ({words.listed(test.groups[a])})" for a in test.attributes]
    return (
        ("predictions", audit.material.name),
        ("tested", f"{len(test):,} images of {test.patient_codes()[1]:,} patients"),
        ("findings", words.listed(test.findings)),
        ("averaged over", words.listed(audit.macro) if len(test.findings) > 1 else "one finding"),
        ("groups", "; ".join(groups) or "none"),
        ("resamples of patients", f"{audit.replicates:,}, seed {audit.seed}"),
    )


def _attribute(audit: Audit, number: int, name: str) -> AttributeView:
    anchor = f"{number + 1}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')[:40]}"
    drawn = figures.forests(audit, name)
    single = [tables.of_groups(audit, name, f) for f in tables.single_findings(audit)]
    apart = tables.contrast_table(audit, name, headline=False)
    return AttributeView(
        name=name,
        anchor=anchor,
        forests=tuple(
            _picture(f"{anchor}-contrasts{i or ''}", "contrasts", name, svg)
            for i, svg in enumerate(drawn)
        ),
        groups=tables.of_groups(audit, name, audit.headline),
        over=tables.over_groups(audit, name),
        contrasts=tables.contrast_table(audit, name, headline=True),
        single=(*single, *([apart] if apart else [])),
        curves=_curves(audit, name, anchor),
        undrawn=tuple(figures.undrawn(audit, name)),
    )


def _curves(audit: Audit, attribute: str, anchor: str) -> tuple[Picture, ...]:
    drawn = {
        "roc": figures.roc_by_group(audit, attribute),
        "calibration": figures.calibration_by_group(audit, attribute),
    }
    return tuple(
        _picture(f"{anchor}-{kind}", kind, attribute, svg)
        for kind, svg in drawn.items()
        if svg is not None
    )


def _picture(name: str, kind: str, attribute: str, svg: bytes) -> Picture:
    by = f" by {attribute}" if attribute else ""
    return Picture(f"figures/{name}.svg", svg, SUMMARY[kind].format(attribute or ALL, by))


def html(view: View) -> str:
    """The report as one self-contained HTML page; every name in it is escaped."""
    style = Markup((HERE / "style.css").read_text(encoding="utf-8"))  # our own file
    return _environment().get_template("report.html.j2").render(view=view, style=style)


def markdown(view: View) -> str:
    """The headline tables and the pictures as Markdown; every name in it is escaped."""
    template = _environment(finalize=escape_markdown).get_template("report.md.j2")
    return template.render(view=view)


def escape_markdown(value: Any) -> Markup:
    """A value as Markdown text that opens no tag, link, cell, code or emphasis."""
    if isinstance(value, Markup):  # what a macro of the template has made
        return value
    text = " ".join(str(value).split()).replace("&", "&amp;")
    text = text.replace("<", "&lt;").replace(">", "&gt;")
    return Markup(re.sub(r"([\\`*\[\]|_])", r"\\\1", text))


def _environment(**options: Any) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )
