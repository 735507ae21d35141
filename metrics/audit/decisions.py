"""Where decisions come from; never from tested images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from metrics.audit.read import Material
from metrics.operating_points import parse_operating_point
from metrics.predictions import Predictions
from metrics.thresholds import fit_rule
from metrics.validation import ValidationPredictions
from registry import unknown

OPERATING_POINT = "specificity:0.80"


@dataclass(frozen=True)
class Limit:
    """The threshold of a finding in the unit of the scores, and in words where it comes from."""

    finding: str
    value: float
    origin: str
    note: str = ""


@dataclass(frozen=True)
class Decided:
    """Predictions with decisions, if there are any, and a sentence that says why or why not.

    `validation` are the predictions that thresholds were fitted on, if any were.
    """

    predictions: Predictions
    limits: tuple[Limit, ...]
    told: str
    validation: ValidationPredictions | None = None


def decide(
    material: Material,
    *,
    thresholds: Mapping[str, float] | float | None = None,
    operating_point: str = "",
) -> Decided:
    """The tested predictions, decided by what is known beside the tested labels.

    In this order: thresholds that are given; those fitted on validation at `operating_point`;
    decisions that stand in the table, where no operating point is asked for; none.

    Raises:
        UnknownName: a threshold is for a finding that is not there.
        ValueError: the operating point is misspelt, or asked for without validation patients.
    """
    if operating_point:
        parse_operating_point(operating_point)
    if thresholds is not None:
        if operating_point:
            raise ValueError(
                "--threshold and --operating-point must not both be given, since each says where "
                f"the threshold lies, but got {operating_point!r} beside thresholds; leave one out"
            )
        return _given(material, thresholds)
    if operating_point and material.validation is None:
        raise ValueError(
            f"an operating point must be fitted on validation patients, but {operating_point!r} "
            f"was given without any ({material.name}); give --validation FILE, or --threshold "
            "values that were fixed before"
        )
    if material.decided and not operating_point:
        return Decided(
            material.test,
            (),
            "Decisions were taken as they stand in the table. How their thresholds were chosen "
            "cannot be seen from here: rates are biased if tested labels had a part in it.",
        )
    if material.validation is not None:
        return _fitted(material, material.validation, operating_point or OPERATING_POINT)
    return Decided(
        material.test,
        (),
        "No error rates are reported: they need a threshold, and a threshold that is fitted on "
        "tested images flatters the model. Give --validation FILE with other patients, or "
        "--threshold with a value that was fixed before.",
    )


def _given(material: Material, thresholds: Mapping[str, float] | float) -> Decided:
    findings = material.test.findings
    if not isinstance(thresholds, Mapping):
        thresholds = dict.fromkeys(findings, float(thresholds))
    for finding, value in thresholds.items():
        if finding not in findings:
            raise unknown("finding of a threshold", finding, findings)
        if not np.isfinite(value) or (material.scale.kind == "probability" and not 0 <= value <= 1):
            raise ValueError(
                f"a threshold must lie on the scale of the scores, "
                f"of kind {material.scale.kind}, but that of {finding!r} is {value:g}; correct it"
            )
    limits = tuple(
        Limit(f, thresholds[f], "given")
        if f in thresholds
        else Limit(f, np.nan, "none", "no threshold was given")
        for f in findings
    )
    cut = np.array([limit.value for limit in limits])
    # On the scores as given: a threshold that equals a score decides it positive.
    decisions = np.where(np.isnan(cut), np.nan, material.scores >= cut).astype(np.float32)
    told = "Thresholds were given, and are taken to have been fixed without tested labels."
    return Decided(material.test.with_decisions(decisions), limits, told)


def _fitted(material: Material, validation: Predictions, operating_point: str) -> Decided:
    parts = material.test.frame["part"].nunique()
    if parts > 1:
        raise ValueError(
            "thresholds can be fitted here for one model only, since scores of different models "
            f"share no scale, but the column 'part' of {material.name} names {parts} models; "
            "decide each part at its own threshold and give the columns decision_X"
        )
    val = ValidationPredictions.of(validation)
    rule, patients = fit_rule(val, operating_point), val.patient_codes()[1]
    limits = tuple(
        Limit(
            t.finding,
            material.scale.native(t.value),
            f"{t.rule} on {t.positives:,} positive and {t.negatives:,} negative patients",
            t.note,
        )
        for t in rule.thresholds
    )
    told = (
        f"Thresholds were fitted at {operating_point} on {patients:,} validation patients, none of "
        "whom is tested, and then frozen."
    )
    return Decided(rule.apply(material.test), limits, told, val)
