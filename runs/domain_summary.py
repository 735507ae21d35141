"""In domain against out of domain on the terminal: one block per other data set."""

from __future__ import annotations

import math

from metrics.comparison.domains import apart
from metrics.score import ALL, MACRO, Score
from tracking.domains import IN, OUT, domain_scores
from tracking.rundir import SOURCE_THRESHOLDS, TARGET_THRESHOLDS, RunDirectory, Target

Side = dict[tuple[str, str, str], Score]
COLUMNS = ("in domain", "out of domain", "its own thresholds")


def domain_lines(directory: RunDirectory) -> list[str]:
    """Lines on every other data set: macro AUC and its fall, and what the thresholds do there."""
    lines = []
    for target in directory.record().targets:
        lines += ["", *_block(directory, target)]
    return lines


def _block(directory: RunDirectory, target: Target) -> list[str]:
    every = [
        domain_scores(directory, target.name, domain, thresholds)
        for domain, thresholds in (
            (IN, SOURCE_THRESHOLDS), (OUT, SOURCE_THRESHOLDS), (OUT, TARGET_THRESHOLDS),
        )
    ]  # fmt: skip
    labels = "true" if any(s.labels == "true" for s in every[0]) else "recorded"
    inside, outside, own = (_macro(scores, labels) for scores in every)
    rows = [("macro AUC", ("auc", "", ALL), False)]
    rows += [("false positive rate", ("fpr", "", ALL), True)]
    rows += [
        (f"{metric[:3].upper()} contrast  {attribute} {group}", (metric, attribute, group), True)
        for metric in ("fnr_contrast", "fpr_contrast")
        for attribute, group in directory.record().primary_contrasts.items()
    ]
    width = max(len(name) for name, *_ in rows)
    told = [
        f"out of domain: {target.name}, {target.test_patients} test patients; "
        f"{labels} labels, mean over {len(target.findings)} findings",
        " " * width + "".join(f"  {title:<24}" for title in COLUMNS).rstrip(),
    ]
    for name, key, moved in rows:
        cells = [
            _told(side.get(key))
            for side in ((inside, outside, own) if moved else (inside, outside))
        ]
        told.append(f"{name:<{width}}" + "".join(f"  {cell:<24}" for cell in cells).rstrip())
    told.append(f"{'difference':<{width}}  {_difference(inside, outside)}")
    return told + [f"({note})" for note in target.notes]


def _macro(scores: list[Score], labels: str) -> Side:
    return {
        (s.metric, s.attribute, s.group): s
        for s in scores
        if s.finding == MACRO and s.labels == labels
    }


def _difference(inside: Side, outside: Side) -> str:
    a, b = inside.get(("auc", "", ALL)), outside.get(("auc", "", ALL))
    if a is None or b is None or math.isnan(a.value) or math.isnan(b.value):
        return "n/a"
    value, low, high = apart(a.value, a.se, b.value, b.se)
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}] (macro AUC out of domain minus in domain)"


def _told(score: Score | None) -> str:
    if score is None or math.isnan(score.value):
        return "n/a"
    signed = "+" if score.metric.endswith("_contrast") else ""
    return f"{score.value:{signed}.3f} [{score.low:{signed}.3f}, {score.high:{signed}.3f}]"
