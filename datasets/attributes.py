"""Groups of people as all data sets spell them, and the order in which they stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

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
    listed = [str(v) for v in values]
    there = set(listed)
    kept = [g for g in order if g in there or (empty and g != UNKNOWN)]
    others = sorted(there - set(order))
    last = [UNKNOWN] if UNKNOWN in kept else []
    return pd.Categorical(listed, categories=[*(g for g in kept if g != UNKNOWN), *others, *last])


def sexes(texts: Iterable[str]) -> pd.Categorical[str]:
    """Recorded sex from "M", "F" or the words; anything else, such as "O" or blank, is Unknown."""
    return ordered((SPELT.get(str(t).strip().casefold(), UNKNOWN) for t in texts), SEXES)
