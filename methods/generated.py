"""Images of a diffusion model of one training fold: fitted once, drawn once, shared by all runs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.images import open_images
from datasets.split import KEY_COLUMNS, Split
from methods import diffusion
from methods.base import Context
from methods.diffusion import Denoiser, Diffusion, sample, train_denoiser
from methods.pool import UNKNOWN, synthetic_ids
from methods.shared import alone, lock_of, save_stack


@dataclass(frozen=True)
class Generated:
    """Which images are drawn from which model.

    `attribute` is the one whose groups are drawn equally often; empty for none. Nothing depends on
    the seed of a run.
    """

    config: Diffusion
    attribute: str
    count: int

    def images(self, ctx: Context) -> Split:
        """The generated rows; model and images are made unless they lie below `ctx.shared`."""
        train = ctx.train
        pixels = open_images(train, self.config.image_size)
        model = _key(asdict(self._fitting), pixels.digest(), conditions(train), ctx.device)
        folder = ctx.shared / "generators" / model
        frame = self._drawn(train)
        rows = train.with_frame(frame, "synthetic")
        asked = conditions(rows)
        stack = folder / f"images-{_key(asdict(self.config), asked)}.npy"
        waiting = "waiting for another process that makes the same generated images"
        with alone(lock_of(folder), waiting, ctx.log):
            folder.mkdir(exist_ok=True)
            if not stack.is_file():
                denoiser = self._fitted(folder, pixels.take(), ctx).to(ctx.device)
                denoiser.config = self.config
                made = sample(denoiser, asked, seed=self.config.seed, log=ctx.log)
                save_stack(stack, made)
        frame["path"] = [f"{stack.name}#{row}" for row in range(self.count)]
        return Split("synthetic", frame, folder, train.findings, train.attributes)

    @property
    def _fitting(self) -> Diffusion:
        """What the weights depend on: how they are sampled later is not part of it."""
        return replace(self.config, sampling_steps=2, guidance=1.0)

    def _fitted(self, folder: Path, pixels: np.ndarray, ctx: Context) -> Denoiser:
        path, checkpoint = folder / "denoiser.safetensors", folder / "checkpoint.pt"
        if not path.is_file():
            ctx.log.info("fitting a generator to %d training images", len(pixels))
            fitted = train_denoiser(
                self._fitting,
                pixels,
                conditions(ctx.train),
                log=ctx.log,
                checkpoint=checkpoint,
                device=ctx.device,
            )
            diffusion.save(fitted, path)
            checkpoint.unlink(missing_ok=True)
        return diffusion.load(path)

    def _drawn(self, train: Split) -> pd.DataFrame:
        """What is asked of the model: rows of `train` in which only the group is another.

        All training rows stand equally often, in random order, and groups take turns; so labels
        are independent of the group, and as frequent as among all training rows.
        """
        rng = np.random.default_rng([self.config.seed, 0x5E7])
        passes = -(-self.count // len(train))
        rows = np.concatenate([rng.permutation(len(train)) for _ in range(passes)])[: self.count]
        columns = [*KEY_COLUMNS, *train.attributes, *train.findings]
        frame = train.frame[columns].iloc[rows].reset_index(drop=True)
        frame["image_id"] = frame["patient_id"] = synthetic_ids(self.count)
        frame["origin"] = "synthetic"
        if self.attribute:
            groups = even_groups(train, self.attribute)
            turns = pd.Series(np.resize(groups, self.count))
            frame[self.attribute] = turns.astype(train.frame[self.attribute].dtype)
        return frame


def even_groups(train: Split, attribute: str) -> tuple[str, ...]:
    """Groups that have training rows, in their frozen order, without "Unknown", which is none."""
    held = set(train.frame[attribute].astype(str))
    named = tuple(g for g in train.groups_of(attribute) if g in held and g != UNKNOWN)
    return named or tuple(sorted(held))


def conditions(rows: Split) -> np.ndarray:
    """What the model is told of each row `(n, c)` float32: labels, 0.5 where unknown, and groups,
    one column each."""
    labels = np.nan_to_num(rows.labels(), nan=0.5)
    groups = [
        (rows.frame[a].astype(str).to_numpy()[:, None] == np.array(rows.groups_of(a))[None, :])
        for a in rows.attributes
    ]
    return np.concatenate([labels, *groups], axis=1).astype(np.float32)


def _key(*parts: object) -> str:
    """A short hash of all parts and of the sources that make the images."""
    state = hashlib.sha256()
    for source in (Path(diffusion.__file__), Path(__file__)):
        state.update(source.read_bytes())
    for part in parts:
        data = part.tobytes() if isinstance(part, np.ndarray) else json.dumps(part).encode()
        state.update(hashlib.sha256(data).digest())
    return state.hexdigest()[:20]
