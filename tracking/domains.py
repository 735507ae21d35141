"""What a run stores of other data sets that its model was tested on, as it is read again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import pandas as pd

from metrics.score import ALL, MACRO, Score
from tracking.rundir import (
    CONTRASTS,
    OOD,
    SCORES,
    SOURCE_THRESHOLDS,
    TARGET_THRESHOLDS,
    RunDirectory,
)
from tracking.store import keys_of

IN, OUT = "in", "out"
LEADING = ("auc", "fnr", "fpr", "tnr", "specificity_transfer")
"""Averages over everybody that MLflow shows; contrasts of the registered pairs stand beside."""


def domain_scores(directory: RunDirectory, name: str, domain: str, thresholds: str) -> list[Score]:
    """The stored scores of one side, under one of the two sets of thresholds."""
    table = pd.read_parquet(directory.ood(name).path / SCORES)
    rows = table[(table["domain"] == domain) & (table["thresholds"] == thresholds)]
    columns = [f.name for f in fields(Score)]
    return [
        Score(**{str(k): v for k, v in row.items()}) for row in rows[columns].to_dict("records")
    ]


def domain_keys(directory: RunDirectory) -> dict[str, float]:
    """Headline numbers out of domain under `ood/<data set>/`, as MLflow shows them.

    Those by thresholds of its own validation follow under `ood/<data set>/target_thresholds/`.
    """
    record = directory.record()
    keys: dict[str, float] = {}
    for target in record.targets:
        for thresholds, below in (
            (SOURCE_THRESHOLDS, ""),
            (TARGET_THRESHOLDS, "target_thresholds/"),
        ):
            scores = domain_scores(directory, target.name, OUT, thresholds)
            chosen = [s for s in scores if _leads(s, record.primary_contrasts, thresholds)]
            keys |= {f"{OOD}/{target.name}/{below}{k}": v for k, v in keys_of(chosen).items()}
    return keys


def _leads(score: Score, contrasts: Mapping[str, str], thresholds: str) -> bool:
    if score.finding != MACRO:
        return False
    if score.metric in CONTRASTS:
        own = score.metric != "auc_contrast"
        return own and contrasts.get(score.attribute) == score.group
    # Thresholds move no AUC, and what is transferred are those of the source.
    once = thresholds == SOURCE_THRESHOLDS or score.metric not in ("auc", "specificity_transfer")
    return score.metric in LEADING and score.group == ALL and not score.attribute and once
