"""Methods over several data sets: a table against ERM and a critical-difference diagram."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from leaderboard.board import Section
from leaderboard.collect import REFERENCE
from leaderboard.drawing import FAINT, INK, style, svg, title
from leaderboard.numbers import chance, decimal
from leaderboard.tables import Cell, Column, Row, Table
from metrics.comparison.across import LEAST, ROPE, Pairwise, Ranked, against, ranked

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST = 3
"""Methods below which there are no ranks to compare."""


@dataclass(frozen=True)
class Across:
    """Macro AUC of methods that were run on every one of at least five data sets.

    `table` has a row per method, `picture` is the diagram as SVG, and `data_sets` are named.
    """

    data_sets: tuple[str, ...]
    table: Table
    picture: bytes


def across(sections: Sequence[Section]) -> Across | None:
    """What several data sets of one kind say together; None with fewer than 5, or 3 methods.

    Of each data set the first section counts, and of methods those with an AUC on all of them:
    leaving a data set out for one method alone would compare unlike ranks.
    """
    found: dict[str, dict[tuple[str, str], float]] = {}
    names: dict[tuple[str, str], str] = {}
    for section in sections:
        found.setdefault(section.dataset, _aucs(section))
        for entrant in section.entrants:
            names.setdefault((entrant.method, entrant.variant), entrant.name)
    common = [m for m in names if all(m in own for own in found.values())]
    common.sort(key=lambda m: m[0] != REFERENCE)  # ERM first, and of several the plainest
    if len(found) < LEAST or len(common) < FEWEST or common[0][0] != REFERENCE:
        return None
    gains = np.array([[own[m] for m in common] for own in found.values()])
    methods = [names[m] for m in common]
    places = ranked(gains, methods)
    diagram = _diagram(places, simulated=sections[0].simulated)
    return Across(tuple(found), _table(places, against(gains, methods)), diagram)


def _aucs(section: Section) -> dict[tuple[str, str], float]:
    """Macro AUC against the headline labels by method and fields; undefined ones are left out."""
    values = {}
    for entrant in section.entrants:
        estimate = entrant.get("auc", section.labels[0])
        if estimate is not None and not math.isnan(estimate.value):
            values[entrant.method, entrant.variant] = estimate.value
    return values


def _table(places: Ranked, pairs: Sequence[Pairwise]) -> Table:
    by_method = {pair.method: pair for pair in pairs}
    practical = f"Against ERM, beyond ±{ROPE:g}"
    columns = (
        Column("method"),
        Column("mean rank", "Macro AUC"),
        Column("median", "Minus ERM's"),
        Column("p after Holm", "Minus ERM's"),
        Column("P(better)", practical),
        Column("P(equivalent)", practical),
        Column("P(worse)", practical),
    )
    rows = []
    for method, rank in sorted(zip(places.methods, places.mean_ranks, strict=True), key=_by_rank):
        cells = [Cell(method), Cell(f"{rank:.1f}")]
        pair = by_method.get(method)
        if pair is None:
            cells += [Cell("reference")] * 5
        else:
            cells += [Cell(decimal(pair.median, signed=True)), Cell(chance(pair.adjusted))]
            cells += [Cell(f"{p:.2f}") for p in (pair.better, pair.equivalent, pair.worse)]
        rows.append(Row(tuple(cells)))
    caption = (
        f"{places.data_sets} data sets together: Friedman p {chance(places.p)}; mean ranks differ "
        f"where they are more than {places.critical_difference:.1f} apart (Nemenyi)"
    )
    return Table(caption, columns, tuple(rows))


def _by_rank(item: tuple[str, float]) -> tuple[float, str]:
    return item[1], item[0]


def _diagram(places: Ranked, *, simulated: bool) -> bytes:
    """Mean ranks on a line; bars join methods whose ranks are no critical difference apart."""
    from matplotlib.figure import Figure

    count = len(places.methods)
    with style():
        figure = Figure(figsize=(7.5, 1.3 + 0.2 * count))
        axes = figure.add_axes((0.02, 0.02, 0.96, 0.86))
        axes.set_xlim(0, count + 1)
        axes.set_ylim(-0.9 - 0.55 * ((count + 1) // 2) - 0.3 * len(places.alike), 1.1)
        axes.axis("off")
        axes.plot([1, count], [0, 0], color=INK, lw=1)
        for rank in range(1, count + 1):
            axes.plot([rank, rank], [0, 0.12], color=INK, lw=1)
            axes.text(rank, 0.2, str(rank), ha="center", va="bottom", fontsize=8)
        _critical(axes, places.critical_difference)
        _bars(axes, places)
        _names(axes, places)
        title(figure, f"Mean rank by macro AUC over {places.data_sets} data sets; 1 is the highest",
              simulated=simulated)  # fmt: skip
        return svg(figure)


def _critical(axes: Axes, width: float) -> None:
    axes.plot([1, 1 + width], [0.8, 0.8], color=INK, lw=1.5)
    axes.text(1 + width / 2, 0.85, f"critical difference {width:.1f}", ha="center", va="bottom",
              fontsize=8)  # fmt: skip


def _bars(axes: Axes, places: Ranked) -> None:
    rank_of = dict(zip(places.methods, places.mean_ranks, strict=True))
    for i, group in enumerate(places.alike):
        ends = [rank_of[group[0]] - 0.05, rank_of[group[-1]] + 0.05]
        axes.plot(ends, [-0.2 - 0.3 * i] * 2, color=INK, lw=4, solid_capstyle="butt")


def _names(axes: Axes, places: Ranked) -> None:
    order = np.argsort(places.mean_ranks, kind="stable")
    below = -0.4 - 0.3 * len(places.alike)
    left = (len(order) + 1) // 2
    for place, method in enumerate(order):
        rank = places.mean_ranks[method]
        first = place < left
        # Names fan out so that no two lines cross: the outer ones stand higher.
        y = below - 0.5 * (place if first else len(order) - 1 - place)
        edge = 0.0 if first else len(order) + 1.0
        axes.plot([rank, rank, edge], [0, y, y], color=FAINT, lw=0.8)
        axes.text(edge, y + 0.05, f"{places.methods[method]}  {rank:.1f}",
                  ha="left" if first else "right", va="bottom", fontsize=8)  # fmt: skip
