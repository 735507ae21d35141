"""The base of every data set: a frozen dataclass whose `table` is one `Split` of everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from datasets.expected import Expected
from datasets.split import Split

FOLD = "fold"
"""Optional column of a table: the fold the data set itself assigns (train, val, audit, test), ""
where it assigns none."""
IMAGES, EMBEDDINGS = "images", "embeddings"


@dataclass(frozen=True)
class ChestXrayDataset:
    """A data set. Its fields are its options (`--data field=value`), and nothing else is.

    A subclass registers itself with `@DATASETS.register("kebab-name")`, overrides `table`, and
    states `License:` and `Access:` in its docstring.
    """

    kind: ClassVar[str] = "real"
    """"real" or "simulated"; the leaderboard never pools or ranks the two together."""
    terms: ClassVar[str] = "open"
    """"open", or "restricted": then nothing per image leaves the run's own directory."""
    reidentification_allowed: ClassVar[bool] = True
    """Whether its terms allow measuring linkage between its own images."""
    version: ClassVar[str] = "1"
    """Raised when the same fields give other tables or pixels; part of cache and run keys."""
    primary_contrasts: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Pre-registered headline contrast of an attribute: (group, reference), read group − reference.
    Where absent: second-largest group minus largest, by validation patients."""
    intersections: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Attributes whose joint groups are scored too, registered before any result."""
    needs_root: ClassVar[bool] = True
    """Whether the user must name a directory (`--data-root`)."""

    resampling_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that only draw the same population anew; runs that differ in them alone are pooled."""

    default_split: ClassVar[str] = "patient"
    """The split where the user names none: "official" (the column `fold`) or "patient"."""

    registered_name: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Check the fields; a part of a data set that adds fields calls `super().__post_init__()`.

        Raises:
            ValueError, UnknownName: a value that a field must not have.
        """

    @property
    def variant(self) -> tuple[str, ...]:
        """What beside its fields tells its results from others under its name, as name=value."""
        return ()

    @property
    def holds(self) -> str:
        """ "images", or "embeddings": one vector per image, made by an encoder beforehand."""
        return IMAGES

    def at(self, root: Path) -> ChestXrayDataset:
        """The data set as it lies at `root`: itself, unless files there say what it holds.

        One that takes terms or kind over from another data set returns a copy of itself with them.

        Raises:
            FileNotFoundError, ValueError: such a file is absent or breaks a rule.
        """
        return self

    def expects(self) -> Expected:
        """What must lie below the root, for `python -m datasets check`; by default nothing."""
        return Expected()

    def table(self, root: Path) -> Split:
        """Everything the data set has under the policies of its fields, with `dropped` counted.

        Paths in the table are relative to `root` of the returned split. A column `fold` assigns
        folds where the data set does so itself.

        Raises:
            FileNotFoundError: `root` does not hold the data set; the message says what is missing.
            ValueError: a file of it breaks a rule; the message names file, row, column and value.
        """
        raise NotImplementedError

    def beside(self, others: Sequence[ChestXrayDataset]) -> ChestXrayDataset:
        """The data set as it is used together with others: one that draws people draws its own."""
        return self

    def unlearnable(self, image_size: int) -> tuple[str, ...]:
        """Findings declared beforehand to be unlearnable at this size; left out of macro means."""
        return ()
