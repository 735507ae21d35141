"""From a plan to its data: table, folds, pixels, and the key that names the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pandas as pd

from datasets.align import aligned, check_renamed, renamed
from datasets.base import EMBEDDINGS
from datasets.contents import prepare
from datasets.division import Divided, divide, divide_in
from datasets.folds import SOURCE, split_digest
from datasets.overlap import Overlap, between_folds, copies, told
from datasets.people import pairs_of, read_pairs
from datasets.split import Folds, Split
from datasets.union import Union, downsampled
from datasets.vectors import width_of
from methods.base import Task
from methods.fit import Incompatible
from registry import unknown
from runs.data_sets import Placed
from runs.foreign import (
    VAL,
    Domain,
    Foreign,
    content,
    domain_of,
    extended_groups,
    images_by_source,
    leaks_from,
    load,
    read_table,
    short,
)
from runs.plan import Plan
from runs.sources import sources
from runs.unseen import check_others_unseen, check_unseen
from tracking.rundir import RunDirectory


@dataclass(frozen=True)
class Prepared:
    """A plan with its data: folds, frozen names, digests and the key of the run."""

    plan: Plan
    folds: tuple[Folds, ...]
    task: Task
    dropped: dict[str, int]
    leakage: dict[str, int]
    """Pairs of each kind that stand in two folds; only where the plan allows it."""
    data_digest: str
    split_digest: str
    test_digest: str
    source_digest: str
    key: str
    notes: tuple[str, ...]
    domains: tuple[Domain, ...] = ()
    """Other data sets that the model is tested on."""

    @property
    def directory(self) -> RunDirectory:
        """Where the run is stored."""
        plan = self.plan
        name = plan.method.registered_name
        return RunDirectory(plan.output / plan.dataset.registered_name / name / self.key)

    @property
    def tables(self) -> list[pd.DataFrame]:
        """The tables of all folds, with raw ids."""
        others = [fold.frame for domain in self.domains for fold in (domain.val, domain.test)]
        return [fold.frame for part in self.folds for fold in part.all()] + others


@dataclass(frozen=True)
class Loaded:
    """The data of a plan with its pixels in the cache: one for all plans of equal `same_data`."""

    table: Split
    """As the data set gave it, before rows that cannot be read were dropped."""
    folds: tuple[Folds, ...]
    dropped: dict[str, int]
    overlap: Overlap
    data_digest: str
    split_digest: str
    notes: tuple[str, ...] = ()
    """What is to be said of the folds."""
    val: Foreign | None = None
    """What validates in place of the source's own patients, who are then left out."""
    tests: tuple[Foreign, ...] = ()
    leaks: Mapping[str, Overlap] = field(default_factory=dict)
    """What the model learns from that another data set holds too, by its name."""


def same_data(plan: Plan) -> tuple[object, ...]:
    """What `Loaded` depends on; plans for which it is equal can share one."""
    return (
        plan.dataset, plan.data_root, plan.findings, plan.attributes, plan.folds,
        plan.seed if plan.folds else 0, plan.split, plan.limit_patients,
        plan.method.image_size, plan.on_bad_image, plan.same_person,
        plan.val, plan.tests, tuple(plan.renames.items()),
    )  # fmt: skip


def load_table(plan: Plan) -> Split:
    """The table of the data set with the findings and attributes that were asked for.

    Raises:
        ValueError, FileNotFoundError, UnknownName: the data or a name breaks a rule.
    """
    raw = read_table(Placed(plan.dataset, plan.data_root))
    if not plan.named.others:
        check_renamed(plan.renames, raw.findings)
    table = renamed(raw, plan.renames)
    findings = plan.findings or table.findings
    attributes = plan.attributes or table.attributes
    for kind, asked, known in (
        ("finding", findings, table.findings),
        ("attribute", attributes, table.attributes),
    ):
        for name in asked:
            if name not in known:
                raise unknown(f"{kind} of {plan.dataset.registered_name}", name, known)
    return replace(
        table,
        findings=findings,
        attributes=attributes,
        all_findings=table.findings,
        all_attributes=table.attributes,
    )


def split(plan: Plan, table: Split) -> Divided:
    """The rows of the table that the run uses, and its folds: one set, or k of them.

    Only the k folds depend on the seed of the run: otherwise all seeds test the same patients.
    """
    if plan.folds:
        divided = divide_in(table, plan.folds, limit=plan.limit_patients, seed=plan.seed)
    else:
        divided = divide(table, plan.split, limit=plan.limit_patients)
    if isinstance(plan.dataset, Union) and plan.dataset.downsample:
        divided = _downsampled(divided, plan.dataset.downsample)
    return divided


def _downsampled(divided: Divided, which: str) -> Divided:
    """The same with fewer training patients of one part, and without rows that no fold uses."""
    folds = tuple(downsampled(part, which) for part in divided.folds)
    used = {i for part in folds for fold in part.all() for i in fold.frame["image_id"]}
    inside = divided.table.frame["image_id"].isin(used).to_numpy()
    dropped = {**divided.table.dropped, "down-sampled": int((~inside).sum())}
    table = replace(divided.table.where(inside), dropped=dropped)
    return replace(divided, table=table, folds=folds, names=divided.names[inside])


def checked_task(plan: Plan, table: Split) -> Task:
    """Names frozen before any method sees an image.

    Raises:
        Incompatible: the method says why it cannot run on this task.
    """
    hopeless = plan.dataset.unlearnable(plan.method.image_size)
    task = Task(
        findings=table.findings,
        attributes=table.attributes,
        groups={a: table.groups_of(a) for a in table.attributes},
        macro_findings=tuple(f for f in table.findings if f not in hopeless) or table.findings,
        width=width_of(table) if plan.dataset.holds == EMBEDDINGS else 0,
    )
    if reason := plan.method.skip(task):
        raise Incompatible(f"{plan.method.registered_name} cannot run here: {reason}")
    return task


def load_data(
    plan: Plan, table: Split, progress: Callable[[int, int], None] | None = None
) -> Loaded:
    """The folds of `table`, once every pixel is decoded, what leaks between them, and digests.

    Raises:
        ValueError: an image or the list of persons cannot be read, or a fold would be empty;
            nothing was stored.
    """
    divided = split(plan, table)
    folds, used = divided.folds, divided.table
    persons = _same_person(plan, table)
    size, holds = plan.method.image_size, plan.dataset.holds
    kept = prepare(used, holds, size, on_bad=plan.on_bad_image, progress=progress)
    if len(kept) < len(used):
        folds = tuple(_keep(f, set(kept.frame["image_id"])) for f in folds)
    overlap = between_folds(folds, kept, copies(kept, size=size, holds=holds), persons)
    others = {
        placed.name: load(
            placed,
            size,
            renames=plan.renames,
            limit=plan.limit_patients,
            on_bad=plan.on_bad_image,
            progress=progress,
        )
        for placed in plan.named.others
    }
    val = others[plan.val.name] if plan.val else None
    tests = tuple(others[placed.name] for placed in plan.tests)
    missing = [old for old in plan.renames if not any(old in o.called for o in others.values())]
    if others and missing:
        # Read again, since a finding that was renamed has left no trace in the table.
        check_renamed(missing, read_table(Placed(plan.dataset, plan.data_root)).findings)
    leaks = leaks_from(folds[0], table.name, val, tests, size, holds) if others else {}
    if val:
        # Its own validation patients are not used, so what they share with others is no leakage.
        overlap = Overlap(tuple(x for x in overlap.leaks if VAL not in (x.fold_a, x.fold_b)))
        instead = aligned(val.val, table.findings, table.attributes)
        folds = tuple(replace(f, val=instead) for f in folds)
    return Loaded(
        table=table,
        folds=folds,
        dropped=dict(kept.dropped),
        overlap=overlap,
        data_digest=content(kept, holds, size),
        split_digest=split_digest(folds),
        notes=divided.notes,
        val=val,
        tests=tests,
        leaks=leaks,
    )


def prepare_run(
    plan: Plan,
    progress: Callable[[int, int], None] | None = None,
    *,
    loaded: Loaded | None = None,
) -> Prepared:
    """Load, split, decode once, and name the run by all that can change its numbers.

    With `loaded`, the data of another plan for which `same_data` is equal is used again.

    Raises:
        ValueError, FileNotFoundError, UnknownName: the data breaks a rule, or a person or picture
            stands in two folds and the plan does not allow it; nothing was stored.
        Incompatible: the method says why it cannot run on this task.
    """
    table = loaded.table if loaded else load_table(plan)
    task = checked_task(plan, table)
    if plan.from_run:
        check_unseen(plan, plan.from_run, split(plan, table).folds)
    data = loaded or load_data(plan, table, progress)
    if plan.from_run:
        check_others_unseen(plan.from_run, data.tests)
    if data.val:
        domain_of(data.val, task, plan.method, data.folds[0].train)
        task = replace(task, groups=extended_groups(task, [data.folds[0].val]))
    train = data.folds[0].train
    domains = tuple(domain_of(test, task, plan.method, train) for test in data.tests)
    leakage = _leakage(plan, data)
    for part in data.folds:
        plan.method.check(part)
    source_digest = short(*(p.read_text() for p in sources(plan)))
    test = sorted({p for f in data.folds for p in f.test.patients})
    notes = [*table.notes, *data.notes]
    if any(f.audit_reuses_train for f in data.folds):
        reason = "k-fold leaves no audit fold" if plan.folds else "fewer than 100 audit patients"
        notes.append(f"the attacker is trained on the training patients: {reason}")
    if isinstance(plan.dataset, Union):
        trained = images_by_source(train, SOURCE)
        notes.append("training images: " + ", ".join(f"{n} {k}" for n, k in trained.items()))
    if plan.val:
        notes.append(f"models and thresholds are chosen on validation patients of {plan.val.name}")
    notes += [note for domain in domains for note in domain.notes]
    if leakage:
        notes.append(f"LEAKAGE ALLOWED: {told(leakage)}; reason: {plan.allow_leakage}")
    return Prepared(
        plan=plan,
        folds=data.folds,
        task=task,
        dropped=data.dropped,
        leakage=leakage,
        data_digest=data.data_digest,
        split_digest=data.split_digest,
        test_digest=short(data.data_digest, *test),
        source_digest=source_digest,
        key=short(
            json.dumps(plan.identity(), sort_keys=True),
            data.data_digest,
            data.split_digest,
            source_digest,
            *(d for f in (data.val, *data.tests) if f for d in (f.data_digest, f.split_digest)),
            *([json.dumps([leakage, plan.allow_leakage])] if leakage else []),
        ),
        notes=tuple(notes),
        domains=domains,
    )


def _leakage(plan: Plan, data: Loaded) -> dict[str, int]:
    """Pairs of each kind that stand in two folds, or in two data sets; refused unless allowed."""
    if not plan.allow_leakage:
        data.overlap.refuse(data.table.name)
        for name, overlap in data.leaks.items():
            overlap.refuse(f"{data.table.name} and {name}")
    counts = data.overlap.counts
    for name, overlap in data.leaks.items():
        counts |= {f"{kind}, {name}": pairs for kind, pairs in overlap.counts.items()}
    return counts


def _keep(folds: Folds, images: set[str]) -> Folds:
    """The folds without the images that could not be read."""
    kept = {f.name: f.where(f.frame["image_id"].isin(images).to_numpy()) for f in folds.all()}
    return Folds(**kept)


def _same_person(plan: Plan, table: Split) -> list[tuple[str, str]]:
    """Pairs of ids of one person that lie with the data or that the user lists.

    A list of which no id is in the table was written for other data, or with other ids.
    """
    if plan.same_person is None:
        return pairs_of(table)
    pairs = read_pairs(plan.same_person)
    known = set(table.frame["patient_id"].astype(str))
    if pairs and not any(a in known or b in known for a, b in pairs):
        raise ValueError(
            f"--same-person must list ids of {table.name!r}, but none of the {len(pairs)} pairs in "
            f"{plan.same_person} names one (first: {', '.join(pairs[0])}; the table has "
            f"{sorted(known)[0]!r}); write the ids as the table does"
        )
    return [*pairs_of(table), *pairs]
