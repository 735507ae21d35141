"""Data sets beside the source of a run: their tables, folds and pixels, and what leaks from it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from datasets.align import aligned, namespaced, renamed
from datasets.contents import open_contents, prepare
from datasets.division import Division, divide
from datasets.folds import digest, manifest
from datasets.images import cache_dir
from datasets.overlap import Leak, Overlap, between_sets
from datasets.people import pairs_of
from datasets.split import IMAGE_ROOT, Folds, Split
from methods.base import Method, Task
from registry import UnknownName
from runs.data_sets import Placed

VAL, TEST = "val", "test"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Foreign:
    """Validation and test patients of another data set, in its own folds, pixels in the cache.

    Patients and images are called "name/id". `table` is all of it.
    """

    placed: Placed
    called: tuple[str, ...]
    """Its findings before any was renamed."""
    table: Split
    val: Split
    test: Split
    dropped: Mapping[str, int]
    overlap: Overlap
    """What leaks from one of its folds into the other."""
    data_digest: str
    split_digest: str

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return self.placed.name


@dataclass(frozen=True)
class Domain:
    """Another data set under the findings and attributes of a task, ready to be predicted.

    `task` has the frozen groups of the source with those that only this data set has at the end.
    `shared` are the findings that it records, `macro` those of them that averages may run over.
    """

    foreign: Foreign
    val: Split
    test: Split
    task: Task
    shared: tuple[str, ...]
    macro: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return self.foreign.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of it, and what it and the source lack, in sentences."""
        notes = [f"{self.name}: {note}" for note in self.foreign.table.notes]
        if lacking := [f for f in self.task.findings if f not in self.shared]:
            notes.append(f"{self.name} does not record {', '.join(lacking)}")
        attributes = [a for a in self.task.attributes if not self._records(a)]
        if attributes:
            notes.append(f"{self.name} does not record {', '.join(attributes)}: group Unknown")
        return tuple(notes)

    def _records(self, attribute: str) -> bool:
        return attribute in self.foreign.table.attributes or attribute == "source"


def read_table(placed: Placed) -> Split:
    """The table of a data set.

    Raises:
        ValueError, FileNotFoundError, UnknownName: the data or a name breaks a rule.
    """
    root = placed.root or cache_dir() / "recipes"
    if placed.root is None:
        root.mkdir(parents=True, exist_ok=True)
    try:
        return placed.dataset.table(root)
    except UnknownName:
        raise
    except KeyError as error:
        raise ValueError(
            f"data set {placed.name!r} could not be read: a column or name is missing: {error}"
        ) from error


def own_folds(placed: Placed, table: Split, limit: int = 0) -> Folds:
    """The folds of a data set by its own rule; with `limit`, of that many patients.

    Raises:
        ValueError: patients overlap, a fold is empty, or a fold name is unknown.
    """
    return divide(table, Division.named(placed.dataset.default_split), limit=limit).folds[0]


def sizes_of(placed: Placed, limit: int = 0) -> str:
    """How many images and patients validate and test on another data set, in words."""
    folds = own_folds(placed, read_table(placed), limit)
    sizes = [
        f"{f.name} {len(f)} images of {len(f.patients)} patients" for f in (folds.val, folds.test)
    ]
    return f"{placed.name}: " + ", ".join(sizes)


def load(
    placed: Placed,
    size: int,
    *,
    renames: Mapping[str, str],
    limit: int = 0,
    on_bad: str = "error",
    progress: Progress | None = None,
) -> Foreign:
    """Another data set in its own folds, its validation and test patients in the cache.

    With `limit` only that many of its patients are used, as of the source.

    Raises:
        ValueError, FileNotFoundError, UnknownName: the data breaks a rule.
    """
    raw = read_table(placed)
    table = namespaced(renamed(raw, renames), placed.name)
    folds, holds = own_folds(placed, table, limit), placed.dataset.holds
    both = pd.concat([folds.val.frame, folds.test.frame], ignore_index=True)
    kept = prepare(table.with_frame(both), holds, size, on_bad=on_bad, progress=progress)
    val, test = (
        fold.where(fold.frame["image_id"].isin(set(kept.frame["image_id"])).to_numpy())
        for fold in (folds.val, folds.test)
    )
    for fold in (val, test):
        if not len(fold):
            raise ValueError(
                f"the {fold.name} fold of {placed.name!r} must hold images, but all of its were "
                "left out; mend its files"
            )
    persons = [tuple(f"{placed.name}/{i}" for i in pair) for pair in pairs_of(table)]
    listed = manifest(replace(folds, val=val, test=test))
    return Foreign(
        placed=placed,
        called=raw.findings,
        table=table,
        val=val,
        test=test,
        dropped=dict(kept.dropped),
        overlap=between_sets(
            val,
            test,
            size=size,
            same_ids=True,
            same_person=[(a, b) for a, b in persons],
            holds=holds,
        ),
        data_digest=content(kept, holds, size),
        split_digest=short(digest(listed[listed["fold"].isin((VAL, TEST))])),
    )


def leaks_from(
    source: Folds, name: str, val: Foreign | None, tests: Sequence[Foreign], size: int, holds: str
) -> dict[str, Overlap]:
    """Pictures of what a run learns from that others hold too, by the name of the other data set.

    Learnt from are the training and validation patients; tested, or used for thresholds, are both
    folds of a test data set. Patients of two data sets are different people.
    """
    learnt = [(source.train, f"train of {name}")]
    learnt += [] if val else [(source.val, f"val of {name}")]
    found: dict[str, list[Leak]] = {}
    others = [(t.name, f, t) for t in tests for f in (t.val, t.test)]
    others += [(val.name, val.val, val)] if val and val not in tests else []
    for other, fold, foreign in others:
        sides = list(learnt)
        if val and val is not foreign:
            sides.append((val.val, f"val of {val.name}"))
        for side, called in sides:
            leaks = between_sets(
                side.with_frame(side.frame, called),
                fold.with_frame(fold.frame, f"{fold.name} of {other}"),
                size=size,
                holds=holds,
            ).leaks
            found.setdefault(other, []).extend(leaks)
    for foreign in (*tests, *([val] if val and val not in tests else [])):
        found.setdefault(foreign.name, []).extend(foreign.overlap.leaks)
    return {other: Overlap(tuple(leaks)) for other, leaks in found.items()}


def domain_of(foreign: Foreign, task: Task, method: Method, train: Split) -> Domain:
    """A data set under the names of a task.

    Raises:
        ValueError: it shares no finding, or the method would need attributes of patients whose
            group it never met in training.
    """
    shared = tuple(f for f in task.findings if f in foreign.table.findings)
    if not shared:
        raise ValueError(
            f"{foreign.name!r} must record a finding of the task, but it has "
            f"{', '.join(foreign.table.findings)}, and the task {', '.join(task.findings)}; "
            "say which are the same with --rename-finding OLD=NEW"
        )
    val, test = (aligned(f, task.findings, task.attributes) for f in (foreign.val, foreign.test))
    for attribute in method.attributes_at_test(task):
        met = set(train.frame[attribute].astype(str))
        for fold in (val, test):
            if strange := sorted(set(fold.frame[attribute].astype(str)) - met):
                raise ValueError(
                    f"{method.registered_name} must know the {attribute} of a patient as a group "
                    f"that it was trained on, but {foreign.name!r} has {strange[0]!r}; choose "
                    "attributes that both data sets record with --attributes, or another method"
                )
    hopeless = foreign.placed.dataset.unlearnable(method.image_size)
    macro = tuple(f for f in task.macro_findings if f in shared and f not in hopeless)
    groups = extended_groups(task, (val, test))
    return Domain(foreign, val, test, replace(task, groups=groups), shared, macro or shared)


def extended_groups(task: Task, splits: Iterable[Split]) -> dict[str, tuple[str, ...]]:
    """The frozen groups of a task, with those that only these tables have at the end."""
    groups = dict(task.groups)
    for split in splits:
        for attribute in task.attributes:
            there = set(split.frame[attribute].astype(str))
            new = [g for g in split.groups_of(attribute) if g in there - {*groups[attribute]}]
            groups[attribute] = (*groups[attribute], *new)
    return groups


def content(table: Split, holds: str, size: int) -> str:
    """A digest of table and pixels or vectors, wherever they lie."""
    frame = table.frame.drop(columns=IMAGE_ROOT, errors="ignore")
    return short(digest(frame), open_contents(table, holds, size).digest())


def short(*texts: str) -> str:
    """16 hex digits over texts."""
    whole = hashlib.sha256()
    for text in texts:
        whole.update(hashlib.sha256(text.encode()).digest())
    return whole.hexdigest()[:16]


def images_by_source(split: Split, column: str) -> dict[str, int]:
    """How many images of each part of a union there are."""
    names, counts = np.unique(split.frame[column].astype(str), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))
