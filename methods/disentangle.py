"""What takes attributes out of a representation: orthogonality losses and an adversary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.base import Task
from metrics.auroc import auroc

ENERGY = 0.99
"""Share of the energy of sensitive embeddings that their subspace holds. Source: FCRO's code."""
SMALLEST_VARIANCE = 1e-5
"""Added to variances, as BatchNorm does: a feature that is constant in a batch does no harm."""
LARGEST_LOSS = -math.log(1e-12)
"""Cross-entropy of a row from which on it has no gradient. With the published sign there is no
other bound; `torch.nn.BCELoss` of the released code, which divides by at least 1e-12, sets it."""


def column_loss(embeddings: Tensor, sensitive: Tensor) -> Tensor:
    """Share, in [0, 1], of the energy of `embeddings` that lies in the subspace of `sensitive`.

    Both are `(n, width)`, of the same rows. The subspace is spanned by the first right singular
    vectors of the centred sensitive embeddings that hold 99 % of their energy, and by at least one.
    The gradient flows into `embeddings` alone.

    Source: Deng et al., On Fairness of Medical Image Classification with Multiple Sensitive
    Attributes via Learning Orthogonal Representations, IPMI 2023 (FCRO), column orthogonality.
    Differs from FCRO: both are centred, for else their mean is a direction with nearly all energy;
    the rank is at least 1, for theirs is 0 when the first direction exceeds 99 %, and then nothing
    is asked for; and the energy is a share, for embeddings have no fixed length here.
    """
    inside = _centred(embeddings) @ subspace(sensitive)
    return inside.square().sum() / _centred(embeddings).square().sum().clamp_min(SMALLEST_VARIANCE)


def subspace(sensitive: Tensor) -> Tensor:
    """Orthonormal directions `(width, rank)` that hold 99 % of the energy of `(n, width)` rows."""
    with torch.no_grad():
        _, values, directions = torch.linalg.svd(_centred(sensitive), full_matrices=False)
        energy = values.square().cumsum(0)
        rank = int((energy < ENERGY * energy[-1]).sum()) + 1
        basis: Tensor = directions[:rank].T
    return basis


def row_loss(embeddings: Tensor, sensitive: Tensor) -> Tensor:
    """Mean squared correlation of every feature of `embeddings` with every one of `sensitive`.

    Both are `(n, width)`, of the same rows; the gradient flows into `embeddings` alone.

    Source: Deng et al., IPMI 2023 (FCRO), row orthogonality. Differs from FCRO: a correlation,
    where theirs is a sum over the batch that grows with the square of its size, and that embeddings
    without a fixed length could meet by shrinking.
    """
    cross = standardised(embeddings).T @ standardised(sensitive.detach()) / len(embeddings)
    return cross.square().mean()


def standardised(features: Tensor) -> Tensor:
    """Features `(n, width)` with mean 0 and variance 1 over the batch."""
    centred = _centred(features)
    return centred / (centred.square().mean(0) + SMALLEST_VARIANCE).sqrt()


def _centred(features: Tensor) -> Tensor:
    return features.float() - features.float().mean(0)


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


def reversed_gradient(features: Tensor, strength: float) -> Tensor:
    """The same features, whose gradient comes back times -`strength`.

    Source: Ganin & Lempitsky, Unsupervised Domain Adaptation by Backpropagation, ICML 2015.
    """
    reversed_: Tensor = _Reversal.apply(features, strength)
    return reversed_


@dataclass(frozen=True)
class Attributes:
    """Which columns of `Batch.groups` are meant, and how many groups each has.

    Logits of attributes are `(n, sum(sizes))`, attribute after attribute; codes `(n, attributes)`.
    """

    columns: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, task: Task, names: tuple[str, ...]) -> Attributes:
        """Those with these names; no name means all of the task."""
        chosen = names or task.attributes
        return cls(
            columns=tuple(task.attributes.index(name) for name in chosen),
            sizes=tuple(len(task.groups[name]) for name in chosen),
        )

    def codes(self, groups: Tensor) -> Tensor:
        """Their columns of `Batch.groups`."""
        return groups[:, list(self.columns)]

    def loss(self, logits: Tensor, codes: Tensor) -> Tensor:
        """Cross-entropy of the groups of an attribute, mean over rows and attributes."""
        heads = zip(logits.float().split(list(self.sizes), dim=1), codes.T, strict=True)
        losses = [F.cross_entropy(head, code, reduction="none") for head, code in heads]
        return torch.stack(losses).clamp_max(LARGEST_LOSS).mean()

    def auc(self, logits: Tensor, codes: Tensor) -> float:
        """AUC of each group against the rest, mean over groups, then over attributes.

        A group that nobody or everybody is in has none and is left out; NaN where none is left.
        """
        once = np.ones((len(logits), 1), np.uint8)
        means = []
        for head, code in zip(logits.float().split(list(self.sizes), dim=1), codes.T, strict=True):
            aucs = []
            for group in range(head.shape[1]):
                others = head[:, torch.arange(head.shape[1]) != group]
                odds = head[:, group] - others.logsumexp(1)
                aucs.append(auroc(odds.numpy(), (code == group).float().numpy(), once)[0])
            means += [np.nanmean(aucs)] if np.isfinite(aucs).any() else []
        return float(np.mean(means)) if means else float("nan")


class Adversary(nn.Module):
    """Logits of attributes `(n, sum(sizes))` read from features `(n, width)`.

    It sees features standardised over the batch, so that shrinking them hides nothing from it.
    """

    def __init__(self, width: int, attributes: Attributes, hidden: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, sum(attributes.sizes))
        )

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.layers(standardised(features))
        return logits
