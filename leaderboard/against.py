"""Each method against the reference, ERM: differences over pairs of runs with one seed each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from leaderboard.aggregate import Estimate
from leaderboard.collect import REFERENCE, Run, Store, fields_of
from leaderboard.influence import StoredPredictions, read
from metrics.comparison.power import detectable
from metrics.comparison.spread import freedom, half_width, p_value
from metrics.score import ALL, MACRO
from metrics.slopes import Moved

AGREES = 1e-6
"""Largest difference of a recomputed number to the stored one; logits are stored as float32."""
MOST_LEFT_OUT = 3
"""Findings that a data set may declare as not counting towards the mean."""


@dataclass(frozen=True)
class Measure:
    """What is compared: the macro AUC, of everybody or a group, or the macro contrast "B - A"."""

    metric: str
    attribute: str = ""
    group: str = ALL


@dataclass(frozen=True)
class Apart(Estimate):
    """A difference to ERM: with its two-sided p-value, taken alone, and what it could have found.

    `patient_variance` and `seed_variance` are the parts of the variance of `value`, the second
    divided by the number of pairs; NaN where not known. `detectable` is the smallest true
    difference that would have been found with a chance of 80 %.
    """

    p: float
    patient_variance: float
    seed_variance: float
    detectable: float


@dataclass(frozen=True)
class Group:
    """All runs of one method with one choice of fields."""

    method: str
    variant: str
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """Method and non-default fields."""
        return f"{self.method} {self.variant}".strip()

    @property
    def fields(self) -> frozenset[str]:
        """The non-default fields as texts like "lr=0.01"."""
        return frozenset(fields_of(self.variant))

    @property
    def image_size(self) -> object:
        """The side of the images that the model saw, in pixels; None where not recorded."""
        return self.runs[0].method_fields.get("image_size")


def reference_of(group: Group, groups: Sequence[Group]) -> Group | None:
    """The ERM that a method is compared with, or None where there is none or it is the one.

    It has seen images of the same size. Of several it is the one with the most fields at the value
    that they have in the method, such as its number of epochs, then the one with the fewest fields
    of its own. ERM with other fields is itself compared with the ERM that lacks some of them.
    """
    found = [g for g in groups if g.method == REFERENCE and g.image_size == group.image_size]
    if group.method == REFERENCE:
        found = [g for g in found if g.fields < group.fields]
    ours = group.runs[0].method_fields

    def fit(reference: Group) -> tuple[int, int]:
        theirs = reference.runs[0].method_fields
        alike = sum(ours[name] == value for name, value in theirs.items() if name in ours)
        return -alike, len(reference.fields - group.fields)

    found.sort(key=fit)
    return found[0] if found else None


@dataclass(frozen=True)
class _Pair:
    """One seed: how far the method's run is from the reference's, and what moves the difference."""

    difference: float
    slopes: np.ndarray | None
    unpaired_variance: float


class Comparison:
    """Differences of the runs of a store; predictions are read once, when first needed."""

    def __init__(self, store: Store) -> None:
        self._directories = store.directories
        self._stored = _stored(store)
        self._tested: dict[str, StoredPredictions | None] = {}
        self._moved: dict[tuple[str, Measure, str], Moved | None] = {}

    def difference(
        self, group: Group, reference: Group, measure: Measure, labels: str
    ) -> Apart | None:
        """The method's number minus the reference's, as a mean over pairs of runs.

        A pair has one seed and one set of test patients. The interval covers the choice of test
        patients, patient by patient in both methods, and, with several pairs, training seeds. Where
        predictions are not stored, patients enter as if each method had been tested on patients of
        its own: too wide where both find the same patients hard. None where no pair has both
        numbers.
        """
        others = {(run.seed, run.test_digest): run for run in reference.runs}
        pairs: dict[str, list[_Pair]] = {}
        for run in group.runs:
            other = others.get((run.seed, run.test_digest))
            pair = None if other is None else self._pair(run, other, measure, labels)
            if pair is not None:
                pairs.setdefault(run.test_digest, []).append(pair)
        if not pairs:
            return None
        every = [pair for found in pairs.values() for pair in found]
        paired = all(pair.slopes is not None for pair in every)
        if paired:
            patients = sum(_shared(found) * len(found) ** 2 for found in pairs.values())
            patients /= len(every) ** 2
        else:
            patients = float(np.mean([p.unpaired_variance for p in every])) / len(pairs)
        differences = np.array([pair.difference for pair in every])
        seeds = float(differences.var(ddof=1)) / len(every) if len(every) > 1 else 0.0
        covered = [] if math.isnan(patients) else [f"patients ({'' if paired else 'un'}paired)"]
        covered += ["seeds"] if len(every) > 1 else []
        value, half, p, least = float(differences.mean()), math.nan, math.nan, math.nan
        if covered:
            parts = (np.array(0.0 if math.isnan(patients) else patients), np.array(seeds))
            runs = np.array(len(every))
            half = float(half_width(*parts, runs))
            p = float(p_value(np.array(value), *parts, runs))
            least = float(detectable(np.sqrt(sum(parts)), freedom(*parts, runs)))
        return Apart(
            value=value,
            low=max(value - half, -2.0) if covered else math.nan,
            high=min(value + half, 2.0) if covered else math.nan,
            of=" + ".join(covered),
            runs=len(group.runs),
            undefined=len(group.runs) - len(every),
            tests=len(pairs),
            n=0.0,
            positives=0.0,
            negatives=0.0,
            note=f"minus {reference.name}, seed by seed",
            p=p,
            patient_variance=patients,
            seed_variance=seeds if len(every) > 1 else math.nan,
            detectable=least,
        )

    def findings(self, run: Run, measure: Measure, labels: str) -> tuple[str, ...] | None:
        """The findings whose mean is the stored number; None where it is not stored or unclear."""
        values = self._values(run.key, measure, labels)
        return _averaged(values) if MACRO in values else None

    def moved(self, run: Run, measure: Measure, labels: str) -> Moved | None:
        """A run's number and how patients move it; None where the stored files do not tell."""
        return self._moves(run.key, measure, labels, self.findings(run, measure, labels))

    def same_patients(self, run: Run, other: Run) -> bool:
        """Whether both runs store predictions of the same patients."""
        tested = [self._test(r.key) for r in (run, other)]
        if tested[0] is None or tested[1] is None:
            return False
        return np.array_equal(tested[0].patients[0], tested[1].patients[0])

    def _pair(self, run: Run, other: Run, measure: Measure, labels: str) -> _Pair | None:
        sides = [self._values(r.key, measure, labels) for r in (run, other)]
        if any(MACRO not in side for side in sides):
            return None
        (value, spread), (base, base_spread) = (side[MACRO] for side in sides)
        averaged = [_averaged(side) for side in sides]
        if averaged[0] != averaged[1]:  # means over different findings are not comparable
            return None
        moved = [self._moves(r.key, measure, labels, averaged[0]) for r in (run, other)]
        slopes = None
        if moved[0] is not None and moved[1] is not None and self.same_patients(run, other):
            slopes = moved[0].slopes - moved[1].slopes
        return _Pair(value - base, slopes, spread + base_spread)

    def _values(self, key: str, measure: Measure, labels: str) -> Mapping[str, tuple[float, float]]:
        """Stored values with their patient variances, by finding; a reversed pair is turned."""
        place = (key, measure.metric, measure.attribute, labels)
        found = self._stored.get((*place, measure.group))
        if found is not None or measure.metric == "auc":
            return found or {}
        turned = self._stored.get((*place, " - ".join(reversed(measure.group.split(" - ", 1)))), {})
        return {finding: (-value, spread) for finding, (value, spread) in turned.items()}

    def _moves(
        self, key: str, measure: Measure, labels: str, findings: tuple[str, ...] | None
    ) -> Moved | None:
        """How patients move a run's number; None where stored predictions do not reproduce it."""
        place = (key, measure, labels)
        if place not in self._moved:
            self._moved[place] = self._recomputed(key, measure, labels, findings)
        return self._moved[place]

    def _recomputed(
        self, key: str, measure: Measure, labels: str, findings: tuple[str, ...] | None
    ) -> Moved | None:
        tested = self._test(key)
        if tested is None or not findings:
            return None
        try:
            if measure.metric == "auc":
                moved = tested.auc(findings, labels, measure.attribute, measure.group)
            else:
                moved = tested.contrast(
                    measure.metric, findings, measure.attribute, measure.group, labels
                )
        except KeyError:  # predictions of an older layout
            return None
        stored = self._values(key, measure, labels)[MACRO][0]
        return moved if abs(moved.value - stored) <= AGREES else None

    def _test(self, key: str) -> StoredPredictions | None:
        if key not in self._tested:
            directory = self._directories.get(key)
            self._tested[key] = None if directory is None else read(directory)
        return self._tested[key]


def _stored(store: Store) -> dict[tuple[str, str, str, str, str], dict[str, tuple[float, float]]]:
    """Value and patient variance by finding of every defined score that can be compared."""
    scores = store.scores
    compared = (scores["metric"] == "auc") | scores["metric"].str.endswith("_contrast")
    chosen = scores[compared & scores["value"].notna()]
    found: dict[tuple[str, str, str, str, str], dict[str, tuple[float, float]]] = {}
    columns = ["key", "metric", "attribute", "labels", "group", "finding", "value", "se"]
    for *place, finding, value, error in chosen[columns].itertuples(index=False, name=None):
        found.setdefault(tuple(place), {})[finding] = (value, error**2)
    return found


def _averaged(values: Mapping[str, tuple[float, float]]) -> tuple[str, ...] | None:
    """The findings whose mean is the stored macro value; None where none are found.

    Which findings count is declared by the data set and not stored; the mean itself tells.
    """
    single = {finding: value for finding, (value, _) in values.items() if finding != MACRO}
    macro = values[MACRO][0]
    for left_out in range(min(MOST_LEFT_OUT, len(single) - 1) + 1):
        for omitted in combinations(single, left_out):
            kept = tuple(finding for finding in single if finding not in omitted)
            if abs(math.fsum(single[f] for f in kept) / len(kept) - macro) < 1e-9:
                return kept
    return None


def _shared(found: Iterable[_Pair]) -> float:
    """The patient variance of the mean of pairs that were tested on the same patients."""
    slopes = np.mean([pair.slopes for pair in found if pair.slopes is not None], axis=0)
    return float(np.square(slopes).sum())
