"""The stipulated population of the phantom: its knobs, their limits, and the recipe file."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

GENERATOR = "1"
"""Version of tables and pixels; raised whenever the same fields give another table or image."""
SUFFIX = ".phantom"
RESERVED_COHORTS = range(9000, 9100)
"""Cohorts on which the difficulty was calibrated; nothing may be reported on them."""

_COUNT = (0, 1_000_000)
_SHARE = (0.0, 1.0)
_LOG_ODDS = (-5.0, 5.0)


def knob(default: Any, low: float, high: float) -> Any:
    """A dataclass field that must lie in [low, high]."""
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, kw_only=True)
class Population:
    """Everything that decides who is simulated and what is seen of them.

    Races A, B, C are simulated: group membership changes only what the fields below say.

    Raises:
        ValueError: a field lies outside its limits.
    """

    cohort: int = knob(0, 0, 2**31)
    """Which simulated people; the same patients under any other knob (paired counterfactuals)."""
    train_patients: int = knob(1900, *_COUNT)
    val_patients: int = knob(700, *_COUNT)
    audit_patients: int = knob(900, *_COUNT)
    test_patients: int = knob(1400, *_COUNT)

    race_shares: tuple[float, float, float] = (0.64, 0.20, 0.16)
    """Shares of A, B, C; they sum to 1."""
    female_share: float = knob(0.5, *_SHARE)

    prevalence_cardiomegaly: float = knob(0.18, 0.001, 0.9)
    prevalence_effusion: float = knob(0.20, 0.001, 0.9)
    prevalence_consolidation: float = knob(0.20, 0.001, 0.9)
    prevalence_pneumothorax: float = knob(0.12, 0.001, 0.9)
    prevalence_lesion: float = knob(0.14, 0.001, 0.9)
    prevalence_fracture: float = knob(0.10, 0.001, 0.9)
    prevalence_edema: float = knob(0.15, 0.001, 0.9)
    """Share of images of 55-year-olds with the finding, before shifts."""
    prevalence_shift_pneumothorax_b: float = knob(-0.5, *_LOG_ODDS)
    prevalence_shift_consolidation_b: float = knob(0.3, *_LOG_ODDS)
    """Log-odds added for race B."""

    underdiagnosis_b: float = knob(0.40, *_SHARE)
    underdiagnosis_medicaid: float = knob(0.15, *_SHARE)
    """Chance that a present finding is recorded as absent, in every fold; both combine."""

    lesion_strength: float = knob(1.0, 0.0, 3.0)
    """Visibility of all findings except devices; 0 removes them from the pixels only."""
    lesion_contrast_b: float = knob(0.62, 0.0, 3.0)
    lesion_contrast_female: float = knob(0.90, 0.0, 3.0)
    """Further factors on the visibility in race B and in women; both combine."""

    device_share: float = knob(0.15, *_SHARE)
    device_share_a_with_pneumothorax: float = knob(0.75, *_SHARE)
    device_share_a_without_pneumothorax: float = knob(0.10, *_SHARE)
    """Share of images with a support device; race A has its own two (a shortcut)."""

    race_acquisition: float = knob(1.0, 0.0, 3.0)
    """How far race shifts gamma, exposure, sharpness and noise: another mix of scanners."""
    site: int = knob(0, 0, 1)
    """0, or 1: another hospital with other detectors, protocol, marker side and prevalence."""

    anatomy_identity: float = knob(1.0, *_SHARE)
    texture_identity: float = knob(1.0, *_SHARE)
    """Correlation between two visits of one patient: of anatomical traits, of tissue texture."""
    permute_attributes: bool = False
    """Give each patient all attributes, as one tuple, of an unrelated person: an exact null."""

    def __post_init__(self) -> None:
        for item in fields(self):
            if "low" in item.metadata:
                value = _checked(item.name, getattr(self, item.name), item)
                object.__setattr__(self, item.name, value)
        shares = self.race_shares
        if len(shares) != 3 or min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
            raise ValueError(
                f"race_shares must be three shares that sum to 1, but got {shares!r}; "
                "give the shares of A, B and C"
            )
        object.__setattr__(self, "race_shares", tuple(float(share) for share in shares))
        if not self.patients:
            raise ValueError("a phantom must have patients, but all four folds have 0 patients")

    @property
    def patients(self) -> int:
        """Number of patients of all folds."""
        return sum(self.fold_sizes().values())

    def bare(self) -> Population:
        """The same population, without what a subclass adds to it."""
        return Population(**{item.name: getattr(self, item.name) for item in fields(Population)})

    def fold_sizes(self) -> dict[str, int]:
        """Patients per fold, in the order in which patient numbers are dealt out."""
        return {
            "train": self.train_patients,
            "val": self.val_patients,
            "audit": self.audit_patients,
            "test": self.test_patients,
        }


def write_recipe(population: Population, folder: Path) -> Path:
    """The file in `folder` from which tables and pixels can be made again; written if absent.

    Its name holds the hash of its bytes, so equal populations share one recipe.
    """
    content = {"generator": GENERATOR, "population": asdict(population.bare())}
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    path = folder / f"phantom-{hashlib.sha256(text.encode()).hexdigest()[:16]}{SUFFIX}"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=folder, suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(part).replace(path)
    return path


def read_recipe(path: Path) -> Population:
    """The population that a recipe file describes.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no recipe, or one of another generator version.
    """
    if not path.is_file():
        raise FileNotFoundError(f"a phantom recipe must be a file, but {str(path)!r} is not there")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        generator, kept = content["generator"], dict(content["population"])
        kept["race_shares"] = tuple(kept["race_shares"])
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"a phantom recipe must be the JSON that this suite writes, but {str(path)!r} is not "
            f"({error}); make the table again"
        ) from error
    if generator != GENERATOR or set(kept) != {item.name for item in fields(Population)}:
        raise ValueError(
            f"a phantom recipe must be of generator version {GENERATOR!r}, but {str(path)!r} is of "
            f"{generator!r} or has other fields; make the table again"
        )
    return Population(**kept)


def other_default(name: str, value: Any) -> Any:
    """The knob `name` with another default and the same limits, for a preset."""
    return field(default=value, metadata=Population.__dataclass_fields__[name].metadata)


def _checked(name: str, value: Any, knob: Field[Any]) -> int | float:
    low, high, whole = knob.metadata["low"], knob.metadata["high"], knob.type == "int"
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise ValueError(
            f"{name} must be {kind} in [{low:g}, {high:g}], but got {value!r}; "
            "choose a value inside these limits"
        )
    return int(value) if whole else float(value)
