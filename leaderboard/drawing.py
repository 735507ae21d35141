"""What all figures share: one style, one way of saving, one way of drawing an estimate."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from leaderboard.aggregate import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1a1a1a"
FAINT = "#8a8a8a"
GRID = "#dddddd"
SIMULATED = "SIMULATED"


@contextmanager
def style() -> Iterator[None]:
    """The figures' style; text stays text, and nothing depends on time or on the process."""
    import matplotlib as mpl

    settings: dict[str, Any] = {
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "text.color": INK,
        "text.parse_math": False,  # a method may be called "a$b$"
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


def title(figure: Figure, text: str, *, simulated: bool) -> None:
    """Write the title; simulated data say so in every picture, since pictures travel alone."""
    height = figure.get_figheight()
    figure.text(0.01, 1 + 0.02 / height, text, fontsize=10.5, fontweight="bold", va="bottom")
    if simulated:
        said = f"{SIMULATED} data: nothing about real groups follows."
        figure.text(0.01, 1 - 0.04 / height, said, fontsize=8.5, va="top")


def forest_line(
    axes: Axes, y: float, estimate: Estimate | None, marker: str, *, filled: bool
) -> None:
    """Draw one signed estimate with its interval at height `y`; "n/a" where it is undefined."""
    if estimate is None or math.isnan(estimate.value):
        axes.annotate("n/a", (0, y), (3, 0), textcoords="offset points", va="center",
                      fontsize=7, color=FAINT)  # fmt: skip
        return
    if not math.isnan(estimate.low):
        axes.plot([estimate.low, estimate.high], [y, y], color=INK, lw=1.1, zorder=2)
    face = INK if filled else "white"
    axes.plot(estimate.value, y, marker, ms=5, mfc=face, mec=INK, mew=1.0, zorder=3)


def forest_axes(axes: Axes, names: list[str], limit: float, heading: str) -> None:
    """Rows top to bottom, zero marked, the same symmetric range in every panel."""
    axes.axvline(0, color=INK, lw=0.8, zorder=1)
    axes.set_xlim(-limit, limit)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID, lw=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.locator_params(axis="x", nbins=5)
    axes.spines["left"].set_visible(False)
    axes.set_title(heading, fontsize=9)


def reach(estimates: list[Estimate | None]) -> float:
    """A symmetric axis limit that holds all estimates and intervals, and at least ±0.1."""
    ends = [0.1]
    for estimate in estimates:
        if estimate is not None:
            ends += [abs(estimate.value), abs(estimate.low), abs(estimate.high)]
    return 1.08 * max(end for end in ends if not math.isnan(end))
