"""Tables of predictions for the tests of metrics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from metrics.predictions import Predictions

GROUPS = {"sex": ("F", "M"), "age": ("<40", "40-59", "60+")}


def table(
    patients: list[str],
    logits: list[float],
    labels: list[float],
    *,
    fold: str = "test",
    decisions: list[float] | None = None,
    **columns: list[str],
) -> Predictions:
    """Predictions of one finding, row by row; extra columns are attributes."""
    frame = pd.DataFrame(
        {
            "image": [f"i{i}" for i in range(len(patients))],
            "patient": patients,
            "part": 0,
            "y:Edema": np.asarray(labels, float),
            "logit:Edema": np.asarray(logits, np.float32),
            **columns,
        }
    )
    if decisions is not None:
        frame["decision:Edema"] = np.asarray(decisions, np.float32)
    groups = {name: tuple(sorted(set(values))) for name, values in columns.items()}
    return Predictions(fold, frame, ("Edema",), tuple(columns), groups)


def simulate(
    patients: int = 400,
    images: int = 900,
    *,
    seed: int = 0,
    fold: str = "test",
    truth: bool = False,
) -> Predictions:
    """Two findings, two attributes; images of one patient share a part of their score."""
    rng = np.random.default_rng(seed)
    code = np.r_[np.arange(patients), rng.integers(0, patients, images - patients)]
    frame = pd.DataFrame(
        {"image": [f"i{i}" for i in range(images)], "patient": [f"p{c:04d}" for c in code]}
    ).assign(part=0)
    for attribute, names in GROUPS.items():
        frame[attribute] = np.array(names)[rng.integers(0, len(names), patients)][code]
    for finding in ("Edema", "Mass"):
        label = rng.random(images) < 0.4
        score = label + rng.normal(size=images) + rng.normal(size=patients)[code]
        frame["y:" + finding] = label.astype(float)
        frame["logit:" + finding] = np.round(score, 1).astype(np.float32)
        if truth:
            frame["true:" + finding] = np.where(rng.random(images) < 0.1, 1 - label, label)
    return Predictions(fold, frame, ("Edema", "Mass"), tuple(GROUPS), GROUPS)


@pytest.fixture
def make_table() -> Callable[..., Predictions]:
    """`table`: predictions written row by row."""
    return table


@pytest.fixture
def make_simulated() -> Callable[..., Predictions]:
    """`simulate`: a larger random table."""
    return simulate
