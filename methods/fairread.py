"""FairREAD: take attributes out of the features, then give them back where it can be seen."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from backbones import Backbone, build
from datasets.split import Folds
from methods.base import Batch, Context, Method, Task, tunable
from methods.cells import lacks
from methods.disentangle import (
    Adversary,
    Attributes,
    column_loss,
    reversed_gradient,
    row_loss,
)
from methods.objective import Objective, masked_cross_entropy
from methods.train import ImageClassifier
from metrics.thresholds import Rule, fit_rule
from metrics.validation import ValidationPredictions
from registry import METHODS

ADVERSARIES = ("reversal", "published", "none")


class Refusion(nn.Module):
    """Features rescaled by attributes: z * (1 + g(a)) + b(a), with g = b = 0 at the start.

    A group without training rows, Unknown perhaps, keeps its first embedding of 0.
    """

    def __init__(self, width: int, attributes: Attributes, hidden: int = 32) -> None:
        super().__init__()
        self.attributes = attributes
        self.groups = nn.ModuleList(nn.Embedding(n, hidden) for n in attributes.sizes)
        self.mix = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU())
        self.rescale = nn.Linear(hidden, 2 * width)
        for layer in (*self.groups, self.rescale):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(self, features: Tensor, groups: Tensor) -> Tensor:
        codes = self.attributes.codes(groups)
        known = sum(table(codes[:, i]) for i, table in enumerate(self.groups))
        gain, shift = self.rescale(self.mix(known)).chunk(2, dim=1)
        return features * (1 + gain) + shift


class RefusedClassifier(ImageClassifier):
    """A backbone whose features pass through a `Refusion` before the linear head.

    `embed` returns the features before re-fusion: they are what is kept free of attributes, and
    what the audits look at.
    """

    def __init__(self, backbone: Backbone, attributes: Attributes) -> None:
        super().__init__(backbone)
        self.refusion = Refusion(backbone.width, attributes)

    def forward(self, images: Tensor, groups: Tensor) -> Tensor:
        """Logits `(n, findings)`."""
        return self.decide(self.embed(images, groups), groups)

    def decide(self, features: Tensor, groups: Tensor) -> Tensor:
        """Logits `(n, findings)` of features `(n, width)` and groups `(n, attributes)`."""
        logits: Tensor = self.backbone.head(self.refusion(features, groups))
        return logits


class Disentangling(Objective):
    """Cross-entropy, both orthogonality losses, and an adversary; all at the re-fused features.

    The sensitive encoder and the adversary minimise their own cross-entropy. Of the encoder of the
    features, the adversary's comes back with its sign changed.
    """

    def __init__(self, method: Fairread, attributes: Attributes, inputs: int = 0) -> None:
        super().__init__()
        self.method, self.attributes = method, attributes
        sensitive = build(
            method.backbone, sum(attributes.sizes), weights=method.weights, inputs=inputs
        )
        self.sensitive = sensitive if method.column or method.row else None
        adversary = Adversary(sensitive.width, attributes)
        self.adversary = adversary if method.adversary != "none" else None
        self.progress: Tensor
        self.register_buffer("progress", torch.zeros(()))  # share of the epochs that are over
        self._epoch: dict[str, list[Tensor]] = defaultdict(list)

    @property
    def strength(self) -> float:
        """The adversary's weight now: it rises linearly over the first half of the epochs."""
        return self.method.alpha * min(1.0, 2 * self.progress.item())

    def forward(self, net: nn.Module, batch: Batch) -> Tensor:
        """The scalar loss of a batch."""
        classifier, method = cast(RefusedClassifier, net), self.method
        codes = self.attributes.codes(batch.groups)
        features = classifier.embed(batch.images, batch.groups)
        loss = masked_cross_entropy(classifier.decide(features, batch.groups), batch.labels)
        if self.sensitive is not None:
            sensitive = self.sensitive.embed(batch.images)
            own = self.attributes.loss(self.sensitive.head(sensitive), codes)
            column, row = column_loss(features, sensitive), row_loss(features, sensitive)
            loss = loss + own + method.column * column + method.row * row
            self._note(sensitive_loss=own, column_loss=column, row_loss=row)
        if self.adversary is not None:
            published = method.adversary == "published"
            seen = features if published else reversed_gradient(features, self.strength)
            logits = self.adversary(seen)
            own = self.attributes.loss(logits, codes)
            loss = loss - self.strength * own if published else loss + own
            self._note(adversary_loss=own)
            self._note(logits=logits, codes=codes)
        return loss

    def measured(self) -> dict[str, float]:
        """Means over the epoch of each loss, and the adversary's AUC on batches new to it."""
        told = {k: torch.stack(v).mean().item() for k, v in self._epoch.items() if v[0].ndim == 0}
        if self.adversary is not None:
            logits, codes = (torch.cat(self._epoch[k]).cpu() for k in ("logits", "codes"))
            told["adversary_auc"] = self.attributes.auc(logits, codes)
        self._epoch.clear()
        self.progress += 1 / self.method.epochs
        return told

    def _note(self, **values: Tensor) -> None:
        for name, value in values.items():
            self._epoch[name].append(value.detach())


@METHODS.register("fairread")
@dataclass(frozen=True)
class Fairread(Method):
    """ERM on features freed of attributes, which then rescale them, with thresholds per group.

    Differs from FairREAD: one phase instead of two, with every loss at the features that are
    re-fused (theirs act on a layer that the second phase drops); the adversary minimises its own
    loss behind gradient reversal (their one optimiser trains it to be wrong: adversary=published);
    re-fusion starts as the identity, and an unknown group is not group 0; thresholds are fitted on
    validation patients at the operating point of the suite, for groups of one attribute, since few
    joint groups hold 30 positive and 30 negative patients. Theirs are operating_point=balanced with
    all of threshold_attributes.

    Source: Gao, Hao & Zhou, FairREAD: Re-fusing Demographic Attributes after Disentanglement for
    Fair Medical Image Classification, 2024 (arXiv 2412.16373) and its code; Deng et al., IPMI 2023
    (FCRO), for both orthogonality losses; Ganin & Lempitsky, ICML 2015, for the reversal and its
    slow start. The weights are this suite's, chosen on a phantom of another cohort.
    """

    epochs: int = tunable(16, low=8, high=32)
    alpha: float = tunable(0.1, low=0.01, high=1.0, log=True)
    """Weight of the adversary's reversed gradient in the encoder, from half of the epochs on."""
    column: float = tunable(0.1, low=0.01, high=1.0, log=True)
    """Weight of the column orthogonality loss; 0 leaves it out."""
    row: float = tunable(1.0, low=0.1, high=10.0, log=True)
    """Weight of the row orthogonality loss; 0 leaves it out."""
    adversary: str = "reversal"
    """reversal, none, or published: the sign of the released code, which spoils the adversary."""
    attributes: tuple[str, ...] = ()
    """What is taken out and re-fused; empty means all attributes of the task."""
    threshold_attributes: tuple[str, ...] = ()
    """Whose joint groups get thresholds; empty means the first attribute of the task."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("alpha", "column", "row"):
            if not 0 <= getattr(self, name) < 1e6:
                raise ValueError(f"{name} must lie in [0, 1e6), but got {getattr(self, name)}")
        if self.adversary not in ADVERSARIES:
            raise ValueError(
                f"adversary must be one of {', '.join(ADVERSARIES)}, but got {self.adversary!r}"
            )

    def attributes_at_test(self, task: Task) -> tuple[str, ...]:
        """All attributes that are re-fused or choose the threshold."""
        needed = (*(self.attributes or task.attributes), *self._of_thresholds(task.attributes))
        return tuple(dict.fromkeys(needed))

    def skip(self, task: Task) -> str | None:
        """A sentence if an attribute is not part of the task."""
        wanted = (*self.attributes, *self.threshold_attributes) or ("",)
        reasons = (lacks(task.attributes, name, "attribute") for name in wanted)
        return next((reason for reason in reasons if reason), None)

    def network(self, task: Task, folds: Folds, ctx: Context) -> nn.Module:
        """The backbone with a re-fusion before its head."""
        backbone = build(self.backbone, len(task.findings), weights=self.weights, inputs=task.width)
        return RefusedClassifier(backbone, Attributes.of(task, self.attributes))

    def objective(self, task: Task) -> Objective:
        """Cross-entropy with what takes the attributes out."""
        return Disentangling(self, Attributes.of(task, self.attributes), task.width)

    def decide(self, val: ValidationPredictions) -> Rule:
        """Thresholds per finding and subgroup."""
        return fit_rule(val, self.operating_point, self._of_thresholds(val.attributes))

    def _of_thresholds(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return self.threshold_attributes or names[:1]
