"""The finding that the model tells least well: no attribute need be known."""

from __future__ import annotations

import math

from methods.selection.base import UNEVALUABLE, Candidate, Value
from metrics.score import ALL
from registry import SELECTION

NO_FINDING = f"no macro finding {UNEVALUABLE}"


@SELECTION.register("worst_class", direction="higher", unit="probability")
def worst_class(candidate: Candidate) -> Value:
    """Highest AUC of the worst finding on validation patients; reads no attribute.

    V = min_f AUC_f over the macro findings f with 30 positive and 30 negative patients.

    Source: Yang et al., Change is Hard: A Closer Look at Subpopulation Shift, ICML 2023
    (worst-class accuracy as a rule that needs no group labels). Differs from it: findings are not
    exclusive, so the AUC of a finding stands for the accuracy of a class.
    """
    aucs = [
        score.value
        for score in candidate.scores("auc")
        if score.group == ALL and score.finding in candidate.macro_findings
    ]
    defined = [a for a in aucs if not math.isnan(a)]
    return Value(min(defined)) if defined else Value(math.nan, NO_FINDING)
