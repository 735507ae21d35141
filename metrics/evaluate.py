"""Every number that a table of predictions gives, as scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from metrics.bootstrap import PatientBootstrap
from metrics.cells import Cells
from metrics.intersections import with_intersections
from metrics.predictions import Predictions
from metrics.score import Score
from metrics.validation import ValidationPredictions
from registry import METRICS, unknown

CellMetric = Callable[[Cells], Iterable[Score]]


def evaluate(
    test: Predictions,
    *,
    macro_findings: Sequence[str],
    bootstrap: PatientBootstrap | None = None,
    val: Sequence[ValidationPredictions] = (),
    intersections: Sequence[Sequence[str]] = (),
) -> list[Score]:
    """Scores of every registered metric of cells, against recorded and, if there, true labels.

    `macro_findings` are those that averages run over: declared beforehand for the data set, not
    picked by result. `bootstrap` is shared by all methods on one test set; the default has 1000
    replicates and seed 0. `val` are the predictions for validation patients, one table per part of
    the test predictions in their order (one without k-fold): from them come the thresholds whose
    transfer is measured; without them those scores are NaN. `intersections` are attributes whose
    joint groups are scored too, under names like "sex & race".

    Raises:
        UnknownName: a macro finding is not predicted.
        ValueError: the bootstrap is for another number of patients, `val` is of other findings, or
            a part of the test predictions has none.
    """
    for finding in macro_findings:
        if finding not in test.findings:
            raise unknown("macro finding", finding, test.findings)
    patients = test.patient_codes()[1]
    bootstrap = bootstrap or PatientBootstrap(patients)
    if bootstrap.patients != patients:
        raise ValueError(
            f"the bootstrap must have one weight per patient, but it has {bootstrap.patients} for "
            f"the {patients} patients of fold {test.fold!r}; make it for this fold"
        )
    _check_validation(test, val)
    # Sums of real numbers depend on their order: one order of rows gives every metric one value.
    test = replace(test, frame=test.frame.sort_values("image", ignore_index=True))
    test = with_intersections(test, intersections)
    macro = np.isin(test.findings, list(macro_findings))
    scores: list[Score] = []
    for labels in ("recorded", "true") if test.has_truth else ("recorded",):
        cells = Cells(test, labels, macro, bootstrap, tuple(val))
        for metric in cell_metrics():
            scores.extend(metric(cells))
    return scores


def _check_validation(test: Predictions, val: Sequence[ValidationPredictions]) -> None:
    for predictions in val:
        if predictions.findings != test.findings:
            raise ValueError(
                f"validation and test must predict the same findings, but got "
                f"{predictions.findings} and {test.findings}; predict both with one model"
            )
    parts = int(test.frame["part"].max()) + 1 if len(test) else 0
    if val and len(val) != parts:
        raise ValueError(
            f"`val` must hold one table per part of the test predictions, but got {len(val)} for "
            f"{parts} parts; pass them in the order of the parts"
        )


def cell_metrics() -> list[CellMetric]:
    """The registered metrics that read cells, in alphabetical order of their names."""
    return [
        METRICS.get(name)
        for name, entry in METRICS.entries().items()
        if entry.facts.get("input") == "cells"
    ]
