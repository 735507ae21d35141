"""Groups of people as all data sets spell them, and the order in which they stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from registry import unknown

UNKNOWN = "Unknown"
"""The group of everybody whose attribute is not recorded; it always stands last."""
SEXES = ("Male", "Female", UNKNOWN)
SPELT = {"m": "Male", "male": "Male", "f": "Female", "female": "Female"}


def ordered(
    values: Iterable[str], order: Sequence[str], *, empty: bool = False
) -> pd.Categorical[str]:
    """Group names in a fixed order; those that occur only, unless `empty` ones are kept too.

    "Unknown" is a group only where somebody is in it. A value outside `order` stands after it, by
    name, so that nobody is lost.
    """
    codes, texts = _distinct(values)
    there = set(texts)
    kept = [g for g in order if g in there or (empty and g != UNKNOWN)]
    others = sorted(there - set(order))
    last = [UNKNOWN] if UNKNOWN in kept else []
    groups = [*(g for g in kept if g != UNKNOWN), *others, *last]
    place = np.array([groups.index(text) for text in texts], dtype=np.int64)
    return pd.Categorical.from_codes(place[codes], categories=pd.Index(groups, dtype=str))


def sexes(texts: Iterable[str]) -> pd.Categorical[str]:
    """Recorded sex from "M", "F" or the words; anything else, such as "O" or blank, is Unknown."""
    codes, distinct = _distinct(texts)
    groups = np.array([SPELT.get(t.strip().casefold(), UNKNOWN) for t in distinct], dtype=object)
    return ordered(groups[codes], SEXES)


def _distinct(values: Iterable[str]) -> tuple[np.ndarray, list[str]]:
    """Per value `(n,)` the place of its text among the distinct ones; a table has 10^5 values."""
    held = values if isinstance(values, pd.Series) else pd.Series([*values], dtype=object)
    codes, distinct = pd.factorize(held.to_numpy(dtype=object), use_na_sentinel=False)
    return codes, [str(value) for value in distinct]


def views_in_order(
    texts: pd.Series, chosen: Sequence[str], known: Sequence[str]
) -> pd.Categorical[str]:
    """Recorded views, those chosen first, then others that are known; blank is Unknown."""
    order = (*chosen, *(view for view in known if view not in chosen))
    return ordered(texts.replace("", UNKNOWN), order)


def check_views(chosen: Sequence[str], known: Sequence[str]) -> None:
    """Nothing, if views are chosen and all of them are known.

    Raises:
        UnknownName: one is not, or none is chosen.
    """
    for view in chosen or ("",):
        if view not in known:
            raise unknown("view", view, known)
