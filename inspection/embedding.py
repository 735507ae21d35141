"""An embedding data set of another data set: vectors first, then the table, then what they are."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import options
from datasets.base import FOLD, ChestXrayDataset
from datasets.division import Division, divide
from datasets.embedded import META, STACK, TABLE, Meta
from datasets.images import Images, cache_dir, open_images
from datasets.people import PAIR_COLUMNS, PAIRS_FILE, pairs_of
from datasets.sources import hexdigest
from datasets.split import IMAGE_ROOT, Split
from inspection.encoding import Encoder
from tracking.pseudonyms import Pseudonyms

PART, STATE = f"{STACK}.part", "progress.json"
SAVED_EVERY = 10.0
"""Seconds of work that a kill may lose."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Job:
    """What is to be written, and where."""

    dataset: ChestXrayDataset
    table: Split
    """As `with_folds` gives it, without images that cannot be read."""
    encoder: Encoder
    out: Path
    batch_size: int = 64

    def write(self, progress: Progress | None = None) -> Meta | None:
        """What was written; None if all of it was there before.

        Work goes on where an earlier call was stopped.

        Raises:
            ValueError: the folder holds something else, or the encoder gives no usable vectors.
        """
        images = open_images(self.table, self.encoder.image_size)
        content = images.digest()
        known = self._check_folder(content)
        if known is not None:
            return None
        width = self._encode(images, content, progress)
        meta = self._meta(width, content)
        frame = self._frame(meta.ids == "pseudonyms")
        draft = self.out / f"{TABLE}.part"
        frame.to_parquet(draft, index=False)
        draft.replace(self.out / TABLE)
        meta.write(self.out)
        (self.out / STATE).unlink(missing_ok=True)
        return meta

    def _check_folder(self, content: str) -> Meta | None:
        """What the folder holds already, if it is just what is to be written."""
        if (self.out / META).is_file():
            held = Meta.read(self.out)
            same = (
                {k: v for k, v in held.encoder.items() if k != "file"},
                held.content,
                held.dataset,
            ) == (_tupled(self.encoder.described), content, self.dataset.registered_name)
            if same:
                return held
            raise ValueError(
                f"--out must be empty or hold the same embeddings, but {self.out} holds those of "
                f"{held.dataset!r} by {held.encoder.get('file')!r}; name another folder"
            )
        strange = [
            p.name for p in sorted(self.out.glob("*")) if p.name not in (PART, STATE, STACK, TABLE)
        ]
        if strange and not (self.out / STATE).is_file():
            raise ValueError(
                f"--out must be an empty folder, but {self.out} holds {strange[0]!r}; name another"
            )
        self.out.mkdir(parents=True, exist_ok=True)
        return None

    def _encode(self, images: Images, content: str, progress: Progress | None) -> int:
        """Width of the vectors, once all of them are in the stack."""
        size, total = self.batch_size, len(images)
        first = self._vectors(images, 0, min(size, total))
        width = first.shape[1]
        # What was begun with another encoder, or other images, is begun anew.
        names = {k: v for k, v in self.encoder.described.items() if k != "file"}
        signature = hexdigest(json.dumps(names, sort_keys=True), content, width, total)
        done, part = self._done(signature), self.out / PART
        if (self.out / STACK).is_file() and done == total:
            return width
        mode: Any = "r+" if done and part.is_file() else "w+"
        if mode == "w+":
            done = 0
        stack = np.lib.format.open_memmap(part, mode, np.float32, (total, width))
        saved = time.monotonic()
        while done < total:
            end = min(done + size, total)
            stack[done:end] = first if done == 0 else self._vectors(images, done, end)
            done = end
            if progress is not None:
                progress(done, total)
            if done == total or time.monotonic() - saved > SAVED_EVERY:
                stack.flush()
                self._save_state(signature, done)
                saved = time.monotonic()
        del stack
        part.replace(self.out / STACK)
        return width

    def _vectors(self, images: Images, start: int, end: int) -> np.ndarray:
        vectors = self.encoder(images.take(np.arange(start, end)))
        usable = np.isfinite(vectors).all(axis=1) & (vectors.min(axis=1) < vectors.max(axis=1))
        if not usable.all():
            row = start + int(np.flatnonzero(~usable)[0])
            raise ValueError(
                f"an encoder must give finite, differing numbers, but {self.encoder.file!r} does "
                f"not for row {row + 1} of the table; check --backbone, --scale and --image-size"
            )
        return vectors

    def _done(self, signature: str) -> int:
        """Vectors that an earlier call has written of the same stack."""
        try:
            state = json.loads((self.out / STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0
        return int(state["done"]) if state.get("of") == signature else 0

    def _save_state(self, signature: str, done: int) -> None:
        draft = self.out / f"{STATE}.part"
        draft.write_text(json.dumps({"of": signature, "done": done}), encoding="utf-8")
        draft.replace(self.out / STATE)

    def _meta(self, width: int, content: str) -> Meta:
        source, table = self.dataset, self.table
        restricted = source.terms == "restricted"
        return Meta(
            encoder=self.encoder.described,
            width=width,
            images=len(table),
            dataset=source.registered_name,
            data_version=source.version,
            data_fields=options.plain(source),
            content=content,
            findings=table.findings,
            attributes={a: table.groups_of(a) for a in table.attributes},
            terms=source.terms,
            kind=source.kind,
            reidentification_allowed=source.reidentification_allowed,
            ids="pseudonyms" if restricted else "raw",
            unlearnable=source.unlearnable(self.encoder.image_size),
            primary_contrasts=source.primary_contrasts,
            intersections=source.intersections,
            dropped=table.dropped,
            notes=table.notes,
        )

    def _frame(self, hidden: bool) -> pd.DataFrame:
        """The table without paths; with pseudonyms where `hidden`."""
        frame = self.table.frame.drop(columns=["path", IMAGE_ROOT], errors="ignore")
        pairs = pd.DataFrame(pairs_of(self.table), columns=list(PAIR_COLUMNS))
        if hidden:
            names = Pseudonyms(cache_dir(), self.dataset.registered_name)
            frame = names.hide(frame, ("patient_id", "image_id"))
            pairs = names.hide(pairs, PAIR_COLUMNS)
        if len(pairs):
            pairs.to_csv(self.out / PAIRS_FILE, index=False)
        return frame


def with_folds(dataset: ChestXrayDataset, table: Split) -> Split:
    """The table with the fold of every row, as a run without options deals them.

    To be called before unreadable images are left out, as a run does: folds are dealt by all
    patients, and the encoder may have been trained on the train fold of this very data set.

    Raises:
        ValueError: the data set's own folds break a rule, or a fold would be empty.
    """
    divided = divide(table, Division.named(dataset.default_split))
    return divided.table.with_frame(divided.table.frame.assign(**{FOLD: divided.names}))


def _tupled(described: dict[str, Any]) -> dict[str, Any]:
    """An encoder as it is read back, without the name of its file."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in described.items() if k != "file"}
