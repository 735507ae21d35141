"""How the statistics of cells become scores: per group, per pair of groups, and over all groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from metrics.bootstrap import (
    logit_interval,
    percentile_interval,
    simultaneous_contrasts,
    simultaneous_interval,
)
from metrics.cells import Cells, Estimates
from metrics.score import ALL, MACRO, Score
from metrics.slopes import freedom

Bounds = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Family:
    """Statistics of one kind for every finding, whose intervals are made together.

    `value` is `(findings, k)`, NaN where undefined, `replicates` `(findings, k, B)`. `groups` names
    the k statistics, `columns` says which cells each of them is made of. `interval` takes values
    `(f, k)` and replicates `(f, k, B)` to bounds. `notes` `(findings, k)` say something of each
    value, `bias` how chance moves all of them. With `slopes` `(findings, k, patients)` the values
    are probabilities and the intervals those of their logits.
    """

    estimates: Estimates
    metric: str
    attribute: str
    groups: Sequence[str]
    columns: Sequence[Sequence[int]]
    value: np.ndarray
    replicates: np.ndarray
    interval: Callable[[np.ndarray, np.ndarray], Bounds]
    notes: Sequence[Sequence[str]] = ()
    bias: str = ""
    own: bool = True
    """Whether the replicates are those of the value, so that their spread is its error."""
    slopes: np.ndarray | None = None

    def scores(self) -> Iterator[Score]:
        """Of each statistic a score per finding, and the average over the macro findings."""
        value, replicates = self._with_macro
        if self.slopes is None:
            low, high = self.interval(value, replicates)
        else:
            low, high = logit_interval(value, replicates, self._degrees(self.slopes))
        lost = np.isnan(replicates).sum(axis=-1)
        for k in range(value.shape[1]):
            for finding in range(len(value)):
                error = _deviation(replicates[finding, k]) if self.own else np.nan
                yield self._score(
                    finding, k, value[finding, k],
                    low=low[finding, k], high=high[finding, k],
                    se=error, lost=int(lost[finding, k]),
                )  # fmt: skip

    @cached_property
    def _counted(self) -> np.ndarray:
        """Which values the macro average runs over `(findings, k)`."""
        counted: np.ndarray = self.estimates.cells.macro[:, None] & np.isfinite(self.value)
        return counted

    @cached_property
    def _with_macro(self) -> tuple[np.ndarray, np.ndarray]:
        """Values `(findings + 1, k)` and replicates; the last row is the macro average."""
        value = np.full((1, self.value.shape[1]), np.nan)
        replicates = np.full((1, *self.replicates.shape[1:]), np.nan)
        for k, counted in enumerate(self._counted.T):
            if counted.any():
                value[0, k] = self.value[counted, k].mean()
                replicates[0, k] = self.replicates[counted, k].mean(axis=0)
        return np.concatenate([self.value, value]), np.concatenate([self.replicates, replicates])

    def _degrees(self, slopes: np.ndarray) -> np.ndarray:
        """Degrees of freedom `(findings + 1, k)` of the variances, the macro average last."""
        macro = np.full((1, slopes.shape[1]), np.nan)
        for k, counted in enumerate(self._counted.T):
            if counted.any():
                macro[0, k] = freedom(slopes[counted, k].mean(axis=0))
        return np.concatenate([freedom(slopes), macro])

    def _score(
        self, finding: int, k: int, value: float, *, low: float, high: float, se: float, lost: int
    ) -> Score:
        macro = finding == len(self.value)
        defined = bool(np.isfinite(value))
        note = self._macro_note(k) if macro else self._note(finding, k)
        if defined and lost:
            note = "; ".join(t for t in (note, f"{lost} undefined replicates left out") if t)
        counts = self.estimates.patients_of(None if macro else finding, self.columns[k])
        return Score(
            metric=self.metric,
            value=float(value),
            finding=MACRO if macro else self.estimates.cells.predictions.findings[finding],
            attribute=self.attribute,
            group=self.groups[k],
            n=counts[0],
            positives=counts[1],
            negatives=counts[2],
            low=float(low) if defined else np.nan,
            high=float(high) if defined else np.nan,
            se=se if defined else np.nan,
            labels=self.estimates.cells.labels,
            note=note,
        )

    def _note(self, finding: int, k: int) -> str:
        if not np.isfinite(self.value[finding, k]):
            return self.estimates.missing(finding, self.columns[k])
        own = self.notes[finding][k] if self.notes else ""
        return "; ".join(t for t in (own, self.bias) if t)

    def _macro_note(self, k: int) -> str:
        counted, declared = self._counted[:, k], int(self.estimates.cells.macro.sum())
        if not counted.any():
            return f"none of {declared} findings is evaluable here"
        parts = [f"mean over {int(counted.sum())} of {declared} findings"]
        if self.notes:
            named = Counter(self.notes[int(f)][k] for f in np.flatnonzero(counted))
            common, times = named.most_common(1)[0]
            parts.append(f"most often {common} ({times})")
        return "; ".join([*parts, self.bias] if self.bias else parts)


def _deviation(replicates: np.ndarray) -> float:
    """Standard deviation of the defined replicates; NaN with fewer than half of them."""
    defined = replicates[np.isfinite(replicates)]
    return float(defined.std(ddof=1)) if 2 * len(defined) >= max(4, len(replicates)) else np.nan


def percentile(value: np.ndarray, replicates: np.ndarray) -> Bounds:
    """The percentile interval of the replicates, whatever the value."""
    return percentile_interval(replicates)


def cell_scores(estimates: Estimates, slopes: np.ndarray | None = None) -> Iterator[Score]:
    """The statistic of each finding and the macro average, for everybody and for each group.

    With `slopes` `(findings, groups, patients)` of a probability the intervals are of its logit.
    """
    cells = estimates.cells
    for attribute in ("", *cells.predictions.attributes):
        columns = cells.columns_of(attribute)
        yield from Family(
            estimates,
            estimates.metric,
            attribute,
            groups=[cells.groups[c][1] for c in columns],
            columns=[[c] for c in columns],
            value=np.where(estimates.evaluable, estimates.value, np.nan)[:, columns],
            replicates=estimates.replicates[:, columns],
            interval=percentile,
            slopes=None if slopes is None else slopes[:, columns],
        ).scores()


def contrast_scores(estimates: Estimates, metric: str) -> Iterator[Score]:
    """The signed difference of each pair of groups, later minus earlier, and its macro average.

    The intervals of the pairs of one attribute hold together, finding by finding.
    """
    cells = estimates.cells
    held = np.where(estimates.evaluable, estimates.value, np.nan)
    for attribute in cells.predictions.attributes:
        pairs = [p for p in cells.pairs if p.attribute == attribute]
        if not pairs:
            continue
        earlier, later = [p.earlier for p in pairs], [p.later for p in pairs]
        yield from Family(
            estimates,
            metric,
            attribute,
            groups=[pair_name(cells, p.earlier, p.later) for p in pairs],
            columns=[[p.earlier, p.later] for p in pairs],
            value=held[:, later] - held[:, earlier],
            replicates=estimates.replicates[:, later] - estimates.replicates[:, earlier],
            interval=simultaneous_contrasts,
        ).scores()


def over_groups(
    estimates: Estimates,
    metric: str,
    attribute: str,
    value: np.ndarray,
    replicates: np.ndarray,
    *,
    interval: Callable[[np.ndarray, np.ndarray], Bounds] = percentile,
    notes: Sequence[str] = (),
    bias: str = "",
    own: bool = True,
) -> Iterator[Score]:
    """One statistic of all groups of an attribute: `value` `(findings,)`, `replicates` with B."""
    yield from Family(
        estimates,
        metric,
        attribute,
        groups=[ALL],
        columns=[estimates.cells.columns_of(attribute)],
        value=value[:, None],
        replicates=replicates[:, None],
        interval=interval,
        notes=[[note] for note in notes],
        bias=bias,
        own=own,
    ).scores()


def pair_name(cells: Cells, earlier: int, later: int) -> str:
    """ "B - A": what is subtracted from what."""
    return f"{cells.groups[later][1]} - {cells.groups[earlier][1]}"


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
                named = [estimates.cells.groups[c][1] for c in held]
                notes[finding] = self.label(values, named)
            yield from over_groups(
                estimates, self.metric, attribute, value, deviations,
                interval=simultaneous_interval, notes=notes, bias=self.bias, own=False,
            )  # fmt: skip


def spread(metric: str) -> Extreme:
    """The largest value minus the smallest among the evaluable groups of an attribute."""
    return Extreme(
        metric,
        pick=lambda values: float(np.ptp(values)),
        deviation=lambda noise: np.ptp(noise, axis=0),
        label=lambda values, groups: (
            f"highest in {groups[int(values.argmax())]}, lowest in {groups[int(values.argmin())]}"
        ),
        bias="a gap is biased up",
        least=2,
    )
