"""The trade-offs of accuracy with fairness and privacy, as one picture that needs no colour."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from leaderboard.aggregate import Estimate
from leaderboard.board import REID, Entrant, Section
from leaderboard.collect import REFERENCE
from leaderboard.drawing import FAINT, GRID, INK, style, svg, title
from leaderboard.numbers import pair
from leaderboard.tables import EPSILON, LABELS, endless, unlabelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Box = tuple[float, float, float, float]
"""Left, bottom, right, top in points."""
SMALLEST_SPAN = 0.06
"""Of the axis of macro AUC."""
SHAPES = "osD^vPX<>ph*"
"""Markers of methods in the order of the section, ERM first; fields of one method share a shape."""
GRAYS = ("white", "0.78", "0.52", "0.25")
MOST_NAMES = 4
"""Methods that are named beside their points; more are numbered, with a key."""
NAME, MARKER, BAR = 20.0, 5.0, 1.0
"""What it costs a name to cover a square point of another name, a marker, an error bar."""
TOUCHING = 500.0
"""What it costs a name to touch another one, however little."""


@dataclass(frozen=True)
class Panel:
    """One trade-off: macro AUC upwards against something else.

    `points` are entrants by their place in the section, with x and macro AUC. `zero` marks a zero
    line. `endless` is where infinite x stands on a logarithmic axis; NaN without one.
    """

    label: str
    direction: str
    points: tuple[tuple[int, Estimate, Estimate], ...]
    zero: bool = False
    endless: float = math.nan


def tradeoff(section: Section) -> bytes | None:
    """Macro AUC against re-identification, against the signed FNR contrast, and against epsilon.

    A panel is drawn where at least two entrants have both numbers; None where there is no panel.
    """
    from matplotlib.figure import Figure

    panels = panels_of(section)
    if not panels:
        return None
    shown = sorted({place for panel in panels for place, *_ in panel.points})
    numbered = len(shown) > MOST_NAMES
    with style():
        wide = 3.6 * len(panels)
        figure = Figure(figsize=(wide, 3.9))
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        figure.subplots_adjust(0.0, 0.0, 1.0, 1 - 0.45 / 3.9, wspace=0.08)
        for axes, panel in zip(grid, panels, strict=True):
            _scatter(axes, panel, section)
        grid[0].set_ylabel(f"macro AUC, {LABELS[section.labels[0]]}   (higher is better →)")
        _at_least(grid[0], SMALLEST_SPAN)
        for axes, panel in zip(grid, panels, strict=True):
            named = [
                (str(p + 1) if numbered else section.entrants[p].name, x, y)
                for p, x, y in panel.points
            ]
            _label(axes, named)
        if numbered:
            _key(grid[-1], section, shown)
        title(figure, f"{section.heading}: trade-offs", simulated=section.simulated)
        return svg(figure)


def panels_of(section: Section) -> tuple[Panel, ...]:
    """The panels for which at least two entrants have both numbers."""
    labels = section.labels[0]
    held = {
        place: auc
        for place, entrant in enumerate(section.entrants)
        if (auc := entrant.get("auc", labels)) is not None and not math.isnan(auc.value)
    }
    entrants = section.entrants
    images = {place: unlabelled(entrants[place], REID) for place in held}
    panels = [
        _panel("re-identification AUC of released images,\nworst attacker; 0.5 is chance",
               "(← lower is better)", images, held),
    ]  # fmt: skip
    for contrast in section.contrasts[:1]:
        said = f"FNR contrast, {contrast.attribute}: {pair(contrast.pair)},\nmean over findings"
        found = {p: entrants[p].contrast("fnr_contrast", labels, contrast) for p in held}
        made = _panel(said, "(→ 0 ← closer to zero is better)", found, held)
        panels.append(None if made is None else replace(made, zero=True))
    panels.append(_epsilon_panel(entrants, held))
    return tuple(panel for panel in panels if panel is not None)


def _panel(
    label: str, direction: str, found: dict[int, Estimate | None], held: dict[int, Estimate]
) -> Panel | None:
    points = tuple(
        (place, x, held[place])
        for place, x in found.items()
        if x is not None and not math.isnan(x.value)
    )
    return Panel(label, direction, points) if len(points) > 1 else None


def _epsilon_panel(entrants: tuple[Entrant, ...], held: dict[int, Estimate]) -> Panel | None:
    """Macro AUC against epsilon; ERM, trained without noise, stands where epsilon is infinite."""
    spent = {p: e for p in held if (e := unlabelled(entrants[p], EPSILON)) is not None}
    finite = [e.value for e in spent.values() if not math.isnan(e.value)]
    if not finite or len(spent) < 2:
        return None
    edge = 4 * max(finite)
    at_edge = {
        p: replace(held[p], value=edge, low=math.nan, high=math.nan)
        for p in held
        if (endless(spent[p]) if p in spent else entrants[p].method == REFERENCE)
    }
    label = "privacy loss epsilon of training, logarithmic;\n∞: trained without noise"
    made = _panel(label, "(← lower is better)", dict(sorted((spent | at_edge).items())), held)
    return None if made is None else replace(made, endless=edge)


def _scatter(axes: Axes, panel: Panel, section: Section) -> None:
    for place, x, y in panel.points:
        _bars(axes, x, y)
        _dot(axes, x.value, y.value, _look(section, place))
    axes.grid(color=GRID, lw=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(f"{panel.label}\n{panel.direction}")
    axes.margins(0.1)
    if panel.zero:
        axes.axvline(0, color=INK, lw=0.8, zorder=1)
    if not math.isnan(panel.endless):
        _logarithmic(axes, panel)


def _logarithmic(axes: Axes, panel: Panel) -> None:
    """A logarithmic axis with the values of the methods, and infinity apart at the right edge."""
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    known = sorted({round(x.value, 2) for _, x, _ in panel.points if x.value != panel.endless})
    axes.set_xlim(known[0] / 1.8, panel.endless * 1.5)
    ticks = [known[0]]
    for value in known[1:]:  # closer ones would print over each other
        if value > 1.35 * ticks[-1]:
            ticks.append(value)
    axes.set_xticks([*ticks, panel.endless], [*(f"{t:g}" for t in ticks), "∞"])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.axvline(panel.endless / 2, color=FAINT, lw=0.8, ls=":", zorder=1)


def _look(section: Section, place: int) -> tuple[str, str]:
    """Marker and face of an entrant: a shape per method, gray by its place among its fields."""
    methods = list(dict.fromkeys(entrant.method for entrant in section.entrants))
    method = section.entrants[place].method
    order = [p for p, e in enumerate(section.entrants) if e.method == method].index(place)
    shape = SHAPES[methods.index(method) % len(SHAPES)]
    face = (
        INK if method == REFERENCE and order == 0 else ("white", "0.78", "0.52", "0.25")[order % 4]
    )
    return shape, face


def _key(axes: Axes, section: Section, shown: list[int]) -> None:
    """Marker, number and name of every method at the right of the last panel."""
    figure: Any = axes.figure
    wide, high = figure.get_size_inches()
    rows = [textwrap.wrap(section.entrants[p].name, 34) or [""] for p in shown]
    lines = sum(map(len, rows))
    step = 0.165  # inches a line
    top = axes.get_position().y1
    key = figure.add_axes((1 + 0.15 / wide, top - lines * step / high, 2.4 / wide,
                           lines * step / high))  # fmt: skip
    key.set(xlim=(0, 2.4), ylim=(lines, 0))
    key.axis("off")
    line = 0
    for place, row in zip(shown, rows, strict=True):
        _dot(key, 0.08, line + 0.5, _look(section, place))
        key.text(0.34, line + 0.5, str(place + 1), va="center", ha="right", fontsize=8)
        for text in row:
            key.text(0.42, line + 0.5, text, va="center", fontsize=8)
            line += 1


def _at_least(axes: Axes, span: float) -> None:
    """Widen the vertical axis to `span`, so that noise does not look like a difference."""
    low, high = axes.get_ylim()
    if high - low < span:
        middle = (low + high) / 2
        axes.set_ylim(middle - span / 2, middle + span / 2)


def _bars(axes: Axes, x: Estimate, y: Estimate) -> None:
    line = {"color": FAINT, "lw": 0.7, "zorder": 2}
    axes.plot([x.low, x.high], [y.value, y.value], **line)  # type: ignore[arg-type]
    axes.plot([x.value, x.value], [y.low, y.high], **line)  # type: ignore[arg-type]


def _dot(axes: Axes, x: float, y: float, look: tuple[str, str]) -> None:
    shape, face = look
    axes.plot([x], [y], shape, ms=6.5, mfc=face, mec=INK, mew=1.0, zorder=3, clip_on=False)


def _label(axes: Axes, points: list[tuple[str, Estimate, Estimate]]) -> None:
    """Name every point beside it."""
    axes.figure.canvas.draw()
    scale = axes.figure.dpi / 72

    def place(x: float, y: float) -> tuple[float, float]:
        px, py = axes.transData.transform((x, y)) / scale
        return float(px), float(py)

    left, bottom, right, top = (edge / scale for edge in axes.bbox.extents)
    bars: list[Box] = []
    for _, x, y in points:
        bars.append((*place(x.low, y.value), *place(x.high, y.value)))
        bars.append((*place(x.value, y.low), *place(x.value, y.high)))
    offsets = label_offsets(
        [place(x.value, y.value) for _, x, y in points],
        [4.9 * len(name) for name, *_ in points],
        [bar for bar in bars if not math.isnan(sum(bar))],
        (left, bottom, right, top),
    )
    for (name, x, y), (dx, dy, _) in zip(points, offsets, strict=True):
        far = abs(dy) > 10 or abs(dx) > 12
        arrow = {"arrowstyle": "-", "color": FAINT, "lw": 0.6} if far else None
        axes.annotate(name, (x.value, y.value), (dx, dy), textcoords="offset points", fontsize=8.5,
                      ha="left" if dx > 0 else "right", va="center", arrowprops=arrow, zorder=4,
                      bbox={"fc": "white", "ec": "none", "alpha": 0.7, "pad": 0.4})  # fmt: skip


def label_offsets(
    dots: Sequence[tuple[float, float]], widths: Sequence[float], bars: Sequence[Box], frame: Box
) -> list[tuple[float, float, Box]]:
    """For each point the offset of its name and the box that the name fills, all in points.

    Names keep off each other, off the markers at `dots` and, where there is room, off `bars`; they
    stay within `frame`.
    """
    taken = [(*_grown((*dot, *dot), 5.0), MARKER) for dot in dots]
    taken += [(*_grown(bar, 1.0), BAR) for bar in bars]
    result: dict[int, tuple[float, float, Box]] = {}
    for number in sorted(range(len(dots)), key=lambda i: (-dots[i][1], dots[i][0])):
        found = _free_place(dots[number], widths[number], np.array(taken), frame)
        taken.append((*_grown(found[2], 0.5), NAME))
        result[number] = found
    return [result[number] for number in range(len(dots))]


def _free_place(
    dot: tuple[float, float], width: float, taken: np.ndarray, frame: Box
) -> tuple[float, float, Box]:
    """The offset of a name from its point with the least in its way, and the box it fills.

    `taken` `(n, 5)` are boxes with what a square point of each costs.
    """
    places = [
        (side * (8.0 + 12.0 * along), up * (7.0 + 11.0 * away), along + away)
        for along, away in product(range(4), range(6))
        for side, up in ((1, 1), (-1, 1), (1, -1), (-1, -1))
    ]
    dx, dy, far = np.array(places).T
    left, middle = dot[0] + np.where(dx > 0, dx, dx - width), dot[1] + dy
    boxes = np.stack([left, middle - 4.5, left + width, middle + 4.5], axis=1)
    shared = _shared_areas(boxes, taken)
    outside = (boxes[:, :2] <= frame[:2]).any(axis=1) | (boxes[:, 2:] >= frame[2:]).any(axis=1)
    touching = ((shared > 0) & (taken[:, 4] == NAME)).any(axis=1)
    cost = shared @ taken[:, 4] + 15.0 * far + TOUCHING * touching + 2000.0 * outside
    chosen = int(cost.argmin())
    a, b, c, d = map(float, boxes[chosen])
    return float(dx[chosen]), float(dy[chosen]), (a, b, c, d)


def _shared_areas(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Areas `(m, n)` that boxes `(m, 4)` (left, bottom, right, top) share with `others`."""
    most = np.minimum(boxes[:, None, 2:4], others[None, :, 2:4])
    least = np.maximum(boxes[:, None, :2], others[None, :, :2])
    areas: np.ndarray = np.clip(most - least, 0, None).prod(axis=2)
    return areas


def _grown(box: Box, margin: float) -> Box:
    return box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin
