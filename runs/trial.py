"""One trial of a study: fitted on training patients, measured on validation patients only."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from datasets.images import cache_dir
from datasets.split import KEY_COLUMNS, Folds, Split
from methods.base import Context, Method
from methods.fit import fit
from metrics.evaluate import evaluate
from metrics.predictions import TRUE, Predictions
from metrics.score import Score
from runs.preparation import Prepared


def run_trial(
    prepared: Prepared,
    method: Method,
    *,
    workdir: Path,
    log: logging.Logger,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> list[Score]:
    """Scores of every metric of cells on validation patients, against recorded labels.

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
    val = _against_recorded(predictor(folds.val))
    return evaluate(val, macro_findings=prepared.task.macro_findings)


def blind(folds: Folds) -> Folds:
    """The folds without any label of test and audit patients: images and attributes only."""
    return replace(folds, audit=_unlabelled(folds.audit), test=_unlabelled(folds.test))


def _unlabelled(split: Split) -> Split:
    # What is kept is named, since a table may hold more columns that tell the label.
    kept = split.frame[[*KEY_COLUMNS, *split.attributes]]
    return split.with_frame(kept.assign(**dict.fromkeys(split.findings, np.nan)))


def _against_recorded(val: Predictions) -> Predictions:
    """Without simulated true labels: nobody who tunes on real data has them."""
    columns = [c for c in val.frame if not str(c).startswith(TRUE)]
    return replace(val, frame=val.frame[columns])
