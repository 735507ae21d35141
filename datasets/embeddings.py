"""Embeddings that were made here of another data set, by any frozen encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from datasets.base import EMBEDDINGS, FOLD, ChestXrayDataset
from datasets.embedded import HOW_TO_MAKE, STACK, TABLE, Meta
from datasets.split import Split
from registry import DATASETS

INHERITED = ("terms", "kind", "reidentification_allowed", "primary_contrasts", "intersections")


@DATASETS.register("embeddings")
@dataclass(frozen=True)
class Embeddings(ChestXrayDataset):
    """A folder that `python -m datasets embed` wrote: one vector per image of another data set.

    It keeps findings, groups, folds, terms and kind of that data set, which `meta.json` names with
    its fields and the digest of the encoder.

    License: that of the data set it was made of, and of the encoder.
    Access: made on this machine, from a data set that is already there.
    """

    # Until the folder is known nothing more is allowed than any source might allow.
    terms: ClassVar[str] = "restricted"
    reidentification_allowed: ClassVar[bool] = False
    default_split: ClassVar[str] = "official"

    @property
    def holds(self) -> str:
        """ "embeddings"."""
        return EMBEDDINGS

    def at(self, root: Path) -> Embeddings:
        """The data set with terms, kind and contrasts of the one that it was made of."""
        meta, made = Meta.read(root), replace(self)
        for name in INHERITED:
            # Past the class variables, which hold for a folder that is not known.
            object.__setattr__(made, name, getattr(meta, name))
        object.__setattr__(made, "_meta", meta)
        return made

    @property
    def variant(self) -> tuple[str, ...]:
        """Of which data set, and by which encoder; none while the folder is not known."""
        meta: Meta | None = getattr(self, "_meta", None)
        if meta is None:
            return ()
        encoder = f"{meta.encoder.get('backbone')}:{str(meta.encoder.get('sha256'))[:8]}"
        return (f"of={meta.dataset}", f"encoder={encoder}")

    def beside(self, others: Sequence[ChestXrayDataset]) -> ChestXrayDataset:
        """As in the base class.

        Raises:
            ValueError: another one was made by another encoder, so that equal numbers mean nothing.
        """
        mine = _encoder(self)
        for other in others:
            theirs = _encoder(other)
            if mine and theirs and mine != theirs:
                raise ValueError(
                    "embeddings of a run must be made by one encoder, but "
                    f"{self.registered_name!r} and {other.registered_name!r} differ in "
                    f"{', '.join(k for k in mine if mine[k] != theirs.get(k))}; embed both alike"
                )
        return super().beside(others)

    def unlearnable(self, image_size: int) -> tuple[str, ...]:
        """Those of the source, at the size that the encoder saw."""
        meta: Meta | None = getattr(self, "_meta", None)
        return meta.unlearnable if meta else ()

    def table(self, root: Path) -> Split:
        """As in the base class.

        Raises:
            FileNotFoundError, ValueError: see there.
        """
        meta = Meta.read(root)
        try:
            frame = pd.read_parquet(root / TABLE)
        except (OSError, ValueError) as error:
            told = " ".join(str(error).split())
            raise ValueError(
                f"{root / TABLE} must be a parquet file, but could not be read ({told}); "
                f"{HOW_TO_MAKE}"
            ) from error
        if len(frame) != meta.images:
            raise ValueError(
                f"{root / TABLE} must have a row for each of {meta.images} embeddings, but has "
                f"{len(frame)}; {HOW_TO_MAKE}"
            )
        rows = pd.Series(np.arange(len(frame)).astype(str), index=frame.index)
        frame["path"] = f"{STACK}#" + rows
        for name, groups in meta.attributes.items():
            if name in frame:
                frame[name] = pd.Categorical(frame[name].astype(str), categories=list(groups))
        if FOLD in frame:
            frame[FOLD] = frame[FOLD].astype(str)
        return Split(
            name=self.registered_name,
            frame=frame,
            root=root,
            findings=meta.findings,
            attributes=tuple(meta.attributes),
            dropped=meta.dropped,
            notes=meta.notes,
        )


@DATASETS.register("embeddings-elsewhere")
@dataclass(frozen=True)
class EmbeddingsElsewhere(Embeddings):
    """A second folder of embeddings, by the same encoder, to test on or to join with the first.

    License: as for `embeddings`.
    Access: as for `embeddings`.
    """


def _encoder(dataset: ChestXrayDataset) -> dict[str, Any]:
    """What can change a vector, of embeddings whose folder is known; else nothing."""
    meta: Meta | None = getattr(dataset, "_meta", None)
    return {} if meta is None else {k: v for k, v in meta.encoder.items() if k != "file"}
