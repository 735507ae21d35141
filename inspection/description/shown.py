"""The tables of a description as they are read: rounded, with intervals and counts beneath."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from inspection.description.describing import RECORDED, TRUTH, Description
from inspection.page import Cell, Table, table
from metrics.audit import words
from metrics.audit.records import Row, records

WITHHELD = "< 10"


def whole(value: float) -> str:
    """A count; "< 10" where it is withheld."""
    return WITHHELD if math.isnan(float(value)) else f"{float(value):,.0f}"


def percent(value: float, digits: int = 1) -> str:
    """A share in per cent; "n/a" where it is undefined."""
    return "n/a" if math.isnan(float(value)) else f"{100 * float(value):.{digits}f} %"


def rate_cell(row: Row | None) -> Cell:
    """A prevalence with its interval, and the counts under the pointer."""
    if row is None:
        return Cell("")
    if str(row["note"]).startswith("withheld"):
        return Cell(WITHHELD, title=row["note"])
    if math.isnan(float(row["value"])):
        return Cell("n/a", title=row["note"])
    low, high = float(row["low"]), float(row["high"])
    small = "" if math.isnan(low) else f"{100 * low:.1f}{words.EN_DASH}{100 * high:.1f}"
    counts = (
        f"{whole(row['positives'])} of {whole(row['patients'])} patients, "
        f"{whole(row['positive_images'])} of {whole(row['images'])} images"
    )
    title = f"{counts}; {row['note']}" if row["note"] else counts
    return Cell(percent(row["value"]), small, title)


def groups(made: Description, attribute: str) -> Table:
    """The groups of one attribute: counts, shares, images per patient and ages."""
    each = _keyed(made.images_per_patient, attribute)
    age = _keyed(made.ages, attribute) if len(made.ages) else {}
    rows = []
    for row in records(made.counts[made.counts["attribute"] == attribute]):
        per, old = each[row["group"]], age.get(row["group"])
        cells = [
            Cell(row["group"]), Cell(whole(row["patients"])),
            Cell(percent(row["share_of_patients"])), Cell(whole(row["images"])),
            Cell(percent(row["share_of_images"])),
            Cell(words.decimal(float(per["mean"]), digits=2)),
        ]  # fmt: skip
        if age:
            cells.append(_age(old))
        rows.append(cells)
    head = ["group", "patients", "of patients", "images", "of images", "images per patient"]
    return table(f"{attribute}: groups", head + (["age (quartiles)"] if age else []), rows)


def _keyed(frame: pd.DataFrame, attribute: str) -> dict[str, Row]:
    return {str(r["group"]): r for r in records(frame[frame["attribute"] == attribute])}


def _age(row: Row | None) -> Cell:
    if row is None or math.isnan(float(row["median"])):
        return Cell("n/a")
    quartiles = f"{row['quartile_1']:.0f}{words.EN_DASH}{row['quartile_3']:.0f}"
    return Cell(f"{row['median']:.0f}", quartiles)


def imbalance(made: Description, attributes: Sequence[str], caption: str) -> Table:
    """How uneven the groups of some attributes are, of patients."""
    found = made.imbalance
    found = found[(found["unit"] == "patients") & found["attribute"].isin(attributes)]
    rows = []
    for r in records(found):
        n = int(r["groups"])
        rows.append((
            r["attribute"],
            Cell(str(n), f"{r['empty_groups']} empty" if r["empty_groups"] else ""),
            words.decimal(r["entropy"]),
            Cell(words.decimal(r["simpson"]), f"at most {1 - 1 / n:.3f}" if n else ""),
            words.decimal(r["largest_to_smallest"], digits=1)
            if not math.isnan(r["largest_to_smallest"]) else "n/a",
            whole(r["smallest"]),
        ))  # fmt: skip
    head = ("attribute", "groups", "entropy", "Simpson", "largest : smallest", "smallest")
    return table(caption, head, rows)


def findings(made: Description) -> Table:
    """Every finding in everybody: prevalence, counts, and what is not known."""
    cells = made.prevalence[made.prevalence["attribute"] == ""]
    recorded = _by_finding(cells[cells["labels"] == RECORDED])
    truth = _by_finding(cells[cells["labels"] == TRUTH])
    absent = made.missing[made.missing["attribute"] == ""] if len(made.missing) else made.missing
    gone = {str(r["what"]): float(r["value"]) for r in records(absent)}
    rows = []
    for finding in made.findings:
        row = recorded[finding]
        cells_of = [Cell(finding), rate_cell(row)]
        if truth:
            cells_of.append(rate_cell(truth[finding]))
        cells_of += [
            Cell(whole(row["positives"])), Cell(whole(row["negatives"])),
            Cell(whole(row["positive_images"])), Cell(percent(gone.get(finding, 0.0))),
        ]  # fmt: skip
        rows.append(cells_of)
    head = ["finding", "prevalence", *(["true (simulated)"] if truth else []), "patients with",
            "patients without", "images with", "label not known"]  # fmt: skip
    return table("Findings, all images", head, rows)


def _by_finding(cells: pd.DataFrame) -> dict[str, Row]:
    return {str(r["finding"]): r for r in records(cells)}


def prevalence(made: Description, attribute: str, labels: str) -> Table | None:
    """Prevalence of every finding in every group of one attribute; None without such labels."""
    cells = made.prevalence
    cells = cells[(cells["attribute"] == attribute) & (cells["labels"] == labels)]
    of = "" if labels == RECORDED else ", simulated truth"
    return _grid(cells, "finding", f"{attribute}: prevalence by group{of}")


def missing(made: Description) -> Table | None:
    """What is not recorded, in everybody and in every group; None where nothing is missing."""
    if made.missing.empty:
        return None
    rows: list[Sequence[str | Cell]] = []
    for what, part in made.missing.groupby("what", sort=False):
        whole_set = records(part[part["attribute"] == ""])[0]
        rest = part[(part["attribute"] != "") & part["value"].notna()]
        most, least = (
            records(rest.sort_values("value", ascending=up, kind="stable"))[:1]
            for up in (False, True)
        )
        rows.append((
            str(what), rate_cell(whole_set), Cell(whole(whole_set["positive_images"])),
            *(_extreme(found) for found in (most, least)),
        ))  # fmt: skip
    head = ("what", "not recorded", "images", "most often in", "least often in")
    return table("Labels and attributes that are not recorded on every image", head, rows)


def _extreme(found: Sequence[Row]) -> Cell:
    if not found:
        return Cell("")
    row = found[0]
    cell = rate_cell(row)
    return Cell(f"{row['group']}: {cell.text}", f"{row['attribute']}; {cell.small}", cell.title)


def recording(made: Description, attribute: str) -> Table | None:
    """Of the images with a true finding, the share recorded without it, by group."""
    if made.recording.empty:
        return None
    cells = made.recording[made.recording["attribute"].isin(["", attribute])]
    caption = f"{attribute}: true findings that are recorded as absent (simulated)"
    return _grid(cells, "finding", caption)


def _grid(cells: pd.DataFrame, down: str, caption: str) -> Table | None:
    if cells.empty:
        return None
    across = list(dict.fromkeys(cells["group"]))
    by_key = {(r[down], r["group"]): r for r in records(cells)}
    rows = [
        (Cell(str(name)), *(rate_cell(by_key.get((name, group))) for group in across))
        for name in dict.fromkeys(cells[down])
    ]
    return table(caption, (down, *across), rows)


def tests(made: Description, attribute: str, labels: str) -> Table | None:
    """How far each finding goes with one attribute; None without such labels."""
    found = made.associations
    found = found[(found["attribute"] == attribute) & (found["labels"] == labels)]
    if found.empty:
        return None
    rows, strong = [], []
    for i, r in enumerate(records(found)):
        if r["p_holm"] < 0.05:
            strong.append(i)
        rows.append((
            str(r["finding"]), words.decimal(r["cramers_v"]), words.decimal(r["v_beyond_chance"]),
            Cell(words.p_value(r["p_holm"]), title=str(r["note"])), str(r["groups_tested"]),
        ))  # fmt: skip
    of = "" if labels == RECORDED else ", simulated truth"
    head = ("finding", "Cramér's V", "beyond chance", "p (Holm)", "groups tested")
    return table(f"{attribute}: association with findings{of}", head, rows, strong=strong)
