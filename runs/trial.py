"""One trial of a study: fitted on training patients, measured on validation patients only."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from datasets.images import cache_dir
from datasets.split import KEY_COLUMNS, Folds, Split
from methods.base import Context, Method
from methods.fit import fit
from methods.selection.base import Candidate, Strategy, recorded
from metrics.evaluate import evaluate
from metrics.score import Score
from registry import SELECTION
from runs.preparation import Prepared


@dataclass(frozen=True)
class Judged:
    """A fitted method on validation patients.

    `scores` are of every metric of cells, `values` of every strategy of selection that has one, and
    `undefined` says why the other strategies have none.
    """

    scores: list[Score]
    values: Mapping[str, float]
    undefined: Mapping[str, str]


def run_trial(
    prepared: Prepared,
    method: Method,
    *,
    workdir: Path,
    log: logging.Logger,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> Judged:
    """What a method is worth on validation patients, against recorded labels.

    Nothing that is called from here can read a label of a test or audit patient: they are taken
    away first. A checkpoint in `workdir` is continued.

    Raises:
        Incompatible, Diverged, ValueError: the method cannot be fitted with these fields.
    """
    plan = prepared.plan
    (folds,) = map(blind, prepared.folds)
    ctx = Context(
        seed=plan.seed,
        device=plan.device,
        workdir=workdir,
        shared=cache_dir() / "fitted",
        pictures=workdir / "pictures",
        log=log,
        task=prepared.task,
        train=folds.train,
    )
    predictor, _ = fit(method, folds, ctx, on_epoch=on_epoch)
    macro, val = prepared.task.macro_findings, recorded(predictor.on_validation(folds))
    candidate = Candidate(
        val, macro, decide=method.decide, features=lambda: predictor.embed(folds.val)
    )
    return Judged(evaluate(val, macro_findings=macro), *judged(candidate))


def judged(candidate: Candidate) -> tuple[dict[str, float], dict[str, str]]:
    """What every registered strategy makes of a candidate, and why others make nothing of it.

    Oracles are not asked.
    """
    values, undefined = {}, {}
    for name in SELECTION.names():
        strategy = Strategy.named(name)
        if strategy.oracle:
            continue
        measured, reason = strategy.measure(candidate)
        if math.isnan(measured.value):
            undefined[name] = reason
        else:
            values[name] = measured.value
    return values, undefined


def blind(folds: Folds) -> Folds:
    """The folds without any label of test and audit patients: images and attributes only."""
    return replace(folds, audit=_unlabelled(folds.audit), test=_unlabelled(folds.test))


def _unlabelled(split: Split) -> Split:
    # What is kept is named, since a table may hold more columns that tell the label.
    kept = split.frame[[*KEY_COLUMNS, *split.attributes]]
    return split.with_frame(kept.assign(**dict.fromkeys(split.findings, np.nan)))
