"""Groups of people as the file spells them, with age in bands and Unknown as a group."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from metrics.audit.columns import TOGETHER, parts_of
from metrics.audit.source import Source

UNKNOWN = "Unknown"
AGE_EDGES = (40, 60, 80)
AGE_BANDS = ("<40", "40-59", "60-79", ">=80")
"""Fixed before any result: bands chosen on the data could be chosen for their result."""
OLDEST = 120
"""Years; above it a number is no age. ChestX-ray14, for one, records ages above 400."""
MOST = 16
"""Groups of one attribute: more have 120 pairs, and hardly a cell with enough patients."""


@dataclass(frozen=True)
class Grouping:
    """Groups of each row `(n,)`, the frozen order of the groups, and what was done, if anything."""

    values: pd.Categorical[str]
    order: tuple[str, ...]
    note: str = ""


def group(source: Source, attribute: str) -> Grouping:
    """The groups of an attribute: one column, or several crossed as in "sex & race".

    Raises:
        ValueError: there are too many groups, or an age is no age.
    """
    single = [_column(source, name) for name in parts_of(attribute)]
    if len(single) == 1:
        return single[0]
    order = [TOGETHER.join(names) for names in product(*(s.order for s in single))]
    codes = np.zeros(len(source.frame), np.int64)
    for part in single:
        codes = codes * len(part.order) + part.values.codes
    held = sorted(set(codes.tolist()))
    _few_enough(source, attribute, [order[c] for c in held])
    names = tuple(order[c] for c in held)
    values = pd.Categorical.from_codes(np.searchsorted(held, codes), categories=pd.Index(names))
    return Grouping(values, names)


def _column(source: Source, name: str) -> Grouping:
    column = source.frame[name]
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if numeric and re.fullmatch(r"(.*[ _])?age([ _](in[ _])?years)?", name, re.IGNORECASE):
        text, order, note = _bands(source, name)
    else:
        text = _spelled(column, numeric=numeric)
        order = tuple(sorted(set(text.dropna()) - {UNKNOWN}))
        note = ""
    unknown = text.isna() | (text == UNKNOWN)
    if unknown.any():
        order += (UNKNOWN,)
        told = f"{int(unknown.sum()):,} images without {name!r} are the group {UNKNOWN}."
        note = f"{note} {told}".strip()
    _few_enough(source, name, list(order))
    return Grouping(pd.Categorical(text.fillna(UNKNOWN), categories=list(order)), order, note)


def _spelled(column: pd.Series, *, numeric: bool) -> pd.Series:
    if numeric:  # 1.0 stands where an empty cell made a column of whole numbers real
        values = column.to_numpy(np.float64, na_value=np.nan)
        distinct, position = np.unique(values, return_inverse=True)
        names = np.array([np.nan if np.isnan(v) else f"{v:.12g}" for v in distinct], dtype=object)
        return pd.Series(names[position], dtype="str")
    text = column.astype("str").str.strip()
    return text.mask(text == "")


def _bands(source: Source, name: str) -> tuple[pd.Series, tuple[str, ...], str]:
    years = source.frame[name].to_numpy(np.float64, na_value=np.nan)
    strange = np.flatnonzero((years < 0) | (years > OLDEST))
    if len(strange):
        raise ValueError(
            f"ages must be 0 to {OLDEST} years, but {source.name} has {years[strange[0]]:g} in "
            f"column {name!r} ({source.at(strange)}); correct them, or leave unknown ones empty"
        )
    band = np.array([*AGE_BANDS], dtype=object)[np.digitize(years, AGE_EDGES).clip(0, 3)]
    band[np.isnan(years)] = np.nan
    note = f"{name!r} in years was put into the fixed bands {', '.join(AGE_BANDS)}."
    held = tuple(b for b in AGE_BANDS if b in set(band[~np.isnan(years)]))
    return pd.Series(band, dtype="str"), held, note


def _few_enough(source: Source, name: str, groups: list[str]) -> None:
    if len(groups) > MOST:
        raise ValueError(
            f"an attribute must have at most {MOST} groups, but {name!r} has {len(groups)} in "
            f"{source.name}, such as {', '.join(map(repr, groups[:3]))}; put its values into bands "
            "or leave it out of --attributes"
        )
