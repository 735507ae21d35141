"""The audit itself: from a table to scores, tested contrasts and words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from metrics.audit.columns import Named
from metrics.audit.conclusion import conclusion
from metrics.audit.contrasts import contrasts, is_pair
from metrics.audit.decisions import Decided, decide
from metrics.audit.read import Material, load
from metrics.bootstrap import PatientBootstrap
from metrics.cells import MINIMUM_PATIENTS
from metrics.evaluate import evaluate
from metrics.score import ALL, MACRO, to_frame
from registry import unknown

if TYPE_CHECKING:
    from metrics.audit.report import Written

Tell = Callable[[str], None]
"""Hears what is being done, a few words at a time."""


def silent(text: str) -> None:
    """Hear nothing."""


@dataclass(frozen=True)
class Audit:
    """An audit of one table of predictions.

    `scores` has a row per number, with the columns of `metrics.score.Score`; see
    docs/statistics.md.
    """

    material: Material
    decided: Decided
    macro: tuple[str, ...]
    replicates: int
    seed: int
    scores: pd.DataFrame = field(repr=False, compare=False)

    @property
    def headline(self) -> str:
        """The finding that is looked at first: the average, or the only one."""
        return MACRO if len(self.material.test.findings) > 1 else self.material.test.findings[0]

    @cached_property
    def contrasts(self) -> pd.DataFrame:
        """Every contrast of two groups with its verdict; columns as in `contrasts.contrasts`."""
        return contrasts(self.scores, dict(self.material.test.groups))

    @cached_property
    def cells(self) -> pd.DataFrame:
        """Every finding in every group with its patients, and whether it is `large` enough."""
        rows = self.scores[
            (self.scores["metric"] == "auc")
            & (self.scores["finding"] != MACRO)
            & (self.scores["labels"] == "recorded")
        ]
        # A contrast or an average over groups is no cell.
        groups = self.material.test.groups
        own = [
            (g == ALL if not a else g in groups[a] and not is_pair(g, groups[a]))
            for a, g in zip(rows["attribute"], rows["group"], strict=True)
        ]
        cells = rows.loc[own, ["attribute", "group", "finding", "n", "positives", "negatives"]]
        smaller = cells[["positives", "negatives"]].min(axis=1)
        return cells.assign(large=smaller >= MINIMUM_PATIENTS).reset_index(drop=True)

    @cached_property
    def conclusion(self) -> str:
        """What can and what cannot be concluded, in paragraphs of plain words."""
        return conclusion(self)

    def write(self, directory: str | Path) -> Written:
        """Write report.html, report.md, scores.csv and the figures; their paths.

        Raises:
            ValueError: the directory cannot be written to.
        """
        from metrics.audit.report import write

        return write(self, Path(directory))


def audit(
    table: pd.DataFrame | str | Path,
    *,
    patient: str = "",
    image: str = "",
    label: str | Sequence[str] = (),
    score: str | Sequence[str] = (),
    attributes: Sequence[str] | None = None,
    validation: pd.DataFrame | str | Path | None = None,
    operating_point: str = "",
    thresholds: Mapping[str, float] | float | None = None,
    scores: str = "auto",
    macro: Sequence[str] | None = None,
    replicates: int = 1000,
    seed: int = 0,
    tell: Tell = silent,
) -> Audit:
    """The audit of a table of predictions: a frame, or a CSV or parquet file.

    Columns that are not named are found by convention: `patient`, `image` (optional), `label` and
    `score`, or `label_X` and `score_X` per finding X, and attributes such as `sex` or `age`.
    `scores` says "probability" or "logit" where it cannot be told. Decisions need `thresholds`
    (in the unit of the scores: one number, or one per finding), or `validation` patients on whom
    thresholds are fitted at `operating_point` (default "specificity:0.80"); without both there are
    no error rates. `macro` names the findings that averages run over (default: all).

    >>> audit(frame, patient="pid", label="y", score="p", attributes=["sex"]).write("out")

    Raises:
        FileNotFoundError: there is no such file.
        UnknownName: a finding is named that is not there.
        ValueError: a column or a cell breaks a rule; the message says where and what to do.
    """
    named = Named(
        patient=patient,
        image=image,
        label=_several(label),
        score=_several(score),
        attributes=None if attributes is None else _several(attributes),
    )
    if replicates < 2:
        raise ValueError(f"--replicates must be at least 2, but got {replicates}; use 1000")
    if seed < 0:
        raise ValueError(f"--seed must be a whole number from 0, but got {seed}")
    tell("reading")
    material = load(table, named, validation=validation, scores=scores)
    averaged = material.test.findings if macro is None else _several(macro)
    for finding in averaged:
        if finding not in material.test.findings:
            raise unknown("finding of --macro", finding, material.test.findings)
    decided = decide(material, thresholds=thresholds, operating_point=operating_point)
    patients, test = material.test.patient_codes()[1], decided.predictions
    tell(
        f"scoring {len(test):,} images of {patients:,} patients, {len(test.findings)} findings, "
        f"{1 + sum(map(len, test.groups.values()))} groups, {replicates:,} resamples"
    )
    bootstrap = PatientBootstrap(patients, replicates, seed)
    fitted = decided.validation
    val = [fitted] if fitted is not None else []
    found = to_frame(evaluate(test, macro_findings=averaged, bootstrap=bootstrap, val=val))
    return Audit(material, decided, tuple(averaged), replicates, seed, found)


def _several(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
