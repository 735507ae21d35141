"""Hand-made candidates of selection: what one model says of the same 240 validation patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from methods.selection.base import Candidate
from metrics.thresholds import Rule, fit_rule
from metrics.validation import ValidationPredictions

PATIENTS = 240
GROUPS = {"sex": ("Female", "Male"), "race": ("A", "B", "C")}
FINDINGS = ("Edema", "Mass")
PATIENT = np.arange(PATIENTS)
LABEL = PATIENT % 2 == 0
MALE = PATIENT // 2 % 2 == 1
"""Of each sex 60 patients are positive; of each race 40."""
NOISE = np.random.default_rng(7).normal(size=(PATIENTS, 2))


def candidate(
    strength: np.ndarray | float = 4.0,
    *,
    shift: np.ndarray | float = 0.0,
    features: np.ndarray | None = None,
    labels: np.ndarray = LABEL,
    decide: Any = None,
) -> Candidate:
    """A model whose logits are `strength` (label - 1/2) + `shift` + noise, for each patient."""
    base = strength * (LABEL - 0.5) + shift
    frame = pd.DataFrame(
        {"image": [f"i{i:03d}" for i in PATIENT], "patient": [f"p{i:03d}" for i in PATIENT]}
    ).assign(part=0, sex=np.where(MALE, "Male", "Female"), race=np.array(list("ABC"))[PATIENT % 3])
    for j, finding in enumerate(FINDINGS):
        frame["y:" + finding] = np.asarray(labels, float)
        frame["true:" + finding] = LABEL.astype(float)
        frame["logit:" + finding] = (base + NOISE[:, j]).astype(np.float32)
    val = ValidationPredictions("val", frame, FINDINGS, tuple(GROUPS), GROUPS)
    told = NOISE if features is None else features
    return Candidate(val, FINDINGS, decide=decide or median_rule, features=lambda: told)


def median_rule(val: ValidationPredictions) -> Rule:
    """Thresholds at specificity 0.8."""
    return fit_rule(val, "specificity:0.80")


def taken(one: Candidate, rows: np.ndarray | Sequence[int]) -> Candidate:
    """The candidate with these rows alone, in this order."""
    frame = one.val.frame.iloc[rows].reset_index(drop=True)
    told = one.features()
    return replace(one, val=replace(one.val, frame=frame), features=lambda: told[rows])
