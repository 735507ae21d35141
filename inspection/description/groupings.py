"""The ways in which the images of a table fall into groups: attributes, pairs of them, folds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from datasets.attributes import UNKNOWN
from datasets.split import Split
from metrics.intersections import AND
from metrics.score import ALL

FOLD = "fold"
EVERYBODY = ""
"""Name of the grouping that has one group."""


@dataclass(frozen=True, eq=False)
class Grouping:
    """Groups `0..k-1` of the images, `codes` `(n,)`; -1 is in none."""

    name: str
    groups: tuple[str, ...]
    codes: np.ndarray
    of: tuple[str, ...]
    """The attributes that it is made of."""

    @property
    def known(self) -> list[int]:
        """Groups other than those of people whose attribute is not recorded."""
        return [i for i, g in enumerate(self.groups) if UNKNOWN not in g.split(AND)]

    def parts(self, group: str) -> tuple[str, ...]:
        """A joint group's place in each of its attributes."""
        return tuple(group.split(AND)) if len(self.of) > 1 else (group,)


def everybody(table: Split) -> Grouping:
    """One group of all images."""
    return Grouping(EVERYBODY, (ALL,), np.zeros(len(table), np.int64), ())


def attribute(table: Split, name: str) -> Grouping:
    """The groups of one attribute in their frozen order."""
    groups = table.groups_of(name)
    place = {group: i for i, group in enumerate(groups)}
    codes = table.frame[name].astype(str).map(place).to_numpy(dtype=np.int64)
    return Grouping(name, groups, codes, (name,))


def joint(parts: Sequence[Grouping]) -> Grouping:
    """Every combination of the groups of several attributes that are not empty by themselves."""
    groups = tuple(AND.join(names) for names in product(*(p.groups for p in parts)))
    codes = np.zeros(len(parts[0].codes), np.int64)
    for part in parts:
        codes = codes * len(part.groups) + part.codes
    attributes = tuple(name for p in parts for name in p.of)
    return Grouping(AND.join(p.name for p in parts), groups, codes, attributes)


def pairs(single: Sequence[Grouping], also: Iterable[Sequence[str]] = ()) -> list[Grouping]:
    """All pairs of attributes, and the combinations of more that a data set names."""
    by_name = {g.name: g for g in single}
    wanted = [tuple(g.name for g in pair) for pair in combinations(single, 2)]
    wanted += [tuple(names) for names in also if len(names) > 2 and {*names} <= {*by_name}]
    return [joint([by_name[name] for name in names]) for names in dict.fromkeys(wanted)]


def folds(fold: np.ndarray) -> Grouping:
    """The folds of a run, `fold` `(n,)` by name, "" for an image in none."""
    order = ("train", "val", "audit", "test")
    there = tuple(name for name in order if (fold == name).any())
    place = {name: i for i, name in enumerate(there)}
    codes = np.array([place.get(str(name), -1) for name in fold], dtype=np.int64)
    return Grouping(FOLD, there, codes, (FOLD,))
