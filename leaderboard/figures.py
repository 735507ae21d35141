"""The pictures of the page, as SVG that is readable without colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leaderboard.board import Entrant, Section
from leaderboard.drawing import FAINT, INK, forest_axes, forest_line, reach, style, svg, title
from leaderboard.numbers import pair
from leaderboard.tables import LABELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATES = (("fnr_contrast", "FNR contrast", "o"), ("fpr_contrast", "FPR contrast", "s"))


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
        title(figure, f"{section.heading}: FNR contrasts", simulated=section.simulated)
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
        text = f"{entrant.name} on {section.heading}, {LABELS[labels]}"
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
