"""How hard the phantom is: AUC and group differences of a small network, on reserved cohorts.

    python -m benchmarks.phantom_calibration --cohort 9003 --preset phantom

Strengths of findings were chosen with this script on cohorts 9000 to 9099, which every data set of
the phantom refuses, so that no published number stands on people the generator was tuned on.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from backbones import build
from datasets.phantom_cohort import FINDINGS, RACES, Cohort, make_cohort
from datasets.phantom_population import RESERVED_COHORTS, Population
from datasets.phantom_render import render_population
from registry import DATASETS

SPECIFICITY = 0.80
"""On recorded labels of validation patients."""


@dataclass(frozen=True)
class Settings:
    """How the network is trained: AdamW, one tenth of the steps warm-up, then cosine decay."""

    size: int = 64
    epochs: int = 6
    batch: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.02
    seed: int = 0


@dataclass(frozen=True)
class Data:
    """Pixels and labels of a cohort; `fold` holds 0 train, 1 val, 2 audit, 3 test."""

    cohort: Cohort
    images: Tensor
    fold: np.ndarray


def population(preset: str, cohort: int) -> Population:
    """The population of a preset with a reserved cohort.

    Raises:
        ValueError: the cohort is not reserved.
    """
    if cohort not in RESERVED_COHORTS:
        raise ValueError(
            f"calibration must use a cohort from {RESERVED_COHORTS.start} to "
            f"{RESERVED_COHORTS.stop - 1}, but got {cohort}; the others are for results"
        )
    defaults: Population = DATASETS.get(preset)()
    return replace(defaults.bare(), cohort=cohort)


def load(people: Population, size: int) -> Data:
    """The images of all patients of a population."""
    cohort = make_cohort(people)
    ends = np.cumsum([*people.fold_sizes().values()])
    pixels = render_population(people, np.arange(len(cohort)), size)
    fold = np.searchsorted(ends, cohort.patient, side="right")
    return Data(cohort, torch.from_numpy(pixels), fold)


def train(data: Data, settings: Settings) -> nn.Module:
    """A small network fitted to the recorded labels of the training patients."""
    torch.manual_seed(settings.seed)
    rows = np.flatnonzero(data.fold == 0)
    labels = torch.from_numpy(data.cohort.recorded.astype(np.float32))
    net = build("small_cnn", len(FINDINGS))
    rates = labels[rows].mean(0)
    with torch.no_grad():
        net.head.bias.copy_(torch.log(rates / (1 - rates)))
    net = net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), settings.lr, weight_decay=settings.weight_decay)
    rng = np.random.default_rng(settings.seed)
    steps = settings.epochs * (len(rows) // settings.batch)
    order = np.concatenate([_epoch(rng, rows, settings.batch) for _ in range(settings.epochs)])
    for step, batch in enumerate(torch.from_numpy(order).split(settings.batch)):
        optimizer.param_groups[0]["lr"] = settings.lr * _share(step / steps)
        logits = net(scaled(data.images[batch]))
        loss = nn.functional.binary_cross_entropy_with_logits(logits, labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def predict(net: nn.Module, data: Data) -> np.ndarray:
    """Logits `(n, findings)`."""
    with torch.inference_mode():
        return torch.cat([net(scaled(part)) for part in data.images.split(256)]).numpy()


def scaled(images: Tensor) -> Tensor:
    """Network input `(n, 1, s, s)` of images `(n, s, s)` uint8."""
    return ((images.float() / 255 - 0.5) / 0.25)[:, None]


def measure(logits: np.ndarray, data: Data) -> pd.DataFrame:
    """One row per finding: prevalence and AUC on true labels, and differences of race B minus A."""
    from sklearn.metrics import roc_auc_score

    val, test = data.fold == 1, data.fold == 3
    truth, recorded = data.cohort.truth, data.cohort.recorded
    race = data.cohort.attributes.race
    rows = []
    for j, finding in enumerate(FINDINGS):
        threshold = np.quantile(logits[val & ~recorded[:, j], j], SPECIFICITY)
        called = logits[:, j] >= threshold
        missed, false = ({}, {})
        for group in ("A", "B"):
            mine = test & (race == RACES.index(group))
            missed[group] = 1 - called[mine & truth[:, j]].mean()
            false[group] = called[mine & ~truth[:, j]].mean()
        rows.append(
            {
                "finding": finding,
                "prevalence": truth[test, j].mean(),
                "AUC": roc_auc_score(truth[test, j], logits[test, j]),
                "FNR B - A": missed["B"] - missed["A"],
                "FPR B - A": false["B"] - false["A"],
                "positives in B": int((test & truth[:, j] & (race == 1)).sum()),
            }
        )
    return pd.DataFrame(rows).set_index("finding")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one table per cohort; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohort", type=int, nargs="+", default=[RESERVED_COHORTS.start])
    parser.add_argument("--preset", default="phantom")
    parser.add_argument("--epochs", type=int, default=Settings.epochs)
    parser.add_argument("--size", type=int, default=Settings.size)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for cohort in given.cohort:
        started = time.process_time()
        data = load(population(given.preset, cohort), given.size)
        drawn = time.process_time()
        net = train(data, Settings(size=given.size, epochs=given.epochs))
        table = measure(predict(net, data), data)
        kept = table.drop(index="Fracture")["AUC"]
        sys.stdout.write(
            f"{given.preset}, cohort {cohort}: {len(data.images)} images drawn in "
            f"{drawn - started:.0f} CPU-s, {(data.fold == 0).sum()} used for training in "
            f"{time.process_time() - drawn:.0f} CPU-s; macro AUC without Fracture "
            f"{kept.mean():.3f}\n{table.round(3).to_string()}\n\n"
        )
        sys.stdout.flush()
    return 0


def _epoch(rng: np.random.Generator, rows: np.ndarray, batch: int) -> np.ndarray:
    return rng.permutation(rows)[: len(rows) // batch * batch]


def _share(progress: float) -> float:
    if progress < 0.1:
        return 10 * progress + 0.01
    return 0.5 * (1 + math.cos(math.pi * (progress - 0.1) / 0.9))


if __name__ == "__main__":
    raise SystemExit(main())
