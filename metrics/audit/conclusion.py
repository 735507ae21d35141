"""What can and what cannot be concluded, in plain words, built from the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from metrics.audit import words
from metrics.audit.contrasts import DIFFERS, INCONCLUSIVE, UNDEFINED, sides
from metrics.audit.records import Row, records
from metrics.cells import MINIMUM_PATIENTS
from metrics.score import ALL, MACRO

if TYPE_CHECKING:
    from metrics.audit.engine import Audit

NAMED, CELLS = 6, 3
"""Contrasts, and small cells, that the text names; the others are counted, and stand in tables."""


def conclusion(audit: Audit) -> str:
    """Paragraphs of plain text: what was audited, what follows, and what does not."""
    parts = [_audited(audit), _follows(audit), _open(audit), _limits(audit)]
    return "\n\n".join(p for p in parts if p)


def _audited(audit: Audit) -> str:
    test = audit.material.test
    patients, findings = test.patient_codes()[1], words.counted(len(test.findings), "finding")
    over = f"over {words.listed(test.attributes)}" if test.attributes else "without groups"
    text = (
        f"We audited {words.counted(len(test), 'image')} of {words.counted(patients, 'patient')} "
        f"for {findings}, {over}. Intervals are 95 % and come from {audit.replicates:,} resamples "
        "of patients, not of images."
    )
    whole = audit.scores[(audit.scores["group"] == ALL) & (audit.scores["attribute"] == "")]
    whole = whole[(whole["finding"] == audit.headline) & (whole["labels"] == "recorded")]
    row = whole[whole["metric"] == "auc"].iloc[0]
    name = "macro AUC" if row["finding"] == MACRO else "AUC"
    if np.isnan(row["value"]):
        return f"{text} The {name} is undefined: {row['note']}."
    span = words.interval(row["low"], row["high"])
    return f"{text} The {name} is {words.decimal(row['value'])} ({span})."


def _headline(audit: Audit) -> pd.DataFrame:
    found = audit.contrasts
    return found[found["headline"] & (found["labels"] == "recorded")]


def _follows(audit: Audit) -> str:
    found = _headline(audit)
    tested = found[found["verdict"].isin([DIFFERS, INCONCLUSIVE])]
    if found.empty:
        return "What can be concluded: nothing about groups, since there are no two to compare."
    if tested.empty:
        return (
            "What can be concluded: nothing about differences between groups, since no pair of "
            "groups has enough patients."
        )
    differing = tested[tested["verdict"] == DIFFERS].sort_values("holm", kind="stable")
    averaged = " averaged over findings" if audit.headline == MACRO else ""
    text = (
        f"What can be concluded: of {words.counted(len(tested), 'difference')} between "
        f"groups{averaged}, tested together with Holm's correction, "
        f"{len(differing) or 'none'} {'is' if len(differing) == 1 else 'are'} away from zero"
    )
    if differing.empty:
        return text + "."
    named = [_said(audit, row) for row in records(differing.head(NAMED))]
    if len(differing) > NAMED:
        named.append(f"and {len(differing) - NAMED} more in the table of contrasts")
    return f"{text}. For this model, {'; '.join(named)}."


def _said(audit: Audit, row: Row) -> str:
    known = audit.material.test.groups.get(row["attribute"], ())
    later, earlier = sides(str(row["group"]), known)
    value, low, high = (float(row[k]) for k in ("value", "low", "high"))
    if value < 0:
        low, high = -high, -low
    span = words.interval(low, high)
    p = words.p_value(float(row["holm"]))
    return (
        f"{words.quantity(str(row['metric']))} is {words.decimal(abs(value))} "
        f"{'higher' if value > 0 else 'lower'} in {row['attribute']} {later} than in {earlier} "
        f"({span}; p {p.replace('<', '< ') if p.startswith('<') else f'= {p}'})"
    )


def _open(audit: Audit) -> str:
    found, parts = _headline(audit), []
    open_ = found[found["verdict"] == INCONCLUSIVE]
    if len(open_):
        sizes = []
        for metric, rows in open_.groupby("metric", sort=False):
            low, high = rows["detectable"].min(), rows["detectable"].max()
            if np.isnan(low):
                continue
            shown = words.decimal(low)
            if words.decimal(high) != shown:
                shown += f" to {words.decimal(high)}"
            sizes.append(f"{words.quantity(str(metric))} {shown}")
        verb = "is" if len(open_) == 1 else "are"
        text = (
            f"{words.counted(len(open_), 'difference')} {verb} inconclusive: neither a difference "
            "nor its absence is shown."
        )
        if sizes:
            text += (
                " The smallest differences that these data would have shown with 80 % chance: "
                f"{words.listed(sizes, NAMED)}{', by pair' if len(open_) > len(sizes) else ''}."
            )
        parts.append(text)
    undefined = int((found["verdict"] == UNDEFINED).sum())
    if undefined and audit.decided.predictions.has_decisions:
        parts.append(f"{words.counted(undefined, 'difference')} could not be computed.")
    parts += [_small(audit)]
    if not audit.decided.predictions.has_decisions or not audit.decided.limits:
        parts.append(audit.decided.told)
    text = " ".join(p for p in parts if p)
    return f"What cannot be concluded: {text}" if text else ""


def _small(audit: Audit) -> str:
    cells = audit.cells
    small = cells[~cells["large"]]
    if small.empty:
        return ""
    named = [
        f"{row['attribute'] or 'all'} {row['group']} for {row['finding']} "
        f"({row['positives']} positive, {row['negatives']} negative)"
        for row in records(small.head(CELLS))
    ]
    more = f" and {len(small) - CELLS} more" if len(small) > CELLS else ""
    verb = "has" if len(small) == 1 else "have"
    return (
        f"{len(small)} of {words.counted(len(cells), 'cell')} (a finding in a group) {verb} fewer "
        f"than {MINIMUM_PATIENTS} positive or {MINIMUM_PATIENTS} negative patients and "
        f"{'was' if len(small) == 1 else 'were'} not evaluated: {', '.join(named)}{more}."
    )


def _limits(audit: Audit) -> str:
    simulated = "The data are simulated: nothing about real groups follows. "
    return (simulated if audit.material.test.has_truth else "") + (
        "These are properties of one model on these patients and against these recorded labels. "
        "They do not say why a difference arises, are not properties of the people in a group, "
        "and do not cover another training run, other labels or other hospitals. An interval that "
        "holds zero is no proof of equality."
    )
