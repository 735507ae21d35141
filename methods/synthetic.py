"""Synthetic augmentation: images of a diffusion model, as many of each group, beside real ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from datasets.images import open_images
from datasets.pictures import enlarged, save, sheet
from datasets.split import IMAGE_ROOT, Folds, Split
from methods.base import Context, Method, Task, needs_pixels, tunable
from methods.cells import lacks
from methods.diffusion import Diffusion
from methods.generated import Generated
from methods.pool import pool_digest, read_pool, refuse_known
from registry import METHODS

SHOWN = 32
"""Images on the sheet of samples."""


@METHODS.register("synthetic")
@dataclass(frozen=True)
class Synthetic(Method):
    """Adds generated images, in which every group is equally frequent and findings are as before.

    A diffusion model is fitted to the training images, given recorded labels and attributes. Each
    generated row is a training row with another group of `attribute` in turn: the prevalence of
    findings, and their dependence on each other and on other attributes, are kept; their
    dependence on the group is broken. What the model has learnt wrongly from recorded labels, it
    repeats. The model and its images are the same for every seed of a run.

    With `pool`, images generated elsewhere take their place: all of them, or as many as `ratio`
    asks for, drawn by the seed of the run. The release is the whole synthetic set.

    Source: Ktena et al., Nat. Med. 2024;30:1166-1173 (arXiv 2304.09218), Methods (even over the
    attribute, prevalence kept, real and synthetic mixed). Differs: epochs are as many as for ERM,
    so that the added rows cost steps.
    """

    unaccounted: ClassVar[str] = (
        "its generator is fitted to the training patients without privacy, and every generated "
        "image may tell of any of them"
    )
    smallest: ClassVar[Mapping[str, Any]] = {
        "generator_steps": 6,
        "generator_batch": 8,
        "generator_width": 8,
        "sampling_steps": 2,
    }

    ratio: float = tunable(0.5, choices=(0.25, 0.5, 1.0, 2.0))
    """Synthetic rows per real training row."""
    attribute: str = ""
    """Whose groups are made equally frequent; empty means the first attribute of the task."""
    pool: str = ""
    """A CSV file with images generated elsewhere: path, labels, attributes; empty fits a model."""
    generator_steps: int = 2000
    """Updates of the generator."""
    generator_batch: int = 32
    generator_width: int = 32
    """Channels of the generator's network; its cost grows with the square."""
    generator_lr: float = 2e-3
    sampling_steps: int = 12
    """Evaluations of the generator per image."""
    guidance: float = tunable(2.0, choices=(1.0, 1.5, 2.0, 3.0))
    """Above 1, images show their labels more clearly and differ less; costs twice as much. After
    1000 steps at 32 px, a classifier of real images found the labels of generated ones with a mean
    AUC of 0.75 at 1, of 0.87 at 2; of real ones with 0.90."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.ratio <= 100:
            raise ValueError(f"ratio must lie in (0, 100], but got {self.ratio}")
        if not self.pool:
            self._generator()

    def skip(self, task: Task) -> str | None:
        """A sentence if images are changed by another method, or the pool does not fit the task."""
        if reason := needs_pixels(task):
            return reason
        if type(self).view is not Method.view:
            return (
                "the generator learns from the original training images and would release what "
                "the other method hides; run them one by one"
            )
        if (task.attributes or self.attribute) and (
            reason := lacks(task.attributes, self.attribute, "attribute")
        ):
            return reason
        if self.pool:
            try:
                read_pool(Path(self.pool), task, self.image_size)
            except ValueError as error:
                return str(error)
        return None

    def content(self) -> tuple[str, ...]:
        """The pool's table and images."""
        return (pool_digest(Path(self.pool), self.image_size),) if self.pool else ()

    def check(self, folds: Folds) -> None:
        """Refuse a pool that holds images of validation, audit or test patients."""
        if self.pool:
            refuse_known(Path(self.pool), folds, self.image_size)

    @property
    def released(self) -> str:
        """What `release` publishes."""
        return "synthetic images released"

    def data(self, train: Split, ctx: Context) -> Split:
        """The training rows and the synthetic rows; a sheet of these is drawn."""
        synthetic, count = self._synthetic(ctx), self._count(ctx)
        if len(synthetic) > count:
            rng = np.random.default_rng([ctx.seed, 4])
            rows = np.sort(rng.choice(len(synthetic), count, replace=False))
            synthetic = synthetic.with_frame(synthetic.frame.iloc[rows])
        ctx.log.info("training rows: %d real and %d synthetic", len(train), len(synthetic))
        self._draw(synthetic, ctx)
        added = synthetic.frame.assign(**{IMAGE_ROOT: str(synthetic.root)})
        return train.with_frame(pd.concat([train.frame, added], ignore_index=True))

    def release(self, split: Split, ctx: Context) -> Split:
        """The synthetic images, whatever the split."""
        return self._synthetic(ctx)

    def _count(self, ctx: Context) -> int:
        return max(1, round(self.ratio * len(ctx.train)))

    def _synthetic(self, ctx: Context) -> Split:
        if self.pool:
            return read_pool(Path(self.pool), ctx.task, self.image_size)
        attributes = ctx.task.attributes
        attribute = self.attribute or (attributes[0] if attributes else "")
        return Generated(self._generator(), attribute, self._count(ctx)).images(ctx)

    def _generator(self) -> Diffusion:
        return Diffusion(
            image_size=self.image_size,
            steps=self.generator_steps,
            batch_size=self.generator_batch,
            width=self.generator_width,
            lr=self.generator_lr,
            sampling_steps=self.sampling_steps,
            guidance=self.guidance,
        )

    def _draw(self, synthetic: Split, ctx: Context) -> None:
        """Write `samples.png`: some images of every finding, each with its findings."""
        labels = synthetic.labels()
        each = max(1, SHOWN // max(1, labels.shape[1]))
        chosen = [r for column in labels.T for r in np.flatnonzero(column == 1)[:each]]
        rows = list(dict.fromkeys([*chosen, *range(min(SHOWN, len(synthetic)))]))[:SHOWN]
        shown = synthetic.with_frame(synthetic.frame.iloc[rows])
        simulated = "simulated" in set(ctx.train.frame["origin"])
        first = "SIMULATED · " if simulated else ""
        titles = [first + _title(np.array(shown.findings)[r == 1]) for r in shown.labels()]
        pixels = open_images(shown, self.image_size).take()
        save(sheet(enlarged(pixels), titles), ctx.pictures / "samples.png")


def _title(findings: np.ndarray) -> str:
    # A longer line would be set too small to read.
    told = ", ".join(findings[:2]) or "nothing recorded"
    return told + (f" +{len(findings) - 2}" if len(findings) > 2 else "")
