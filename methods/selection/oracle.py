"""What a chooser would pick who knew the truth: a bound, never an entrant."""

from __future__ import annotations

import math

from methods.selection.base import Candidate, Value
from registry import SELECTION

NO_TRUTH = "an oracle reads simulated true labels, and this data set has none"
NO_CLASSES = "no finding has true labels of both classes"


@SELECTION.register("oracle", direction="higher", unit="probability", oracle=True)
def oracle(candidate: Candidate) -> Value:
    """Highest macro AUC against simulated TRUE labels of validation patients; never ranked.

    V = mean_f AUC_f against true labels. It shows how much of a choice is lost to errors of
    recorded labels. It reads no test patient: an oracle of the test fold would need test labels
    where models are chosen, and the type of what a strategy sees has no place for them.

    Source: Gulrajani & Lopez-Paz, In Search of Lost Domain Generalization, ICLR 2021, section 3
    (an oracle's choice is no benchmark result). Differs from it: theirs reads the test domain.
    """
    if not candidate.val.has_truth:
        return Value(math.nan, NO_TRUTH)
    return Value(candidate.macro_auc(true=True), NO_CLASSES)
