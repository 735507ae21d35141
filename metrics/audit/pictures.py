"""One style for all pictures of a report: told apart by lines and markers, not by colour alone."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID = "#1a1a1a", "#8a8a8a", "#dddddd"
PANEL = 2.9
"""Width and height of a panel in inches."""
COLUMNS = 3


@dataclass(frozen=True)
class Look:
    """How a group is drawn."""

    colour: str
    dash: Any
    marker: str


LOOKS = (
    Look("#1a1a1a", "-", "o"),
    Look("#0072b2", (0, (5, 1.6)), "s"),
    Look("#d55e00", (0, (1, 1.2)), "^"),
    Look("#009e73", (0, (6, 1.5, 1, 1.5)), "D"),
    Look("#a03c78", (0, (9, 2)), "v"),
    Look("#56b4e9", (0, (3, 1, 1, 1, 1, 1)), "P"),
)
"""Colours of Okabe & Ito (2008) that differ for all readers, and in a line and a marker each."""


@contextmanager
def style() -> Iterator[None]:
    """The style; text stays text, and nothing depends on time or on the process."""
    import matplotlib as mpl

    settings: dict[str, Any] = {
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "legend.fontsize": 7.5,
        "legend.frameon": False,
        "text.color": INK,
        "text.parse_math": False,  # a group may be called "$a$"
        "xtick.color": INK,
        "ytick.color": INK,
        "svg.fonttype": "none",
        "svg.hashsalt": "trilemma",
    }
    with mpl.rc_context(settings):  # type: ignore[arg-type]
        yield


def svg(figure: Figure) -> bytes:
    """The figure as SVG; equal figures give equal bytes."""
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None}
    figure.savefig(buffer, format="svg", metadata=metadata, bbox_inches="tight", pad_inches=0.08)
    return buffer.getvalue()


def panels(names: list[str]) -> tuple[Figure, list[Axes]]:
    """Square panels with a title each, three in a row."""
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(PANEL * columns, (PANEL + 0.35) * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(grid, names, strict=False):
        axes.set_title(shortened(name, 34))
    return figure, list(grid[: len(names)])


def shortened(name: str, most: int) -> str:
    """A name that fits its place."""
    return name if len(name) <= most else name[: most - 1] + "…"
