"""The pictures of a description: sizes of groups, prevalence, odds ratios, co-occurrence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from metrics.audit.pictures import FAINT, GRID, INK, LOOKS, last_tick, shortened, style, svg
from metrics.audit.records import Row, records
from metrics.intersections import AND

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAR = "#4a6b82"
PERCENT = (0, 1, 2, 5, 10, 20, 30, 40, 60, 80, 100)
"""Ticks of a prevalence."""
LINE = 0.17
"""Inches between two lines of a plot."""
CLEAR = 0.05
"""Holm-adjusted p below which a marker is filled."""
NAME = 30
"""Characters of a name."""


def group_sizes(counts: pd.DataFrame, attributes: Sequence[str]) -> bytes:
    """Patients in every group, a panel per attribute, on one scale."""
    from matplotlib.figure import Figure

    parts = [counts[counts["attribute"] == name] for name in attributes]
    lines = [len(part) for part in parts]
    columns = min(2, len(parts))
    split = [list(range(i, len(parts), columns)) for i in range(columns)]
    height = max(sum(0.5 + 0.24 * lines[i] for i in column) for column in split)
    longest = max(len(shortened(str(g), NAME)) for g in pd.concat(parts)["group"])
    left = 0.2 + 0.075 * longest
    width = left + 2.9 + 1.15
    reach = counts[counts["attribute"].isin(attributes)]["share_of_patients"].max()
    with style():
        figure = Figure(figsize=(width * columns, height))
        for at, column in enumerate(split):
            top = height
            for i in column:
                tall = 0.24 * lines[i]
                top -= 0.5 + tall
                axes = figure.add_axes(
                    ((at * width + left) / (width * columns), (top + 0.1) / height,
                     2.9 / (width * columns), tall / height)
                )  # fmt: skip
                _bars(axes, parts[i], attributes[i], float(reach))
        return svg(figure)


def _bars(axes: Axes, part: pd.DataFrame, name: str, reach: float) -> None:
    shares = part["share_of_patients"].to_numpy(float)
    axes.barh(range(len(part)), np.nan_to_num(shares), color=BAR, height=0.62)
    for y, row in enumerate(records(part)):
        people, share = float(row["patients"]), float(row["share_of_patients"])
        told = "withheld (< 10)" if math.isnan(people) else f"{people:,.0f}  ({share:.1%})"
        axes.annotate(told, (0 if math.isnan(share) else share, y), (4, 0), va="center",
                      textcoords="offset points", fontsize=8)  # fmt: skip
    axes.set_yticks(range(len(part)), [shortened(str(g), NAME) for g in part["group"]])
    axes.set(ylim=(len(part) - 0.5, -0.5), xlim=(0, reach), xticks=[])
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)
    axes.set_title(shortened(name, 40), loc="left")


def prevalence(cells: pd.DataFrame, groups: Sequence[str], findings: Sequence[str]) -> bytes:
    """Prevalence of every finding in some groups of one attribute, with 95 % intervals."""
    from matplotlib.figure import Figure

    by_key = {(r["finding"], r["group"]): r for r in records(cells)}
    lines = len(findings) * (len(groups) + 1)
    with style():
        figure = Figure(figsize=(6.4, LINE * lines + 0.2))
        axes = figure.add_axes((0, 0, 1, 1))
        for f, finding in enumerate(findings):
            for g, group in enumerate(groups):
                y = f * (len(groups) + 1) + g
                _mark(axes, y, by_key.get((finding, group)), LOOKS[g])
        for g, group in enumerate(groups):
            axes.plot([], [], LOOKS[g].marker, color=LOOKS[g].colour, ms=5,
                      label=shortened(group, NAME))  # fmt: skip
        middle = [f * (len(groups) + 1) + (len(groups) - 1) / 2 for f in range(len(findings))]
        axes.set_yticks(middle, [shortened(f, NAME) for f in findings])
        for centre in middle[:-1]:
            axes.axhline(centre + (len(groups) + 1) / 2, color=GRID, lw=0.6)
        axes.set_ylim(lines - 1.2, -0.8)
        # Rare findings need room: on a plain scale their groups fall onto one point.
        axes.set_xscale("function", functions=(lambda x: np.sqrt(np.abs(x)), np.square))
        ends = cells[["value", "high"]].to_numpy(float)
        right = max(0.02, min(1.0, 1.05 * float(np.nanmax(ends, initial=0.0))))
        axes.set_xlim(0, right)
        shown = [t for t in PERCENT if t / 100 <= right]
        axes.set_xticks([t / 100 for t in shown], [f"{t:g} %" for t in shown])
        axes.grid(axis="x", color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("share of images with the finding (square-root scale)")
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
        return svg(figure, tight=True)


def _mark(axes: Axes, y: float, row: Row | None, look: Any) -> None:
    if row is None or math.isnan(float(row["value"])):
        why = "withheld" if row and str(row["note"]).startswith("withheld") else "n/a"
        axes.annotate(why, (0, y), (3, 0), textcoords="offset points", va="center", fontsize=6.5,
                      color=FAINT)  # fmt: skip
        return
    axes.plot([row["low"], row["high"]], [y, y], color=look.colour, lw=1.2)
    axes.plot(row["value"], y, look.marker, color=look.colour, ms=5, mew=0)


def odds(ratios: pd.DataFrame, findings: Sequence[str]) -> bytes | None:
    """Log odds ratios of one attribute, a panel per group; None where there is no second group."""
    from matplotlib.figure import Figure

    groups = list(dict.fromkeys(ratios["group"]))[: len(LOOKS)]
    if not groups:
        return None
    reference = str(ratios["reference"].iloc[0])
    by_key = {(r["finding"], r["group"]): r for r in records(ratios)}
    ends = ratios[["log_odds_ratio", "low", "high"]].abs().to_numpy(float)
    # An interval of a few patients would make all others unreadable; it is cut off at the edge.
    reach = 1.08 * max(0.3, min(3.0, float(np.nanmax(ends, initial=0.0))))
    with style():
        figure = Figure(figsize=(1.75 * len(groups), 0.24 * len(findings) + 0.1))
        grid = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
        figure.subplots_adjust(0, 0, 1, 1, wspace=0.12)
        for axes, group in zip(grid, groups, strict=True):
            for y, finding in enumerate(findings):
                _contrast(axes, y, by_key.get((finding, group)))
            axes.axvline(0, color=INK, lw=0.8, zorder=1)
            axes.grid(axis="x", color=GRID, lw=0.6)
            axes.set_axisbelow(True)
            axes.set_xlim(-reach, reach)
            axes.set_xticks([-last_tick(reach), 0, last_tick(reach)])
            axes.spines["left"].set_visible(False)
            axes.tick_params(axis="y", length=0)
            axes.set_title(shortened(f"{group} vs {reference}", 26), fontsize=8.5)
        grid[0].set_yticks(range(len(findings)), [shortened(f, NAME) for f in findings])
        grid[0].set_ylim(len(findings) - 0.5, -0.6)
        grid[len(groups) // 2].set_xlabel("log odds ratio")
        return svg(figure, tight=True)


def _contrast(axes: Axes, y: float, row: Row | None) -> None:
    if row is None or math.isnan(float(row["log_odds_ratio"])):
        axes.annotate("n/a", (0, y), (3, 0), textcoords="offset points", va="center",
                      fontsize=6.5, color=FAINT)  # fmt: skip
        return
    axes.plot([row["low"], row["high"]], [y, y], color=INK, lw=1.0, zorder=2)
    face = INK if row["p_holm"] < CLEAR else "white"
    axes.plot(row["log_odds_ratio"], y, "o", ms=5, mfc=face, mec=INK, mew=1.0, zorder=3)


def joint_counts(counts: pd.DataFrame, name: str, patients: int) -> bytes:
    """Patients in every combination of two attributes, shaded by their share of all."""
    part = counts[counts["attribute"] == name]
    names = [str(group).split(AND) for group in part["group"]]
    down = list(dict.fromkeys(pair[0] for pair in names))
    across = list(dict.fromkeys(pair[1] for pair in names))
    people = part["patients"].to_numpy(float).reshape(len(down), len(across))
    told = [["< 10" if math.isnan(v) else f"{v:,.0f}" for v in row] for row in people]
    first, second = name.split(AND)
    return _heat(people / patients, told, down, across, f"{first}  ×  {second}", 0.62)


def cooccurrence(pairs: pd.DataFrame, findings: Sequence[str]) -> bytes:
    """Of the images with the finding of the row, the share with that of the column."""
    share = pairs.pivot_table(index="finding", columns="with", values="share", dropna=False)
    held = share.reindex(index=list(findings), columns=list(findings)).to_numpy(float)
    told = [
        ["" if i == j else "–" if math.isnan(v) else f"{100 * v:.0f}" for j, v in enumerate(row)]
        for i, row in enumerate(held)
    ]
    title = "with the finding of the row, % that also have that of the column"
    return _heat(held, told, findings, findings, title, 0.42)


def _heat(
    values: np.ndarray, told: Sequence[Sequence[str]], down: Sequence[str], across: Sequence[str],
    title: str, cell: float,
) -> bytes:  # fmt: skip
    from matplotlib.figure import Figure

    top = float(np.nanmax(values, initial=0.0)) or 1.0
    with style():
        figure = Figure(figsize=(cell * len(across), 0.32 * len(down)))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.imshow(np.nan_to_num(values), cmap="Blues", vmin=0, vmax=1.25 * top, aspect="auto")
        for i, row in enumerate(told):
            for j, text in enumerate(row):
                ink = "white" if values[i][j] > 0.7 * top else INK
                axes.text(j, i, text, ha="center", va="center", fontsize=7.5, color=ink)
        axes.set_yticks(range(len(down)), [shortened(n, NAME) for n in down])
        turned = max(map(len, across)) > 7 * cell / 0.6
        axes.set_xticks(
            range(len(across)), [shortened(n, NAME) for n in across],
            rotation=40 if turned else 0, ha="left" if turned else "center",
            rotation_mode="anchor",
        )  # fmt: skip
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        axes.text(0, -0.06 / (0.32 * len(down)), title, transform=axes.transAxes, va="top",
                  fontsize=8, color=INK)  # fmt: skip
        return svg(figure, tight=True)
