"""Comparisons of methods as rows beside the estimates, for leaderboard.csv."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from leaderboard.aggregate import METHOD, SETTING, Estimate
from leaderboard.board import Entrant, Section
from leaderboard.collect import REFERENCE, SCORE_KEY
from metrics.score import ALL, MACRO

MINUS = f"_minus_{REFERENCE}"
"""Ends the name of a difference to ERM."""
PLACES, FRONT = "auc_places", "on_pareto_front"
COLUMNS = (*SETTING, *METHOD, *SCORE_KEY, *Estimate.__annotations__)


def compared(found: Iterable[Section]) -> pd.DataFrame:
    """Comparisons as rows of the table of `aggregate`.

    `auc_minus_erm` are differences, of a group with bounds simultaneous over groups;
    `auc_minus_erm_p` their p-values after Holm's correction; `auc_places` the first and the last
    place that a method may have; `on_pareto_front` the chance that no method dominates it.
    """
    rows = []
    for section in found:
        where = {name: getattr(section, name) for name in SETTING}
        for entrant in section.entrants:
            named = {**where, "method": entrant.method, "method_variant": entrant.variant}
            rows += [{**named, **row} for row in _rows(entrant, section.labels[0])]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(entrant: Entrant, labels: str) -> Iterator[Mapping[str, Any]]:
    for (measure, of), apart in entrant.differences.items():
        name = f"{measure.metric}{MINUS}"
        place = {"attribute": measure.attribute, "group": measure.group, "labels": of}
        yield _row(name, entrant, **place) | vars(apart)
        adjusted = entrant.conclusion.adjusted.get(measure, math.nan)
        if of == labels and not math.isnan(adjusted):
            told = f"after Holm's correction, {apart.p:.2g} alone"
            note = f"{entrant.conclusion.answers[measure]}; {told}"
            yield _row(f"{name}_p", entrant, **place, value=adjusted, note=note)
    concluded = entrant.conclusion
    for attribute, verdict in concluded.verdicts.items():
        for i, group in enumerate(verdict.groups):
            yield _row(
                f"auc{MINUS}",
                entrant,
                attribute=attribute,
                group=group,
                labels=labels,
                value=float(verdict.gain[i]),
                low=float(verdict.low[i]),
                high=float(verdict.high[i]),
                of="patients (paired) + seeds, all groups together",
                note=verdict.answer,
            )
    if concluded.place is not None:
        first, last = float(concluded.place.first), float(concluded.place.last)
        note = f"a set of places among {concluded.place.of}, not a number"
        yield _row(PLACES, entrant, labels=labels, low=first, high=last, note=note)
    if not math.isnan(concluded.on_front):
        yield _row(FRONT, entrant, labels=labels, value=concluded.on_front)


def _row(metric: str, entrant: Entrant, **known: Any) -> dict[str, Any]:
    """A row with what every comparison has alike."""
    names = COLUMNS[len(SETTING) + len(METHOD) :]
    row: dict[str, Any] = dict.fromkeys(names, math.nan)
    row |= {"metric": metric, "finding": MACRO, "attribute": "", "group": ALL, "of": "", "note": ""}
    row |= {"runs": len(entrant.runs), "undefined": 0, "tests": entrant.tests}
    return row | {"n": 0.0, "positives": 0.0, "negatives": 0.0} | known
