"""A fitted method, and how it predicts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import nn

from datasets.split import TRUE as SPLIT_TRUE
from datasets.split import Folds, Split
from methods.base import Context, Method, Task
from methods.loader import Rows, laid_out, ordered_loader
from metrics.predictions import LABEL, LOGIT, TRUE, Predictions
from metrics.thresholds import Rule
from metrics.validation import ValidationPredictions

PREDICTION_BATCH = 256


@dataclass(frozen=True)
class Predictor:
    """A fitted method: a network, the rule of its decisions, and how it sees images."""

    method: Method
    net: nn.Module
    rule: Rule | None
    ctx: Context

    def __call__(self, split: Split) -> Predictions:
        """Predictions for every row of `split`, with decisions once the rule is known."""
        logits = forward(self.net, self._rows(split), self.ctx.device)
        predictions = as_predictions(split, self.ctx.task, logits)
        return self.rule.apply(predictions) if self.rule else predictions

    def on_validation(self, folds: Folds) -> ValidationPredictions:
        """Predictions for the validation fold, which alone may fit thresholds and choose models."""
        return ValidationPredictions.of(self(folds.val))

    def embed(self, split: Split) -> np.ndarray:
        """Penultimate features `(n, width)` float32 of every row."""
        return forward(self.net, self._rows(split), self.ctx.device, embed=True)

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

    def _rows(self, split: Split) -> Rows:
        return Rows(seen(self.method, split, self.ctx), self.ctx.task, self.method.image_size)


def seen(method: Method, split: Split, ctx: Context) -> Split:
    """`split` as the method sees it.

    Raises:
        ValueError: the method's view left out, added or reordered rows, so that labels would meet
            the wrong images.
    """
    view = method.view(split, ctx)
    if view is not split and not np.array_equal(view.frame["image_id"], split.frame["image_id"]):
        raise ValueError(
            f"a view must keep every row in its place, but that of {method.registered_name!r} "
            f"changed the rows of {split.name!r}; put choices of rows into `data`"
        )
    return view


def forward(net: nn.Module, rows: Rows, device: str, *, embed: bool = False) -> np.ndarray:
    """Logits `(n, findings)`, or features `(n, width)`, of all rows as float32.

    In full precision on every device: logits rounded to bfloat16 tie where nothing ties.
    """
    net.eval()
    parts = []
    call = net.embed if embed else net
    with torch.inference_mode():
        for batch in ordered_loader(rows, PREDICTION_BATCH):
            batch = batch.to(device)
            parts.append(call(laid_out(batch.images), batch.groups).cpu())  # type: ignore[operator]
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
