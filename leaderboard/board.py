"""What the page compares: sections of one data set each, with one entrant per method."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import pandas as pd

from leaderboard.against import Apart, Comparison, Group, Measure, reference_of
from leaderboard.aggregate import METHOD, SETTING, Estimate, aggregate, estimates
from leaderboard.collect import REFERENCE, Run, Store, by_number, fields_of, tidy
from leaderboard.conclusions import Candidate, Conclusion, conclude
from metrics.score import ALL, MACRO

REID = "image_reid_auc"
"""Re-identification by released images, the worst attacker's."""
FIRST_ATTRIBUTE = "race"
"""The attribute whose contrast the overview picture shows where the data set records it."""
MOST_DEFAULTS = 2
"""Fields in which entrants of one method may differ for their defaults to be written out."""


@dataclass(frozen=True)
class Contrast:
    """A pre-registered pair of an attribute: `pair` is "B - A", the rate of B minus that of A."""

    attribute: str
    pair: str


@dataclass(frozen=True)
class Entrant:
    """One method with one choice of its fields, aggregated over its runs on one data set.

    `shared` are the non-default fields that all entrants of the section have alike; `defaults` are
    fields with their default value in which other entrants of the method differ. `reference` is the
    name of the ERM that it is compared with, empty where there is none, and `differences` how far
    it is from it, by measure and label set.
    """

    method: str
    variant: str
    runs: tuple[Run, ...]
    scores: Mapping[tuple[str, ...], Estimate]
    shared: tuple[str, ...] = ()
    defaults: tuple[str, ...] = ()
    reference: str = ""
    differences: Mapping[tuple[Measure, str], Apart] = field(default_factory=dict)
    conclusion: Conclusion = field(default_factory=Conclusion)
    """What follows from its numbers, against the headline labels."""

    @property
    def shown(self) -> str:
        """The fields in which it differs from other entrants."""
        own = (text for text in fields_of(self.variant) if text not in self.shared)
        return " ".join((*own, *self.defaults))

    @property
    def name(self) -> str:
        """Method and the fields in which it differs from others, as figures write it."""
        return f"{self.method} {self.shown}".strip()

    @property
    def seeds(self) -> tuple[int, ...]:
        """Distinct seeds, sorted."""
        return tuple(sorted({run.seed for run in self.runs}))

    @property
    def tests(self) -> int:
        """How many distinct sets of test patients the runs have."""
        return len({run.test_digest for run in self.runs})

    @property
    def train_seconds(self) -> float:
        """Mean training time in seconds over the runs that recorded it."""
        return _mean(run.train_seconds for run in self.runs)

    @property
    def parameters(self) -> float:
        """Mean number of trained parameters."""
        return _mean(float(run.parameters) for run in self.runs)

    @property
    def released(self) -> str:
        """What images the method would publish, in words."""
        return "; ".join(_distinct(run.released for run in self.runs))

    @property
    def attributes_at_test(self) -> tuple[str, ...]:
        """Attributes of a patient that the method must be told at test time."""
        return _distinct(a for run in self.runs for a in run.attributes_at_test)

    @property
    def leaking(self) -> bool:
        """Whether persons or pictures stand in two folds of a run, with a reason given."""
        return any(run.allowed_leakage for run in self.runs)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Notes and warnings of the runs, and fields in which the runs disagree."""
        said = _distinct(text for run in self.runs for text in (*run.notes, *run.warnings))
        return said + _disagreements(self.runs)

    def get(
        self,
        metric: str,
        labels: str,
        *,
        finding: str = MACRO,
        attribute: str = "",
        group: str = ALL,
    ) -> Estimate | None:
        """The estimate of a score, or None where no run measured it."""
        return self.scores.get((metric, finding, attribute, group, labels))

    def contrast(
        self, metric: str, labels: str, contrast: Contrast, *, finding: str = MACRO
    ) -> Estimate | None:
        """The estimate of a signed contrast; its negative where only the reverse pair is stored."""
        attribute = contrast.attribute
        found = self.get(metric, labels, finding=finding, attribute=attribute, group=contrast.pair)
        if found is not None:
            return found
        reverse = " - ".join(reversed(contrast.pair.split(" - ", 1)))
        found = self.get(metric, labels, finding=finding, attribute=attribute, group=reverse)
        if found is None:
            return None
        return replace(found, value=-found.value, low=-found.high, high=-found.low)


@dataclass(frozen=True)
class Section:
    """Everything comparable with each other: one data set, one set of folds, one operating point.

    `labels` are the label sets, the headline first: where the truth is simulated, "true" and then
    "recorded". `findings`, `groups` and `pairs` stand in the order of the stored scores.
    """

    kind: str
    dataset: str
    data_variant: str
    folds: int
    operating_point: str
    terms: str
    labels: tuple[str, ...]
    findings: tuple[str, ...]
    contrasts: tuple[Contrast, ...]
    groups: tuple[tuple[str, ...], ...]
    pairs: tuple[Contrast, ...]
    entrants: tuple[Entrant, ...]
    shared: tuple[str, ...] = ()
    """Non-default fields that all its entrants have alike, said once instead of in each row."""

    @property
    def simulated(self) -> bool:
        """Whether its people do not exist."""
        return self.kind == "simulated"

    @property
    def title(self) -> str:
        """The data set with its non-default fields."""
        folds = f"{self.folds}-fold" if self.folds else ""
        return " ".join(part for part in (self.dataset, self.data_variant, folds) if part)

    @property
    def heading(self) -> str:
        """The title with the fields that all methods share, for pictures, which travel alone."""
        return ", ".join((self.title, *self.shared))

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What is compared with ERM: macro AUC, and the FNR contrast that stands first."""
        return _measures(self.contrasts)

    @property
    def patients(self) -> float:
        """Test patients of a run, averaged over test sets; 0 where not recorded."""
        found = (entrant.get("auc", self.labels[0]) for entrant in self.entrants)
        return max((estimate.n for estimate in found if estimate is not None), default=0.0)

    @property
    def attributes(self) -> tuple[str, ...]:
        """Attributes that have a pre-registered contrast, in order."""
        return _distinct(contrast.attribute for contrast in self.contrasts)


def sections(store: Store, table: pd.DataFrame | None = None) -> tuple[Section, ...]:
    """The sections of a store's finished runs, by data set; no section holds two kinds.

    `table` is what `aggregate` makes of the store, where it is already there.
    """
    runs = sorted(store.finished, key=lambda run: run.order)
    if not runs:
        return ()
    table = aggregate(tidy(store)) if table is None else table
    tables = dict(iter(table.groupby([*SETTING, *METHOD], sort=False)))
    comparison = Comparison(store)
    return tuple(
        _section(list(group), tables, comparison)
        for _, group in groupby(runs, key=lambda run: run.setting)
    )


def _section(
    runs: Sequence[Run], tables: Mapping[tuple[object, ...], pd.DataFrame], comparison: Comparison
) -> Section:
    entrants, parts = [], []
    groups = [
        Group(method, variant, tuple(group))
        for (method, variant), group in groupby(runs, key=lambda r: (r.method, r.method_variant))
    ]
    shared, contrasts = _shared(groups), _contrasts(runs)
    for group in groups:
        part = tables.get((*runs[0].setting, group.method, group.variant))
        scores = {} if part is None else estimates(part)
        defaults = _defaults(group, groups, shared)
        entrant = Entrant(group.method, group.variant, group.runs, scores, shared, defaults)
        reference = reference_of(group, groups)
        if reference is not None:
            found = _differences(comparison, group, reference, _measures(contrasts))
            other = Entrant(reference.method, reference.variant, reference.runs, {}, shared)
            entrant = replace(entrant, reference=other.name, differences=found)
        entrants.append(entrant)
        parts += [] if part is None else [part]
    table = pd.concat(parts) if parts else pd.DataFrame(columns=["metric", "labels"])
    labels = ("true", "recorded") if (table["labels"] == "true").any() else ("recorded",)
    cells = _named(table, "auc", "attribute", "group")
    entrants = _concluded(entrants, groups, comparison, labels[0], contrasts, cells)
    entrants.sort(key=lambda e: (e.method != REFERENCE, e.method, by_number(e.shown), e.shown))
    first = runs[0]
    return Section(
        kind=first.kind,
        dataset=first.dataset,
        data_variant=first.data_variant,
        folds=first.folds,
        operating_point=first.operating_point,
        terms=first.terms,
        labels=labels,
        findings=_findings(table),
        contrasts=contrasts,
        groups=cells,
        pairs=tuple(
            Contrast(*pair) for pair in _named(table, "fnr_contrast", "attribute", "group")
        ),
        entrants=tuple(entrants),
        shared=shared,
    )


def _concluded(
    entrants: Sequence[Entrant],
    groups: Sequence[Group],
    comparison: Comparison,
    labels: str,
    contrasts: Sequence[Contrast],
    cells: Sequence[tuple[str, ...]],
) -> list[Entrant]:
    """The entrants with what can be concluded of each; `groups` are their runs, in their order."""
    found = conclude(
        [
            Candidate(
                group=group,
                reference=reference_of(group, groups),
                differences={m: d for (m, of), d in one.differences.items() if of == labels},
                privacy=one.get(REID, "recorded") or one.get(REID, "true"),
            )
            for one, group in zip(entrants, groups, strict=True)
        ],
        comparison,
        labels=labels,
        attributes={
            a: [group for held, group in cells if held == a]
            for a in _distinct(contrast.attribute for contrast in contrasts)
        },
        contrast=next(iter(_measures(contrasts)[1:]), None),
    )
    return [replace(one, conclusion=c) for one, c in zip(entrants, found, strict=True)]


def _measures(contrasts: Sequence[Contrast]) -> tuple[Measure, ...]:
    first = [Measure("fnr_contrast", c.attribute, c.pair) for c in contrasts[:1]]
    return (Measure("auc"), *first)


def _differences(
    comparison: Comparison, group: Group, reference: Group, measures: Iterable[Measure]
) -> dict[tuple[Measure, str], Apart]:
    found = {
        (measure, labels): comparison.difference(group, reference, measure, labels)
        for measure in measures
        for labels in ("true", "recorded")
    }
    return {place: estimate for place, estimate in found.items() if estimate is not None}


def _defaults(group: Group, groups: Sequence[Group], shared: Sequence[str]) -> tuple[str, ...]:
    """Fields that a method leaves at their default while its other entrants do not.

    "dpsgd" beside "dpsgd epsilon=3.0" does not say what it is. ERM stays plain, as the reference,
    and so does a method whose entrants differ in many fields.
    """
    if group.method == REFERENCE:
        return ()
    others = [g for g in groups if g.method == group.method]
    names = _distinct(
        text.partition("=")[0]
        for other in others
        for text in fields_of(other.variant)
        if text not in shared
    )
    own = {text.partition("=")[0] for text in group.fields}
    known = group.runs[0].method_fields
    left = [name for name in names if name not in own and name in known]
    return tuple(f"{n}={_written(known[n])}" for n in left) if len(names) <= MOST_DEFAULTS else ()


def _written(value: object) -> str:
    """A field's value as in the text of a variant."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _shared(groups: Sequence[Group]) -> tuple[str, ...]:
    """Fields that every one of several entrants sets alike."""
    if len(groups) < 2:
        return ()
    common = frozenset.intersection(*(group.fields for group in groups))
    return tuple(text for text in fields_of(groups[0].variant) if text in common)


def _findings(table: pd.DataFrame) -> tuple[str, ...]:
    found = table.loc[table["metric"] == "auc"]
    return () if found.empty else _distinct(f for f in found["finding"] if f != MACRO)


def _named(table: pd.DataFrame, metric: str, *columns: str) -> tuple[tuple[str, ...], ...]:
    found = table.loc[table["metric"] == metric]
    if found.empty:
        return ()
    found = found.loc[found["attribute"] != "", list(columns)].drop_duplicates()
    # Attributes stay together even where methods store their scores in different orders.
    rank = {a: i for i, a in enumerate(_distinct(found["attribute"]))}
    rows = [tuple(map(str, row)) for row in found.itertuples(index=False, name=None)]
    return tuple(sorted(rows, key=lambda row: rank[row[0]]))


def _contrasts(runs: Sequence[Run]) -> tuple[Contrast, ...]:
    # Where a contrast follows the sizes of groups, runs on other patients may name another pair:
    # each pair is then its own column, never averaged with another.
    pairs = list(
        dict.fromkeys(Contrast(a, p) for r in runs for a, p in r.primary_contrasts.items())
    )
    order = _distinct([FIRST_ATTRIBUTE, *(pair.attribute for pair in pairs)])
    return tuple(sorted(pairs, key=lambda pair: order.index(pair.attribute)))


def _disagreements(runs: Sequence[Run]) -> tuple[str, ...]:
    """What differs between runs of one row, such as a default that was changed in between."""
    names = _distinct(name for run in runs for name in run.method_fields)
    result = []
    for name in sorted(set(names) - {"seed"}):
        values = sorted({str(run.method_fields.get(name, "absent")) for run in runs})
        if len(values) > 1:
            result.append(f"runs with different {name} are averaged: {', '.join(values)}")
    sources = {run.source_digest for run in runs} - {""}
    if len(sources) > 1:
        result.append(f"runs of {len(sources)} versions of the code are averaged")
    return tuple(result)


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan
