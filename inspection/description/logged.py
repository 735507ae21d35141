"""The numbers of a description that MLflow holds."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from metrics.audit.records import records
from tracking.store import MAX_METRICS

if TYPE_CHECKING:
    from inspection.description.describing import Description


def metrics(made: Description) -> dict[str, float]:
    """Numbers by key, at most 200: sizes, unevenness, prevalence, and association by attribute.

    `prevalence/finding[/attribute/group]`, `entropy/attribute`, `simpson/attribute`,
    `cramers_v/finding/attribute`, `patients/attribute/group`; what was withheld or is undefined
    has no key.
    """
    found: dict[str, float] = {"images": made.images, "patients": made.patients}
    single = {*made.attributes, ""}
    for r in records(made.imbalance[made.imbalance["unit"] == "patients"]):
        if r["attribute"] in single:
            found[_key("entropy", r["attribute"])] = r["entropy"]
            found[_key("simpson", r["attribute"])] = r["simpson"]
    cells = made.prevalence[made.prevalence["labels"] == "recorded"]
    for r in records(cells[cells["attribute"] == ""]):
        found[_key("prevalence", r["finding"])] = r["value"]
    for r in records(made.counts):
        if r["attribute"] in single:
            found[_key("patients", r["attribute"], r["group"])] = r["patients"]
    for r in records(made.associations):
        if r["labels"] == "recorded" and r["attribute"] in single:
            found[_key("cramers_v", r["finding"], r["attribute"])] = r["v_beyond_chance"]
    for r in records(cells[cells["attribute"].isin(made.attributes)]):
        found[_key("prevalence", r["finding"], r["attribute"], r["group"])] = r["value"]
    known = {k: float(v) for k, v in found.items() if not math.isnan(float(v))}
    return dict(list(known.items())[:MAX_METRICS])


def _key(*parts: object) -> str:
    return "/".join(re.sub(r"[^\w\-. :]", "_", str(part)) for part in parts)
