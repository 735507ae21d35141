"""The phantom: simulated chest radiographs of simulated people, with the truth known."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from datasets.base import FOLD, ChestXrayDataset
from datasets.phantom_cohort import (
    AGE_BANDS,
    FINDINGS,
    INSURANCES,
    RACES,
    SEXES,
    Cohort,
    make_cohort,
)
from datasets.phantom_population import (
    GENERATOR,
    RESERVED_COHORTS,
    Population,
    other_default,
    read_recipe,
    write_recipe,
)
from datasets.split import TRUE, Split
from registry import DATASETS

ATTRIBUTES = ("race", "sex", "age_band", "insurance")
SMALLEST_FRACTURE = 64
"""Up to this side in pixels the gap in a broken rib is narrower than a pixel."""


@DATASETS.register("phantom")
@dataclass(frozen=True, kw_only=True)
class Phantom(Population, ChestXrayDataset):
    """Simulated radiographs in which groups differ by stipulated knobs; the truth is known.

    No sentence about real groups of people follows from it: what differs between them is put in by
    the fields. Race acts on acquisition, prevalence, recorded labels, visibility of findings and
    insurance; see docs/phantom.md.

    License: Apache-2.0, as the code; nobody's images or records went into it.
    Access: generated on the fly; no download.
    Raises:
        ValueError: a field lies outside its limits, or the cohort is reserved for calibration.
    """

    kind: ClassVar[str] = "simulated"
    version: ClassVar[str] = GENERATOR
    needs_root: ClassVar[bool] = False
    default_split: ClassVar[str] = "official"
    resampling_fields: ClassVar[tuple[str, ...]] = ("cohort",)
    primary_contrasts: ClassVar[Mapping[str, tuple[str, str]]] = {
        "race": ("B", "A"),
        "sex": ("Female", "Male"),
        "insurance": ("Medicaid", "Private"),
        "age_band": ("60-79", "40-59"),
    }
    intersections: ClassVar[tuple[tuple[str, ...], ...]] = (("sex", "race"), ("sex", "age_band"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cohort in RESERVED_COHORTS:
            raise ValueError(
                f"cohorts {RESERVED_COHORTS.start} to {RESERVED_COHORTS.stop - 1} are reserved for "
                f"calibrating the phantom, but cohort is {self.cohort}; choose another number"
            )

    def table(self, root: Path) -> Split:
        """All images; writes the recipe of the pixels into `root`, and reads nothing from it."""
        recipe = write_recipe(self, root)
        cohort = make_cohort(read_recipe(recipe))
        return Split(
            name="phantom",
            frame=_frame(cohort, self.fold_sizes(), recipe.name),
            root=root,
            findings=FINDINGS,
            attributes=ATTRIBUTES,
        )

    def beside(self, others: Sequence[ChestXrayDataset]) -> ChestXrayDataset:
        """With the next free cohort: the same cohort under other knobs is the same people."""
        taken = {other.cohort for other in others if isinstance(other, Phantom)}
        free = (c for c in itertools.count(self.cohort) if c not in {*taken, *RESERVED_COHORTS})
        return replace(self, cohort=next(free)) if self.cohort in taken else self

    def unlearnable(self, image_size: int) -> tuple[str, ...]:
        """Fracture at 64 px and below."""
        return ("Fracture",) if image_size <= SMALLEST_FRACTURE else ()


@DATASETS.register("phantom-anatomy")
@dataclass(frozen=True, kw_only=True)
class PhantomAnatomy(Phantom):
    """The phantom with every group knob off: only sex and age act, through anatomy.

    License: Apache-2.0, as the code.
    Access: generated on the fly; no download.
    """

    race_acquisition: float = other_default("race_acquisition", 0.0)
    prevalence_shift_pneumothorax_b: float = other_default("prevalence_shift_pneumothorax_b", 0.0)
    prevalence_shift_consolidation_b: float = other_default("prevalence_shift_consolidation_b", 0.0)
    underdiagnosis_b: float = other_default("underdiagnosis_b", 0.0)
    underdiagnosis_medicaid: float = other_default("underdiagnosis_medicaid", 0.0)
    lesion_contrast_b: float = other_default("lesion_contrast_b", 1.0)
    lesion_contrast_female: float = other_default("lesion_contrast_female", 1.0)
    device_share_a_with_pneumothorax: float = other_default(
        "device_share_a_with_pneumothorax", 0.15
    )
    device_share_a_without_pneumothorax: float = other_default(
        "device_share_a_without_pneumothorax", 0.15
    )


@DATASETS.register("phantom-null")
@dataclass(frozen=True, kw_only=True)
class PhantomNull(PhantomAnatomy):
    """The phantom without any group difference: an exact null for every attribute.

    All group knobs are off, and each patient carries the attributes, as one tuple, of an unrelated
    person. Whatever gap is measured here is chance.

    License: Apache-2.0, as the code.
    Access: generated on the fly; no download.
    """

    permute_attributes: bool = True


@DATASETS.register("phantom-ood")
@dataclass(frozen=True, kw_only=True)
class PhantomOod(Phantom):
    """The phantom at the other site: other detectors, protocol, marker side and prevalence.

    License: Apache-2.0, as the code.
    Access: generated on the fly; no download.
    """

    site: int = other_default("site", 1)


def _frame(cohort: Cohort, fold_sizes: Mapping[str, int], recipe: str) -> pd.DataFrame:
    """One row per image, in the order of the recipe's rows."""
    people = cohort.attributes
    numbers = pd.Series(cohort.patient).map("p{:06d}".format)
    visits = pd.Series(cohort.visit + 1)
    rows = pd.Series(np.arange(len(cohort)))
    ends = np.cumsum([*fold_sizes.values()])
    columns: dict[str, object] = {
        "image_id": numbers + visits.map("-v{}".format),
        "patient_id": numbers,
        "path": rows.map((recipe + "#{}").format),
        "origin": "simulated",
        FOLD: np.array([*fold_sizes])[np.searchsorted(ends, cohort.patient, side="right")],
        "visit": visits,
        "age": people.age,
        "sex": _groups(people.sex, SEXES),
        "age_band": _groups(people.age_band, AGE_BANDS, ordered=True),
        "race": _groups(people.race, RACES),
        "insurance": _groups(people.insurance, INSURANCES),
    }
    for number, finding in enumerate(FINDINGS):
        columns[finding] = cohort.recorded[:, number].astype(np.float32)
        columns[TRUE + finding] = cohort.truth[:, number].astype(np.float32)
    return pd.DataFrame(columns)


def _groups(codes: np.ndarray, names: tuple[str, ...], *, ordered: bool = False) -> pd.Categorical:
    return pd.Categorical(np.array(names)[codes], categories=list(names), ordered=ordered)
