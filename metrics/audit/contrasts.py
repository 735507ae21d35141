"""Which contrasts between groups are away from zero when all of them are tested together."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pandas as pd

from metrics.bootstrap import LEVEL
from metrics.comparison.holm import holm
from metrics.score import MACRO

NORMAL = NormalDist()
POWER = 0.8
"""Chance of finding a contrast of the size that is called detectable."""
DIFFERS, INCONCLUSIVE, UNDEFINED, ECHO = "differs", "inconclusive", "n/a", "echo"


def contrasts(scores: pd.DataFrame, groups: dict[str, tuple[str, ...]]) -> pd.DataFrame:
    """Rows of scores that are contrasts of two groups, with Holm's p-value and a verdict.

    New columns: `headline` (averaged over findings, or of the only one), `holm` (adjusted p-value),
    `detectable` (size that would be found with 80 % chance), `verdict`.
    Headline contrasts are one family, those of single findings another, per set of labels: Holm's
    adjustment runs over all metrics, attributes, pairs and findings of a family. A contrast that
    repeats another, as that of TPR repeats that of FNR with the sign turned, is an "echo" and is
    tested once.

    p is 2 Phi(-|d| / SE); detectable is (z_{1-0.05/2m} + z_{0.8}) SE for m tests of a family.

    Source: Holm, Scand. J. Stat. 1979;6:65–70; Bland, BMJ 2009;339:b3985 (detectable difference).
    """
    found = scores[[is_pair(g, groups.get(a, ())) for a, g in _keys(scores)]].copy()
    single = found["finding"].nunique() <= 2  # the only finding, and the average over it
    found["headline"] = (found["finding"] == MACRO) != single
    if single:
        found = found[found["headline"]].copy()
    defined = np.isfinite(found["value"])
    echo = defined & _repeats(found[defined]).reindex(found.index, fill_value=False)
    tested = defined & ~echo & (found["se"] > 0)
    found["p"] = np.nan
    sizes = found.loc[tested, "value"].abs() / found.loc[tested, "se"]
    found.loc[tested, "p"] = [math.erfc(z / math.sqrt(2)) for z in sizes]
    found["holm"], found["detectable"] = np.nan, np.nan
    for _, family in found[tested].groupby(["labels", "headline"]):
        found.loc[family.index, "holm"] = holm(family["p"].to_numpy())
        reach = NORMAL.inv_cdf(1 - (1 - LEVEL) / (2 * len(family))) + NORMAL.inv_cdf(POWER)
        found.loc[family.index, "detectable"] = reach * family["se"]
    found["verdict"] = np.select(
        [~defined, echo, found["holm"] <= 1 - LEVEL], [UNDEFINED, ECHO, DIFFERS], INCONCLUSIVE
    )
    return found


def is_pair(group: str, known: tuple[str, ...]) -> bool:
    """Whether a group's name is a contrast "B - A", rather than a group that is spelled so."""
    return " - " in group and group not in known


def sides(group: str, known: tuple[str, ...]) -> tuple[str, str]:
    """The later and the earlier group of a contrast "later - earlier"."""
    words = group.split(" - ")
    splits = [(" - ".join(words[:i]), " - ".join(words[i:])) for i in range(1, len(words))]
    return next((s for s in splits if s[0] in known and s[1] in known), splits[0])


def _keys(scores: pd.DataFrame) -> zip[tuple[str, str]]:
    return zip(scores["attribute"], scores["group"], strict=True)


def _repeats(found: pd.DataFrame) -> pd.Series:
    """Whether a contrast has size and error of an earlier one of the same groups and labels."""
    size = found["value"].abs().map("{:.9e}".format)
    error = found["se"].map("{:.6e}".format)
    keys = found[["labels", "finding", "attribute", "group"]].assign(size=size, error=error)
    # Two contrasts of 0 are no repetition: rates that nobody missed are all alike.
    return keys.duplicated() & (found["value"] != 0)
