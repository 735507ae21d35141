"""The cells of a test set: every finding in every group, with its patients and its statistic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any, TypeVar

import numpy as np

from metrics.bootstrap import PatientBootstrap
from metrics.predictions import Predictions
from metrics.score import ALL
from metrics.validation import ValidationPredictions

T = TypeVar("T")
MINIMUM_PATIENTS = 30
"""Positive and also negative patients below which a cell is not evaluated. With about 37 positive
patients in the smallest cell tests of gaps keep their level; with about 16 they reject 2.5 times
too often (own simulation with the cluster sizes of ChestX-ray14)."""


@dataclass(frozen=True)
class Pair:
    """Two groups of one attribute, as columns of a `Cells`; read "later - earlier"."""

    attribute: str
    earlier: int
    later: int


@dataclass(frozen=True)
class Cells:
    """Every finding of a test set crossed with every group, against one set of labels.

    Column 0 of the groups is everybody; then follow the groups of each attribute in their frozen
    order. `macro` marks the findings `(findings,)` that averages run over. `validation` holds what
    the same model predicts for validation patients, one table per part of the test predictions, or
    nothing: for thresholds only.
    """

    predictions: Predictions
    labels: str
    macro: np.ndarray
    bootstrap: PatientBootstrap
    validation: tuple[ValidationPredictions, ...] = ()
    _kept: dict[Callable[..., Any], Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, compute: Callable[[Cells], T]) -> T:
        """What `compute` makes of these cells, computed on the first call only."""
        if compute not in self._kept:
            self._kept[compute] = compute(self)
        kept: T = self._kept[compute]
        return kept

    @cached_property
    def truth(self) -> np.ndarray:
        """Labels `(n, findings)` float32 in {0, 1, NaN}."""
        return self.predictions.labels(true=self.labels == "true")

    @cached_property
    def patients(self) -> np.ndarray:
        """Patient codes `(n,)`."""
        return self.predictions.patient_codes()[0]

    @cached_property
    def groups(self) -> tuple[tuple[str, str], ...]:
        """Attribute and group of each column."""
        named = [(a, g) for a in self.predictions.attributes for g in self.predictions.groups[a]]
        return (("", ALL), *named)

    @cached_property
    def members(self) -> np.ndarray:
        """Whether an image belongs to a group `(n, groups)`."""
        frame = self.predictions.frame
        columns = [np.ones(len(frame), bool)]
        columns += [frame[a].astype(str).to_numpy() == g for a, g in self.groups[1:]]
        return np.stack(columns, axis=1)

    @cached_property
    def columns(self) -> np.ndarray:
        """Of every image the columns of its groups `(n, 1 + attributes)` int16, "all" first."""
        found = [np.zeros(len(self.predictions), np.int16)]
        for attribute in self.predictions.attributes:
            own = self.columns_of(attribute)
            found.append((np.argmax(self.members[:, own], axis=1) + own[0]).astype(np.int16))
        return np.stack(found, axis=1)

    def columns_of(self, attribute: str) -> list[int]:
        """Columns of the groups of `attribute`, in their frozen order; of "" that of everybody."""
        return [i for i, (a, _) in enumerate(self.groups) if a == attribute]

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs of groups of each attribute."""
        return tuple(
            Pair(attribute, *pair)
            for attribute in self.predictions.attributes
            for pair in combinations(self.columns_of(attribute), 2)
        )

    @cached_property
    def positive(self) -> np.ndarray:
        """Which patients have a positive image in each cell `(findings, groups, patients)`."""
        return self.holding(self.truth == 1)

    @cached_property
    def negative(self) -> np.ndarray:
        """Which patients have a negative image in each cell `(findings, groups, patients)`."""
        return self.holding(self.truth == 0)

    def holding(self, images: np.ndarray) -> np.ndarray:
        """Whether a patient has one of `images` `(n, findings)`: `(findings, groups, patients)`."""
        findings, groups = images.shape[1], len(self.groups)
        held = np.zeros((findings, groups, self.bootstrap.patients), bool)
        for g in range(groups):
            for f in range(findings):
                held[f, g, self.patients[images[:, f] & self.members[:, g]]] = True
        return held


@dataclass(frozen=True)
class Estimates:
    """One statistic in every cell, before it is written as scores.

    `value` is `(findings, groups)`; `replicates` `(findings, groups, B)`; `positive` and `negative`
    say which patients count, `(findings, groups, patients)`; `reason` is why a cell without a value
    has none, apart from its counts.
    """

    metric: str
    cells: Cells
    value: np.ndarray
    replicates: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    reason: str

    @classmethod
    def of(cls, metric: str, cells: Cells, drawn: np.ndarray, *, reason: str) -> Estimates:
        """From `drawn` `(findings, groups, 1 + B)`: the value, then its replicates.

        Every patient with a known label counts.
        """
        value, replicates = drawn[..., 0], drawn[..., 1:]
        return cls(metric, cells, value, replicates, cells.positive, cells.negative, reason)

    @cached_property
    def enough(self) -> np.ndarray:
        """Whether a cell holds enough patients of both classes `(findings, groups)`."""
        return large_enough(self.positive, self.negative)

    @cached_property
    def evaluable(self) -> np.ndarray:
        """Cells that are reported and compared `(findings, groups)`.

        Labels, folds and the presence of thresholds decide, never the height of a score.
        """
        return self.enough & np.isfinite(self.value)

    def patients_of(self, finding: int | None, columns: Sequence[int]) -> tuple[int, int, int]:
        """Patients, positive and negative patients of some groups; `None`: of any macro finding."""
        rows = np.flatnonzero(self.cells.macro) if finding is None else np.array([finding])
        cells = np.ix_(rows, np.asarray(columns))
        positive = self.positive[cells].any(axis=(0, 1))
        negative = self.negative[cells].any(axis=(0, 1))
        return int((positive | negative).sum()), int(positive.sum()), int(negative.sum())

    def missing(self, finding: int, columns: Sequence[int]) -> str:
        """Why a finding has no value over these groups, as a note."""
        if (self.enough[finding, columns] & ~np.isfinite(self.value[finding, columns])).any():
            return self.reason
        return f"fewer than {MINIMUM_PATIENTS} positive or {MINIMUM_PATIENTS} negative patients"


def large_enough(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Whether there are enough patients of both classes along the last axis."""
    enough: np.ndarray = (positive.sum(-1) >= MINIMUM_PATIENTS) & (
        negative.sum(-1) >= MINIMUM_PATIENTS
    )
    return enough
