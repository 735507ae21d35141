"""One style for all pictures of a report: told apart by lines and markers, not by colour alone."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID = "#1a1a1a", "#8a8a8a", "#dddddd"
PANEL, LEFT, RIGHT, TOP, BELOW = 2.5, 0.65, 0.15, 0.35, 0.55
"""Inches: side of a panel, and the room around it for names and ticks."""
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Distances of ticks between 0 and 1."""
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


def svg(figure: Figure, *, tight: bool = False) -> bytes:
    """The figure as SVG; equal figures give equal bytes. `tight` makes room for what sticks out."""
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None}
    if tight:  # costs a second drawing
        figure.savefig(
            buffer, format="svg", metadata=metadata, bbox_inches="tight", pad_inches=0.08
        )
    else:
        figure.savefig(buffer, format="svg", metadata=metadata)
    return buffer.getvalue()


def panels(names: list[str]) -> tuple[Figure, list[Axes]]:
    """Square panels with a title each, three in a row; measured in inches, so nothing is fitted."""
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    width, height = (PANEL + LEFT) * columns + RIGHT, (TOP + PANEL + BELOW) * rows
    figure = Figure(figsize=(width, height))
    found = []
    for i, name in enumerate(names):
        row, column = divmod(i, columns)
        left = (PANEL + LEFT) * column + LEFT
        bottom = height - (TOP + PANEL + BELOW) * row - TOP - PANEL
        axes = figure.add_axes((left / width, bottom / height, PANEL / width, PANEL / height))
        axes.set_title(shortened(name, 34))
        found.append(axes)
    return figure, found


def ticks(limit: float) -> list[float]:
    """Round ticks from 0 to `limit`, four to six of them."""
    step = next(s for s in STEPS if limit / s < 6)
    return [round(i * step, 3) for i in range(int(limit / step + 1e-9) + 1)]


def last_tick(reach: float) -> float:
    """The largest round number that leaves room for its label within an axis from 0 to `reach`."""
    size = 10.0 ** math.floor(math.log10(reach))
    return next(s * size for s in (5, 2, 1, 0.5) if s * size <= 0.85 * reach)


def shortened(name: str, most: int) -> str:
    """A name that fits its place."""
    return name if len(name) <= most else name[: most - 1] + "…"
