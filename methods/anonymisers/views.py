"""Anonymised images on disk: fitted once, changed once, shared by runs, seeds and processes."""

from __future__ import annotations

import json
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree

import numpy as np
import torch

import options
from datasets.folds import digest
from datasets.images import open_images
from datasets.sources import hexdigest
from datasets.split import IMAGE_ROOT, Split
from methods.anonymisers.base import Anonymiser, Fitted
from methods.base import Context
from methods.shared import alone, lock_of, save_stack
from registry import ROOT

CHUNK = 256
"""Images that a kill costs at most."""
TOLD_SECONDS = 15.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True)
class Views:
    """How splits look through an anonymiser at one size; kept below `ctx.shared`.

    Each fitted anonymiser and each changed split is named by a hash of all it depends on and made
    under a lock of its own, so that two processes may change different folds at once.
    """

    anonymiser: Anonymiser
    size: int
    ctx: Context

    def of(self, split: Split) -> Split:
        """The same rows in the same order, with changed pixels."""
        name = hexdigest(self._key(), open_images(split, self.size).digest())
        stack = self.ctx.shared / "views" / f"{name}.npy"
        if not stack.is_file():
            with self._alone(stack, f"changing the images of {split.name!r}"):
                if not stack.is_file():
                    # What is random here must not shift what is random in the run.
                    with torch.random.fork_rng():
                        self._change(split, stack)
        rows = [f"views/{stack.name}#{i}" for i in range(len(split))]
        frame = split.frame.drop(columns=IMAGE_ROOT, errors="ignore")
        frame = frame.assign(path=rows, origin="anonymised")
        return replace(split, frame=frame, root=self.ctx.shared)

    def fitted(self) -> Fitted:
        """The anonymiser fitted on the training fold, or read if that was done before."""
        if not self.anonymiser.learns:
            return self.anonymiser.load(self.ctx.shared, self.ctx.device)
        folder = self.ctx.shared / "anonymisers" / self._key()
        if not folder.is_dir():
            with self._alone(folder, f"fitting {self.anonymiser.registered_name!r}"):
                if not folder.is_dir():
                    self._fit(folder)
        # Read again even where it was just fitted, so that both give the same pixels.
        with torch.random.fork_rng():
            return self.anonymiser.load(folder, self.ctx.device)

    def _alone(self, item: Path, what: str) -> AbstractContextManager[None]:
        return alone(lock_of(item), f"waiting: another process is {what}", self.ctx.log)

    def _key(self) -> str:
        """A hash of all that changed pixels depend on, beside the pixels before."""
        anonymiser, ctx = self.anonymiser, self.ctx
        parts = [anonymiser.registered_name, json.dumps(options.plain(anonymiser)), self.size]
        parts += [sources_digest(anonymiser)]
        if anonymiser.learns:
            known = ctx.train.frame[["image_id", "patient_id", *ctx.task.findings]]
            parts += [digest(known), open_images(ctx.train, self.size).digest()]
            parts += [torch.device(ctx.device).type]
        return hexdigest(*parts)[:24]

    def _fit(self, folder: Path) -> None:
        workdir, draft = (folder.with_name(folder.name + end) for end in (".work", ".part"))
        rmtree(draft, ignore_errors=True)
        for made in (workdir, draft):
            made.mkdir(parents=True, exist_ok=True)
        fitted = self.anonymiser.fit(self.ctx.train, self.size, self.ctx, workdir)
        fitted.save(draft)
        draft.replace(folder)
        rmtree(workdir)

    def _change(self, split: Split, stack: Path) -> None:
        """Write the changed images of `split`, going on where an earlier call was stopped."""
        fitted, log = self.fitted(), self.ctx.log
        pixels = open_images(split, self.size).take()
        keep = self.anonymiser.recorded(split, self.size)
        parts = stack.with_suffix(".parts")
        parts.mkdir(exist_ok=True)
        files, started, told = [], time.monotonic(), time.monotonic()
        for start in range(0, len(split), CHUNK):
            rows = slice(start, start + CHUNK)
            files.append(parts / f"{start}.npy")
            if not files[-1].is_file():
                kept = None if keep is None else keep[rows]
                save_stack(files[-1], fitted.transform(pixels[rows], kept))
            now, done = time.monotonic(), min(start + CHUNK, len(split))
            if now - told > TOLD_SECONDS:
                left = divmod(round((now - started) / done * (len(split) - done)), 60)
                log.info("images of %r changed: %d/%d  %d:%02d left",
                         split.name, done, len(split), *left)  # fmt: skip
                told = now
        save_stack(stack, np.concatenate([np.load(file) for file in files]))
        rmtree(parts)
        log.info("the %d images of %r are changed", len(split), split.name)


def sources_digest(anonymiser: Anonymiser) -> str:
    """A hash of the text of all files that can change what it does."""
    return hexdigest(*(path.read_text(encoding="utf-8") for path in _sources(anonymiser)))


def _sources(anonymiser: Anonymiser) -> list[Path]:
    own = [Path(str(sys.modules[c.__module__].__file__)) for c in type(anonymiser).__mro__[:-1]]
    return own + [ROOT / name for name in anonymiser.sources]
