"""The one training loop of all classifiers: one backward, one step, one checkpoint per epoch."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from backbones import Backbone, build
from methods.augment import light
from methods.base import Batch, Kit
from methods.loader import laid_out, start_epoch
from methods.selection.order import Measured, Order

FALLS_BACK = "the macro AUC decides, or the loss where there is none"
"""What becomes of a choice whose strategy has no value."""
WARM_UP = 0.1
"""Share of all steps over which the learning rate rises linearly."""


class Diverged(RuntimeError):
    """Training met a loss that is not finite."""


class ImageClassifier(nn.Module):
    """A backbone as a classifier that looks at the image alone."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    @classmethod
    def build(
        cls, name: str, findings: int, *, weights: str = "", inputs: int = 0
    ) -> ImageClassifier:
        """A classifier on the named backbone, initialised or read from `weights`.

        `inputs` is the width of embeddings, 0 for images.
        """
        return cls(build(name, findings, weights=weights, inputs=inputs))

    def forward(self, images: Tensor, groups: Tensor) -> Tensor:
        """Logits `(n, findings)`; `groups` is not used."""
        logits: Tensor = self.backbone(images)
        return logits

    def embed(self, images: Tensor, groups: Tensor) -> Tensor:
        """Penultimate features `(n, width)`."""
        return self.backbone.embed(images)


@dataclass(frozen=True)
class Schedule:
    """How long and how the loop runs."""

    epochs: int
    patience: int
    seed: int
    device: str
    augmentation: str = "none"
    checkpoint: Path | None = None
    """Where the state is saved after each epoch and found again on resuming."""
    on_epoch: Callable[[dict[str, float]], None] | None = None
    """Told each finished epoch's row, after it is saved."""
    order: Order = field(default_factory=Order)
    """Which epoch is better; by default the higher macro AUC."""


@dataclass(frozen=True)
class Validated:
    """What one epoch looks like on validation patients."""

    loss: float
    auc: float
    """Macro AUC over the findings of macro means; NaN where none is evaluable."""
    value: float | None = None
    """What the strategy of selection makes of it, NaN where undefined; None: the macro AUC."""
    reason: str = ""
    """Why that is undefined, if it is."""


@dataclass
class History:
    """One row per finished epoch, and the weights of the epochs that may still be chosen.

    `undefined` says why the strategy of selection first had no value; empty where it always had.
    """

    order: Order = field(default_factory=Order)
    rows: list[dict[str, float]] = field(default_factory=list)
    states: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    undefined: str = ""

    @property
    def without_value(self) -> int:
        """How many epochs the strategy of selection had no value of."""
        return sum(math.isnan(row["selection"]) for row in self.rows)

    @property
    def best_epoch(self) -> int:
        """The chosen epoch; -1 before the first."""
        return self.order.chosen(self._measured) if self.rows else -1

    def add(self, row: dict[str, float], net: nn.Module) -> None:
        """Append an epoch; keep its weights while they may be chosen, and drop those that cannot.

        Where the strategy has no value the macro AUC decides, and where validation holds no finding
        with both classes, the loss.
        """
        self.rows.append(row)
        kept, epoch = self.order.contenders(self._measured), len(self.rows) - 1
        self.states = {e: state for e, state in self.states.items() if e in kept}
        if epoch in kept:
            self.states[epoch] = {k: v.detach().cpu().clone() for k, v in net.state_dict().items()}

    def exhausted(self, patience: int) -> bool:
        """Whether `patience` epochs have passed since the last that may still be chosen."""
        return len(self.rows) - 1 - max(self.states, default=-1) >= patience

    @property
    def _measured(self) -> list[Measured]:
        return [Measured(r["selection"], r["val_auc"], r["val_loss"]) for r in self.rows]


def train(
    kit: Kit,
    validate: Callable[[nn.Module], Validated],
    schedule: Schedule,
    log: logging.Logger,
) -> History:
    """Train `kit.net` in place and leave it with the weights of its best validation epoch.

    Raises:
        Diverged: the loss became NaN or infinite.
    """
    # On a CPU what training costs is its own CPU time, whatever else the machine does meanwhile.
    cost = time.perf_counter if schedule.device.startswith("cuda") else time.process_time
    base_rates = [group["lr"] for group in kit.optimizer.param_groups]
    history, first = _resume(kit, schedule, log)
    steps = len(kit.loader)
    for epoch in range(first, schedule.epochs):
        if history.exhausted(schedule.patience):
            log.info("no better epoch for %d epochs; stopping", schedule.patience)
            break
        start_epoch(kit.loader, epoch)
        generator = torch.Generator().manual_seed(schedule.seed * 1_000_003 + epoch)
        kit.net.train()
        kit.objective.train()
        started, spent = time.perf_counter(), cost()
        losses: list[Tensor] = []
        images = 0
        for step, batch in enumerate(kit.loader):
            share = _rate(epoch * steps + step, schedule.epochs * steps)
            for group, rate in zip(kit.optimizer.param_groups, base_rates, strict=True):
                group["lr"] = rate * share
            losses.append(_step(kit, _ready(batch, schedule, generator), schedule.device))
            images += len(batch.labels)
            if step % 50 == 49:
                _require_finite(losses[-50:], epoch, step)
        _require_finite(losses, epoch, steps - 1)
        seconds = time.perf_counter() - started
        validated = validate(kit.net)
        if validated.reason and not history.undefined:
            history.undefined = validated.reason
            log.warning(
                "epoch %d has no value to be chosen by (%s); %s",
                epoch + 1, validated.reason, FALLS_BACK,
            )  # fmt: skip
        row = {
            "epoch": epoch,
            "train_loss": torch.stack(losses).mean().item(),
            "val_loss": validated.loss,
            "val_auc": validated.auc,
            "selection": validated.auc if validated.value is None else validated.value,
            "seconds": cost() - spent,
            "images_per_second": images / seconds,
            **kit.objective.measured(),
        }
        history.add(row, kit.net)
        log.info(
            "epoch %d/%d  train loss %.4f  val loss %.4f  val macro AUC %.4f  %.0f images/s%s",
            epoch + 1,
            schedule.epochs,
            row["train_loss"],
            validated.loss,
            validated.auc,
            row["images_per_second"],
            "  best" if history.best_epoch == epoch else "",
        )
        _save(kit, history, schedule)
        if schedule.on_epoch is not None:
            schedule.on_epoch(row)
    kit.net.load_state_dict(history.states[history.best_epoch])
    return history


def _step(kit: Kit, batch: Batch, device: str) -> Tensor:
    losses: list[Tensor] = []

    # A closure, so that optimisers that evaluate the loss more than once fit the same loop.
    def closure() -> Tensor:
        kit.optimizer.zero_grad(set_to_none=True)
        with autocast(device):
            loss: Tensor = kit.objective(kit.net, batch)
        loss.backward()
        losses.append(loss.detach())
        return loss

    kit.optimizer.step(closure)  # type: ignore[arg-type]
    return losses[0]


def autocast(device: str) -> AbstractContextManager[Any]:
    """bfloat16 where the device computes it natively; nothing on a CPU."""
    if device.startswith("cuda"):
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def _ready(batch: Batch, schedule: Schedule, generator: torch.Generator) -> Batch:
    batch = batch.to(schedule.device)
    images = batch.images
    if schedule.augmentation == "light" and len(images):
        images = light(images, generator)
    return batch._replace(images=laid_out(images))


def _rate(step: int, total: int) -> float:
    progress = step / max(1, total)
    if progress < WARM_UP:
        return (progress + 1 / max(1, total)) / (WARM_UP + 1 / max(1, total))
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def _require_finite(losses: list[Tensor], epoch: int, step: int) -> None:
    finite = torch.stack(losses).isfinite()
    if not finite.all():
        raise Diverged(
            f"the loss must stay finite, but became {torch.stack(losses)[~finite][0].item()} in "
            f"epoch {epoch + 1} by step {step + 1}; lower the learning rate (--set lr=…)"
        )


def _save(kit: Kit, history: History, schedule: Schedule) -> None:
    if schedule.checkpoint is None:
        return
    state = {
        "net": kit.net.state_dict(),
        "objective": kit.objective.state_dict(),
        "optimizer": kit.optimizer.state_dict(),
        "rows": history.rows,
        "states": history.states,
        "undefined": history.undefined,
        "seed": schedule.seed,
        "torch_rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    partial = schedule.checkpoint.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(schedule.checkpoint)


def _resume(kit: Kit, schedule: Schedule, log: logging.Logger) -> tuple[History, int]:
    if schedule.checkpoint is None or not schedule.checkpoint.is_file():
        return History(schedule.order), 0
    state = torch.load(schedule.checkpoint, map_location="cpu", weights_only=True)
    kit.net.load_state_dict(state["net"])
    kit.objective.load_state_dict(state["objective"])
    kit.optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["torch_rng"])
    if torch.cuda.is_available() and state["cuda_rng"]:
        torch.cuda.set_rng_state_all(state["cuda_rng"])
    history = History(schedule.order, state["rows"], state["states"], state["undefined"])
    if len(history.rows) < schedule.epochs:
        log.info(
            "continuing at epoch %d/%d from the saved state", len(history.rows) + 1, schedule.epochs
        )
    return history, len(history.rows)
