"""Sums over the images of every cell, for all replicates by one matrix product.

What is a ratio of sums (a rate, a mean loss) needs nothing else: images are summed per patient
once, and the weights of the replicates then multiply those sums.
"""

from __future__ import annotations

import numpy as np

from metrics.cells import Cells


def counts(cells: Cells, images: np.ndarray) -> np.ndarray:
    """Number of marked images `(n, findings)` bool in every cell: `(findings, groups, 1 + B)`.

    Entry 0 weighs everybody once, the others are the replicates. Exact below 2^24 images.
    """
    sums = per_patient(cells, images.astype(np.float32))
    return _product(cells.bootstrap.exact, sums)


def totals(cells: Cells, values: np.ndarray) -> np.ndarray:
    """Sum of real `values` over the images of every cell: `(findings, groups, 1 + B)` float64.

    `values` is `(n, findings)`, or `(n, findings, groups)` where an image means something else in
    each of its groups; what is NaN is left out.
    """
    known = np.nan_to_num(values.astype(np.float64))
    return _product(cells.bootstrap.real, per_patient(cells, known))


def per_patient(cells: Cells, values: np.ndarray) -> np.ndarray:
    """Sums of `values` `(n, findings)` or `(n, findings, groups)` over the images of each patient.

    `(patients, findings, groups)`, of the dtype of `values`.
    """
    order = np.argsort(cells.patients, kind="stable")
    starts = np.searchsorted(cells.patients[order], np.arange(cells.bootstrap.patients))
    shape = (cells.bootstrap.patients, values.shape[1], len(cells.groups))
    sums = np.empty(shape, values.dtype)
    for g in range(shape[2]):
        own = values if values.ndim == 2 else values[:, :, g]
        inside = (own * cells.members[:, g, None])[order]
        sums[:, :, g] = np.add.reduceat(inside, starts, axis=0)
    return sums


def _product(weights: np.ndarray, sums: np.ndarray) -> np.ndarray:
    patients, findings, groups = sums.shape
    drawn = weights @ sums.reshape(patients, findings * groups)
    return np.ascontiguousarray(drawn.T, np.float64).reshape(findings, groups, len(weights))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, NaN where `whole` is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        quotient: np.ndarray = np.where(whole == 0, np.nan, part / whole)
    return quotient
