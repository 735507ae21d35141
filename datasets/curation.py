"""Sub-sampling a table so that groups of people have the positive rates of a published study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

CLOSE = 1e-9
"""Largest difference of a share at which the fit has arrived."""
SWEEPS = 5_000
ROUNDED = 0.002
"""How far shares and rates printed with two or four digits may contradict each other."""
TOLERANCE = 0.003
"""How far a rate may lie from the published one, as a share: 0.3 percentage points."""


@dataclass(frozen=True)
class Group:
    """A group as a study describes it: its share of all images, and its share of positives."""

    name: str
    share: float
    rate: float


@dataclass(frozen=True)
class Curation:
    """Shares and positive rates of the groups of several attributes, for one finding.

    Raises:
        ValueError: shares do not add up to 1, or attributes imply different overall rates.
    """

    finding: str
    attributes: Mapping[str, tuple[Group, ...]]

    def __post_init__(self) -> None:
        for name, groups in self.attributes.items():
            if abs((whole := sum(g.share for g in groups)) - 1) > ROUNDED:
                raise ValueError(f"shares of {name} must add up to 1, but got {whole:.4f}")
        rates = {n: sum(g.share * g.rate for g in gs) for n, gs in self.attributes.items()}
        if max(rates.values()) - min(rates.values()) > ROUNDED:
            told = ", ".join(f"{name} {rate:.4f}" for name, rate in rates.items())
            raise ValueError(f"attributes must imply one overall positive rate, but got {told}")

    def margins(self) -> list[np.ndarray]:
        """Per attribute, shares of all images `(groups, 2)`: without and with the finding.

        Printed figures are rounded; they are scaled so that all attributes agree on the overall
        rate.
        """
        made = []
        for groups in self.attributes.values():
            share = np.array([g.share for g in groups])
            made.append(np.stack([share, share * [g.rate for g in groups]], axis=1) / share.sum())
        overall = np.mean([margin[:, 1].sum() for margin in made])
        for margin in made:
            margin[:, 1] *= overall / margin[:, 1].sum()
            margin[:, 0] -= margin[:, 1]
        return made


@dataclass(frozen=True)
class Curated:
    """What a curation keeps."""

    known: np.ndarray
    """Rows `(n,)` whose groups and label are all known; the others are never kept."""
    kept: np.ndarray
    """Rows `(n,)` that were drawn."""
    told: str
    """The sentence on what was kept and which rates were reached."""


def curate(
    groups: pd.DataFrame, labels: pd.Series, curation: Curation, *, seed: int = 0
) -> Curated:
    """A seeded sub-sample in which every group has its published share and positive rate.

    `groups` has a column of group names per attribute, `labels` is 1, 0 or NaN, both `(n,)`. The
    joint table of all attributes and the label is fitted to the published margins, which keeps its
    odds ratios as they were; then as many images are kept as the scarcest of its cells permits.

    Source: Deming, Stephan, Ann. Math. Stat. 1940;11:427, iterative proportional fitting.

    Raises:
        ValueError: the rates cannot be met by leaving images out.
    """
    names = {a: [g.name for g in gs] for a, gs in curation.attributes.items()}
    codes = [
        pd.Index(listed).get_indexer(pd.Index(groups[a], dtype=str)) for a, listed in names.items()
    ]
    present = labels.to_numpy(dtype=np.float64)
    known = np.isfinite(present) & np.all([code >= 0 for code in codes], axis=0)
    shape = (*map(len, names.values()), 2)
    if not known.any():
        raise _impossible(curation, "no image has a known label and group of each")
    places = [np.where(known, code, 0) for code in (*codes, np.nan_to_num(present).astype(int))]
    cell = np.ravel_multi_index(tuple(places), shape)
    held = np.bincount(cell[known], minlength=np.prod(shape)).reshape(shape)
    wanted = _fitted(held, curation)
    rng = np.random.default_rng([seed, 0xC0DE])
    kept = np.zeros(len(labels), dtype=bool)
    for number, size in enumerate(wanted.ravel()):
        rows = np.flatnonzero(known & (cell == number))
        kept[rng.permutation(rows)[:size]] = True
    return Curated(known, kept, _told(wanted, int(known.sum()), curation))


def _fitted(held: np.ndarray, curation: Curation) -> np.ndarray:
    """How many images of each cell to keep, at most those that are there."""
    share = held / held.sum()
    margins = curation.margins()
    last = share.ndim - 1
    for _ in range(SWEEPS):
        furthest = 0.0
        for axis, margin in enumerate(margins):
            others = tuple(a for a in range(last) if a != axis)
            now = share.sum(axis=others)
            empty = (now == 0) & (margin > 0)
            if empty.any():
                raise _impossible(curation, _who(curation, axis, np.argwhere(empty)[0]))
            furthest = max(furthest, float(np.abs(now - margin).max()))
            factor = np.divide(margin, now, out=np.zeros_like(margin), where=now > 0)
            share = share * np.expand_dims(factor, others)
        if furthest < CLOSE:
            break
    else:
        raise _impossible(curation, "groups overlap so that their rates contradict each other")
    size = np.divide(held, share, out=np.full(held.shape, np.inf), where=share > 0).min()
    wanted = np.minimum(np.rint(share * size), held).astype(np.int64)
    for axis, groups in enumerate(curation.attributes.values()):
        for group, rate in zip(groups, _rates(wanted, axis), strict=True):
            if not abs(rate - group.rate) <= TOLERANCE:
                raise _impossible(
                    curation,
                    f"of the {int(size)} images that could be kept, {group.name} would have "
                    f"{rate:.2%} instead of {group.rate:.2%}, for want of images",
                )
    return wanted


def _rates(counts: np.ndarray, axis: int) -> np.ndarray:
    """Positive rates of the groups of one attribute; NaN for one without images."""
    others = tuple(a for a in range(counts.ndim - 1) if a != axis)
    absent, present = counts.sum(axis=others).T
    whole = absent + present
    return np.divide(present, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _who(curation: Curation, axis: int, place: np.ndarray) -> str:
    group = [*curation.attributes.values()][axis][int(place[0])]
    return f"no image of {group.name} is there {'with' if place[1] else 'without'} it"


def _told(wanted: np.ndarray, known: int, curation: Curation) -> str:
    parts = []
    for axis, (attribute, groups) in enumerate(curation.attributes.items()):
        sizes = wanted.sum(axis=tuple(a for a in range(wanted.ndim) if a != axis))
        rates = _rates(wanted, axis)
        listed = ", ".join(
            f"{group.name} {rate:.2%} of {size} images"
            for group, rate, size in zip(groups, rates, sizes, strict=True)
        )
        parts.append(f"{attribute}: {listed}")
    return (
        f"{int(wanted.sum())} of {known} images with known groups were kept, so that "
        f"{curation.finding} is present in {'; '.join(parts)}"
    )


def _impossible(curation: Curation, why: str) -> ValueError:
    return ValueError(
        f"positive rates of {curation.finding} must be reached by leaving images out, but that is "
        f"impossible here: {why}; use more images, or other policies of labels and views"
    )
