"""Tables of several data sets brought to one form: findings, attributes and ids by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from datasets.attributes import UNKNOWN
from datasets.folds import SOURCE
from datasets.split import TRUE, Split
from registry import unknown


def renamed(table: Split, names: Mapping[str, str]) -> Split:
    """The table with findings under other names; those that it does not have are passed over.

    A finding may take the name of another one where no data set of the table has both.

    Raises:
        ValueError: two findings of one data set would have one name.
    """
    for old, new in names.items():
        if old in table.findings and old != new:
            table = _renamed(table, old, new)
    return table


def pairs_of(texts: Iterable[str], flag: str) -> dict[str, str]:
    """`OLD=NEW` texts as names of findings.

    Raises:
        ValueError: a text has another form, or a finding stands in two.
    """
    names: dict[str, str] = {}
    for text in texts:
        old, _, new = (part.strip() for part in text.partition("="))
        if not old or not new:
            raise ValueError(f"{flag} must read OLD=NEW, but got {text!r}")
        if old in names or new in names or old in names.values():
            raise ValueError(f"{flag} must name a finding once, but {text!r} names one again")
        names[old] = new
    return names


def namespaced(table: Split, name: str) -> Split:
    """The table with patients and images called "name/id": ids of two sets are different people.

    The column `source` holds the name where no union has written it.
    """
    frame = table.frame
    ids = {c: f"{name}/" + frame[c].astype(str) for c in ("image_id", "patient_id")}
    if SOURCE not in table.attributes:
        ids[SOURCE] = pd.Series(name, index=frame.index)
    return table.with_frame(frame.assign(**ids))


def aligned(table: Split, findings: Sequence[str], attributes: Sequence[str]) -> Split:
    """The table with these findings and attributes: what it lacks is blank, and "Unknown".

    A column of one of these names that is no finding or attribute of the table does not count. Its
    simulated truth is kept where it has one.
    """
    columns: dict[str, object] = {}
    lacking = [f for f in findings if f not in table.findings]
    columns |= {f: np.full(len(table), np.nan, np.float32) for f in lacking}
    if table.has_truth:
        columns |= {TRUE + f: np.full(len(table), np.nan, np.float32) for f in lacking}
    # The name of its data set is known of every row, whether or not it was joined to others.
    known = (*table.attributes, SOURCE) if SOURCE in table.frame else table.attributes
    columns |= {a: UNKNOWN for a in attributes if a not in known}
    frame = table.frame.assign(**columns)  # type: ignore[arg-type]
    return replace(table, frame=frame, findings=tuple(findings), attributes=tuple(attributes))


def merged_order(*orders: Sequence[str]) -> tuple[str, ...]:
    """One order of groups from several: a new group stands before what follows it in its own.

    "Unknown" stands last.

    >>> merged_order(("20-39", "40+"), ("0-19", "20-39"))
    ('0-19', '20-39', '40+')
    """
    result: list[str] = []
    for order in orders:
        for place, group in enumerate(order):
            if group not in result:
                later = [result.index(g) for g in order[place + 1 :] if g in result]
                result.insert(min(later, default=len(result)), group)
    return tuple(sorted(result, key=lambda group: group == UNKNOWN))


def _renamed(table: Split, old: str, new: str) -> Split:
    if new not in table.findings:
        names = {old: new, TRUE + old: TRUE + new}
        if new in table.frame:
            raise ValueError(
                f"--rename-finding must give a free name, but {table.name!r} has a column {new!r} "
                "that is no finding; choose another name"
            )
        findings = tuple(new if f == old else f for f in table.findings)
        return replace(table, frame=table.frame.rename(columns=names), findings=findings)
    frame = table.frame
    source = frame[SOURCE].astype(str) if SOURCE in frame else pd.Series("", index=frame.index)
    labelled = frame[[old, new]].notna().groupby(source).any()
    both = labelled[labelled.all(axis=1)].index
    if len(both) or SOURCE not in frame:
        raise ValueError(
            f"--rename-finding must not unite two findings of one data set, but "
            f"{(both[0] if len(both) else '') or table.name!r} has both {old!r} and {new!r}"
        )
    columns = {new: frame[new].fillna(frame[old])}
    if TRUE + old in frame and TRUE + new in frame:
        columns[TRUE + new] = frame[TRUE + new].fillna(frame[TRUE + old])
    frame = frame.assign(**columns).drop(columns=[old, TRUE + old], errors="ignore")
    return replace(table, frame=frame, findings=tuple(f for f in table.findings if f != old))


def check_renamed(names: Iterable[str], known: Sequence[str]) -> None:
    """Refuse a new name for a finding that there is not.

    Raises:
        UnknownName: with the findings that there are.
    """
    for old in names:
        if old not in known:
            raise unknown("finding of --rename-finding", old, known)
