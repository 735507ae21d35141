"""Models on other data sets than their own: the same methods in domain and out of domain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from leaderboard.aggregate import METHOD, SETTING, Estimate, aggregate, estimates
from leaderboard.board import Contrast, Entrant, Section
from leaderboard.collect import SCORE_KEY, Store, Tested
from leaderboard.numbers import count, pair
from leaderboard.tables import Cell, Column, Row, Table, better, cell, named
from metrics.comparison.domains import apart
from metrics.comparison.spread import Z
from metrics.score import ALL, MACRO

PREFIX = "ood"
IN, OUT, OWN = "in", "out", "out_target_thresholds"
"""In domain; out of domain at the thresholds of the source; at those of the target."""
SIDES = (IN, OUT, OWN)
STORED = {("in", "source"): IN, ("out", "source"): OUT, ("out", "target"): OWN}
"""What domain and thresholds of a stored score mean."""
SHIFT = "auc_shift"
METRICS = ("auc", "fnr", "fpr", "tnr", "fnr_contrast", "fpr_contrast", "auc_contrast",
           "specificity_transfer", "sensitivity_transfer")  # fmt: skip
"""Averages over findings that are aggregated; all others lie in the runs' own files."""
TITLES = {IN: "in domain", OUT: "out of domain", OWN: "out, its own thresholds"}

Found = Mapping[tuple[str, ...], Estimate]


@dataclass(frozen=True)
class Elsewhere:
    """Everything that was measured on other data sets, aggregated over runs.

    `table` has the columns of `aggregate`; its metrics are called `ood/<data set>/<side>/<metric>`,
    with `in`, `out` or `out_target_thresholds` as the side, and `ood/<data set>/auc_shift`.
    """

    table: pd.DataFrame
    tested: tuple[Tested, ...]


def elsewhere(store: Store) -> Elsewhere:
    """What the runs of a store measured on other data sets."""
    parts = [_rows(tested) for tested in store.tested]
    if not parts:
        return Elsewhere(pd.DataFrame(columns=[*SETTING, *METHOD, *SCORE_KEY]), ())
    return Elsewhere(aggregate(pd.concat(parts, ignore_index=True)), store.tested)


def domain_tables(section: Section, found: Elsewhere) -> tuple[Table, ...]:
    """A table for each other data set that a method of the section was tested on."""
    setting = tuple(getattr(section, name) for name in SETTING)
    here = [t for t in found.tested if t.run.setting == setting]
    return tuple(
        _table(section, name, [t for t in here if t.label == name], found)
        for name in dict.fromkeys(t.label for t in here)
    )


def _rows(tested: Tested) -> pd.DataFrame:
    """The averages of one run on one other data set as rows for `aggregate`."""
    run, scores = tested.run, tested.scores
    kept = scores[(scores["finding"] == MACRO) & scores["metric"].isin(METRICS)]
    side = [STORED[place] for place in zip(kept["domain"], kept["thresholds"], strict=True)]
    digests = {IN: run.test_digest, OUT: tested.digest, OWN: tested.digest}
    kept = kept.assign(
        metric=[_name(tested.label, s, m) for s, m in zip(side, kept["metric"], strict=True)],
        test_digest=[digests[s] for s in side],
    )
    shifts = pd.DataFrame(list(_shifts(tested)))
    known = {name: getattr(run, name) for name in (*SETTING, *METHOD)}
    rows = pd.concat([kept, shifts], ignore_index=True)
    return rows.assign(key=run.key, **known)


def _shifts(tested: Tested) -> Iterator[dict[str, object]]:
    """Macro AUC out of domain minus in domain, against each set of labels."""
    scores = tested.scores
    overall = scores[
        (scores["metric"] == "auc") & (scores["finding"] == MACRO) & (scores["attribute"] == "")
    ]
    for labels, rows in overall[overall["thresholds"] == "source"].groupby("labels"):
        by_domain = {str(row["domain"]): row for _, row in rows.iterrows()}
        inside, outside = by_domain["in"], by_domain["out"]
        value, low, high = apart(inside["value"], inside["se"], outside["value"], outside["se"])
        yield {
            "metric": f"{PREFIX}/{tested.label}/{SHIFT}",
            "finding": MACRO, "attribute": "", "group": ALL, "labels": labels,
            "value": value, "low": low, "high": high, "se": (high - value) / Z,
            "n": inside["n"] + outside["n"],
            "positives": inside["positives"] + outside["positives"],
            "negatives": inside["negatives"] + outside["negatives"],
            "note": "" if value == value else inside["note"] or outside["note"],
            "test_digest": f"{tested.run.test_digest} {tested.digest}",
        }  # fmt: skip


def _table(section: Section, name: str, tested: Sequence[Tested], found: Elsewhere) -> Table:
    held = _by_method(section, found)
    contrast = next(iter(section.contrasts), None)
    shown = [e for e in section.entrants if any(_is_of(e, t) for t in tested)]
    several = len(section.labels) > 1
    head = [Column("method"), *([Column("labels")] if several else [])]
    rows = []
    for entrant in shown:
        own = held.get((entrant.method, entrant.variant), {})
        runs = sum(_is_of(entrant, t) for t in tested)
        for line, labels in enumerate(section.labels):
            first: Cell | None = named(entrant) if line == 0 else None
            if first is not None:
                first = replace(first, span=len(section.labels))
            cells = [first, *([Cell(labels)] if several else [])]
            cells += _cells(own, name, labels, contrast, runs)
            rows.append(Row(tuple(cells), line == 0))
    return Table(_caption(section, tested), (*head, *_columns(contrast)), tuple(rows))


def _columns(contrast: Contrast | None) -> list[Column]:
    auc, rate = "Macro AUC", "False positive rate"
    columns = [Column(TITLES[side], auc, better("auc")) for side in (IN, OUT)]
    columns.append(Column("out − in", "Macro AUC, difference"))
    columns += [Column(TITLES[side], rate) for side in SIDES]
    if contrast is not None:
        for metric in ("fnr_contrast", "fpr_contrast"):
            title = f"{metric[:3].upper()} contrast, {contrast.attribute}: {pair(contrast.pair)}"
            columns += [Column(TITLES[s], title, better(metric)) for s in SIDES]
    return [*columns, Column("in / out", "Test patients")]


def _cells(
    own: Found, label: str, labels: str, contrast: Contrast | None, runs: int
) -> list[Cell | None]:
    found = {side: own.get((_name(label, side, "auc"), MACRO, "", ALL, labels)) for side in SIDES}
    shift = own.get((f"{PREFIX}/{label}/{SHIFT}", MACRO, "", ALL, labels))
    cells: list[Cell | None] = [cell(found[side], runs=runs) for side in (IN, OUT)]
    cells.append(cell(shift, runs=runs, signed=True))
    cells += [
        _rate(own.get((_name(label, side, "fpr"), MACRO, "", ALL, labels)), runs) for side in SIDES
    ]
    if contrast is not None:
        cells += [
            cell(
                _contrast(own, _name(label, side, metric), contrast, labels), runs=runs, signed=True
            )
            for metric in ("fnr_contrast", "fpr_contrast")
            for side in SIDES
        ]
    sizes = [count(one.n) if one else "n/a" for one in (found[IN], found[OUT])]
    return [*cells, Cell(" / ".join(sizes))]


def _rate(found: Estimate | None, runs: int) -> Cell:
    """A rate with the patients that it is a rate of."""
    return cell(found, runs=runs, beside=f"of {count(found.negatives)}" if found else "")


def _contrast(own: Found, metric: str, contrast: Contrast, labels: str) -> Estimate | None:
    """A registered contrast, turned round where only the reverse pair is stored."""
    found = own.get((metric, MACRO, contrast.attribute, contrast.pair, labels))
    reverse = " - ".join(reversed(contrast.pair.split(" - ", 1)))
    other = own.get((metric, MACRO, contrast.attribute, reverse, labels))
    if found is not None or other is None:
        return found
    return replace(other, value=-other.value, low=-other.high, high=-other.low)


def _caption(section: Section, tested: Sequence[Tested]) -> str:
    counts = sorted({len(t.findings) for t in tested})
    return (
        f"In-domain and out-of-domain: trained on {section.dataset}, tested on {tested[0].label}; "
        f"mean over the {' or '.join(map(str, counts))} findings that both can evaluate"
    )


def _by_method(section: Section, found: Elsewhere) -> dict[tuple[str, str], Found]:
    table = found.table
    here = pd.Series(True, index=table.index)
    for name in SETTING:
        here &= table[name] == getattr(section, name)
    groups = table[here].groupby(list(METHOD), sort=False)
    return {(str(k[0]), str(k[1])): estimates(rows) for k, rows in groups}


def _is_of(entrant: Entrant, tested: Tested) -> bool:
    run = tested.run
    return (run.method, run.method_variant) == (entrant.method, entrant.variant)


def _name(target: str, side: str, metric: str) -> str:
    return f"{PREFIX}/{target}/{side}/{metric}"
