"""Columns of a table, checked cell by cell: the first fault is an error that says where it is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from metrics.audit.source import Source


def ids(source: Source, column: str, kind: str) -> np.ndarray:
    """Identifiers `(n,)` as text; 7.0 is "7", as an empty cell elsewhere makes integers real.

    Raises:
        ValueError: one is missing.
    """
    values = source.frame[column]
    missing = np.flatnonzero(values.isna())
    if len(missing):
        raise ValueError(
            f"every row must name its {kind}, but column {column!r} of {source.name} is empty on "
            f"{source.at(missing)}; fill it, or leave these rows out"
        )
    if pd.api.types.is_float_dtype(values) and (values % 1 == 0).all():
        values = values.astype("int64")
    return values.astype("str").to_numpy(dtype=object)


def numbers(source: Source, column: str, rule: str) -> np.ndarray:
    """A column `(n,)` float64; an empty cell is NaN.

    Raises:
        ValueError: a cell holds text; the message begins with `rule`.
    """
    values = source.frame[column]
    if not pd.api.types.is_numeric_dtype(values):
        converted = pd.to_numeric(values, errors="coerce")
        text = np.flatnonzero(converted.isna() & values.notna())
        if len(text):
            value = str(values.iloc[text[0]])
            comma = "; write decimals with a point" if "," in value else ""
            raise ValueError(
                f"{rule}, but {source.name} has the text {value[:40]!r} in column {column!r} "
                f"({source.at(text)}); write a number{comma}"
            )
        values = converted
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def labels(source: Source, column: str) -> np.ndarray:
    """Labels `(n,)` float64 in {0, 1, NaN}.

    Raises:
        ValueError: a label is something else.
    """
    rule = "labels must be 0, 1 or empty (unknown)"
    found = numbers(source, column, rule)
    strange = np.flatnonzero(~np.isnan(found) & (found != 0) & (found != 1))
    if len(strange):
        value = found[strange[0]]
        advice = "CheXpert's -1 is uncertain: leave it empty" if value == -1 else "correct them"
        raise ValueError(
            f"{rule}, but {source.name} has {value:g} in column {column!r} "
            f"({source.at(strange)}); {advice}"
        )
    return found


def scores(source: Source, column: str) -> np.ndarray:
    """Scores `(n,)` float64, all finite.

    Raises:
        ValueError: a score is missing, infinite or text.
    """
    rule = "scores must be finite numbers"
    found = numbers(source, column, rule)
    strange = np.flatnonzero(~np.isfinite(found))
    if len(strange):
        value = found[strange[0]]
        held = "an empty cell (NaN)" if np.isnan(value) else str(value)
        advice = "score every image, or leave these rows out"
        if np.isinf(value):
            advice = "give probabilities, or clip logits to a finite number"
        raise ValueError(
            f"{rule}, but {source.name} has {held} in column {column!r} "
            f"({source.at(strange)}); {advice}"
        )
    return found
