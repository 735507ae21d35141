"""The method contract: seven stages with working defaults. The base class is ERM."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from datasets.base import EMBEDDINGS, IMAGES
from datasets.split import Folds, Split
from metrics.operating_points import parse_operating_point
from registry import SELECTION, unknown

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.utils.data import DataLoader

    from methods.objective import Objective
    from metrics.thresholds import Rule
    from metrics.validation import ValidationPredictions


@dataclass(frozen=True)
class Task:
    """What is to be learnt: names only, frozen before any method sees an image."""

    findings: tuple[str, ...]
    attributes: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    """Group names of each attribute in their frozen order."""
    macro_findings: tuple[str, ...]
    """Findings that enter macro means; those declared unlearnable beforehand are left out."""
    width: int = 0
    """Numbers in the embedding that stands for an image; 0 where there are pixels."""

    @property
    def holds(self) -> str:
        """ "images" or "embeddings", as the data set says."""
        return EMBEDDINGS if self.width else IMAGES


@dataclass(frozen=True)
class Context:
    """The only side effects a method may have."""

    seed: int
    device: str
    workdir: Path
    """Where a method may write; kept when a run is resumed, gone when it has finished."""
    shared: Path
    """Where fitted generators and changed images lie that several runs share; under a lock each."""
    pictures: Path
    """Where pictures of images go that the run keeps. They stay in its directory where the data
    set's terms are restricted."""
    log: logging.Logger
    task: Task
    train: Split
    """The training fold before any stage: all that a generator or anonymiser may be fitted on."""


class Batch(NamedTuple):
    """Rows as tensors: `images (n, 1, s, s)` float32, or `(n, width)` where embeddings stand for
    them; `labels (n, findings)` float32 in {0, 1, NaN}, `groups (n, attributes)` int64 positions
    in `Task.groups`."""

    images: Tensor
    labels: Tensor
    groups: Tensor

    def to(self, device: str) -> Batch:
        """The same batch on `device`."""
        return Batch(*(t.to(device, non_blocking=True) for t in self))


@dataclass(frozen=True)
class Kit:
    """What the loop needs. `harden` may replace all four together, in the shape of Opacus.

    Raises:
        ValueError: the optimiser does not hold exactly the trainable parameters.
    """

    net: nn.Module
    objective: Objective
    optimizer: Optimizer
    loader: DataLoader[Batch]

    def __post_init__(self) -> None:
        held = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        modules = (self.net, self.objective)
        trainable = {id(p) for m in modules for p in m.parameters() if p.requires_grad}
        if held != trainable:
            raise ValueError(
                "the optimiser must hold exactly the trainable parameters, but "
                f"{len(trainable - held)} are missing and {len(held - trainable)} are foreign; "
                "build it after the network is complete"
            )


def backbone_names() -> list[str]:
    """The names that `backbone` may have."""
    from backbones import BUILDERS, OF_EMBEDDINGS

    return sorted([*BUILDERS, *OF_EMBEDDINGS])


def needs_pixels(task: Task) -> str | None:
    """Why a method that makes or changes images cannot run on a task, or None."""
    if task.width:
        return "it makes or changes images, but the data set holds embeddings and no pixels"
    return None


def tunable(default: Any, **search: Any) -> Any:
    """A dataclass field that a study may search: `low, high[, log]`, or `choices`."""
    return dataclasses.field(default=default, metadata={"tunable": search})


@dataclass(frozen=True)
class Method:
    """Empirical risk minimisation; a method overrides one or two stages and adds fields.

    The fields are the hyper-parameters (`--set field=value`), and nothing else is.
    """

    backbone: str = "small_cnn"
    """The encoder. Of embeddings it is mlp, or linear, and mlp where none is named."""
    weights: str = ""
    """A local file with pretrained encoder weights; empty starts from scratch."""
    image_size: int = 64
    """Pixels per side; images keep their aspect and are padded."""
    augmentation: str = "none"
    """"none", or "light": rotation, shift and intensity; no flip, since laterality matters."""
    lr: float = tunable(2e-3, low=1e-4, high=1e-2, log=True)
    """Peak learning rate of AdamW; linear warm-up, then cosine decay to zero."""
    weight_decay: float = tunable(0.02, low=1e-4, high=0.2, log=True)
    epochs: int = tunable(8, low=4, high=16)
    batch_size: int = tunable(32, choices=(16, 32, 64, 128))
    patience: int = 4
    """Epochs without a better one by `selection` before training stops."""
    selection: str = "macro_auc"
    """How the epoch is chosen on validation patients; see --list selection."""
    operating_point: str = "specificity:0.80"
    """Thresholds on validation: specificity:X, sensitivity:X, youden, balanced or f1."""

    registered_name: ClassVar[str] = ""
    unaccounted: ClassVar[str] = ""
    """Why private training cannot account for what the method does to its data; empty if it can."""
    standardises: ClassVar[bool] = True
    """Whether embeddings are scaled by mean and deviation of training rows."""
    smallest: ClassVar[Mapping[str, Any]] = {}
    """Fields of its own with which it runs in seconds; for tests, which need no good result."""

    def __post_init__(self) -> None:
        at_least = {"image_size": 32, "epochs": 1, "batch_size": 2, "patience": 1}
        for name, low in at_least.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}, but got {getattr(self, name)}")
        if self.image_size > 1024:
            raise ValueError(f"image_size must be at most 1024 px, but got {self.image_size}")
        if not 0 < self.lr < 10:
            raise ValueError(f"lr must lie in (0, 10), but got {self.lr}")
        if not 0 <= self.weight_decay < 10:
            raise ValueError(f"weight_decay must lie in [0, 10), but got {self.weight_decay}")
        if self.backbone not in (known := backbone_names()):
            raise unknown("backbone", self.backbone, known)
        if self.weights and not Path(self.weights).is_file():
            raise ValueError(f"weights must be a local file, but {self.weights!r} does not exist")
        if self.selection not in (strategies := SELECTION.names()):
            raise unknown("selection strategy", self.selection, strategies)
        parse_operating_point(self.operating_point)
        if self.augmentation not in ("none", "light"):
            raise ValueError(f"augmentation must be none or light, but got {self.augmentation!r}")

    def attributes_at_test(self, task: Task) -> tuple[str, ...]:
        """Attributes that must be known of a patient to use the model; () for none."""
        return ()

    @property
    def releases_originals(self) -> bool:
        """Whether `release` publishes the test images unchanged."""
        return type(self).view is Method.view and type(self).release is Method.release

    @property
    def released(self) -> str:
        """What `release` publishes, in words for the leaderboard."""
        return "originals released" if self.releases_originals else "images changed"

    def skip(self, task: Task) -> str | None:
        """Why the method cannot run on this task, as a sentence, or None."""
        return None

    def content(self) -> tuple[str, ...]:
        """Digests of what its fields name outside the data set; part of the key of a run."""
        return ()

    def check(self, folds: Folds) -> None:
        """Raise ValueError where what its fields name must not meet these folds; before a run."""

    def view(self, split: Split, ctx: Context) -> Split:
        """1. How any split is seen, in training and in testing (anonymised images)."""
        return split

    def data(self, train: Split, ctx: Context) -> Split:
        """2. Training rows: repeat, drop or add."""
        return train

    def network(self, task: Task, folds: Folds, ctx: Context) -> nn.Module:
        """3. A network `net(images, groups) -> logits (n, findings)` with `net.embed`."""
        from methods.train import ImageClassifier

        return ImageClassifier.build(
            self.backbone, len(task.findings), weights=self.weights, inputs=task.width
        )

    def objective(self, task: Task) -> Objective:
        """4. A module `objective(net, batch) -> scalar loss`; its parameters are trained too."""
        from methods.objective import MaskedCrossEntropy

        return MaskedCrossEntropy()

    def harden(self, kit: Kit, ctx: Context) -> Kit:
        """5. Wrap network, optimiser and loader together."""
        return kit

    def decide(self, val: ValidationPredictions) -> Rule:
        """6. Thresholds, fitted on validation patients only."""
        from metrics.thresholds import fit_rule

        return fit_rule(val, self.operating_point)

    def release(self, split: Split, ctx: Context) -> Split:
        """7. The images the method would publish in place of those of `split`.

        The re-identification audit trains attackers on the audit fold, as released and as it was,
        and attacks the release of the test fold; see docs/privacy-protocol.md.
        """
        return self.view(split, ctx)
