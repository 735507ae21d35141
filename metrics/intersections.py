"""Groups of several attributes at once, such as women of one age band."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd

from metrics.predictions import Predictions
from metrics.score import ALL

AND = " & "
"""Joins the names of several attributes, and of their groups."""


def joint_groups(frame: pd.DataFrame, attributes: Sequence[str]) -> np.ndarray:
    """The name of each row's joint group `(n,)`; "all" without attributes."""
    if not attributes:
        return np.full(len(frame), ALL, dtype=object)
    columns = [frame[a].astype(str) for a in attributes]
    return np.array([AND.join(groups) for groups in zip(*columns, strict=True)], dtype=object)


def with_intersections(
    predictions: Predictions, intersections: Iterable[Sequence[str]]
) -> Predictions:
    """The same predictions with an attribute "a & b" for each of `intersections`.

    Its groups are all pairs in the frozen order of both, whether or not anybody is in them. Those
    that hold too few patients are then not evaluated, as other cells are not.
    """
    frame, groups = predictions.frame, dict(predictions.groups)
    names = []
    for attributes in intersections:
        name = AND.join(attributes)
        frame = frame.assign(**{name: joint_groups(predictions.frame, attributes)})
        groups[name] = tuple(AND.join(g) for g in product(*(groups[a] for a in attributes)))
        names.append(name)
    return replace(
        predictions, frame=frame, groups=groups, attributes=(*predictions.attributes, *names)
    )


def overlaps(attribute: str, other: str) -> bool:
    """Whether two attributes, plain or joined, have one in common."""
    return bool(set(attribute.split(AND)) & set(other.split(AND)))
