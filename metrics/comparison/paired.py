"""A method minus ERM over the same patients and the same seeds, with seeds and patients apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metrics.comparison.power import detectable
from metrics.comparison.spread import freedom, half_width, p_value

DIRECTIONS = ("higher", "lower")
LEAST_DEFINED = 0.5
"""Share of the replicates that must be defined."""


@dataclass(frozen=True)
class Endpoint:
    """What is compared: a number's name, and whether `higher` or `lower` is better.

    Raises:
        ValueError: another direction.
    """

    name: str
    direction: str

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise ValueError(
                f"the direction must be one of {', '.join(DIRECTIONS)}, but got "
                f"{self.direction!r} ({self.name}); compare a signed contrast by its size"
            )

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is: what makes a difference a gain."""
        return 1 if self.direction == "higher" else -1


@dataclass(frozen=True)
class Replicates:
    """One number, or several in `cells`, of one method, per seed and with bootstrap replicates.

    `values` is `(seeds, *cells)`, `replicates` `(seeds, *cells, B)`. Replicate b of every seed and
    of every method compared must come from the same weights of the same patients.

    Raises:
        ValueError: shapes that do not fit, no seed, a seed twice, or fewer than 2 replicates.
    """

    method: str
    seeds: tuple[int, ...]
    values: np.ndarray
    replicates: np.ndarray

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(
                f"seeds must be given once each, but got {self.seeds} ({self.method}); keep one "
                "run per seed"
            )
        shape = self.values.shape
        if shape[:1] != (len(self.seeds),) or self.replicates.shape[:-1] != shape:
            raise ValueError(
                "values must be (seeds, *cells) and replicates (seeds, *cells, B), but got "
                f"{shape} and {self.replicates.shape} for {len(self.seeds)} seeds ({self.method})"
            )
        if self.replicates.shape[-1] < 2:
            raise ValueError(
                f"there must be at least 2 replicates, but got {self.replicates.shape[-1]} "
                f"({self.method}); draw more"
            )

    def only(self, seeds: Sequence[int]) -> Replicates:
        """The same for some of its seeds, in the order given."""
        places = [self.seeds.index(seed) for seed in seeds]
        return Replicates(self.method, tuple(seeds), self.values[places], self.replicates[places])


@dataclass(frozen=True)
class Difference:
    """Method minus reference, one entry per cell in every array.

    `patient_variance` comes from the choice of test patients; `seed_variance` is the variance
    between seeds divided by their number, 0 with one seed, whose interval then covers patients
    only. `p` is two-sided. `detectable` is the smallest true difference that this comparison would
    find with a chance of 80 %.
    """

    method: str
    reference: str
    seeds: tuple[int, ...]
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    patient_variance: np.ndarray
    seed_variance: np.ndarray
    detectable: np.ndarray


def minus(method: Replicates, reference: Replicates) -> Replicates:
    """The differences of two methods, seed by seed and replicate by replicate.

    Seeds that only one of them has are left out.

    Raises:
        ValueError: no seed in common, or other cells or another number of replicates.
    """
    shared = [seed for seed in method.seeds if seed in reference.seeds]
    if not shared:
        raise ValueError(
            f"methods must have a seed in common, but {method.method} has {method.seeds} and "
            f"{reference.method} has {reference.seeds}; run both with the same seeds"
        )
    if method.replicates.shape[1:] != reference.replicates.shape[1:]:
        raise ValueError(
            "both methods must have the same cells and replicates, but got "
            f"{method.replicates.shape[1:]} ({method.method}) and "
            f"{reference.replicates.shape[1:]} ({reference.method}); evaluate both with the "
            "same weight matrix"
        )
    ours, theirs = method.only(shared), reference.only(shared)
    return Replicates(
        f"{method.method} - {reference.method}",
        ours.seeds,
        ours.values - theirs.values,
        ours.replicates - theirs.replicates,
    )


def difference(method: Replicates, reference: Replicates) -> Difference:
    """The mean paired difference, its 95 % interval, p-value and both parts of its variance.

    d_s = theta_s(method) - theta_s(reference) for each seed s; the value is the mean of d_s, and

        Var = Var_b(mean_s d*_sb) + var_s(d_s) / S

    with d*_sb the replicate of seed s under weights b. More seeds do not shrink the first part. The
    interval and p use Student's t with Satterthwaite's degrees of freedom (`spread`). A part of the
    noise that patient and seed make together is in both terms, so the interval errs wide.

    Source: Owen, Annals of Applied Statistics 2007;1:386-411 (two crossed factors); Bouthillier et
    al., Accounting for Variance in Machine Learning Benchmarks, MLSys 2021.
    """
    taken = minus(method, reference)
    patients, seeds = variances(taken)
    runs = np.asarray(float(len(taken.seeds)))
    value = taken.values.mean(axis=0)
    half = half_width(patients, seeds, runs)
    return Difference(
        method=method.method,
        reference=reference.method,
        seeds=taken.seeds,
        value=value,
        low=value - half,
        high=value + half,
        p=p_value(value, patients, seeds, runs),
        patient_variance=patients,
        seed_variance=seeds,
        detectable=detectable(np.sqrt(patients + seeds), freedom(patients, seeds, runs)),
    )


def variances(taken: Replicates) -> tuple[np.ndarray, np.ndarray]:
    """Patient variance, and seed variance divided by the number of seeds, of the mean over seeds.

    Both `(*cells,)`. Undefined replicates (NaN) are left out; with fewer than half of them defined
    the patient variance is NaN. With one seed the seed variance is 0.
    """
    mean = taken.replicates.mean(axis=0)
    defined = np.isfinite(mean)
    kept = np.where(defined.mean(axis=-1) >= LEAST_DEFINED, defined.sum(axis=-1), np.nan)
    middle = np.where(defined, mean, 0).sum(axis=-1) / kept
    squares = np.where(defined, mean - middle[..., None], 0) ** 2
    patients: np.ndarray = squares.sum(axis=-1) / (kept - 1)
    runs = len(taken.seeds)
    seeds = taken.values.var(axis=0, ddof=1) / runs if runs > 1 else np.zeros_like(patients)
    return patients, seeds
