"""The table of what can be concluded: one row per method, words before numbers."""

from __future__ import annotations

import math

from leaderboard.against import Measure
from leaderboard.board import Entrant, Section
from leaderboard.numbers import chance, decimal, interval, pair
from leaderboard.tables import Cell, Column, Row, Table, named, uncompared
from metrics.comparison.answer import INCONCLUSIVE
from metrics.comparison.verdict import Verdict

CAPTION = "What can be concluded"


def concluded_table(section: Section) -> Table:
    """Against ERM after Holm's correction, who gains and loses, possible places, and the front.

    Only its names are left where nothing could be compared.
    """
    entrants = section.entrants
    columns: list[Column] = []
    rows: list[list[Cell | None]] = [[named(entrant)] for entrant in entrants]
    if any(entrant.differences for entrant in entrants):
        for measure in section.measures:
            title = "macro AUC" if measure.metric == "auc" else f"FNR, {pair(measure.group)}"
            columns.append(Column(title, "Minus ERM's, after Holm's correction"))
            for row, entrant in zip(rows, entrants, strict=True):
                row.append(_against(entrant, measure, section.labels[0]))
    for attribute in section.attributes:
        if any(attribute in entrant.conclusion.verdicts for entrant in entrants):
            columns.append(Column(attribute, "Groups' AUC beside ERM's"))
            for row, entrant in zip(rows, entrants, strict=True):
                row.append(_verdict(entrant, attribute))
    if any(entrant.conclusion.place is not None for entrant in entrants):
        columns.append(Column("by macro AUC", "Possible places"))
        for row, entrant in zip(rows, entrants, strict=True):
            row.append(_place(entrant))
    if any(not math.isnan(entrant.conclusion.on_front) for entrant in entrants):
        columns.append(Column("chance", "On the Pareto front"))
        for row, entrant in zip(rows, entrants, strict=True):
            row.append(_chance(entrant))
    head = (Column("method"), *columns)
    return Table(CAPTION, head, tuple(Row(tuple(row)) for row in rows))


def _against(entrant: Entrant, measure: Measure, labels: str) -> Cell:
    concluded = entrant.conclusion
    if not entrant.reference:
        return Cell("reference")
    if measure not in concluded.answers:
        return uncompared(entrant, measure, labels)
    apart = entrant.differences[measure, labels]
    word, adjusted = concluded.answers[measure], concluded.adjusted[measure]
    if math.isnan(adjusted):
        return Cell(word, ("(no interval)",))
    if apart.low == apart.high == 0:
        return Cell(word, ("the same numbers",))
    told = f"p {chance(apart.p)} alone, {chance(adjusted)} after Holm's correction"
    finds = decimal(apart.detectable)
    told += f"; a difference of {finds} would be found with a chance of 80 %"
    return Cell(word, (f"p {chance(adjusted)}", f"finds {finds}"), told)


def _verdict(entrant: Entrant, attribute: str) -> Cell:
    found = entrant.conclusion.verdicts.get(attribute)
    if not entrant.reference:
        return Cell("reference")
    if found is None:
        return Cell("n/a", (), entrant.conclusion.reasons.get(attribute, ""))
    small = [f"{sign} {', '.join(names)}" for sign, names in _moved(found) if names]
    if found.answer == INCONCLUSIVE.upper():
        small.append(f"finds {decimal(float(found.detectable.max()))}")
    return Cell(found.answer, tuple(small), _told(found))


def _moved(found: Verdict) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ("higher in", found.benefited), ("lower in", found.harmed)


def _told(found: Verdict) -> str:
    """Gains of all groups with their bounds, and what became of the gap."""
    parts = [
        f"{group} {decimal(float(gain), signed=True)} "
        f"({interval(float(low), float(high), signed=True)})"
        for group, gain, low, high in zip(
            found.groups, found.gain, found.low, found.high, strict=True
        )
    ]
    shown = "" if found.fall_shown else ", not more than chance"
    parts.append(f"the gap falls by {decimal(found.gap_fall, signed=True)}{shown}")
    if not math.isnan(found.levelled_up):
        parts.append(f"{decimal(found.levelled_up, digits=2)} of it by raising the lowest")
    if found.left_out:
        parts.append(f"too few patients: {', '.join(found.left_out)}")
    return "; ".join(parts)


def _place(entrant: Entrant) -> Cell:
    place = entrant.conclusion.place
    if place is None:
        return Cell("n/a", (), entrant.conclusion.reasons.get("places", ""))
    places = str(place.first) if place.first == place.last else f"{place.first}–{place.last}"
    return Cell(places, (f"of {place.of}",), "95 % of such sets hold all true places together")


def _chance(entrant: Entrant) -> Cell:
    chance = entrant.conclusion.on_front
    if math.isnan(chance):
        return Cell("n/a", (), entrant.conclusion.reasons.get("front", ""))
    return Cell(decimal(chance, digits=2))
