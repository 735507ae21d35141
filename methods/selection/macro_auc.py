"""Accuracy alone: the mean AUC over findings."""

from __future__ import annotations

from methods.selection.base import NO_AUC, Candidate, Value
from registry import SELECTION


@SELECTION.register("macro_auc", direction="higher", unit="probability")
def macro_auc(candidate: Candidate) -> Value:
    """Highest macro AUC on validation patients; the default.

    V = mean_f AUC_f over the macro findings f with validation images of both classes.

    Source: the usual rule; "overall performance" of Zong, Yang & Hospedales, MEDFAIR, ICLR 2023.
    """
    return Value(candidate.macro_auc(), NO_AUC)
