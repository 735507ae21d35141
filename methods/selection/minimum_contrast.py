"""Equal rates of missed findings, among models that are accurate enough."""

from __future__ import annotations

import math

from methods.selection.base import UNEVALUABLE, Candidate, Value
from registry import SELECTION

NO_PAIR = f"no finding has a threshold and two groups {UNEVALUABLE}"


@SELECTION.register("minimum_contrast", direction="lower", unit="rate difference", floor=0.01)
def minimum_contrast(candidate: Candidate) -> Value:
    """Smallest FNR contrast on validation patients, at most 0.01 below the best macro AUC.

    V = max_a mean_f max_{g,h} |FNR_f,g - FNR_f,h| over attributes a, their macro findings f and the
    evaluable groups g, h of each, at the method's own thresholds. Thresholds are fitted to the same
    patients, so V flatters every candidate; a largest difference is biased up by noise, alike for
    all candidates. The floor keeps a model from winning by missing the findings of everybody.

    Source: "minimum fairness gap" of Yang et al., The limits of fair medical imaging AI in
    real-world generalization, Nat. Med. 2024;30:2838–2848, figure 5, there without a floor.
    """
    gaps = [score.value for score in candidate.macro_scores("fnr_gap", decided=True)]
    return Value(max(gaps)) if gaps else Value(math.nan, NO_PAIR)
