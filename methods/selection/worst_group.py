"""The group that the model serves least well."""

from __future__ import annotations

import math

from methods.selection.base import UNEVALUABLE, Candidate, Value
from metrics.score import ALL
from registry import SELECTION

NO_GROUPS = f"no attribute has two groups with a finding {UNEVALUABLE}"


@SELECTION.register("worst_group", direction="higher", unit="probability")
def worst_group(candidate: Candidate) -> Value:
    """Highest macro AUC of the worst group on validation patients.

    V = min_a min_g mean_f AUC_f,g over all attributes a with at least two evaluable groups g, each
    averaged over its evaluable findings f (30 positive and 30 negative patients). Counts of
    patients decide what is evaluable, so all candidates are judged by the same cells. A minimum of
    noisy numbers is biased down.

    Source: Sagawa et al., Distributionally Robust Neural Networks, ICLR 2020 (selection by the
    worst group); Zhang et al., Improving the Fairness of Chest X-ray Classifiers, CHIL 2022.
    """
    return lowest_group_auc(candidate)


def lowest_group_auc(candidate: Candidate) -> Value:
    """The lowest macro AUC among the evaluable groups of all attributes."""
    of_attribute: dict[str, list[float]] = {}
    for score in candidate.macro_scores("auc"):
        if score.group != ALL:
            of_attribute.setdefault(score.attribute, []).append(score.value)
    lowest = [min(values) for values in of_attribute.values() if len(values) > 1]
    return Value(min(lowest)) if lowest else Value(math.nan, NO_GROUPS)
