"""What training minimises: the base of every objective, and the default one."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from methods.base import Batch


class Objective(nn.Module):
    """A loss with whatever it must learn or remember: an adversary, weights, an accountant.

    Parameters are trained by the one optimiser, and parameters, buffers and extra state are part of
    every checkpoint, so that a resumed run goes on with them.
    """

    per_sample: ClassVar[bool] = False
    """Whether the loss is a mean over rows of terms that depend on their own row alone; only then
    can a gradient be clipped per patient."""

    def forward(self, net: nn.Module, batch: Batch) -> Tensor:
        """The scalar loss of a batch."""
        raise NotImplementedError

    def measured(self) -> dict[str, float]:
        """Numbers of its own over the epoch that just ended; columns of the run's history."""
        return {}


class MaskedCrossEntropy(Objective):
    """Mean binary cross-entropy over the labels of a batch that are known."""

    def forward(self, net: nn.Module, batch: Batch) -> Tensor:
        """The scalar loss; 0 with no known label."""
        return masked_cross_entropy(net(batch.images, batch.groups), batch.labels)


def masked_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross-entropy of logits `(n, findings)` over labels that are not NaN."""
    known = ~labels.isnan()
    losses = F.binary_cross_entropy_with_logits(
        logits.float(), labels.nan_to_num(), reduction="none"
    )
    return (losses * known).sum() / known.sum().clamp_min(1)
