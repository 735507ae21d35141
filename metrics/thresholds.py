"""Decision thresholds: fitted on validation patients, frozen, applied elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeVar

import numpy as np

from metrics.cells import MINIMUM_PATIENTS
from metrics.intersections import AND, joint_groups
from metrics.operating_points import Chooser, Images, parse_operating_point
from metrics.predictions import Predictions
from metrics.score import ALL
from metrics.validation import VALIDATION, ValidationPredictions
from registry import unknown

AnyPredictions = TypeVar("AnyPredictions", bound=Predictions)


@dataclass(frozen=True)
class Threshold:
    """The smallest logit that is decided positive, and what it was fitted on.

    `rule` is the operating point as written, `fold` the fold it was fitted on. `group` is a group
    of `attribute`, or "all"; with several attributes both are joined, as in "race & sex" and
    "B & Female". `positives` and `negatives` count patients of that group. `achieved` is what the
    operating point asks for, measured on the images it was fitted on: specificity, sensitivity,
    Youden's J, |TPR - TNR|, or F1.

    Raises:
        ValueError: the value is NaN without a note that says why.
    """

    finding: str
    value: float
    rule: str
    fold: str = VALIDATION
    attribute: str = ""
    group: str = ALL
    positives: int = 0
    negatives: int = 0
    achieved: float = math.nan
    note: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.value) and not self.note:
            raise ValueError(
                f"an undefined threshold must say why, but that of {self.finding!r} "
                f"({self.group}) is NaN without a note"
            )


@dataclass(frozen=True)
class Rule:
    """Thresholds for every finding: one for everybody, or one per joint group of `attributes`."""

    thresholds: tuple[Threshold, ...]
    attributes: tuple[str, ...] = ()

    def apply(self, predictions: AnyPredictions) -> AnyPredictions:
        """The predictions with decisions: 1 where logit >= threshold, NaN where there is none.

        Raises:
            ValueError: a finding or group of the predictions has no threshold in this rule.
        """
        limit = {(t.finding, t.group): t.value for t in self.thresholds}
        group = joint_groups(predictions.frame, self.attributes)
        # float64: a threshold lies on a float32 logit, which float64 represents exactly.
        logits = predictions.logits().astype(np.float64)
        cut = np.empty(logits.shape)
        for j, finding in enumerate(predictions.findings):
            for name in np.unique(group):
                if (finding, name) not in limit:
                    raise ValueError(
                        f"a rule must cover every finding and group it is applied to, but "
                        f"{finding!r} has no threshold for "
                        f"{AND.join(self.attributes) or 'everybody'}: {name!r}; "
                        "fit it with the same findings and frozen groups"
                    )
                cut[group == name, j] = limit[finding, name]
        decisions = np.where(np.isnan(cut), np.nan, logits >= cut).astype(np.float32)
        return predictions.with_decisions(decisions)


def fit_rule(
    val: ValidationPredictions,
    operating_point: str = "specificity:0.80",
    attributes: Sequence[str] = (),
) -> Rule:
    """Thresholds that reach an operating point on validation patients, against recorded labels.

    `operating_point` is "specificity:X", "sensitivity:X" (0 < X < 1), "youden", "balanced" or "f1".
    With `attributes` each joint group of them gets its own threshold if it has at least 30 positive
    and 30 negative patients, and else the threshold of everybody, with a note.

    Specificity X: the ceil(X (n0 + 1))-th smallest logit of the n0 negative images. Sensitivity X:
    the floor((1 - X)(n1 + 1))-th smallest of the n1 positive images. Both hold on average for new
    images in any finite sample. Youden: the logit with the largest TPR - FPR; balanced: the logit
    with the smallest |TPR - TNR|; f1: the logit with the largest 2 TP / (2 TP + FP + FN); the
    highest at a tie. What these three achieve on validation is the best of many noisy numbers, so
    it is biased up; the logit of the largest F1 also moves with prevalence.

    Raises:
        ValueError: the predictions are not of fold "val", or the operating point is misspelt.
        UnknownName: the predictions have no such attribute.

    Source: Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005, ch. 2 (order
    statistics); Youden, Cancer 1950;3:32–35; Gao, Hao & Zhou, FairREAD, 2024 (arXiv 2412.16373;
    the subgroup thresholds with the smallest gap); Lipton, Elkan & Naryanaswamy, ECML PKDD 2014
    (thresholds that maximise F1).
    """
    if val.fold != VALIDATION:
        raise ValueError(
            "thresholds must be fitted on validation, but these predictions are of fold "
            f"{val.fold!r}; pass those of fold {VALIDATION!r}"
        )
    choose = parse_operating_point(operating_point)
    for attribute in attributes:
        if attribute not in val.attributes:
            raise unknown("attribute", attribute, val.attributes)
    logits, labels, patients = val.logits(), val.labels(), val.patient_codes()[0]
    joint = joint_groups(val.frame, attributes)
    thresholds: list[Threshold] = []
    for j, finding in enumerate(val.findings):
        images = Images(logits[:, j], labels[:, j], patients)
        everybody = _fit(images, finding, operating_point, choose)
        if not attributes:
            thresholds.append(everybody)
            continue
        for group in map(AND.join, product(*(val.groups[a] for a in attributes))):
            inside = images.where(joint == group)
            thresholds.append(_fit_group(inside, everybody, AND.join(attributes), group, choose))
    return Rule(tuple(thresholds), tuple(attributes))


def _fit(images: Images, finding: str, rule: str, choose: Chooser) -> Threshold:
    value, achieved, note = choose(images)
    return Threshold(
        finding=finding,
        value=value,
        rule=rule,
        positives=images.count(1),
        negatives=images.count(0),
        achieved=achieved,
        note=note,
    )


def _fit_group(
    images: Images, everybody: Threshold, attribute: str, group: str, choose: Chooser
) -> Threshold:
    own = replace(
        _fit(images, everybody.finding, everybody.rule, choose), attribute=attribute, group=group
    )
    if min(own.positives, own.negatives) >= MINIMUM_PATIENTS and not math.isnan(own.value):
        return own
    note = (
        f"threshold of everybody: the group has {own.positives} positive and {own.negatives} "
        f"negative patients, and {MINIMUM_PATIENTS} of each are needed"
    )
    if everybody.note:
        note = f"{note}; {everybody.note}"
    return replace(own, value=everybody.value, achieved=everybody.achieved, note=note)
