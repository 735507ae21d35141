"""The pictures of a report: contrasts, ROC and calibration by group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from metrics.audit import words
from metrics.audit.contrasts import DIFFERS, ECHO, UNDEFINED
from metrics.audit.curves import reliability, roc
from metrics.audit.pictures import (
    FAINT,
    GRID,
    INK,
    LOOKS,
    Look,
    last_tick,
    panels,
    shortened,
    style,
    svg,
    ticks,
)  # fmt: skip
from metrics.audit.records import Row, records
from metrics.score import ALL, MACRO
from registry import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from metrics.audit.engine import Audit

ROWS = 60
"""Lines of a forest plot; with more, only averages over findings are drawn."""
ACROSS = 4
"""Metrics side by side in a forest plot."""
DRAWN = len(LOOKS)
"""Groups in one panel; of more, the largest."""


@dataclass(frozen=True)
class Curve:
    """Images of one group and finding: rows, how it is drawn, and its AUC with interval."""

    rows: np.ndarray
    look: Look
    name: str
    told: str


def forests(audit: Audit, attribute: str) -> list[bytes]:
    """Signed contrasts between the groups of an attribute, some metrics to a picture."""
    found = audit.contrasts
    found = found[(found["attribute"] == attribute) & (found["labels"] == "recorded")]
    shown = found.groupby("metric", sort=False)["verdict"].apply(
        lambda verdicts: bool((~verdicts.isin([ECHO, UNDEFINED])).any())
    )
    metrics = [str(m) for m, held in shown.items() if held]
    pairs = list(dict.fromkeys(found["group"]))
    findings = [f for f in audit.material.test.findings if f != audit.headline]
    findings = [audit.headline, *findings] if found["finding"].nunique() > 1 else [audit.headline]
    if len(pairs) * len(findings) > ROWS:
        findings = [audit.headline]
    rows = [(pair, finding) for pair in pairs for finding in findings]
    chunks = [metrics[i : i + ACROSS] for i in range(0, len(metrics), ACROSS)]
    reach = _reaches(found[found["finding"].isin(findings)])
    return [_forest(found, chunk, rows, reach) for chunk in chunks]


def _forest(
    found: pd.DataFrame,
    metrics: list[str],
    rows: list[tuple[str, str]],
    reach: dict[str, float],
) -> bytes:
    from matplotlib.figure import Figure

    by_key = {
        (r["metric"], r["group"], r["finding"]): r for r in records(found) if r["metric"] in metrics
    }
    heads = len({pair for pair, _ in rows})
    several = len(rows) > heads
    height = 0.21 * (len(rows) + (heads if several else 0)) + 0.3
    with style():
        figure = Figure(figsize=(2.3 * len(metrics), height))
        grid = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        # The axes fill the figure; names stand outside, and saving makes room for them.
        figure.subplots_adjust(0, 0, 1, 1, wspace=0.12)
        places, names, heading = _places(rows, several)
        for axes, metric in zip(grid, metrics, strict=True):
            for (pair, finding), y in zip(rows, places, strict=True):
                _line(axes, y, by_key.get((metric, pair, finding)))
            axes.axvline(0, color=INK, lw=0.8, zorder=1)
            axes.grid(axis="x", color=GRID, lw=0.6)
            axes.set_axisbelow(True)
            axes.set_xlim(-reach[_unit(metric)], reach[_unit(metric)])
            tick = last_tick(reach[_unit(metric)])
            axes.set_xticks([-tick, 0, tick])
            axes.spines["left"].set_visible(False)
            axes.tick_params(axis="y", length=0)
            axes.set_title(words.quantity(metric))
            axes.set_xlabel(_unit(metric), fontsize=8)
        grid[0].set_yticks([*places, *heading.values()], [*names, *heading])
        for label in grid[0].get_yticklabels()[len(places) :]:
            label.set_fontweight("bold")
        grid[0].set_ylim(max(places) + 0.6, -0.6)
        return svg(figure, tight=True)


def _unit(metric: str) -> str:
    return str(METRICS.entries()[metric].facts["unit"])


def _reaches(found: pd.DataFrame) -> dict[str, float]:
    """Per unit an axis limit that holds all its intervals, so that panels can be compared."""
    ends = found[["value", "low", "high"]].abs().max(axis=1)
    largest = ends.groupby(found["metric"].map(_unit)).max().fillna(0)
    return {str(unit): max(0.02, 1.08 * end) for unit, end in largest.items()}


def _places(
    rows: list[tuple[str, str]], several: bool
) -> tuple[list[float], list[str], dict[str, float]]:
    """Heights and names of the lines, and of headings above the lines of each pair."""
    if not several:
        return [float(y) for y in range(len(rows))], [_short(pair) for pair, _ in rows], {}
    places, names, headings, y = [], [], {}, -1.0
    seen = ""
    for pair, finding in rows:
        y += 1
        if pair != seen:
            headings[_short(pair)] = y
            y, seen = y + 1, pair
        places.append(y)
        names.append(shortened(words.finding(finding), 26))
    return places, names, headings


def _short(pair: str) -> str:
    return words.pair(pair) if len(pair) <= 40 else shortened(words.pair(pair), 40)


def _line(axes: Axes, y: float, row: Row | None) -> None:
    if row is None:
        return
    if row["verdict"] == UNDEFINED:
        axes.annotate("n/a", (0, y), (3, 0), textcoords="offset points", va="center",
                      fontsize=7, color=FAINT)  # fmt: skip
        return
    value, low, high = (float(row[k]) for k in ("value", "low", "high"))
    average = row["finding"] == MACRO
    axes.plot([low, high], [y, y], color=INK, lw=1.6 if average else 1.0, zorder=2)
    face = INK if row["verdict"] == DIFFERS else "white"
    axes.plot(value, y, "D" if average else "o", ms=5, mfc=face, mec=INK, mew=1.0, zorder=3)


def roc_by_group(audit: Audit, attribute: str) -> bytes | None:
    """ROC curves of the groups of an attribute, a panel per finding; None where none is drawn."""
    test = audit.decided.predictions
    logits, labels = test.logits(), test.labels()
    decisions = test.decisions() if test.has_decisions else np.full_like(logits, np.nan)
    held = _curves(audit, attribute)
    if not held or test.frame["part"].nunique() > 1:  # logits of several models share no scale
        return None
    with style():
        figure, grid = panels([*held] if len(test.findings) > 1 else [""])
        for axes, (finding, curves) in zip(grid, held.items(), strict=True):
            j = test.findings.index(finding)
            axes.plot([0, 1], [0, 1], color=FAINT, lw=0.7)
            for curve in curves:
                drawn = roc(logits[curve.rows, j], labels[curve.rows, j], decisions[curve.rows, j])
                decided = np.isfinite(drawn.point[0])
                axes.plot(
                    drawn.fpr, drawn.tpr, color=curve.look.colour, ls=curve.look.dash, lw=1.3,
                    marker=None if decided else curve.look.marker, markevery=0.2, ms=4,
                    mfc="white",
                )  # fmt: skip
                axes.plot(*drawn.point, curve.look.marker, color=curve.look.colour, ms=6,
                          mec="white", mew=0.6, zorder=4)  # fmt: skip
                axes.plot([], [], color=curve.look.colour, ls=curve.look.dash, lw=1.3, ms=4.5,
                          marker=curve.look.marker, label=f"{curve.name} {curve.told}")  # fmt: skip
            axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xticks=ticks(1), yticks=ticks(1))
            axes.set(xlabel="false positive rate", ylabel="true positive rate")
            axes.legend(loc="lower right", handlelength=2.6)
        return svg(figure)


def calibration_by_group(audit: Audit, attribute: str) -> bytes | None:
    """Reliability of the groups of an attribute, a panel per finding; None where none is drawn."""
    test = audit.decided.predictions
    logits, labels, patients = test.logits(), test.labels(), test.patient_codes()[0]
    held = _curves(audit, attribute)
    if not held:
        return None
    with style():
        figure, grid = panels([*held] if len(test.findings) > 1 else [""])
        for axes, (finding, curves) in zip(grid, held.items(), strict=True):
            j, reach = test.findings.index(finding), 0.05
            for curve in curves:
                rows = curve.rows
                drawn = reliability(logits[rows, j], labels[rows, j], patients[rows])
                axes.vlines(drawn.predicted, drawn.low, drawn.high, color=curve.look.colour,
                            lw=0.7, alpha=0.7)  # fmt: skip
                axes.plot(
                    drawn.predicted, drawn.observed, color=curve.look.colour, ls=curve.look.dash,
                    lw=1.2, marker=curve.look.marker, ms=4, label=curve.name,
                )  # fmt: skip
                reach = max(reach, drawn.predicted.max(), drawn.high.max())
            limit = min(1.0, reach * 1.05)
            axes.plot([0, limit], [0, limit], color=FAINT, lw=0.7)
            ends = (-0.01 * limit, 1.01 * limit)
            axes.set(xlim=ends, ylim=ends, xticks=ticks(limit), yticks=ticks(limit))
            axes.set(xlabel="predicted probability", ylabel="share of positive images")
            axes.legend(loc="upper left", handlelength=2.6)
        return svg(figure)


def undrawn(audit: Audit, attribute: str) -> list[str]:
    """Groups that have no curve for some finding, in words."""
    cells = audit.cells[audit.cells["attribute"] == attribute]
    names = [f"{r['group']} for {r['finding']}" for r in records(cells[~cells["large"]])]
    large = cells[cells["large"]].groupby("group", sort=False)["n"].max()
    return names + list(large.sort_values(ascending=False, kind="stable").index[DRAWN:])


def _curves(audit: Audit, attribute: str) -> dict[str, list[Curve]]:
    """The groups that are drawn, per finding: those with enough patients, at most six."""
    test = audit.decided.predictions
    known = np.isfinite(test.labels())
    order = test.groups[attribute] if attribute else (ALL,)
    members = test.frame[attribute].astype(str).to_numpy() if attribute else None
    cells = audit.cells[(audit.cells["attribute"] == attribute) & audit.cells["large"]]
    sizes = cells.groupby("group")["n"].max().sort_values(ascending=False, kind="stable")
    chosen = [g for g in order if g in sizes.index[:DRAWN]]
    told = _aucs(audit, attribute)
    found: dict[str, list[Curve]] = {}
    for j, finding in enumerate(test.findings):
        for look, name in zip(LOOKS, chosen, strict=False):
            if not ((cells["group"] == name) & (cells["finding"] == finding)).any():
                continue
            inside = known[:, j] if members is None else known[:, j] & (members == name)
            curve = Curve(np.flatnonzero(inside), look, shortened(name, 22), told[finding, name])
            found.setdefault(finding, []).append(curve)
    return found


def _aucs(audit: Audit, attribute: str) -> dict[tuple[str, str], str]:
    rows = audit.scores[
        (audit.scores["metric"] == "auc")
        & (audit.scores["attribute"] == attribute)
        & (audit.scores["labels"] == "recorded")
    ]
    return {
        (str(r["finding"]), str(r["group"])): (
            f"{words.decimal(r['value'], digits=2)} "
            f"({words.decimal(r['low'], digits=2)}{words.EN_DASH}"
            f"{words.decimal(r['high'], digits=2)})"
        )
        for r in records(rows)
    }
