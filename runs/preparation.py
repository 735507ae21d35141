"""From a plan to its data: table, folds, pixels, and the key that names the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd

from datasets.division import Divided, divide, divide_in
from datasets.folds import digest, split_digest
from datasets.images import cache_dir, open_images, prepare
from datasets.overlap import Overlap, between_folds, copies, told
from datasets.people import listed_pairs, read_pairs
from datasets.split import Folds, Split
from methods.base import Task
from methods.fit import Incompatible
from options import plain
from registry import UnknownName, unknown
from runs.plan import Plan
from runs.sources import sources
from tracking.pseudonyms import Pseudonyms
from tracking.rundir import SPLIT, RunDirectory


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

    @property
    def directory(self) -> RunDirectory:
        """Where the run is stored."""
        plan = self.plan
        name = plan.method.registered_name
        return RunDirectory(plan.output / plan.dataset.registered_name / name / self.key)

    @property
    def tables(self) -> list[pd.DataFrame]:
        """The tables of all folds, with raw ids."""
        return [fold.frame for part in self.folds for fold in part.all()]


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


def same_data(plan: Plan) -> tuple[object, ...]:
    """What `Loaded` depends on; plans for which it is equal can share one."""
    return (
        plan.dataset, plan.data_root, plan.findings, plan.attributes, plan.folds,
        plan.seed if plan.folds else 0, plan.split, plan.limit_patients,
        plan.method.image_size, plan.on_bad_image, plan.same_person,
    )  # fmt: skip


def load_table(plan: Plan) -> Split:
    """The table of the data set with the findings and attributes that were asked for.

    Raises:
        ValueError, FileNotFoundError, UnknownName: the data or a name breaks a rule.
    """
    root = plan.data_root or cache_dir() / "recipes"
    if plan.data_root is None:
        root.mkdir(parents=True, exist_ok=True)
    try:
        table = plan.dataset.table(root)
    except UnknownName:
        raise
    except KeyError as error:
        raise ValueError(
            f"data set {plan.dataset.registered_name!r} could not be read: a column or name is "
            f"missing: {error}"
        ) from error
    findings = plan.findings or table.findings
    attributes = plan.attributes or table.attributes
    for kind, asked, known in (
        ("finding", findings, table.findings),
        ("attribute", attributes, table.attributes),
    ):
        for name in asked:
            if name not in known:
                raise unknown(f"{kind} of {plan.dataset.registered_name}", name, known)
    return replace(table, findings=findings, attributes=attributes)


def split(plan: Plan, table: Split) -> Divided:
    """The rows of the table that the run uses, and its folds: one set, or k of them.

    Only the k folds depend on the seed of the run: otherwise all seeds test the same patients.
    """
    if plan.folds:
        return divide_in(table, plan.folds, limit=plan.limit_patients, seed=plan.seed)
    return divide(table, plan.split, limit=plan.limit_patients)


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
    size = plan.method.image_size
    kept = prepare(used, size, on_bad=plan.on_bad_image, progress=progress)
    if len(kept) < len(used):
        folds = tuple(_keep(f, set(kept.frame["image_id"])) for f in folds)
    return Loaded(
        table=table,
        folds=folds,
        dropped=dict(kept.dropped),
        overlap=between_folds(folds, kept, copies(kept, size=size), persons),
        data_digest=_short(digest(kept.frame), open_images(kept, size).digest()),
        split_digest=split_digest(folds),
        notes=divided.notes,
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
        _check_unseen(plan, plan.from_run, split(plan, table).folds)
    data = loaded or load_data(plan, table, progress)
    if not plan.allow_leakage:
        data.overlap.refuse(table.name)
    leakage = data.overlap.counts
    for part in data.folds:
        plan.method.check(part)
    source_digest = _short(*(p.read_text() for p in sources(plan)))
    test = sorted({p for f in data.folds for p in f.test.patients})
    notes = [*table.notes, *data.notes]
    if any(f.audit_reuses_train for f in data.folds):
        reason = "k-fold leaves no audit fold" if plan.folds else "fewer than 100 audit patients"
        notes.append(f"the attacker is trained on the training patients: {reason}")
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
        test_digest=_short(data.data_digest, *test),
        source_digest=source_digest,
        key=_short(
            json.dumps(plan.identity(), sort_keys=True),
            data.data_digest,
            data.split_digest,
            source_digest,
            *([json.dumps([leakage, plan.allow_leakage])] if leakage else []),
        ),
        notes=tuple(notes),
    )


def _keep(folds: Folds, images: set[str]) -> Folds:
    """The folds without the images that could not be read."""
    kept = {f.name: f.where(f.frame["image_id"].isin(images).to_numpy()) for f in folds.all()}
    return Folds(**kept)


def _same_person(plan: Plan, table: Split) -> list[tuple[str, str]]:
    """Pairs of ids of one person that lie with the data or that the user lists.

    A list of which no id is in the table was written for other data, or with other ids.
    """
    if plan.same_person is None:
        return listed_pairs(table.root)
    pairs = read_pairs(plan.same_person)
    known = set(table.frame["patient_id"].astype(str))
    if pairs and not any(a in known or b in known for a, b in pairs):
        raise ValueError(
            f"--same-person must list ids of {table.name!r}, but none of the {len(pairs)} pairs in "
            f"{plan.same_person} names one (first: {', '.join(pairs[0])}; the table has "
            f"{sorted(known)[0]!r}); write the ids as the table does"
        )
    return [*listed_pairs(table.root), *pairs]


def _check_unseen(plan: Plan, trained: RunDirectory, folds: tuple[Folds, ...]) -> None:
    """Refuse to test stored weights on patients that they were trained or chosen on."""
    earlier = trained.record()
    # Another simulated cohort has other people under the same ids.
    redrawn = plan.dataset.kind == "simulated" and earlier.data_fields != plain(plan.dataset)
    if earlier.dataset != plan.dataset.registered_name or redrawn:
        return
    store = trained.path.parents[2]
    names = Pseudonyms(store, earlier.dataset)
    listed = pd.read_csv(trained.path / SPLIT, dtype=str)
    for part, parted in enumerate(folds):
        used = listed[(listed["part"] == str(part)) & listed["fold"].isin(("train", "val"))]
        tested = names.of(parted.test.frame["patient_id"])
        shared = set(tested) & set(used["patient_id"])
        if shared:
            raise ValueError(
                "--from-run must be tested on patients that the run did not train on, but "
                f"{len(shared)} of {tested.nunique()} test patients of part {part + 1} are among "
                f"them (pseudonym {sorted(shared)[0]}); use the same split"
            )


def _short(*texts: str) -> str:
    whole = hashlib.sha256()
    for text in texts:
        whole.update(hashlib.sha256(text.encode()).digest())
    return whole.hexdigest()[:16]
