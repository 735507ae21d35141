"""Dealing patients to folds so that groups, findings and their combinations are spread alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from datasets.split import Split

UNIT = 2**20
"""Weight of a stratum of one patient."""
TINY = 1e-9
"""What a share times a count may lack of a whole number."""
SEVERAL = "several images"
"""Stratum of patients who can be linked at all: without it a small fold may have none."""


@dataclass(frozen=True, eq=False)
class Strata:
    """The patients of a table, and the strata that each is part of.

    A stratum is a group of an attribute, a finding that some image of the patient shows, both on
    one image, or having several images. Those that nobody or everybody is part of are left out.
    """

    patients: np.ndarray
    """Distinct patient ids `(patients,)`, sorted."""
    names: tuple[str, ...]
    """Of the strata, from the rarest to the most common; equally common ones by name."""
    members: np.ndarray
    """int64 `(memberships, 2)`: patient and stratum, sorted by patient."""

    @property
    def counts(self) -> np.ndarray:
        """Patients of each stratum `(strata,)`."""
        return np.bincount(self.members[:, 1], minlength=len(self.names))

    def shared(self, part: np.ndarray, parts: int) -> np.ndarray:
        """How many patients of each stratum are in each part: int64 `(strata, parts)`."""
        table = np.zeros((len(self.names), parts), dtype=np.int64)
        np.add.at(table, (self.members[:, 1], part[self.members[:, 0]]), 1)
        return table


def strata_of(table: Split) -> Strata:
    """The patients of a table with their strata; recorded labels are read, never simulated truth.

    Where a finding is not known for everybody, known absences are strata as well.
    """
    patient, ids = _codes(table)
    groups = {
        f"{attribute}={group}": mask
        for attribute in table.all_attributes or table.attributes
        for group, mask in _groups(table, attribute).items()
        # A group that holds everybody tells nobody apart: what a part of a union lacks is one.
        if not mask.all()
    }
    found: dict[str, np.ndarray] = {}

    def add(name: str, mask: np.ndarray) -> None:
        held = np.unique(patient[mask])
        if 0 < len(held) < len(ids):
            found[name] = held

    for name, mask in groups.items():
        add(name, mask)
    for finding in table.all_findings or table.findings:
        values = table.frame[finding].to_numpy(dtype=np.float32)
        for value in (1, 0) if np.isnan(values).any() else (1,):
            here = values == value
            add(f"{finding}={value}", here)
            for name, mask in groups.items():
                add(f"{finding}={value} & {name}", here & mask)
    add(SEVERAL, np.bincount(patient, minlength=len(ids))[patient] > 1)
    names = sorted(found, key=lambda name: (len(found[name]), name))
    pairs = [np.column_stack([found[n], np.full(len(found[n]), i)]) for i, n in enumerate(names)]
    members = np.concatenate([np.empty((0, 2), dtype=np.int64), *pairs])
    order = np.lexsort((members[:, 1], members[:, 0]))
    return Strata(ids, tuple(names), members[order])


def dealt(strata: Strata, shares: Sequence[float], *, seed: int) -> np.ndarray:
    """Which part each patient is dealt to: int64 `(patients,)`, the same for the same seed.

    Parts have exactly their share of the patients. Patients come in the order of their rarest
    stratum, at random within it, and each goes to the part that lacks most: over the strata of the
    patient, the sum of what the part should hold by now minus what it holds. Rare strata weigh
    more, by one over the root of their size. Time and memory grow with the memberships.

    Source: minimisation, Taves 1974 and Pocock & Simon 1975, without its chance; the order is that
        of iterative stratification, Sechidis, Tsoumakas & Vlahavas 2011.
    """
    n = len(strata.patients)
    bounds = np.searchsorted(strata.members[:, 0], np.arange(n + 1))
    # Everybody is a stratum too, so that folds fill up evenly whatever else decides.
    sizes = np.append(strata.counts, n)
    # Whole numbers add up to the same on every machine, so that ties are broken alike.
    weight = np.rint(UNIT / np.sqrt(np.maximum(sizes, 1))).astype(np.int64)
    held = np.insert(strata.members[:, 1], bounds[1:], len(strata.names))
    bounds = bounds + np.arange(n + 1)
    chance = np.random.default_rng([seed, 0x5EED]).permutation(n)
    order = np.lexsort((chance, held[bounds[:-1]]))
    places = apportioned(n, shares)
    # Patients of each stratum in each part so far, times its weight.
    got = np.zeros((len(sizes), len(shares)), dtype=np.int64)
    part = np.empty(n, dtype=np.int64)
    for patient in order.tolist():
        of = held[bounds[patient] : bounds[patient + 1]]
        there, own = got[of].sum(axis=0).tolist(), weight[of]
        due = sum(there) + int(own.sum())
        lacks = [
            share * due - has if place else -math.inf
            for share, has, place in zip(shares, there, places, strict=True)
        ]
        best = lacks.index(max(lacks))
        part[patient] = best
        places[best] -= 1
        got[of, best] += own
    return part


def apportioned(n: int, shares: Sequence[float]) -> list[int]:
    """`n` whole things in the given shares, which sum to 1: by largest remainder.

    >>> apportioned(12, [0.6, 0.15, 0.1, 0.15])
    [7, 2, 1, 2]
    """
    exact = np.asarray(shares) * n
    whole = np.floor(exact + TINY).astype(np.int64)
    remainder = np.round(exact - whole, 9)
    whole[np.argsort(-remainder, kind="stable")[: n - whole.sum()]] += 1
    return [int(number) for number in whole]


def _codes(table: Split) -> tuple[np.ndarray, np.ndarray]:
    """Number of the patient of each row `(n,)`, and the ids in that order, sorted."""
    ids, codes = np.unique(table.frame["patient_id"].to_numpy(dtype=str), return_inverse=True)
    return codes, ids


def _groups(table: Split, attribute: str) -> dict[str, np.ndarray]:
    """Rows `(n,)` of each group of an attribute."""
    column = table.frame[attribute].astype(str).to_numpy(dtype=object)
    codes, names = pd.factorize(column)
    return {str(name): codes == code for code, name in enumerate(names)}
