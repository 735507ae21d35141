"""How the statistics of cells become scores: per group, per pair of groups, and over all groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from metrics.bootstrap import logit_interval, percentile_interval, simultaneous_interval
from metrics.cells import Estimates
from metrics.score import ALL, MACRO, Score
from metrics.slopes import freedom

Interval = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From a value and its replicates to the lower and upper bound."""


def percentile(value: np.ndarray, replicates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The percentile interval of the replicates, whatever the value."""
    return percentile_interval(replicates)


@dataclass(frozen=True)
class Row:
    """One statistic of some groups, for all findings.

    `value` is `(findings,)`, NaN where undefined; `replicates` `(findings, B)` is what `interval`
    reads; `notes` say something of each finding, `bias` how chance moves all of them. With `slopes`
    `(findings, patients)` the value is a probability and its interval that of its logit.
    """

    estimates: Estimates
    metric: str
    attribute: str
    group: str
    columns: Sequence[int]
    value: np.ndarray
    replicates: np.ndarray
    interval: Interval = percentile
    notes: Sequence[str] = ()
    bias: str = ""
    slopes: np.ndarray | None = None

    def scores(self) -> Iterator[Score]:
        """A score per finding, and the average over the macro findings that have a value."""
        for finding, value in enumerate(self.value):
            if np.isfinite(value):
                note = "; ".join(t for t in (*self.notes[finding : finding + 1], self.bias) if t)
            else:
                note = self.estimates.missing(finding, self.columns)
            yield self._score([finding], finding, value, note)
        counted = self.estimates.cells.macro & np.isfinite(self.value)
        if counted.any():
            value = self.value[counted].mean()
            yield self._score(np.flatnonzero(counted), None, value, self._macro_note(counted))
        else:
            yield self._score([], None, np.nan, self._macro_note(counted))

    def _macro_note(self, counted: np.ndarray) -> str:
        declared = int(self.estimates.cells.macro.sum())
        if not counted.any():
            return f"none of {declared} findings is evaluable here"
        parts = [f"mean over {int(counted.sum())} of {declared} findings"]
        if self.notes:
            named = Counter(self.notes[int(f)] for f in np.flatnonzero(counted))
            common, times = named.most_common(1)[0]
            parts.append(f"most often {common} ({times})")
        return "; ".join([*parts, self.bias] if self.bias else parts)

    def _score(
        self, averaged: Sequence[int] | np.ndarray, finding: int | None, value: float, note: str
    ) -> Score:
        low, high = np.nan, np.nan
        if np.isfinite(value):
            replicates = self.replicates[averaged].mean(axis=0)
            if self.slopes is None:
                bounds = self.interval(np.asarray(value), replicates)
            else:
                degrees = freedom(self.slopes[averaged].mean(axis=0))
                bounds = logit_interval(np.asarray(value), replicates, degrees)
            low, high = (float(b) for b in bounds)
            lost = int(np.isnan(replicates).sum())
            if lost:
                note = "; ".join(t for t in (note, f"{lost} undefined replicates left out") if t)
        n, positives, negatives = self.estimates.patients_of(finding, self.columns)
        names = self.estimates.cells.predictions.findings
        return Score(
            metric=self.metric,
            value=float(value),
            finding=MACRO if finding is None else names[finding],
            attribute=self.attribute,
            group=self.group,
            n=n,
            positives=positives,
            negatives=negatives,
            low=low,
            high=high,
            labels=self.estimates.cells.labels,
            note=note,
        )


def cell_scores(estimates: Estimates, slopes: np.ndarray | None = None) -> Iterator[Score]:
    """The statistic of each finding and the macro average, for everybody and for each group.

    With `slopes` `(findings, groups, patients)` of a probability the intervals are of its logit.
    """
    for column, (attribute, group) in enumerate(estimates.cells.groups):
        held = estimates.evaluable[:, column]
        yield from Row(
            estimates,
            estimates.metric,
            attribute,
            group,
            columns=[column],
            value=np.where(held, estimates.value[:, column], np.nan),
            replicates=estimates.replicates[:, column],
            slopes=None if slopes is None else slopes[:, column],
        ).scores()


def contrast_scores(estimates: Estimates, metric: str) -> Iterator[Score]:
    """The signed difference of each pair of groups, later minus earlier, and its macro average."""
    for pair in estimates.cells.pairs:
        columns = [pair.earlier, pair.later]
        held = estimates.evaluable[:, columns].all(axis=1)
        difference = estimates.value[:, pair.later] - estimates.value[:, pair.earlier]
        earlier, later = (estimates.cells.groups[c][1] for c in columns)
        yield from Row(
            estimates,
            metric,
            pair.attribute,
            f"{later} - {earlier}",
            columns,
            value=np.where(held, difference, np.nan),
            replicates=estimates.replicates[:, pair.later] - estimates.replicates[:, pair.earlier],
        ).scores()


@dataclass(frozen=True)
class Extreme:
    """A statistic of all evaluable groups of an attribute, such as their minimum or range.

    `pick` takes the values `(groups,)` to one, `deviation` the noise of the replicates
    `(groups, B)` to a bound `(B,)` on how far it moves the statistic, `label` names the groups that
    were picked, `bias` says how chance moves it, and `least` is how many groups it needs.
    """

    metric: str
    pick: Callable[[np.ndarray], float]
    deviation: Callable[[np.ndarray], np.ndarray]
    label: Callable[[np.ndarray, list[str]], str]
    bias: str
    least: int

    def scores(self, estimates: Estimates) -> Iterator[Score]:
        """The statistic of each attribute, for each finding and averaged over findings."""
        for attribute in estimates.cells.predictions.attributes:
            columns = estimates.cells.columns_of(attribute)
            value = np.full(len(estimates.value), np.nan)
            deviations = np.full((len(value), estimates.replicates.shape[-1]), np.nan)
            notes = [""] * len(value)
            for finding in range(len(value)):
                held = [c for c in columns if estimates.evaluable[finding, c]]
                if len(held) < self.least:
                    continue
                values = estimates.value[finding, held]
                value[finding] = self.pick(values)
                noise = estimates.replicates[finding, held] - values[:, None]
                deviations[finding] = self.deviation(noise)
                notes[finding] = self.label(values, [estimates.cells.groups[c][1] for c in held])
            row = Row(estimates, self.metric, attribute, ALL, columns, value, deviations)
            row = replace(row, interval=simultaneous_interval, notes=notes, bias=self.bias)
            yield from row.scores()
