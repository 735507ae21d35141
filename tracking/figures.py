"""Pictures of one run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from metrics.score import Score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOLID, DASHED = "#1b4965", "#ca6702"
"""Told apart in gray and by colour-blind readers, by lightness and by line style."""


def draw_run(
    directory: Path, history: pd.DataFrame, scores: Sequence[Score], *, title: str
) -> None:
    """Write `training.png` and `auc_by_group.png` below `directory`, each under `title`."""
    directory.mkdir(parents=True, exist_ok=True)
    if "epoch" in history:
        _save(_training(history), directory / "training.png", title)
    by_group = [
        s for s in scores if s.metric == "auc" and s.finding == "macro" and not math.isnan(s.value)
    ]
    if by_group:
        _save(_auc_by_group(by_group), directory / "auc_by_group.png", title)


def _training(rows: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    loss, auc = figure.subplots(1, 2)
    for part, of_part in rows.groupby("part"):
        first = part == rows["part"].iloc[0]
        epochs = of_part["epoch"] + 1
        loss.plot(epochs, of_part["train_loss"], color=SOLID, label="train" if first else None)
        loss.plot(
            epochs,
            of_part["val_loss"],
            color=DASHED,
            ls="--",
            label="validation" if first else None,
        )
        auc.plot(epochs, of_part["val_auc"], color=SOLID, marker="o", ms=3)
    loss.set(xlabel="epoch", ylabel="cross-entropy")
    loss.legend(frameon=False)
    auc.set(xlabel="epoch", ylabel="validation macro AUC")
    return figure


def _auc_by_group(scores: Sequence[Score]) -> Figure:
    from matplotlib.figure import Figure

    labels = list(dict.fromkeys((s.attribute, s.group) for s in scores))
    figure = Figure(figsize=(6, 0.9 + 0.27 * len(labels)), layout="constrained")
    axes = figure.subplots()
    styles = {"recorded": ("o", SOLID, -0.12), "true": ("s", DASHED, 0.12)}
    for kind, (marker, colour, offset) in styles.items():
        kept = [s for s in scores if s.labels == kind]
        if not kept:
            continue
        y = [labels.index((s.attribute, s.group)) + offset for s in kept]
        x = [s.value for s in kept]
        reach = [
            [max(0.0, s.value - s.low) for s in kept],
            [max(0.0, s.high - s.value) for s in kept],
        ]
        axes.errorbar(
            x, y, xerr=reach, fmt=marker, color=colour, ms=4, lw=1, label=f"{kind} labels"
        )
    names = [f"{a}: {g}" if a else "everybody" for a, g in labels]
    axes.set_yticks(range(len(labels)), names)
    axes.invert_yaxis()
    axes.set_xlabel("macro AUC, 95 % interval over patients")
    axes.grid(axis="x", lw=0.4, color="0.85")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _save(figure: Figure, path: Path, title: str) -> None:
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=130, metadata={"Software": None})
