"""How far a model is from being perfect for everybody and for the worst group at once."""

from __future__ import annotations

import math

from methods.selection.base import NO_AUC, Candidate, Value
from methods.selection.worst_group import lowest_group_auc
from registry import SELECTION


@SELECTION.register("distance_to_optimum", direction="lower", unit="distance")
def distance_to_optimum(candidate: Candidate) -> Value:
    """Least distance of macro AUC and worst-group AUC to the perfect model (DTO).

    V = sqrt((1 - U)^2 + (1 - W)^2) with U of `macro_auc` and W of `worst_group`: 0 is perfect, and
    0.71 a guess.

    Source: Han, Baldwin & Cohn, Balancing out Bias: Achieving Fairness Through Balanced Training,
    EMNLP 2022; Zong, Yang & Hospedales, MEDFAIR, ICLR 2023. Differs from both: the optimum is
    (1, 1), not the best value that any candidate reaches, so that a value stays what it is when
    candidates are added.
    """
    overall, worst = candidate.macro_auc(), lowest_group_auc(candidate)
    if math.isnan(overall):
        return Value(math.nan, NO_AUC)
    if math.isnan(worst.value):
        return worst
    return Value(math.hypot(1 - overall, 1 - worst.value))
