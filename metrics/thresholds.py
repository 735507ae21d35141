"""Decision thresholds: fitted on validation patients, frozen, applied elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from typing import TypeVar

import numpy as np
import pandas as pd

from metrics.cells import MINIMUM_PATIENTS
from metrics.predictions import Predictions
from metrics.score import ALL
from metrics.validation import VALIDATION, ValidationPredictions
from registry import unknown

AnyPredictions = TypeVar("AnyPredictions", bound=Predictions)
AND = " & "
"""Joins the names of several attributes, and of their groups, where a threshold is stored."""


@dataclass(frozen=True)
class Threshold:
    """The smallest logit that is decided positive, and what it was fitted on.

    `rule` is the operating point as written, `fold` the fold it was fitted on. `group` is a group
    of `attribute`, or "all"; with several attributes both are joined, as in "race & sex" and
    "B & Female". `positives` and `negatives` count patients of that group. `achieved` is what the
    operating point asks for, measured on the images it was fitted on: specificity, sensitivity,
    Youden's J, or |TPR - TNR|.

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
        group = _joint_groups(predictions.frame, self.attributes)
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

    `operating_point` is "specificity:X", "sensitivity:X" (0 < X < 1), "youden" or "balanced". With
    `attributes` each joint group of them gets its own threshold if it has at least 30 positive and
    30 negative patients, and else the threshold of everybody, with a note.

    Specificity X: the ceil(X (n0 + 1))-th smallest logit of the n0 negative images. Sensitivity X:
    the floor((1 - X)(n1 + 1))-th smallest of the n1 positive images. Both hold on average for new
    images in any finite sample. Youden: the logit with the largest TPR - FPR; balanced: the logit
    with the smallest |TPR - TNR|; the highest at a tie.

    Raises:
        ValueError: the predictions are not of fold "val", or the operating point is misspelt.
        UnknownName: the predictions have no such attribute.

    Source: Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005, ch. 2 (order
    statistics); Youden, Cancer 1950;3:32–35; Gao, Hao & Zhou, FairREAD, 2024 (arXiv 2412.16373;
    the subgroup thresholds with the smallest gap).
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
    joint = _joint_groups(val.frame, attributes)
    thresholds: list[Threshold] = []
    for j, finding in enumerate(val.findings):
        images = _Images(logits[:, j], labels[:, j], patients)
        everybody = _fit(images, finding, operating_point, choose)
        if not attributes:
            thresholds.append(everybody)
            continue
        for group in map(AND.join, product(*(val.groups[a] for a in attributes))):
            inside = images.where(joint == group)
            thresholds.append(_fit_group(inside, everybody, AND.join(attributes), group, choose))
    return Rule(tuple(thresholds), tuple(attributes))


def _joint_groups(frame: pd.DataFrame, attributes: Sequence[str]) -> np.ndarray:
    """The name of each row's joint group `(n,)`; "all" without attributes."""
    if not attributes:
        return np.full(len(frame), ALL, dtype=object)
    columns = [frame[a].astype(str) for a in attributes]
    return np.array([AND.join(groups) for groups in zip(*columns, strict=True)], dtype=object)


@dataclass(frozen=True)
class _Images:
    """Logits, labels and patients `(n,)` of one finding."""

    logits: np.ndarray
    labels: np.ndarray
    patients: np.ndarray

    def where(self, mask: np.ndarray) -> _Images:
        return _Images(self.logits[mask], self.labels[mask], self.patients[mask])

    def of(self, label: int) -> np.ndarray:
        """Ascending logits of the images with this label."""
        return np.sort(self.logits[self.labels == label].astype(np.float64))

    def count(self, label: int) -> int:
        """Number of patients with such an image."""
        return len(np.unique(self.patients[self.labels == label]))


Choice = tuple[float, float, str]
"""Threshold, what it achieves, and why it is NaN if it is."""
Chooser = Callable[[_Images], Choice]


def _fit(images: _Images, finding: str, rule: str, choose: Chooser) -> Threshold:
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
    images: _Images, everybody: Threshold, attribute: str, group: str, choose: Chooser
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


def parse_operating_point(text: str) -> Chooser:
    """The function that chooses a threshold, from its written form.

    Raises:
        ValueError: it is misspelt, or its target does not lie in (0, 1).
    """
    kind, _, number = text.partition(":")
    if text in NAMED:
        return NAMED[text]
    try:
        target = Fraction(number.strip())
    except (ValueError, ZeroDivisionError):
        target = Fraction(0)
    if kind not in ("specificity", "sensitivity") or not 0 < target < 1:
        raise ValueError(
            "an operating point must be 'specificity:X' or 'sensitivity:X' with 0 < X < 1, or "
            f"{' or '.join(map(repr, NAMED))}, but got {text!r}; "
            "write for example 'specificity:0.80'"
        )
    if kind == "specificity":
        return lambda images: _specificity(images, target)
    return lambda images: _sensitivity(images, target)


def _specificity(images: _Images, target: Fraction) -> Choice:
    # The target stays a fraction: 0.55 * 100 is above 55 in floating point, and ceil gives 56.
    negatives = images.of(0)
    rank = math.ceil(target * (len(negatives) + 1))
    if rank > len(negatives):
        return math.nan, math.nan, _too_few("negative", len(negatives), target)
    value = float(negatives[rank - 1])
    return value, float((negatives < value).mean()), ""


def _sensitivity(images: _Images, target: Fraction) -> Choice:
    positives = images.of(1)
    rank = math.floor((1 - target) * (len(positives) + 1))
    if rank < 1:
        return math.nan, math.nan, _too_few("positive", len(positives), target)
    value = float(positives[rank - 1])
    return value, float((positives >= value).mean()), ""


def _youden(images: _Images) -> Choice:
    return _along_the_curve(images, lambda hits, rejections, pairs: hits + rejections - pairs)


def _balanced(images: _Images) -> Choice:
    value, achieved, note = _along_the_curve(
        images, lambda hits, rejections, pairs: -np.abs(hits - rejections)
    )
    return value, abs(achieved), note


def _along_the_curve(
    images: _Images, quality: Callable[[np.ndarray, np.ndarray, int], np.ndarray]
) -> Choice:
    """The logit with the largest quality, the highest at a tie.

    `quality` sees TPR and TNR, both times positives x negatives: as integers, equal qualities tie.
    """
    positives, negatives = images.of(1), images.of(0)
    if not len(positives) or not len(negatives):
        missing = "negative" if len(positives) else "positive"
        return math.nan, math.nan, f"no {missing} validation image"
    values = np.unique(np.concatenate([positives, negatives]))[::-1]
    hits = len(positives) - np.searchsorted(positives, values, "left")
    rejections = np.searchsorted(negatives, values, "left")
    pairs = len(positives) * len(negatives)
    qualities = quality(hits * len(negatives), rejections * len(positives), pairs)
    best = int(qualities.argmax())
    return float(values[best]), float(qualities[best] / pairs), ""


NAMED: Mapping[str, Chooser] = {"youden": _youden, "balanced": _balanced}
"""Operating points that need no number."""


def _too_few(kind: str, count: int, target: Fraction) -> str:
    if not count:
        return f"no {kind} validation image"
    return f"{count} {kind} validation images are too few to guarantee {float(target):g}"
