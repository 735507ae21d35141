"""Every number that a table of predictions gives, as scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from metrics.bootstrap import PatientBootstrap
from metrics.cells import Cells
from metrics.predictions import Predictions
from metrics.score import Score
from registry import METRICS, unknown

CellMetric = Callable[[Cells], Iterable[Score]]


def evaluate(
    test: Predictions,
    *,
    macro_findings: Sequence[str],
    bootstrap: PatientBootstrap | None = None,
) -> list[Score]:
    """Scores of every registered metric of cells, against recorded and, if there, true labels.

    `macro_findings` are those that averages run over: declared beforehand for the data set, not
    picked by result. `bootstrap` is shared by all methods on one test set; the default has 1000
    replicates and seed 0.

    Raises:
        UnknownName: a macro finding is not predicted.
        ValueError: the bootstrap is for another number of patients.
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
    # Sums of real numbers depend on their order: one order of rows gives every metric one value.
    test = replace(test, frame=test.frame.sort_values("image", ignore_index=True))
    macro = np.isin(test.findings, list(macro_findings))
    scores: list[Score] = []
    for labels in ("recorded", "true") if test.has_truth else ("recorded",):
        cells = Cells(test, labels, macro, bootstrap)
        for metric in cell_metrics():
            scores.extend(metric(cells))
    return scores


def cell_metrics() -> list[CellMetric]:
    """The registered metrics that read cells, in alphabetical order of their names."""
    return [
        METRICS.get(name)
        for name, entry in METRICS.entries().items()
        if entry.facts.get("input") == "cells"
    ]
