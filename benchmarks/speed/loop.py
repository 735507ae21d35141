"""The training loop against the same steps written bare."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from benchmarks.speed.timing import Ratio, side_by_side
from datasets.split import Split
from methods.base import Kit, Task
from methods.fit import quiet_logger
from methods.loader import Rows, training_loader
from methods.objective import MaskedCrossEntropy
from methods.train import ImageClassifier, Schedule, Validated, train

IMAGES, SIZE, FINDINGS, BATCH = 2048, 64, 10, 64


def measure() -> Iterator[Ratio]:
    """One epoch of `small_cnn` at 64 px on tensors in memory, both ways, on one thread."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (IMAGES, SIZE, SIZE), dtype=np.uint8)
    labels = rng.integers(0, 2, (IMAGES, FINDINGS)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        rows = Rows(_split(Path(folder), pixels, labels), _task(), SIZE)
        yield side_by_side(
            f"training loop, {IMAGES} images, small_cnn {SIZE} px",
            ">= 0.97",
            lambda: _ours(rows),
            lambda: _bare(pixels, labels),
            pairs=11,
        )


def _ours(rows: Rows) -> None:
    net = _network()
    kit = Kit(
        net=net,
        objective=MaskedCrossEntropy(),
        optimizer=torch.optim.AdamW(net.parameters(), lr=1e-3),
        loader=training_loader(rows, BATCH, seed=0),
    )
    schedule = Schedule(epochs=1, patience=1, seed=0, device="cpu")
    train(kit, lambda _: Validated(0.0, 0.5), schedule, quiet_logger())


def _bare(pixels: np.ndarray, labels: np.ndarray) -> None:
    net = _network()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    x, y = torch.from_numpy(pixels), torch.from_numpy(labels)
    for rows in torch.randperm(IMAGES).split(BATCH):
        images = (x[rows].unsqueeze(1).float() / 63.75 - 2).contiguous(
            memory_format=torch.channels_last
        )
        loss = F.binary_cross_entropy_with_logits(net.backbone(images), y[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def _network() -> ImageClassifier:
    torch.manual_seed(0)
    net = ImageClassifier.build("small_cnn", FINDINGS)
    net.to(memory_format=torch.channels_last)
    return net


def _task() -> Task:
    names = tuple(f"f{i}" for i in range(FINDINGS))
    return Task(names, (), {}, names)


def _split(folder: Path, pixels: np.ndarray, labels: np.ndarray) -> Split:
    np.save(folder / "pixels.npy", pixels)
    names = _task().findings
    frame = pd.DataFrame(labels, columns=list(names))
    ids = [f"i{i}" for i in range(len(pixels))]
    paths = [f"pixels.npy#{i}" for i in range(len(pixels))]
    frame = frame.assign(image_id=ids, patient_id=ids, path=paths, origin="simulated")
    return Split("train", frame, folder, names, ())
