"""All pairs of images of a test set: their cosines, ROC curves, and nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from metrics.bootstrap import PatientBootstrap, percentile_interval
from metrics.roc import Roc
from metrics.score import Score

ATTACKERS = ("static", "retrained", "cross")
"""Who attacks changed images, by what the verifier learns from: originals, what is released, or
both against each other."""
PREFIXES = ("image", "embedding", *ATTACKERS)
"""What is attacked: released images by the worst attacker, a classifier's own features, or
released images by one attacker."""
THRESHOLDS = 2048
"""Most genuine scores that the histograms per patient tell apart; more are thinned to this many."""
BLOCK = 512
"""Images compared with all others at once."""
DIGITS = 9
"""Decimals of a cosine: float64 products of equal vectors differ beyond them, so ties stay ties."""


@dataclass(frozen=True)
class Linkage:
    """All pairs of images of a test set, by patient. Pairs in different parts are not compared.

    With a `gallery` the images are probes, and a pair is a probe beside another row of the gallery:
    released images against originals. Pairs are ordered then, since image i released against
    original j is not image j released against original i, and no image meets its own original.

    Cosines of all pairs come from blocks of one matrix product. The value of a metric is exact. Its
    replicates weigh a genuine pair of patient p by w_p and an impostor pair of p and q by w_p w_q,
    taken to first order (Hájek): w_p w_q ≈ 1 + (w_p - 1) + (w_q - 1), so the impostor histogram of
    a replicate is H0 + sum_p (w_p - 1) h_p, with h_p that of the impostor pairs with p. Histograms
    are cut at genuine scores, where alone the ROC curve can bend; beyond 2048 distinct genuine
    scores at as many quantiles of them.

    Raises:
        ValueError: lengths differ, an embedding is not finite, or the prefix is unknown.
    """

    prefix: str
    embeddings: np.ndarray
    """`(n, width)`; of the probes, where there is a gallery."""
    patients: np.ndarray
    """Codes `(n,)` in 0 … patients - 1."""
    parts: np.ndarray
    """Part `(n,)` of the k folds an image belongs to."""
    bootstrap: PatientBootstrap
    gallery: np.ndarray | None = None
    """`(n, width)` of the same images as the other side knows them; None compares the images among
    themselves."""

    def __post_init__(self) -> None:
        if self.prefix not in PREFIXES:
            raise ValueError(
                f"prefix must be one of {', '.join(PREFIXES)}, but got {self.prefix!r}"
            )
        lengths = {len(self.embeddings), len(self.patients), len(self.parts)}
        if len(lengths) != 1:
            raise ValueError(
                "every image must have an embedding, a patient and a part, but their numbers are "
                f"{len(self.embeddings)}, {len(self.patients)} and {len(self.parts)}"
            )
        if len(self.patients) and not 0 <= self.patients.min() <= self.patients.max() < (
            self.bootstrap.patients
        ):
            raise ValueError(
                f"patient codes must lie in 0 … {self.bootstrap.patients - 1}, as many as the "
                f"bootstrap weighs, but got {self.patients.min()} … {self.patients.max()}"
            )
        if self.gallery is not None and self.gallery.shape != self.embeddings.shape:
            raise ValueError(
                "every probe must have its row of the gallery, but their shapes are "
                f"{self.embeddings.shape} and {self.gallery.shape}"
            )
        for side in (self.embeddings, self.gallery):
            if side is None:
                continue
            wrong = np.flatnonzero(~np.isfinite(side).all(axis=1))
            if len(wrong):
                raise ValueError(
                    f"embeddings must be finite, but {len(wrong)} are not (first at row {wrong[0]})"
                )

    @cached_property
    def units(self) -> np.ndarray:
        """Embeddings `(n, width)` float64 at length one; a zero vector stays, alike to nothing."""
        return _units(self.embeddings)

    @cached_property
    def known(self) -> np.ndarray:
        """The other side of every pair `(n, width)` at length one."""
        return self.units if self.gallery is None else _units(self.gallery)

    @property
    def directions(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Both sides of a pair; ordered pairs are met in either direction."""
        there = (self.units, self.known)
        return (there,) if self.gallery is None else (there, there[::-1])

    @cached_property
    def genuine(self) -> tuple[np.ndarray, np.ndarray]:
        """Cosine and patient of every pair of two images of one patient in one part."""
        first, second = _same_patient(self.patients, self.parts)
        cosines = [np.einsum("ij,ij->i", x[first], y[second]) for x, y in self.directions]
        patients = np.tile(self.patients[first], len(self.directions))
        return np.round(np.concatenate(cosines), DIGITS), patients

    @cached_property
    def bins(self) -> _Bins:
        """Where the histograms are cut."""
        return _Bins.at(self.genuine[0])

    @cached_property
    def impostors(self) -> tuple[np.ndarray, np.ndarray]:
        """Impostor pairs in fine bins `(fine,)`, and those with a patient `(patients, coarse)`."""
        bins = self.bins
        everybody = np.zeros(bins.fine)
        by_patient = np.zeros((self.bootstrap.patients, bins.coarse), np.float32)
        for rows, columns in _blocks(self.parts):
            impostor = self.patients[rows][:, None] != self.patients[columns]
            for x, y in self.directions:
                place = bins.place(np.round(x[rows] @ y[columns].T, DIGITS))
                everybody += np.bincount(place[impostor], minlength=bins.fine)
                coarse = bins.coarsen[place]
                for row, kept, at in zip(rows, impostor, coarse, strict=True):
                    by_patient[self.patients[row]] += np.bincount(at[kept], minlength=bins.coarse)
        return everybody / 2, by_patient  # every pair was met from both of its ends

    @cached_property
    def exact(self) -> Roc:
        """The ROC curve of all pairs."""
        place = self.bins.place(self.genuine[0])
        genuine = np.bincount(place, minlength=self.bins.fine)
        return Roc(genuine[None], self.impostors[0][None])

    @cached_property
    def replicates(self) -> Roc:
        """The ROC curves of all replicates."""
        cosines, patients = self.genuine
        shape = (self.bootstrap.patients, self.bins.coarse)
        place = patients * shape[1] + self.bins.coarsen[self.bins.place(cosines)]
        genuine = np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape)
        by_patient = self.impostors[1]
        weights = self.bootstrap.matrix
        # sum_p h_p meets every pair twice, so H0 + sum_p (w_p - 1) h_p = sum_p w_p h_p - H0.
        once = by_patient.sum(axis=0, dtype=np.float64) / 2
        return Roc(weights @ genuine.astype(np.float32), weights @ by_patient - once)

    @cached_property
    def identified(self) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """Probes recognised and probes, per patient `(patients,)`, and the size of each gallery."""
        hits, probes = np.zeros(self.bootstrap.patients), np.zeros(self.bootstrap.patients)
        sizes = []
        for part in np.unique(self.parts):
            rows = np.flatnonzero(self.parts == part)
            names, first = np.unique(self.patients[rows], return_index=True)
            gallery, others = rows[first], np.delete(rows, first)
            sizes.append(len(gallery))
            for start in range(0, len(others), BLOCK):
                block = others[start : start + BLOCK]
                cosines = np.round(self.units[block] @ self.known[gallery].T, DIGITS)
                nearest = cosines == cosines.max(axis=1, keepdims=True)
                own = np.searchsorted(names, self.patients[block])
                hit = nearest[np.arange(len(block)), own] / nearest.sum(axis=1)
                np.add.at(hits, self.patients[block], hit)
                np.add.at(probes, self.patients[block], 1)
        return hits, probes, sizes

    def verification(self, metric: str, measure: Callable[[Roc], np.ndarray]) -> Score:
        """The score of a statistic of the ROC curve."""
        pairs = (len(self.genuine[0]), int(self.impostors[0].sum()))
        sides = "" if self.gallery is None else " of a released image and another one's original"
        note = f"{pairs[0]} genuine and {pairs[1]} impostor pairs{sides}"
        return self.as_score(metric, measure(self.exact)[0], measure(self.replicates), note)

    def as_score(self, metric: str, value: float, replicates: np.ndarray, note: str) -> Score:
        """A score over the patients: positives have a genuine pair, negatives an impostor pair."""
        positives = len(np.unique(self.genuine[1]))
        negatives = int((self.impostors[1].sum(axis=1) > 0).sum())
        if not positives:
            value, note = np.nan, "no patient has two images in one part"
        elif not negatives:
            value, note = np.nan, "no two patients share a part"
        low, high = percentile_interval(replicates)
        return Score(
            metric=f"{self.prefix}_reid_{metric}",
            value=float(value),
            n=len(np.unique(self.patients)),
            positives=positives,
            negatives=negatives,
            low=float(low) if np.isfinite(value) else np.nan,
            high=float(high) if np.isfinite(value) else np.nan,
            note=note,
        )


@dataclass(frozen=True)
class _Bins:
    """Cuts of a score: bin 2k lies between cuts k - 1 and k, bin 2k + 1 on cut k.

    `cuts` are all distinct genuine scores, and `coarsen` takes one of their `fine` bins to one of
    the `coarse` bins, which are cut at no more than 2048 of them.
    """

    cuts: np.ndarray
    coarsen: np.ndarray
    coarse: int

    @property
    def fine(self) -> int:
        """Number of fine bins."""
        return 2 * len(self.cuts) + 1

    @classmethod
    def at(cls, genuine: np.ndarray) -> _Bins:
        """Bins cut at genuine scores `(pairs,)`."""
        cuts = np.unique(genuine)
        kept = np.linspace(0, len(cuts) - 1, min(len(cuts), THRESHOLDS)).round()
        # On cut k is k, between cuts k - 1 and k is k - 1/2.
        where = np.arange(2 * len(cuts) + 1) / 2 - 0.5
        coarsen = np.searchsorted(kept, where, "left") + np.searchsorted(kept, where, "right")
        return cls(cuts, coarsen, 2 * len(kept) + 1)

    def place(self, scores: np.ndarray) -> np.ndarray:
        """The fine bin of each score, in the same shape."""
        left = np.searchsorted(self.cuts, scores, "left")
        padded = np.append(self.cuts, np.nan)
        place: np.ndarray = 2 * left + (padded[left] == scores)
        return place


def _units(embeddings: np.ndarray) -> np.ndarray:
    x = embeddings.astype(np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    unit: np.ndarray = x / np.where(length > 0, length, 1)
    return unit


def _same_patient(patients: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the first and second image of every pair within a patient and part."""
    order = np.lexsort((patients, parts))
    changed = (np.diff(patients[order]) != 0) | (np.diff(parts[order]) != 0)
    first, second = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for rows in np.split(order, np.flatnonzero(changed) + 1):
        i, j = np.triu_indices(len(rows), 1)
        first.append(rows[i])
        second.append(rows[j])
    return np.concatenate(first), np.concatenate(second)


def _blocks(parts: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of a block, and the rows of its part that it is compared with."""
    for part in np.unique(parts):
        columns = np.flatnonzero(parts == part)
        for start in range(0, len(columns), BLOCK):
            yield columns[start : start + BLOCK], columns
