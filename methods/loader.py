"""From a table to batches: rows gathered from memory-mapped pixels, shuffled by seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from datasets.contents import Contents, open_contents
from datasets.split import Split
from methods.base import Batch, Task

RESIDENT_BYTES = 2 << 30
"""Pixels or embeddings up to this size are held in memory; above it their maps are read."""


class Rows(Dataset[Batch]):
    """The rows of a split; `rows[indices]` is a `Batch` with pixels scaled to about [-2, 2], or
    with embeddings as they are."""

    def __init__(self, split: Split, task: Task, size: int) -> None:
        self.image_ids = split.frame["image_id"].to_numpy(dtype=str)
        self.patients = split.frame["patient_id"].to_numpy(dtype=str)
        self.labels = torch.from_numpy(split.labels())
        self.groups = torch.from_numpy(_group_codes(split, task))
        self.images: Contents = open_contents(split, task.holds, size)
        each = 4 * task.width if task.width else size * size
        resident = len(split) * each <= RESIDENT_BYTES
        self.pixels = torch.from_numpy(self.images.take()) if resident else None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        return Batch(*(t[0] for t in self.__getitems__([index])))

    def __getitems__(self, indices: list[int]) -> Batch:
        rows = torch.as_tensor(indices, dtype=torch.long)
        if self.pixels is not None:
            pixels = self.pixels[rows]
        else:
            pixels = torch.from_numpy(self.images.take(np.asarray(indices, dtype=np.int64)))
        images = scale(pixels) if pixels.ndim == 3 else pixels
        return Batch(images, self.labels[rows], self.groups[rows])


def scale(pixels: Tensor) -> Tensor:
    """8-bit gray `(n, s, s)` as float32 `(n, 1, s, s)` with mid-gray at 0 and black at -2."""
    return pixels.unsqueeze(1).float().mul_(1 / 63.75).sub_(2)


def laid_out(images: Tensor) -> Tensor:
    """Images in the memory layout of our convolutions; embeddings as they are."""
    return images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images


@runtime_checkable
class EpochSampler(Protocol):
    """A sampler whose choices depend on seed and epoch alone, so that an epoch can be resumed."""

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins."""


class EpochShuffle(Sampler[int]):
    """A permutation of rows that depends on seed and epoch alone, so an epoch can be resumed."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rows = rows
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, 3, self.epoch]).permutation(self.rows)
        return iter(order.tolist())


def training_loader(rows: Rows, batch_size: int, *, seed: int) -> DataLoader[Batch]:
    """Shuffled batches; the last, shorter one is kept unless it would hold a single row.

    BatchNorm cannot normalise one row, and another row is left out in every epoch.
    """
    alone = len(rows) > 1 and len(rows) % batch_size == 1
    sampler = BatchSampler(EpochShuffle(len(rows), seed), batch_size, drop_last=alone)
    return batched_loader(rows, sampler)


def batched_loader(rows: Rows, batches: Sampler[list[int]]) -> DataLoader[Batch]:
    """The batches of rows that a sampler of lists of positions names; a list may be empty."""
    return DataLoader(rows, batch_sampler=batches, collate_fn=_as_batch)


def ordered_loader(rows: Rows, batch_size: int) -> DataLoader[Batch]:
    """Batches in the order of the table."""
    return DataLoader(rows, batch_size=batch_size, shuffle=False, collate_fn=_as_batch)


def start_epoch(loader: DataLoader[Batch], epoch: int) -> None:
    """Tell the sampler of a loader which epoch begins; samplers without epochs are left alone."""
    batches = loader.batch_sampler
    for sampler in (batches, getattr(batches, "sampler", None)):
        if isinstance(sampler, EpochSampler):
            sampler.set_epoch(epoch)


def _as_batch(fetched: Any) -> Batch:
    # `__getitems__` already gathered the batch; there is nothing left to collate.
    return cast(Batch, fetched)


def _group_codes(split: Split, task: Task) -> np.ndarray:
    codes = np.zeros((len(split), len(task.attributes)), dtype=np.int64)
    for column, attribute in enumerate(task.attributes):
        position = {group: i for i, group in enumerate(task.groups[attribute])}
        codes[:, column] = [position[g] for g in split.frame[attribute].astype(str)]
    return codes
