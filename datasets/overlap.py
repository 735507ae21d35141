"""Leakage: persons and pictures that stand in more than one fold, or in two data sets.

`copies` compares the pictures of a table once, whatever its folds; `between_folds` and
`between_sets` say which of them, and which persons, are on both sides.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from filelock import FileLock

from datasets import near_duplicates
from datasets.base import EMBEDDINGS, IMAGES
from datasets.contents import open_contents
from datasets.images import Images, cache_dir
from datasets.near_duplicates import Fingerprints, fingerprints, joined
from datasets.people import unite
from datasets.sources import hexdigest
from datasets.split import Folds, Split
from datasets.vectors import Vectors, row_digests

PATIENT, PERSON = "patient", "same person under two ids"
SAME, NEAR = "same image", "near-duplicate image"
KINDS = (PATIENT, PERSON, SAME, NEAR)
NAMED = 5
"""Pairs that a refusal names."""
VERSION = 1
"""Raised when the same pixels give other copies; part of the name of what is kept."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Leak:
    """Two images on two sides that tell of each other: of one person, or of one picture."""

    kind: str
    image_a: str
    image_b: str
    fold_a: str
    fold_b: str
    patient_a: str
    patient_b: str
    distance: float
    """1 - correlation of the two pictures, 0 for equal ones; NaN where persons are compared."""

    def __str__(self) -> str:
        a, b = (
            f"{image!r} of patient {patient!r} ({fold})"
            for image, patient, fold in (
                (self.image_a, self.patient_a, self.fold_a),
                (self.image_b, self.patient_b, self.fold_b),
            )
        )
        far = f", distance {self.distance:.3f}" if self.kind == NEAR else ""
        return f"{self.kind}: {a} and {b}{far}"


@dataclass(frozen=True)
class Overlap:
    """All leakage that was found, by kind and then in the order of the table.

    A person or picture that stands k times on several sides makes up to k - 1 pairs, not all k^2:
    its first image with every one that lies elsewhere.
    """

    leaks: tuple[Leak, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Pairs of each kind that was found."""
        found = Counter(leak.kind for leak in self.leaks)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def refuse(self, what: str) -> None:
        """Nothing where nothing was found.

        Raises:
            ValueError: something was; the message names the first five pairs of `what`.
        """
        if self.leaks:
            raise ValueError(
                f"no person and no picture of {what} must stand in two folds, but "
                f"{told(self.counts)} do: {'; '.join(map(str, self.leaks[:NAMED]))}"
                f"{'; …' if len(self.leaks) > NAMED else ''}; give each person one patient_id and "
                "list each picture once (datasets.people.as_persons unites ids and drops copies), "
                "or go on with --allow-leakage REASON, which stays visible on all results"
            )


@dataclass(frozen=True, eq=False)
class Copies:
    """Which of n images show the same picture."""

    picture: np.ndarray
    """int64 `(n,)`: images with equal numbers are equal pixel by pixel; blank ones differ."""
    near: np.ndarray
    """int64 `(k, 2)`: positions of near-duplicates of different patients, one of equal images."""
    distance: np.ndarray
    """float64 `(k,)`: 1 - correlation."""


def told(counts: Mapping[str, int]) -> str:
    """Counts by kind in words.

    >>> told({"same image": 2})
    '2 pairs (same image)'
    """
    return " and ".join(f"{n} pair{'s' if n > 1 else ''} ({kind})" for kind, n in counts.items())


def copies(*tables: Split, size: int, holds: str = IMAGES) -> Copies:
    """Equal and nearly equal pictures of the tables, whose images are counted one after the other.

    Of embeddings only equal ones are copies: which cosine would tell a copy depends on the encoder,
    and has not been measured.

    What was found is kept below the cache, under a digest of all pixels and patient ids. Patients
    of different tables are different persons.

    Raises:
        ValueError: an image is missing or unreadable.
    """
    opened = [open_contents(table, holds, size) for table in tables]
    patient = np.concatenate(
        [[f"{i}/{p}" for p in table.frame["patient_id"]] for i, table in enumerate(tables)]
    )
    name = hexdigest(VERSION, *(images.digest() for images in opened), *patient)
    kept = cache_dir() / "overlap" / f"{name}.npz"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(kept.with_suffix(".lock")):
        if kept.is_file():
            with np.load(kept, allow_pickle=False) as held:
                return Copies(held["picture"], held["near"], held["distance"])
        if holds == EMBEDDINGS:
            log.info("looking for copies among %d embeddings", len(patient))
            found = _equal([cast(Vectors, vectors) for vectors in opened])
        else:
            log.info("looking for copies among %d images at %d px", len(patient), size)
            prints = joined([fingerprints(cast(Images, images)) for images in opened])
            found = _compared(prints, patient)
        draft = kept.with_suffix(".part.npz")
        np.savez(draft, picture=found.picture, near=found.near, distance=found.distance)
        draft.replace(kept)
    return found


def between_folds(
    folds: Sequence[Folds], table: Split, found: Copies, same_person: Iterable[tuple[str, str]] = ()
) -> Overlap:
    """Leakage between the folds that a run makes of `table`, of all its parts, each pair once.

    `same_person` are pairs of patient ids that are one person. An audit fold that is the train fold
    by intention is no leakage.
    """
    pairs = list(same_person)
    leaks: dict[tuple[str, str, str], Leak] = {}
    for part in folds:
        sides = [part.train, part.val, part.test]
        sides += [] if part.audit_reuses_train else [part.audit]
        fold = {patient: side.name for side in sides for patient in side.patients}
        side_of = table.frame["patient_id"].astype(str).map(fold)
        for leak in _leaks(_rows(table, side_of.to_numpy(dtype=object)), found, pairs):
            leaks.setdefault((leak.kind, leak.image_a, leak.image_b), leak)
    return _sorted(leaks.values())


def between_sets(
    first: Split,
    second: Split,
    *,
    size: int,
    same_ids: bool = False,
    same_person: Iterable[tuple[str, str]] = (),
    holds: str = IMAGES,
) -> Overlap:
    """Leakage between two data sets, or between two lists of one.

    `same_ids` says that equal patient ids name one person, as in a train and a test list of one
    data set; ids of two data sets have nothing to do with each other. `same_person` lists pairs
    that are one person, an id of the first set before one of the second.

    Raises:
        ValueError: an image is missing or unreadable, or both sets have one name.
    """
    if first.name == second.name:
        raise ValueError(
            f"two sets of images must differ in name, but both are called {first.name!r}; name "
            "one of them otherwise with `with_frame(frame, name)`"
        )
    rows = pd.concat(
        [_rows(table, np.full(len(table), table.name, dtype=object)) for table in (first, second)],
        ignore_index=True,
    )
    pairs = list(same_person)
    if not same_ids:
        rows["person"] = rows["fold"] + "/" + rows["patient"]
        pairs = [(f"{first.name}/{a}", f"{second.name}/{b}") for a, b in pairs]
    return _sorted(_leaks(rows, copies(first, second, size=size, holds=holds), pairs))


def _equal(opened: Sequence[Vectors]) -> Copies:
    """The embeddings that are equal number by number."""
    digests = np.concatenate([row_digests(vectors) for vectors in opened])
    picture = pd.factorize(digests)[0].astype(np.int64)
    return Copies(picture, np.empty((0, 2), np.int64), np.empty(0))


def _compared(prints: Fingerprints, patient: np.ndarray) -> Copies:
    """The pictures of many images; of equal ones, the first stands for all."""
    alone = np.where(prints.blank, np.arange(len(prints)), -1)
    shown = pd.MultiIndex.from_arrays([prints.digests, alone])
    picture = pd.factorize(shown)[0].astype(np.int64)
    _, first = np.unique(picture, return_index=True)
    near, alike = near_duplicates.near_duplicates(prints.of(first), patient[first])
    return Copies(picture, first[near].reshape(-1, 2), 1 - alike.astype(np.float64))


def _rows(table: Split, fold: np.ndarray) -> pd.DataFrame:
    """One row per image, in order: `image`, `patient`, `person` and `fold`."""
    patient = table.frame["patient_id"].astype(str).to_numpy(dtype=object)
    image = table.frame["image_id"].astype(str).to_numpy(dtype=object)
    return pd.DataFrame({"image": image, "patient": patient, "person": patient, "fold": fold})


def _leaks(rows: pd.DataFrame, found: Copies, same_person: Sequence[tuple[str, str]]) -> list[Leak]:
    # Listed ids that have no image here may still join two that have.
    ids = [*rows["person"], *(name for pair in same_person for name in pair)]
    person = rows["person"].map(unite(ids, same_person))
    people = _elsewhere(pd.factorize(person)[0], rows["fold"])
    equal = _elsewhere(found.picture, rows["fold"])
    patient, fold = rows["person"].to_numpy(), rows["fold"].to_numpy()
    one_id = patient[people[:, 0]] == patient[people[:, 1]]
    crossing = fold[found.near[:, 0]] != fold[found.near[:, 1]]
    return [
        *_told_of(rows, PATIENT, people[one_id]),
        *_told_of(rows, PERSON, people[~one_id]),
        *_told_of(rows, SAME, equal, np.zeros(len(equal))),
        *_told_of(rows, NEAR, found.near[crossing], found.distance[crossing]),
    ]


def _elsewhere(code: np.ndarray, fold: pd.Series) -> np.ndarray:
    """Positions `(k, 2)`: the first row of each code, with each later row of it in another fold."""
    _, first, back = np.unique(code, return_index=True, return_inverse=True)
    head = first[back]
    side = fold.to_numpy()
    away = np.flatnonzero(side != side[head])
    return np.column_stack([head[away], away])


def _told_of(
    rows: pd.DataFrame, kind: str, pairs: np.ndarray, distance: np.ndarray | None = None
) -> list[Leak]:
    far = np.full(len(pairs), np.nan) if distance is None else distance
    image, patient, fold = (rows[name].to_numpy() for name in ("image", "patient", "fold"))
    return [
        Leak(kind, image[a], image[b], fold[a], fold[b], patient[a], patient[b], float(d))
        for (a, b), d in zip(pairs.tolist(), far, strict=True)
    ]


def _sorted(leaks: Iterable[Leak]) -> Overlap:
    return Overlap(tuple(sorted(leaks, key=lambda leak: KINDS.index(leak.kind))))
