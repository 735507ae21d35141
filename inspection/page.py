"""The pages of `python -m datasets`: one look, one set of macros, every name in them escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from metrics.audit.report import HERE as STYLED
from metrics.audit.report import Picture, check_writable
from metrics.audit.tables import Cell, Table

TEMPLATES = Path(__file__).resolve().parent / "templates"

__all__ = ["Cell", "Picture", "Table", "check_writable", "rendered", "table", "write"]


def rendered(template: str, **names: object) -> str:
    """A page from a template, self-contained."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # Two files of our own: the look of an audit, and what these pages add.
    style = (STYLED / "style.css").read_text("utf-8") + (TEMPLATES / "style.css").read_text("utf-8")
    return made.get_template(template).render(style=Markup(style), **names)


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[str | Cell]],
    *,
    strong: Iterable[int] = (),
) -> Table:
    """A table of texts and cells."""
    body = tuple(
        tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row) for row in rows
    )
    return Table(caption, tuple(head), body, frozenset(strong))


def write(directory: Path, content: Mapping[str, bytes]) -> list[Path]:
    """The files, once all are written below `directory`.

    Raises:
        ValueError: the directory cannot be written to.
    """
    check_writable(directory)
    paths = []
    for name, data in content.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        paths.append(path)
    return paths
