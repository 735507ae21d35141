"""Data sets made of several: `--dataset phantom+phantom-ood`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from datasets.align import aligned, merged_order, namespaced
from datasets.base import FOLD, ChestXrayDataset
from datasets.folds import SOURCE
from datasets.split import IMAGE_ROOT, TRUE, Folds, Split
from registry import DATASETS, unknown

JOIN = "+"
LARGEST = "largest"


@dataclass(frozen=True)
class Union(ChestXrayDataset):
    """Several data sets as one table, told apart by the attribute `source`.

    Findings and attributes are joined by name: a finding that a part lacks is blank on its rows,
    never another one, and an attribute that it lacks is "Unknown". Patients and images are called
    "part/id", since ids of two data sets have nothing to do with each other. Each part keeps the
    folds that it has alone.

    License: those of all parts.
    Access: that of all parts.
    Raises:
        ValueError: images are mixed with embeddings, or `downsample` names no part.
    """

    parts: tuple[ChestXrayDataset, ...] = field(default=(), metadata={"parts": True})
    roots: tuple[tuple[str, Path], ...] = field(default=(), metadata={"option": False})
    """Where parts lie, by name; the others need no folder."""
    downsample: str = ""
    """The part, or "largest", of which training patients are drawn until it has no more training
    images than the largest other part; empty uses all."""

    names: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(held := {part.holds for part in self.parts}) > 1:
            raise ValueError(
                f"the parts of a union must hold the same, but {self.registered_name!r} joins "
                f"{' and '.join(sorted(held))}; embed the images with the same encoder first"
            )
        if self.parts:
            check_kinds({part.registered_name: part.kind for part in self.parts})
            # Parts whose files say what they are: past what their classes say.
            for name, value in _facts(self.names, self.parts).items():
                object.__setattr__(self, name, value)
        if self.downsample not in ("", LARGEST, *self.names):
            raise unknown("part to be down-sampled", self.downsample, (LARGEST, *self.names))

    @property
    def holds(self) -> str:
        """What all parts hold."""
        return self.parts[0].holds

    @property
    def variant(self) -> tuple[str, ...]:
        """That of each part, under its name."""
        return tuple(f"{p.registered_name}.{told}" for p in self.parts for told in p.variant)

    def table(self, root: Path) -> Split:
        """The tables of all parts as one; `root` is for those that need no folder."""
        roots = dict(self.roots)
        tables = {}
        for part in self.parts:
            name = part.registered_name
            table = part.table(roots.get(name, root))
            if part.default_split != "official":
                # By the part's own rule, which its column does not decide.
                table = table.with_frame(table.frame.drop(columns=FOLD, errors="ignore"))
            tables[name] = table
        return joined(self.registered_name, tables, root)

    def unlearnable(self, image_size: int) -> tuple[str, ...]:
        """What any part says to be unlearnable."""
        return _distinct(f for part in self.parts for f in part.unlearnable(image_size))


@cache
def dataset_class(name: str) -> type[ChestXrayDataset]:
    """The class registered as `name`, or one for the union "a+b".

    Raises:
        UnknownName: a part is not registered.
        ValueError: a part stands twice, or real and simulated ones are mixed.
    """
    names = parts_of(name)
    classes: list[type[ChestXrayDataset]] = [DATASETS.get(part) for part in names]
    if len(classes) == 1:
        return classes[0]
    if len(set(names)) < len(names):
        raise ValueError(f"a union must name each data set once, but got {name!r}")
    check_kinds(known_kinds(names))
    return _joined_class(names, classes)


def known_kinds(names: Iterable[str]) -> dict[str, str]:
    """The kinds of data sets, or unions, by name; without those whose files must say it first."""
    classes = {name: [DATASETS.get(part) for part in parts_of(name)] for name in names}
    return {
        name: parts[0].kind
        for name, parts in classes.items()
        if all(part.at is ChestXrayDataset.at for part in parts)
    }


def check_kinds(kinds: Mapping[str, str]) -> None:
    """Nothing where all data sets, given by name, are of one kind.

    Raises:
        ValueError: some are real and some are simulated.
    """
    if len(set(kinds.values())) > 1:
        told = ", ".join(f"{name} is {kind}" for name, kind in kinds.items())
        raise ValueError(f"real and simulated data must not be mixed, but {told}")


def parts_of(name: str) -> tuple[str, ...]:
    """The names of the parts of "a+b"; of a plain name that name."""
    return tuple(part.strip() for part in name.split(JOIN))


def parts_in(dataset: ChestXrayDataset) -> tuple[ChestXrayDataset, ...]:
    """The parts of a union; of another data set itself."""
    return dataset.parts if isinstance(dataset, Union) else (dataset,)


def joined(name: str, tables: Mapping[str, Split], root: Path) -> Split:
    """The rows of several tables under common columns, each under the name of its part.

    Raises:
        ValueError: a part has a finding or attribute called "source".
    """
    for part, table in tables.items():
        if SOURCE in (*table.findings, *table.attributes):
            raise ValueError(
                f"{SOURCE!r} must be free for the name of the part, but {part!r} has a finding or "
                "attribute of that name"
            )
    findings = _distinct(f for table in tables.values() for f in table.findings)
    attributes = _distinct(a for table in tables.values() for a in table.attributes)
    truth = all(table.has_truth for table in tables.values())
    frames = []
    for part, table in tables.items():
        own = aligned(namespaced(table, part), findings, attributes).frame
        # Absolute, since the rows of one table lie below several folders.
        below = own[IMAGE_ROOT].replace("", np.nan) if IMAGE_ROOT in own else pd.Series(np.nan)
        where = below.reindex(own.index).astype(object).fillna(str(table.root.resolve()))
        frames.append(own.assign(**{IMAGE_ROOT: where}))
    groups = _groups(tables, attributes)
    frames = [frame.assign(**{a: frame[a].astype(str) for a in attributes}) for frame in frames]
    frame = pd.concat(frames, ignore_index=True)
    for attribute, order in groups.items():
        frame[attribute] = pd.Categorical(frame[attribute], categories=list(order))
    frame[SOURCE] = pd.Categorical(frame[SOURCE], categories=list(tables))
    if FOLD in frame:
        frame[FOLD] = frame[FOLD].astype(object).fillna("")
    if not truth:
        frame = frame.drop(columns=[c for c in frame if str(c).startswith(TRUE)])
    dropped: dict[str, int] = {}
    for part, table in tables.items():
        dropped |= {f"{part}: {reason}": rows for reason, rows in table.dropped.items()}
    notes = tuple(f"{part}: {note}" for part, table in tables.items() for note in table.notes)
    return Split(name, frame, root, findings, (*attributes, SOURCE), dropped, notes)


def downsampled(folds: Folds, which: str) -> Folds:
    """The folds with fewer training patients of one part; see `Union.downsample`.

    The draw depends on the table alone, so that all methods and seeds train on the same patients.

    Raises:
        ValueError: the part has no more training images than the others.
    """
    train = folds.train.frame
    images = train[SOURCE].value_counts()
    part = str(images.idxmax()) if which == LARGEST else which
    wanted = int(images.drop(part).max())
    if images[part] <= wanted:
        if which == LARGEST:
            return folds
        raise ValueError(
            f"a part that is down-sampled must have more training images than the others, but "
            f"{part!r} has {images[part]} and the largest other part {wanted}; name the other one, "
            "or leave downsample out"
        )
    counts = train.loc[train[SOURCE] == part, "patient_id"].value_counts().sort_index()
    order = np.random.default_rng([0, 0xD095]).permutation(len(counts))
    kept = counts.index[order][np.cumsum(counts.to_numpy()[order]) <= wanted]
    inside = ((train[SOURCE] != part) | train["patient_id"].isin(kept)).to_numpy()
    fewer = folds.train.where(inside)
    audit = fewer.with_frame(fewer.frame, "audit") if folds.audit_reuses_train else folds.audit
    return replace(folds, train=fewer, audit=audit)


def _groups(tables: Mapping[str, Split], attributes: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The frozen groups of each attribute over all tables; those who lack it are "Unknown"."""
    orders = {}
    for attribute in attributes:
        having = [t for t in tables.values() if attribute in t.attributes]
        last = [("Unknown",)] if len(having) < len(tables) else []
        orders[attribute] = merged_order(*(t.groups_of(attribute) for t in having), *last)
    return orders


def _joined_class(
    names: tuple[str, ...], classes: list[type[ChestXrayDataset]]
) -> type[ChestXrayDataset]:
    """A union whose facts are those of its parts together."""
    facts: dict[str, Any] = _facts(names, classes) | {
        "__doc__": f"{', '.join(names)} together.",
        "__module__": __name__,
        "names": names,
        "version": " ".join(f"{n}:{c.version}" for n, c in zip(names, classes, strict=True)),
        "needs_root": any(c.needs_root for c in classes),
        "resampling_fields": tuple(
            f"{n}.{f}" for n, c in zip(names, classes, strict=True) for f in c.resampling_fields
        ),
        "default_split": (
            "official" if any(c.default_split == "official" for c in classes) else "patient"
        ),
    }
    made: type[ChestXrayDataset] = type("Union", (Union,), facts)
    made.registered_name = JOIN.join(names)
    return made


def _facts(
    names: tuple[str, ...], parts: Sequence[type[ChestXrayDataset] | ChestXrayDataset]
) -> dict[str, Any]:
    """What parts imply together that the files of a part may decide."""
    contrasts: dict[str, tuple[str, str]] = {SOURCE: (names[1], names[0])}
    for part in reversed(parts):
        contrasts |= part.primary_contrasts
    return {
        "kind": parts[0].kind,
        "terms": "restricted" if any(p.terms != "open" for p in parts) else "open",
        "reidentification_allowed": all(p.reidentification_allowed for p in parts),
        "primary_contrasts": contrasts,
        "intersections": _distinct(i for p in parts for i in p.intersections),
    }


def _distinct(values: Any) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))
