"""Run the stages of a method, and what comes out of it: a predictor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from datasets.split import Folds, Split
from methods.base import Context, Kit, Method
from methods.loader import Rows, training_loader
from methods.objective import masked_cross_entropy
from methods.predictor import Predictor, forward, seen
from methods.train import History, Schedule, Validated, train
from metrics.auroc import auroc

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
        val_rows = Rows(seen(method, folds.val, ctx), ctx.task, method.image_size)
        kit = _kit(method, net, train_rows, ctx)
        schedule = Schedule(
            epochs=method.epochs,
            patience=method.patience,
            seed=ctx.seed,
            device=ctx.device,
            augmentation=method.augmentation,
            checkpoint=ctx.workdir / "checkpoint.pt",
            on_epoch=on_epoch,
        )
        _warn_if_short(method, len(kit.loader), ctx)
        history = train(kit, lambda n: validate(n, val_rows, ctx), schedule, ctx.log)
    undecided = Predictor(method, net, None, ctx)
    return replace(undecided, rule=method.decide(undecided(folds.val))), history


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


def _kit(method: Method, net: nn.Module, rows: Rows, ctx: Context) -> Kit:
    """What the loop needs, hardened.

    Raises:
        ValueError: hardening trains other parameters than those of the network that predicts.
    """
    objective = method.objective(ctx.task).to(ctx.device)
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
    logits = forward(net, rows, ctx.device)
    loss = masked_cross_entropy(torch.from_numpy(logits), rows.labels).item()
    once = np.ones((len(logits), 1), np.uint8)
    aucs = [
        auroc(logits[:, j], rows.labels[:, j].numpy(), once)[0]
        for j, finding in enumerate(ctx.task.findings)
        if finding in ctx.task.macro_findings
    ]
    defined = [a for a in aucs if not np.isnan(a)]
    return Validated(loss, float(np.mean(defined)) if defined else float("nan"))


def quiet_logger() -> logging.Logger:
    """A logger that says nothing, for tests and library use."""
    log = logging.getLogger("trilemma.quiet")
    log.addHandler(logging.NullHandler())
    log.propagate = False
    return log
