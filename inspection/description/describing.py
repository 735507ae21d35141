"""From a table to everything that is told about it: one `Description` of tables of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from datasets.attributes import UNKNOWN
from datasets.split import Split
from inspection.description import groupings as grouped
from inspection.description import tallies
from inspection.description.associations import association, pooled_rate, reference_of
from inspection.description.groupings import Grouping
from inspection.description.rates import Rate, rate
from inspection.description.withheld import withhold
from metrics.comparison.holm import holm
from metrics.intersections import AND

RECORDED, TRUTH = "recorded", "true"
RATE_COLUMNS = ("value", "low", "high", "images", "positive_images", "patients", "positives",
                "negatives", "note")  # fmt: skip


@dataclass(frozen=True)
class Description:
    """What is known of a data set, as tables with a row per cell; restricted ones without small
    cells. Columns are named in docs/checking-data.md."""

    name: str
    images: int
    patients: int
    findings: tuple[str, ...]
    attributes: tuple[str, ...]
    """Those of the data set, without folds."""
    simulated: bool
    restricted: bool
    dropped: dict[str, int]
    notes: tuple[str, ...]
    counts: pd.DataFrame
    imbalance: pd.DataFrame
    prevalence: pd.DataFrame
    odds_ratios: pd.DataFrame
    associations: pd.DataFrame
    cooccurrence: pd.DataFrame
    missing: pd.DataFrame
    recording: pd.DataFrame
    """Of the images with a simulated true finding, the share recorded without it."""
    images_per_patient: pd.DataFrame
    ages: pd.DataFrame

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables that have rows, by name."""
        names = ("counts", "imbalance", "prevalence", "odds_ratios", "associations",
                 "cooccurrence", "missing", "recording", "images_per_patient", "ages")  # fmt: skip
        found = {name: getattr(self, name) for name in names}
        return {name: frame for name, frame in found.items() if len(frame)}


@dataclass(frozen=True, eq=False)
class _Material:
    """A table as arrays: groupings, patient codes, and labels of each kind `(n, findings)`."""

    table: Split
    single: tuple[Grouping, ...]
    joint: tuple[Grouping, ...]
    patients: np.ndarray
    count: int
    labels: dict[str, np.ndarray]

    @property
    def everything(self) -> tuple[Grouping, ...]:
        """Everybody, attributes and folds, then their combinations."""
        return (grouped.everybody(self.table), *self.single, *self.joint)


def describe(
    table: Split,
    *,
    fold: np.ndarray | None = None,
    intersections: Iterable[Sequence[str]] = (),
    references: Mapping[str, str] = MappingProxyType({}),
    restricted: bool = False,
    notes: Sequence[str] = (),
) -> Description:
    """The description of a table of images.

    `fold` names the fold of each image `(n,)`, "" for none; `intersections` are attributes whose
    joint groups are told beside all pairs; `references` name the group of an attribute that others
    are compared with, else the largest. With `restricted`, cells of 1 to 9 patients are left out.

    Raises:
        ValueError: the table has no images.
    """
    if not len(table):
        raise ValueError(f"a data set must have images to be described, but {table.name!r} has 0")
    material = _material(table, fold, intersections)
    prevalence, ratios, tests = _by_group(material, references)
    counts = tallies.counts(material.everything[1:], material.patients)
    everywhere = (material.everything[0], *material.single)
    age = table.frame[tallies.AGE].to_numpy(float) if tallies.AGE in table.frame else None
    made = Description(
        name=table.name,
        images=len(table),
        patients=material.count,
        findings=table.findings,
        attributes=table.attributes,
        simulated=table.has_truth,
        restricted=restricted,
        dropped=dict(table.dropped),
        notes=tuple(notes),
        counts=counts,
        imbalance=tallies.imbalance(counts),
        prevalence=prevalence,
        odds_ratios=ratios,
        associations=tests,
        cooccurrence=tallies.cooccurrence(
            material.labels[RECORDED], table.findings, material.patients
        ),
        missing=_missing(material),
        recording=_recording(material),
        images_per_patient=tallies.images_per_patient(everywhere, material.patients),
        ages=tallies.ages(everywhere, age, material.patients)
        if age is not None
        else pd.DataFrame(),
    )
    return _restricted(made) if restricted else made


def _material(
    table: Split, fold: np.ndarray | None, intersections: Iterable[Sequence[str]]
) -> _Material:
    codes, names = pd.factorize(table.frame["patient_id"].astype(str))
    attributes = [grouped.attribute(table, name) for name in table.attributes]
    single = attributes if fold is None else [*attributes, grouped.folds(fold)]
    labels = {RECORDED: table.labels()}
    if table.has_truth:
        labels[TRUTH] = table.labels(true=True)
    return _Material(
        table=table,
        single=tuple(single),
        joint=tuple(grouped.pairs(attributes, intersections)),
        patients=codes,
        count=len(names),
        labels=labels,
    )


def _rates(material: _Material, grouping: Grouping, has: np.ndarray, of: np.ndarray) -> list[Rate]:
    return [
        rate(has, of & (grouping.codes == code), material.patients, material.count)
        for code in range(len(grouping.groups))
    ]


def _cells(grouping: Grouping, rates: Sequence[Rate], **names: str) -> list[dict[str, object]]:
    return [
        {**names, "attribute": grouping.name, "group": group}
        | {column: getattr(one, column) for column in RATE_COLUMNS}
        for group, one in zip(grouping.groups, rates, strict=True)
    ]


def _by_group(
    material: _Material, references: Mapping[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Prevalence of every finding in every group, and how findings go with attributes."""
    cells, ratios, tests = [], [], []
    for kind, labels in material.labels.items():
        for f, finding in enumerate(material.table.findings):
            known, present = np.isfinite(labels[:, f]), labels[:, f] == 1
            for grouping in material.everything:
                rates = _rates(material, grouping, present, known)
                cells += _cells(grouping, rates, labels=kind, finding=finding)
                if grouping not in material.single:
                    continue
                people = [one.patients for one in rates]
                pooled = pooled_rate(present, known, grouping.codes, grouping.known,
                                     material.patients, material.count)  # fmt: skip
                reference = reference_of(grouping, people, references.get(grouping.name, ""))
                found = association(rates, grouping.groups, grouping.known, reference, pooled)
                named = {"labels": kind, "finding": finding, "attribute": grouping.name}
                for one in found.odds_ratios:
                    own = rates[grouping.groups.index(one.group)]
                    ratios.append(
                        {**named, "group": one.group, "reference": one.reference,
                         "log_odds_ratio": one.value, "low": one.low, "high": one.high,
                         "odds_ratio": np.exp(one.value), "p": one.p, "patients": own.patients,
                         "positives": own.positives, "note": one.note}
                    )  # fmt: skip
                tests.append(
                    {**named, "cramers_v": found.v, "v_beyond_chance": found.v_beyond_chance,
                     "p": found.p, "groups_tested": found.groups, "note": found.note}
                )  # fmt: skip
    return pd.DataFrame(cells), _corrected(pd.DataFrame(ratios)), _corrected(pd.DataFrame(tests))


def _corrected(tests: pd.DataFrame) -> pd.DataFrame:
    """The tests with p-values adjusted over all findings, and groups, of each attribute."""
    if tests.empty:
        return tests
    family = tests.groupby(["labels", "attribute"], sort=False)["p"]
    adjusted = family.transform(lambda p: holm(p.to_numpy(float)))
    tests.insert(list(tests.columns).index("p") + 1, "p_holm", adjusted)
    return tests


def _missing(material: _Material) -> pd.DataFrame:
    """How often labels, attributes and ages are not known, in every group; only where some are."""
    table, frame = material.table, material.table.frame
    absent: dict[str, np.ndarray] = {
        finding: np.isnan(material.labels[RECORDED][:, f])
        for f, finding in enumerate(table.findings)
    }
    absent |= {a: (frame[a].astype(str) == UNKNOWN).to_numpy() for a in table.attributes}
    if tallies.AGE in frame:
        absent[tallies.AGE] = frame[tallies.AGE].isna().to_numpy()
    everyone = np.ones(len(table), bool)
    rows: list[dict[str, object]] = []
    for what, gone in absent.items():
        if not gone.any():
            continue
        for grouping in (material.everything[0], *material.single):
            if what != grouping.name:
                rows += _cells(grouping, _rates(material, grouping, gone, everyone), what=what)
    return pd.DataFrame(rows)


def _recording(material: _Material) -> pd.DataFrame:
    if TRUTH not in material.labels:
        return pd.DataFrame()
    rows: list[dict[str, object]] = []
    for f, finding in enumerate(material.table.findings):
        truth, recorded = (material.labels[kind][:, f] for kind in (TRUTH, RECORDED))
        if not ((truth == 1) & (recorded == 0)).any():
            continue
        for grouping in (material.everything[0], *material.single):
            rates = _rates(material, grouping, recorded == 0, truth == 1)
            rows += _cells(grouping, rates, finding=finding)
    return pd.DataFrame(rows)


def _restricted(made: Description) -> Description:
    """The description without small cells, and without the values of single persons."""
    rates = ("patients", "positives", "negatives")
    ages = made.ages.drop(columns=["youngest", "oldest"], errors="ignore")
    each = made.images_per_patient.drop(columns=["most"])

    def hide(frame: pd.DataFrame, patients: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
        if frame.empty:
            return frame
        return withhold(frame, patients=patients, names=names, families=_families(frame))

    cells = ("labels", "finding", "what", "attribute", "group", "reference", "with")
    hidden: dict[str, Callable[[], pd.DataFrame]] = {
        "counts": lambda: hide(made.counts, ("patients",), cells),
        "prevalence": lambda: hide(made.prevalence, rates, cells),
        "odds_ratios": lambda: hide(made.odds_ratios, ("patients", "positives"), cells),
        "cooccurrence": lambda: hide(made.cooccurrence, ("patients_with_both",), cells),
        "missing": lambda: hide(made.missing, rates, cells),
        "recording": lambda: hide(made.recording, rates, cells),
        "images_per_patient": lambda: hide(each, ("patients", "patients_with_several"), cells),
        "ages": lambda: hide(ages, ("patients",), cells),
    }
    frames = {name: make() for name, make in hidden.items()}
    small = made.imbalance["smallest"] < 10
    imbalance = made.imbalance.assign(
        smallest=made.imbalance["smallest"].astype(float).mask(small),
        largest_to_smallest=made.imbalance["largest_to_smallest"].mask(small),
    )
    changes: dict[str, Any] = {"imbalance": imbalance, **frames}
    return replace(made, **changes)


def _families(frame: pd.DataFrame) -> list[list[object]]:
    """Rows whose numbers sum up to one that is told elsewhere: groups of an attribute, and of a
    joint one those that share a part."""
    beside = [c for c in ("labels", "finding", "what") if c in frame]
    if "group" not in frame:
        return []
    keys = list(map(tuple, frame[[*beside, "attribute"]].astype(str).to_numpy()))
    parts = [str(g).split(AND) for g in frame["group"]]
    most = max(map(len, parts), default=1)
    families: list[list[object]] = [
        [(*key, place, part[place] if len(part) > 1 else "") if place < len(part) else (*key, i)
         for i, (key, part) in enumerate(zip(keys, parts, strict=True))]
        for place in range(most)
    ]  # fmt: skip
    return families
