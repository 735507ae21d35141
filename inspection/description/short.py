"""A description in a few sentences: what stands out, in words about the data set."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from inspection.description.groupings import FOLD
from inspection.description.withheld import FEWEST
from metrics.audit import words
from metrics.audit.records import records
from metrics.cells import MINIMUM_PATIENTS

if TYPE_CHECKING:
    from inspection.description.describing import Description

CLEAR = 0.05
"""Holm-adjusted p below which an association is named."""
MOST = 3
"""Associations that are named."""


def in_short(made: Description) -> list[str]:
    """What stands out in a description, a sentence or two to each matter."""
    told = [_size(made), _uneven(made), *_associated(made), _small(made), _absent(made)]
    if made.simulated:
        told.append("The people are simulated: nothing about real groups follows from this page.")
    return [text for text in told if text]


def _size(made: Description) -> str:
    several = made.images_per_patient.iloc[0]["share_with_several"]
    more = "" if math.isnan(several) else f"; {several:.0%} of the patients have several images"
    left_out = sum(made.dropped.values())
    out = f" {words.counted(left_out, 'row')} of the source were left out." if left_out else ""
    return (
        f"{words.counted(made.images, 'image')} of {words.counted(made.patients, 'patient')}{more}."
        + out
    )


def _uneven(made: Description) -> str:
    found = made.imbalance
    found = found[(found["unit"] == "patients") & found["attribute"].isin(made.attributes)]
    found = found[found["entropy"].notna()]
    if found.empty:
        return ""
    least = records(found.sort_values("entropy", kind="stable"))[0]
    counts = made.counts[made.counts["attribute"] == least["attribute"]]
    counts = counts[counts["patients"].fillna(0) > 0].sort_values("patients", kind="stable")
    if counts.empty:
        return ""
    largest = records(counts)[-1]
    return (
        f"Groups are most uneven by {least['attribute']} (entropy {least['entropy']:.2f} of 1): "
        f"{largest['group']} holds {largest['share_of_patients']:.0%} of the patients."
    )


def _associated(made: Description) -> list[str]:
    tests = made.associations
    if tests.empty:
        return []
    tests = tests[(tests["labels"] == "recorded") & tests["attribute"].isin(made.attributes)]
    tested = int(tests["p"].notna().sum())
    if not tested:
        return ["No group is large enough to test whether findings go with attributes."]
    clear = tests[tests["p_holm"] < CLEAR].sort_values("v_beyond_chance", ascending=False)
    if clear.empty:
        return [f"None of {tested} findings by attributes is more frequent in some groups than in "
                "others by more than chance explains."]  # fmt: skip
    named = [f"{r['finding']} with {r['attribute']} (V {r['cramers_v']:.2f})"
             for r in records(clear.head(MOST))]  # fmt: skip
    said = [
        f"{len(clear)} of {tested} pairs of a finding and an attribute are associated beyond "
        f"chance, most of all {words.listed(named)}: a model can read the one from the other."
    ]
    folds = made.associations
    folds = folds[(folds["labels"] == "recorded") & (folds["attribute"] == FOLD)]
    apart = list(folds.loc[folds["p_holm"] < CLEAR, "finding"])
    if apart:
        said.append(
            f"The folds differ in how often they hold {words.listed(apart, 4)}: a threshold that "
            "is right for one is not for the other."
        )
    return said


def _small(made: Description) -> str:
    cells = made.prevalence
    cells = cells[(cells["labels"] == "recorded") & cells["attribute"].isin(made.attributes)]
    few = cells[["positives", "negatives"]].fillna(0).min(axis=1) < MINIMUM_PATIENTS
    if not few.any():
        return ""
    named = zip(cells["attribute"][few], cells["group"][few], strict=True)
    groups = [f"{attribute}: {group}" for attribute, group in dict.fromkeys(named)]
    return (
        f"{int(few.sum())} of {len(cells)} cells of a finding and a group hold fewer than "
        f"{MINIMUM_PATIENTS} patients with or without it in the whole data set ("
        f"{words.listed(groups, 5)}); a test fold holds fewer still, and no rate is told for them."
    )


def _absent(made: Description) -> str:
    absent = made.missing
    if absent.empty:
        return "No label and no attribute is missing."
    whole = absent[absent["attribute"] == ""].sort_values("value", ascending=False)
    named = [f"{r['what']} ({r['value']:.1%})" for r in records(whole)
             if not math.isnan(float(r["value"]))]  # fmt: skip
    return f"Not recorded on every image: {words.listed(named, 5)}." if named else (
        f"Some labels or attributes are missing for fewer than {FEWEST} patients."
    )  # fmt: skip
