"""Run the stages of a method, and what comes out of it: a predictor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from datasets.split import TRUE as SPLIT_TRUE
from datasets.split import Folds, Split
from methods.base import Context, Kit, Method, Task
from methods.loader import Rows, ordered_loader, training_loader
from methods.train import History, Schedule, Validated, autocast, masked_cross_entropy, train
from metrics.auroc import auroc
from metrics.predictions import LABEL, LOGIT, TRUE, Predictions
from metrics.thresholds import Rule

PREDICTION_BATCH = 256


class Incompatible(ValueError):
    """A method that cannot run on this task, with the reason."""


@dataclass(frozen=True)
class Predictor:
    """A fitted method: a network, the rule of its decisions, and how it sees images."""

    method: Method
    net: nn.Module
    rule: Rule | None
    ctx: Context

    def __call__(self, split: Split) -> Predictions:
        """Predictions for every row of `split`, with decisions once the rule is known."""
        rows = Rows(self.method.view(split, self.ctx), self.ctx.task, self.method.image_size)
        logits = self._forward(rows, embed=False)
        predictions = as_predictions(split, self.ctx.task, logits)
        return self.rule.apply(predictions) if self.rule else predictions

    def embed(self, split: Split) -> np.ndarray:
        """Penultimate features `(n, width)` float32 of every row."""
        rows = Rows(self.method.view(split, self.ctx), self.ctx.task, self.method.image_size)
        return self._forward(rows, embed=True)

    def save(self, path: Path) -> None:
        """Write the weights, atomically, as safetensors."""
        partial = path.with_suffix(".partial")
        state = {k: v.detach().cpu().contiguous() for k, v in self.net.state_dict().items()}
        save_file(state, partial)
        partial.replace(path)

    def thresholds(self) -> pd.DataFrame:
        """The thresholds of its rule, one row each."""
        return pd.DataFrame([asdict(t) for t in self.rule.thresholds] if self.rule else [])

    @property
    def parameters(self) -> int:
        """Number of parameters of the network."""
        return sum(p.numel() for p in self.net.parameters())

    def _forward(self, rows: Rows, *, embed: bool) -> np.ndarray:
        return forward(self.net, rows, self.ctx.device, embed=embed)


def forward(net: nn.Module, rows: Rows, device: str, *, embed: bool = False) -> np.ndarray:
    """Logits `(n, findings)`, or features `(n, width)`, of all rows as float32."""
    net.eval()
    parts = []
    call = net.embed if embed else net
    with torch.inference_mode(), autocast(device):
        for batch in ordered_loader(rows, PREDICTION_BATCH):
            batch = batch.to(device)
            images = batch.images.contiguous(memory_format=torch.channels_last)
            parts.append(call(images, batch.groups).float().cpu())  # type: ignore[operator]
    return torch.cat(parts).numpy()


def as_predictions(split: Split, task: Task, logits: np.ndarray) -> Predictions:
    """The rows of a split beside their logits `(n, findings)`."""
    frame = split.frame
    columns: dict[str, object] = {
        "image": frame["image_id"].astype(str),
        "patient": frame["patient_id"].astype(str),
        "part": 0,
    }
    columns |= {a: frame[a].astype(str) for a in task.attributes}
    columns |= {LABEL + f: frame[f].astype("float32") for f in task.findings}
    if split.has_truth:
        columns |= {TRUE + f: frame[SPLIT_TRUE + f].astype("float32") for f in task.findings}
    columns |= {LOGIT + f: logits[:, j] for j, f in enumerate(task.findings)}
    return Predictions(
        fold=split.name,
        frame=pd.DataFrame(columns),
        findings=task.findings,
        attributes=task.attributes,
        groups=task.groups,
    )


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
    torch.manual_seed(ctx.seed)
    net = method.network(ctx.task, folds, ctx).to(ctx.device).to(memory_format=torch.channels_last)
    undecided = Predictor(method, net, None, ctx)
    if stored_weights is None:
        history = _train(method, net, folds, ctx, on_epoch)
    else:
        net.load_state_dict(load_file(stored_weights))
        history = History()
    rule = method.decide(undecided(folds.val))
    return replace(undecided, rule=rule), history


def _train(
    method: Method,
    net: nn.Module,
    folds: Folds,
    ctx: Context,
    on_epoch: Callable[[dict[str, float]], None] | None,
) -> History:
    seen = method.data(method.view(folds.train, ctx), ctx)
    if len(seen) != len(folds.train):
        ctx.log.info(
            "training rows: %d of the data set, %d after the method's own selection",
            len(folds.train),
            len(seen),
        )
    rows = Rows(seen, ctx.task, method.image_size)
    val_rows = Rows(method.view(folds.val, ctx), ctx.task, method.image_size)
    objective = method.objective(ctx.task).to(ctx.device)
    trained = [p for m in (net, objective) for p in m.parameters() if p.requires_grad]
    kit = Kit(
        net=net,
        objective=objective,
        optimizer=torch.optim.AdamW(trained, lr=method.lr, weight_decay=method.weight_decay),
        loader=training_loader(rows, method.batch_size, seed=ctx.seed),
    )
    schedule = Schedule(
        epochs=method.epochs,
        patience=method.patience,
        seed=ctx.seed,
        device=ctx.device,
        augmentation=method.augmentation,
        checkpoint=ctx.workdir / "checkpoint.pt",
        on_epoch=on_epoch,
    )
    return train(method.harden(kit, ctx), lambda n: validate(n, val_rows, ctx), schedule, ctx.log)


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
