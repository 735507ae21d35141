"""Which patients a replicate holds, and how often: one weight matrix for a whole test set."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np

LEVEL = 0.95
"""Coverage of every interval."""


@dataclass(frozen=True)
class PatientBootstrap:
    """Multinomial weights of patients, the same for every metric and method on one test set.

    The patient is the unit: images of one patient stand and fall together, since they are not
    independent. Equal fields give equal weights, so differences between methods are paired.

    Raises:
        ValueError: fewer than 2 patients, or fewer than 2 replicates.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 8 and 13.
    """

    patients: int
    replicates: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("patients", "replicates"):
            if getattr(self, name) < 2:
                raise ValueError(
                    f"a bootstrap needs at least 2 {name}, but got {getattr(self, name)}; "
                    "use a larger test fold or more replicates"
                )

    @cached_property
    def weights(self) -> np.ndarray:
        """How often each patient is drawn `(patients, replicates)` uint8."""
        rng = np.random.default_rng([self.seed, 0xB007])
        drawn = np.empty((self.replicates, self.patients), np.uint8)
        for row in drawn:
            counts = np.bincount(rng.integers(0, self.patients, self.patients))
            # A count above 255 has no practical probability; the clip keeps it from wrapping.
            row[: len(counts)] = np.minimum(counts, 255)
            row[len(counts) :] = 0
        return np.ascontiguousarray(drawn.T)

    @cached_property
    def with_once(self) -> np.ndarray:
        """The weights behind a column that weighs everybody once `(patients, 1 + replicates)`.

        What is computed under column 0 is the value itself, the others are its replicates.
        """
        return np.insert(self.weights, 0, 1, axis=1)

    @cached_property
    def blocks(self) -> np.ndarray:
        """`with_once` as the compiled walks read it, see `metrics/kernel.py`."""
        from metrics.kernel import in_blocks

        return in_blocks(self.with_once)

    @property
    def matrix(self) -> np.ndarray:
        """The weights `(replicates, patients)` float32, ready for a matrix product."""
        return self.exact[1:]

    @cached_property
    def exact(self) -> np.ndarray:
        """`with_once` `(1 + replicates, patients)` float32: products of counts below 2^24."""
        return np.ascontiguousarray(self.with_once.T, dtype=np.float32)

    @cached_property
    def real(self) -> np.ndarray:
        """`with_once` `(1 + replicates, patients)` float64: products of real numbers."""
        return np.ascontiguousarray(self.with_once.T, dtype=np.float64)


def percentile_interval(replicates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bound of the 95 % percentile interval over the last axis.

    Replicates where the statistic is undefined (NaN) are left out; with fewer than half of them
    defined both bounds are NaN.
    """
    tail = (1 - LEVEL) / 2
    values = np.asarray(replicates, np.float64)
    bounds = np.full((2, *values.shape[:-1]), np.nan)
    defined = np.isfinite(values).mean(axis=-1)
    whole, part = defined == 1, (defined >= 0.5) & (defined < 1)
    if whole.any():
        bounds[:, whole] = np.quantile(values[whole], (tail, 1 - tail), axis=-1)
    if part.any():
        bounds[:, part] = np.nanquantile(values[part], (tail, 1 - tail), axis=-1)
    return bounds[0], bounds[1]


def logit_interval(
    value: np.ndarray, replicates: np.ndarray, degrees: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of a probability: logit(value) ∓ t SD(logit of the replicates), and back.

    `degrees` `(...)` of Student's t are those of the variance, few where few patients carry it.
    Holds the value, stays within 0 and 1, and heeds what percentiles of the replicates do not: that
    the noise shrinks towards 1, and that its size is a guess. The percentile interval where the
    value or a replicate is 0 or 1.

    Source: Pepe, The Statistical Evaluation of Medical Tests, 2003, ch. 5 (logit of an AUC);
    Satterthwaite, Biometrics Bulletin 1946;2:110-114 (degrees of freedom).
    """
    from scipy.special import expit, logit
    from scipy.stats import t

    low, high = percentile_interval(replicates)
    centre = logit(np.asarray(value, np.float64))
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # cells without a defined replicate
        spread = np.nanstd(logit(np.asarray(replicates, np.float64)), axis=-1, ddof=1)
    reach = t.ppf((1 + LEVEL) / 2, degrees) * spread
    usable = np.isfinite(centre) & np.isfinite(reach) & np.isfinite(low)
    return (
        np.where(usable, expit(centre - reach), low),
        np.where(usable, expit(centre + reach), high),
    )


def simultaneous_contrasts(
    value: np.ndarray, replicates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of contrasts `(f, k)` that hold for all k of a row together: value -+ c SE.

    c is the 95 % quantile over replicates `(f, k, B)` of max_k |d*_k - d_k| / SE_k, SE_k the
    standard deviation of the replicates of d_k. Undefined contrasts do not take part.

    Source: Romano & Wolf, Econometrica 2005;73:1237-1282 (max-T, studentised); Westfall & Young,
    Resampling-Based Multiple Testing, 1993.
    """
    usable = np.isfinite(value) & (np.isfinite(replicates).mean(axis=-1) >= 0.5)
    with warnings.catch_warnings():
        # Rows without any usable contrast, and replicates without any defined one.
        warnings.simplefilter("ignore", RuntimeWarning)
        errors = np.nanstd(np.where(usable[..., None], replicates, np.nan), axis=-1, ddof=1)
        # A contrast that never varies has no error and cannot be the largest.
        units = np.where(errors > 0, errors, np.inf)[..., None]
        largest = np.nanmax(np.abs(replicates - value[..., None]) / units, axis=1)
        reach = np.nanquantile(largest, LEVEL, axis=-1)[:, None] * errors
    return value - reach, value + reach


def simultaneous_interval(
    value: np.ndarray, deviations: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of a maximum, minimum or range over groups: value ∓ the 95 % quantile of `deviations`.

    `deviations` `(..., B)` bound how far noise in all groups together moves the value `(...)`, such
    as max_g |theta*_g - theta_g|. A percentile interval will not do here: resampling adds to the
    noise that already pushed the extreme outwards, so a percentile interval of a range never holds
    0. Clipped to [0,1].

    Source: Westfall & Young, Resampling-Based Multiple Testing, 1993 (max-T, not studentised).
    """
    defined = np.isfinite(deviations).mean(axis=-1) >= 0.5
    reach = np.full(np.shape(value), np.nan)
    if defined.any():
        reach[defined] = np.nanquantile(np.asarray(deviations)[defined], LEVEL, axis=-1)
    return np.clip(value - reach, 0, 1), np.clip(value + reach, 0, 1)
