"""The validation loss, which sees calibration as well as order."""

from __future__ import annotations

import math

import numpy as np

from methods.selection.base import Candidate, Value
from registry import SELECTION


@SELECTION.register("loss", direction="lower", unit="nats per label")
def loss(candidate: Candidate) -> Value:
    """Lowest cross-entropy on validation patients.

    V = mean over known labels y of log(1 + e^z) - y z, z the logit; all findings count, not the
    macro findings alone. What a method adds to its own training loss does not count.

    Source: Prechelt, Early Stopping - But When?, in: Neural Networks: Tricks of the Trade, 1998.
    """
    import torch

    from methods.objective import masked_cross_entropy

    logits, labels = candidate.val.logits(), candidate.val.labels()
    if np.isnan(labels).all():
        return Value(math.nan, "no validation label is known")
    return Value(masked_cross_entropy(torch.tensor(logits), torch.tensor(labels)).item())
