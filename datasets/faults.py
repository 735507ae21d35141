"""Images and embeddings that cannot be used: which, why, and the table without them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from datasets.split import IMAGE_ROOT, Split

NAMED = 5
"""Faults that a refusal names."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one image cannot be used: `reason` is counted, `detail` is told."""

    path: str
    reason: str
    detail: str


def image_names(table: Split) -> pd.Series:
    """What names each image of a table: its path, below another root together with that."""
    paths = table.frame["path"].astype(str)
    if IMAGE_ROOT not in table.frame:
        return paths
    roots = table.frame[IMAGE_ROOT].fillna("").astype(str)
    return paths.where(roots == "", roots + "/" + paths)


def without(table: Split, faults: Sequence[Fault], *, on_bad: str, must: str) -> Split:
    """The table without the rows of `faults`, which are counted by reason.

    Raises:
        ValueError: there are some and `on_bad` is "error", or no row is left; see `complaint`.
    """
    if on_bad not in ("error", "drop"):
        raise ValueError(f"on_bad must be 'error' or 'drop', but got {on_bad!r}")
    if not faults:
        return table
    bad = image_names(table).map({fault.path: fault.reason for fault in faults})
    if on_bad == "error" or bad.notna().all():
        raise complaint(table, faults, must=must)
    dropped = Counter(table.dropped) + Counter(bad.dropna())
    return replace(table.where(bad.isna().to_numpy()), dropped=dict(dropped))


def complaint(table: Split, faults: Sequence[Fault], *, must: str) -> ValueError:
    """The error that names faults of a table; `must` is "image … readable", split at the dots."""
    thing, rule = must.split(" … ")
    rows = int(image_names(table).isin({fault.path for fault in faults}).sum())
    told = "; ".join(f"{f.path}: {f.reason} ({f.detail})" for f in faults[:NAMED])
    more = "; …" if len(faults) > NAMED else ""
    return ValueError(
        f"every {thing} of {table.name!r} must be {rule}, but {rows} of {len(table)} rows below "
        f"{table.root} are not: {told}{more}; mend these files, or leave the rows out with "
        "`--on-bad-image drop`"
    )
