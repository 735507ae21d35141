"""Run the stages of a method, and what comes out of it: a predictor."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from backbones import levels
from datasets.split import Folds, Split
from methods.base import Context, Kit, Method, Task
from methods.loader import Rows, training_loader
from methods.objective import masked_cross_entropy
from methods.predictor import Predictor, as_predictions, forward, seen
from methods.selection.base import Candidate, Strategy, macro_auc
from methods.train import History, Schedule, Validated, train
from metrics.validation import ValidationPredictions

STANDARDISED_TOGETHER = 4096
"""Embeddings read at once to learn their mean and deviation."""
FEW_STEPS = 300
"""Updates below which a network that starts from scratch has hardly left its initial weights."""


class Incompatible(ValueError):
    """A method that cannot run on this task, with the reason."""


def fit(
    method: Method,
    folds: Folds,
    ctx: Context,
    *,
    stored_weights: Path | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> tuple[Predictor, History]:
    """The stages in order: view, data, network, objective, harden, the loop, decide.

    With `stored_weights` nothing is trained; the network is read and the rule fitted again. A
    checkpoint in `ctx.workdir` is continued.

    Raises:
        Incompatible: the method says why it cannot run on this task.
        Diverged: the loss became NaN or infinite.
    """
    if reason := method.skip(ctx.task):
        raise Incompatible(f"{method.registered_name} cannot run here: {reason}")
    train_rows = None if stored_weights else _training_rows(method, folds.train, ctx)
    torch.manual_seed(ctx.seed)
    net = method.network(ctx.task, folds, ctx).to(ctx.device).to(memory_format=torch.channels_last)
    history = History()
    if stored_weights:
        net.load_state_dict(load_file(stored_weights))
    if train_rows:
        _standardise(method, net, train_rows)
        judge = _Judge(method, net, folds.val, ctx)
        kit = _kit(method, net, train_rows, ctx)
        schedule = Schedule(
            epochs=method.epochs,
            patience=method.patience,
            seed=ctx.seed,
            device=ctx.device,
            augmentation=method.augmentation,
            checkpoint=ctx.workdir / "checkpoint.pt",
            on_epoch=on_epoch,
            order=judge.strategy.order,
        )
        _warn_if_short(method, len(kit.loader), ctx)
        history = train(kit, judge, schedule, ctx.log)
    undecided = Predictor(method, net, None, ctx)
    return replace(undecided, rule=method.decide(undecided.on_validation(folds))), history


class _Judge:
    """What an epoch is worth by the method's strategy of selection, on validation patients."""

    def __init__(self, method: Method, net: nn.Module, val: Split, ctx: Context) -> None:
        self.strategy = Strategy.named(method.selection)
        self._method, self._net, self._val, self._ctx = method, net, val, ctx
        self._rows = Rows(seen(method, val, ctx), ctx.task, method.image_size)

    def __call__(self, trained: nn.Module) -> Validated:
        """Loss, macro AUC and the strategy's value of the network as it is trained."""
        ctx = self._ctx
        logits = forward(trained, self._rows, ctx.device)
        validated = _validated(logits, self._rows, ctx.task)
        if not np.isfinite(logits).all():
            # An epoch to forget, and no reason to lose those before and after it.
            return replace(validated, value=math.nan, reason="the logits are not finite")
        candidate = Candidate(
            ValidationPredictions.of(as_predictions(self._val, ctx.task, logits)),
            ctx.task.macro_findings,
            decide=self._method.decide,
            # Of the network itself: what `harden` wraps around it need not embed.
            features=lambda: forward(self._net, self._rows, ctx.device, embed=True),
        )
        measured, reason = self.strategy.measure(candidate)
        return replace(validated, value=measured.value, reason=reason)


def _warn_if_short(method: Method, steps: int, ctx: Context) -> None:
    planned = method.epochs * steps
    if planned < FEW_STEPS and not method.weights:
        ctx.log.warning(
            "only %d updates are planned (%d epochs of %d batches), and a network trained from "
            "scratch needs some hundreds: --set epochs=%d --set patience=%d",
            planned, method.epochs, steps, FEW_STEPS // steps, FEW_STEPS // steps,
        )  # fmt: skip


def _training_rows(method: Method, train_fold: Split, ctx: Context) -> Rows:
    chosen = method.data(seen(method, train_fold, ctx), ctx)
    return Rows(chosen, ctx.task, method.image_size)


def _standardise(method: Method, module: nn.Module, rows: Rows) -> None:
    """Fit the parts of a network that level embeddings to those it is trained on."""
    if not method.standardises:
        return
    for level in levels(module):
        batches = torch.arange(len(rows)).split(STANDARDISED_TOGETHER)
        level.fit(rows.__getitems__(batch.tolist()).images for batch in batches)


def _kit(method: Method, net: nn.Module, rows: Rows, ctx: Context) -> Kit:
    """What the loop needs, hardened.

    Raises:
        ValueError: hardening trains other parameters than those of the network that predicts.
    """
    objective = method.objective(ctx.task).to(ctx.device)
    _standardise(method, objective, rows)
    trained = [p for m in (net, objective) for p in m.parameters() if p.requires_grad]
    kit = Kit(
        net=net,
        objective=objective,
        optimizer=torch.optim.AdamW(trained, lr=method.lr, weight_decay=method.weight_decay),
        loader=training_loader(rows, method.batch_size, seed=ctx.seed),
    )
    hardened = method.harden(kit, ctx)
    if {id(p) for p in hardened.net.parameters()} != {id(p) for p in net.parameters()}:
        raise ValueError(
            f"harden must wrap the network and keep its parameters, but {method.registered_name!r} "
            "returned others, and the network that predicts would stay untrained"
        )
    return hardened


def validate(net: nn.Module, rows: Rows, ctx: Context) -> Validated:
    """Loss and macro AUC on validation patients, against recorded labels."""
    return _validated(forward(net, rows, ctx.device), rows, ctx.task)


def _validated(logits: np.ndarray, rows: Rows, task: Task) -> Validated:
    loss = masked_cross_entropy(torch.from_numpy(logits), rows.labels).item()
    auc = macro_auc(logits, rows.labels.numpy(), task.findings, task.macro_findings)
    return Validated(loss, auc)


def quiet_logger() -> logging.Logger:
    """A logger that says nothing, for tests and library use."""
    log = logging.getLogger("trilemma.quiet")
    log.addHandler(logging.NullHandler())
    log.propagate = False
    return log
