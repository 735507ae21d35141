"""The contract of anonymisers: a frozen dataclass that is fitted once and then changes images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from datasets.split import Split
from methods.base import Context


class Fitted(Protocol):
    """An anonymiser that has learnt what it needs."""

    def transform(self, pixels: np.ndarray, keep: np.ndarray | None = None) -> np.ndarray:
        """Changed images uint8 `(n, s, s)` of images uint8 `(n, s, s)`, in their order.

        What becomes of an image depends on its own pixels alone, not on what stands beside it.
        `keep` bool `(n, s, s)` names the pixels to keep (True); without it they are found.
        """
        ...

    def kept(self, pixels: np.ndarray) -> np.ndarray:
        """Which pixels of images uint8 `(n, s, s)` are kept as they are, bool `(n, s, s)`."""
        ...

    def save(self, folder: Path) -> None:
        """Write what was learnt into `folder`, which exists."""
        ...


@dataclass(frozen=True)
class Anonymiser:
    """What changes images so that patients are harder to recognise; its fields are its settings.

    A subclass registers itself with `@ANONYMISERS.register("name")`. The method `anonymized` gives
    it those of its own fields (`--set field=value`) that bear the names of its fields.
    """

    learns: ClassVar[bool] = False
    """Whether it is fitted on training patients."""
    sources: ClassVar[tuple[str, ...]] = ()
    """Files below the root of the suite, beside its own and its bases', whose text can change what
    it does; what was fitted or changed with other text is not used again."""
    registered_name: ClassVar[str] = ""

    @property
    def looks_up(self) -> bool:
        """Whether it uses more of an image than its pixels, so that a result is an oracle's."""
        return False

    def check(self, size: int) -> None:
        """Nothing, if images of side `size` can be changed.

        Raises:
            ValueError: they cannot.
        """

    def recorded(self, split: Split, size: int) -> np.ndarray | None:
        """Pixels to keep that are looked up, bool `(n, s, s)`; None: found from pixels, or none."""
        return None

    def fit(self, train: Split, size: int, ctx: Context, workdir: Path) -> Fitted:
        """The anonymiser fitted to images of side `size` of `train`, and to nothing else.

        What must survive a kill is written into `workdir`, which is found again.
        """
        raise NotImplementedError

    def load(self, folder: Path, device: str) -> Fitted:
        """What `save` wrote into `folder`, ready for `device`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Unfitted(Anonymiser):
    """An anonymiser with nothing to learn: it is its own fitted form."""

    strength: float = 1.0
    """How much is changed, as a multiple of what the class states; 0 changes nothing.

    Raises:
        ValueError: it is negative or not finite.
    """

    def __post_init__(self) -> None:
        if not 0 <= self.strength < float("inf"):
            raise ValueError(f"strength must be a finite number from 0, but got {self.strength}")

    def fit(self, train: Split, size: int, ctx: Context, workdir: Path) -> Fitted:
        """Itself."""
        return self

    def load(self, folder: Path, device: str) -> Fitted:
        """Itself; its fields are all that there is."""
        return self

    def save(self, folder: Path) -> None:
        """Nothing: its fields are all that there is."""

    def transform(self, pixels: np.ndarray, keep: np.ndarray | None = None) -> np.ndarray:
        """Changed images; pixels named by `keep` bool `(n, s, s)` stay as they are."""
        changed = self.change(pixels) if self.strength else pixels.copy()
        return changed if keep is None else np.where(keep, pixels, changed)

    def kept(self, pixels: np.ndarray) -> np.ndarray:
        """No pixel."""
        return np.zeros(pixels.shape, dtype=bool)

    def change(self, pixels: np.ndarray) -> np.ndarray:
        """Changed images uint8 `(n, s, s)`; called where `strength` is above 0."""
        raise NotImplementedError
