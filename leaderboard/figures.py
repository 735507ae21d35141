"""The pictures of the page, as SVG that is readable without colour."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from leaderboard.aggregate import Estimate
from leaderboard.board import Contrast, Entrant, Section
from leaderboard.drawing import FAINT, GRID, INK, forest_axes, forest_line, reach, style, svg, title
from leaderboard.numbers import pair
from leaderboard.tables import LABELS, REID, reidentification

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATES = (("fnr_contrast", "FNR contrast", "o"), ("fpr_contrast", "FPR contrast", "s"))
Box = tuple[float, float, float, float]
"""Left, bottom, right, top in points."""


SMALLEST_SPAN = 0.06
"""Of the axis of macro AUC."""


def tradeoff(section: Section) -> bytes | None:
    """Accuracy against the size of the FNR contrast, marked by image re-identification.

    None where no method has both a macro AUC and the contrast.
    """
    from matplotlib.figure import Figure

    if not section.contrasts:
        return None
    contrast, labels = section.contrasts[0], section.labels[0]
    drawn = _points(section, contrast, labels)
    if not drawn:
        return None
    with style():
        figure = Figure(figsize=(6.6, 4.5))
        axes = figure.add_axes((0.09, 0.12, 0.70, 0.76))
        for entrant, x, y in drawn:
            _bars(axes, x, y)
            _dot(axes, x.value, y.value, _reid(entrant))
        axes.grid(color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
        said = f"|FNR contrast|, {contrast.attribute}: {pair(contrast.pair)}"
        axes.set_xlabel(f"{said}, mean over findings   (← closer to zero is better)")
        axes.set_ylabel(f"macro AUC, {LABELS[labels]}   (higher is better →)")
        _at_least(axes, SMALLEST_SPAN)
        _label(axes, [(_named(entrant), x, y) for entrant, x, y in drawn])
        _legend(axes)
        title(
            figure,
            f"{section.title}: accuracy, contrast, re-identification",
            simulated=section.simulated,
        )
        return svg(figure)


def contrast_forest(section: Section) -> bytes | None:
    """FNR contrasts of all methods, one panel per attribute; None where there is no contrast."""
    if not section.contrasts:
        return None
    panels = section.contrasts
    found = {
        (entrant.name, contrast, labels): entrant.contrast("fnr_contrast", labels, contrast)
        for entrant in section.entrants
        for contrast in panels
        for labels in section.labels
    }
    limit = reach(list(found.values()))
    names = [entrant.name for entrant in section.entrants]
    with style():
        figure, grid = _panels(len(panels), 0.36 * len(names))
        for axes, contrast in zip(grid, panels, strict=True):
            forest_axes(axes, names, limit, f"{contrast.attribute}: {pair(contrast.pair)}")
            for y, name in enumerate(names):
                for labels, offset in _lines(section):
                    estimate = found[name, contrast, labels]
                    filled = labels == section.labels[0]
                    forest_line(axes, y + offset, estimate, "o", filled=filled)
            axes.set_xlabel("FNR contrast")
        _label_sets(figure, section)
        title(figure, f"{section.title}: FNR contrasts", simulated=section.simulated)
        return svg(figure)


def finding_forest(section: Section, entrant: Entrant) -> bytes | None:
    """FNR and FPR contrasts of one method, finding by finding, against the headline labels."""
    if not section.contrasts or not section.findings:
        return None
    rows, labels = (*section.findings, "macro"), section.labels[0]
    found = {
        (metric, contrast, finding): entrant.contrast(metric, labels, contrast, finding=finding)
        for metric, _, _ in RATES
        for contrast in section.contrasts
        for finding in rows
    }
    limit = reach(list(found.values()))
    with style():
        figure, grid = _panels(len(section.contrasts), 0.34 * len(rows))
        for axes, contrast in zip(grid, section.contrasts, strict=True):
            forest_axes(axes, list(rows), limit, f"{contrast.attribute}: {pair(contrast.pair)}")
            axes.axhline(len(rows) - 1.5, color=FAINT, lw=0.6)
            for y, finding in enumerate(rows):
                for (metric, _, marker), offset in zip(RATES, (-0.16, 0.16), strict=True):
                    estimate = found[metric, contrast, finding]
                    filled = metric == "fnr_contrast"
                    forest_line(axes, y + offset, estimate, marker, filled=filled)
            axes.set_xlabel("difference of rates")
        handles = [_handle(name, marker, m == "fnr_contrast") for m, name, marker in RATES]
        _legend_below(figure, handles)
        text = f"{entrant.name} on {section.title}, {LABELS[labels]}"
        title(figure, text, simulated=section.simulated)
        return svg(figure)


def _panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """A row of panels, `height` inches high, with shared names at the left.

    The axes fill the figure; titles, names and legend stand outside it, and saving makes room.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.0 * count, height + 0.6))
    axes = figure.subplots(1, count, sharey=True, squeeze=False)
    figure.subplots_adjust(0, 0, 1, 1 - 0.6 / (height + 0.6), wspace=0.1)
    return figure, list(axes[0])


def _lines(section: Section) -> list[tuple[str, float]]:
    """Label sets with their vertical offsets inside a row."""
    if len(section.labels) == 1:
        return [(section.labels[0], 0.0)]
    return list(zip(section.labels, (-0.17, 0.17), strict=True))


def _label_sets(figure: Any, section: Section) -> None:
    if len(section.labels) > 1:
        handles = [_handle(LABELS[n], "o", n == section.labels[0]) for n in section.labels]
        _legend_below(figure, handles)


def _legend_below(figure: Any, handles: list[Any]) -> None:
    below = -0.45 / figure.get_figheight()
    figure.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, below), ncols=2, frameon=False
    )


def _handle(name: str, marker: str, filled: bool) -> Any:
    from matplotlib.lines import Line2D

    face = INK if filled else "white"
    return Line2D([], [], marker=marker, ls="-", lw=1.1, color=INK, mfc=face, mec=INK, ms=5,
                  label=name)  # fmt: skip


def _points(
    section: Section, contrast: Contrast, labels: str
) -> list[tuple[Entrant, Estimate, Estimate]]:
    """Entrants with size of contrast and macro AUC, where both are defined."""
    found = []
    for entrant in section.entrants:
        gap = entrant.contrast("fnr_contrast", labels, contrast)
        auc = entrant.get("auc", labels)
        if gap is None or auc is None or math.isnan(gap.value) or math.isnan(auc.value):
            continue
        found.append((entrant, _absolute(gap), auc))
    return found


def _absolute(estimate: Estimate) -> Estimate:
    """The size of a signed estimate; an interval that holds zero then begins at zero."""
    ends = sorted((abs(estimate.low), abs(estimate.high)))
    low = 0.0 if estimate.low <= 0 <= estimate.high else ends[0]
    return replace(estimate, value=abs(estimate.value), low=low, high=ends[1])


def _named(entrant: Entrant) -> str:
    value = _reid(entrant)
    return entrant.name if math.isnan(value) else f"{entrant.name} (re-id {value:.2f})"


def _at_least(axes: Axes, span: float) -> None:
    """Widen the vertical axis to `span`, so that noise does not look like a difference."""
    low, high = axes.get_ylim()
    if high - low < span:
        middle = (low + high) / 2
        axes.set_ylim(middle - span / 2, middle + span / 2)


def _reid(entrant: Entrant) -> float:
    estimate = reidentification(entrant, REID[0][0])
    return math.nan if estimate is None else estimate.value


def _bars(axes: Axes, x: Estimate, y: Estimate) -> None:
    line = {"color": FAINT, "lw": 0.9, "zorder": 2}
    axes.plot([x.low, x.high], [y.value, y.value], **line)  # type: ignore[arg-type]
    axes.plot([x.value, x.value], [y.low, y.high], **line)  # type: ignore[arg-type]


def _dot(axes: Axes, x: float, y: float, reid: float) -> None:
    """A marker that grows and darkens from re-identification AUC 0.5 (chance) to 1."""
    share = 0.0 if math.isnan(reid) else min(max((reid - 0.5) / 0.5, 0.0), 1.0)
    size, face = 30 + 130 * share, str(0.97 - 0.85 * share)  # area in points², gray level
    if math.isnan(reid):
        size, face = 80, "white"
    dashes = ":" if math.isnan(reid) else "-"
    axes.scatter([x], [y], s=size, c=face, edgecolors=INK, linewidths=1.0, linestyles=dashes,
                 zorder=3, clip_on=False)  # fmt: skip


def _legend(axes: Axes) -> None:
    """Three sample markers at the right of the picture."""
    figure: Any = axes.figure
    key = figure.add_axes((0.82, 0.50, 0.17, 0.36))
    key.set(xlim=(0, 1), ylim=(-0.6, 5.4))
    key.axis("off")
    key.text(0, 5.2, "Image re-identification\nAUC (lower is better)", va="top", fontsize=8)
    rows = ((3.3, 0.5, "0.5 (chance)"), (2.3, 0.75, "0.75"), (1.2, 1.0, "1.0"))
    for y, value, text in (*rows, (0.1, math.nan, "not measured")):
        _dot(key, 0.1, y, value)
        key.text(0.27, y, text, va="center", fontsize=8)


def _label(axes: Axes, points: list[tuple[str, Estimate, Estimate]]) -> None:
    """Name every point beside it, so that names touch neither each other nor a marker."""
    axes.figure.canvas.draw()
    scale = axes.figure.dpi / 72

    def place(x: float, y: float) -> Box:
        px, py = axes.transData.transform((x, y)) / scale
        return px, py, px, py

    frame = tuple(edge / scale for edge in axes.bbox.extents)
    dots = [place(x.value, y.value) for _, x, y in points]
    taken = [_grown(dot, 7.0) for dot in dots]
    for _, x, y in points:
        taken.append(_grown(place(x.low, y.value)[:2] + place(x.high, y.value)[2:], 1.0))
        taken.append(_grown(place(x.value, y.low)[:2] + place(x.value, y.high)[2:], 1.0))
    taken = [box for box in taken if not math.isnan(sum(box))]
    top_down = sorted(zip(points, dots, strict=True), key=lambda item: (-item[1][1], item[1][0]))
    for (name, x, y), (px, py, *_) in top_down:
        dx, dy, box = _free_place(px, py, 4.9 * len(name), taken, frame)
        taken.append(box)
        arrow = {"arrowstyle": "-", "color": FAINT, "lw": 0.6} if abs(dy) > 10 else None
        axes.annotate(name, (x.value, y.value), (dx, dy), textcoords="offset points", fontsize=8.5,
                      ha="left" if dx > 0 else "right", va="center", arrowprops=arrow, zorder=4,
                      bbox={"fc": "white", "ec": "none", "alpha": 0.7, "pad": 0.4})  # fmt: skip


def _free_place(
    px: float, py: float, width: float, taken: list[Box], frame: tuple[float, ...]
) -> tuple[float, float, Box]:
    """The offset of a name from its point with the least in its way, and the box it fills."""
    options: list[tuple[float, int, float, float, Box]] = []
    for step in range(5):
        for side, up in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
            dx, dy = side * 8.0, up * (7.0 + 11.0 * step)
            left = px + dx if side > 0 else px + dx - width
            box = (left, py + dy - 4.5, left + width, py + dy + 4.5)
            inside = (box[0] > frame[0], box[1] > frame[1], box[2] < frame[2], box[3] < frame[3])
            cost = sum(_overlap(box, other) for other in taken) + 15.0 * step
            options.append((cost + 400.0 * (not all(inside)), len(options), dx, dy, box))
    _, _, dx, dy, box = min(options)
    return dx, dy, box


def _grown(box: Box, margin: float) -> Box:
    return box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin


def _overlap(a: Box, b: Box) -> float:
    """Area that two boxes (left, bottom, right, top) share, in points²."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    return max(wide, 0.0) * max(high, 0.0)
