"""The end of a run on the terminal: headline scores with intervals, and what to type next."""

from __future__ import annotations

import math
import re

from datasets.overlap import told as told_of
from metrics.score import ALL, MACRO, Score
from registry import METRICS
from runs.domain_summary import domain_lines
from tracking.rundir import RunDirectory, RunRecord, headline

FEW_FINDINGS = 3
WORDS = {
    "auc": "macro AUC",
    "worst_group_auc": "worst-group AUC",
    "fnr_contrast": "FNR contrast",
    "fpr_contrast": "FPR contrast",
    "image_reid_auc": "re-id AUC, released images",
    "image_reid_rank1": "re-id rank-1, released images",
    "static_reid_auc": "  by an attacker trained on originals",
    "retrained_reid_auc": "  by one trained on released images",
    "cross_reid_auc": "  by one trained on both",
    "embedding_reid_auc": "re-id AUC, model embedding",
    "embedding_reid_rank1": "re-id rank-1, model embedding",
    "attribute_auc": "attribute probe AUC",
    "release_memorisation_auc": "memorisation AUC of the release",
    "epsilon": "privacy loss epsilon",
}
"""How the headline scores are called."""
ORDER = tuple(WORDS)
"""In which they stand."""


def summary(directory: RunDirectory) -> str:
    """The headline scores with intervals, and what to type next."""
    record = directory.record()
    chosen = [s for s in headline(directory.scores(), record.primary_contrasts) if wanted(s)]
    chosen = per_finding(directory.scores()) + sorted(chosen, key=lambda s: ORDER.index(s.metric))
    unlabelled = [s for s in chosen if METRICS.entries()[s.metric].facts["input"] != "cells"]
    kinds = [
        k for k in ("true", "recorded")
        if any(s.labels == k and s not in unlabelled for s in chosen)
    ]  # fmt: skip
    rows = {row_name(s): dict.fromkeys(kinds, "") for s in chosen}
    for score in chosen:
        rows[row_name(score)][kinds[0] if score in unlabelled else score.labels] = told(score)
    width = max(map(len, rows), default=0)
    lines = [
        f"{record.method} on {record.dataset}, seed {record.seed}: "
        f"{record.seconds.get('total', 0):.0f} s"
    ]
    if record.kind == "simulated":
        lines.append("SIMULATED data: no sentence about real groups follows from these numbers")
    if record.limit_patients:
        lines.append(f"A TRIAL: limited to {record.limit_patients} patients")
    if record.leakage:
        lines.append(
            f"LEAKAGE ALLOWED: {told_of(record.leakage)}; reason: {record.allowed_leakage}"
        )
    lines.append(" " * width + "".join(f"  {kind + ' labels':<24}" for kind in kinds))
    for name, cells in rows.items():
        lines.append(f"{name:<{width}}" + "".join(f"  {cells[k]:<24}" for k in kinds).rstrip())
    lines += [
        f"({record.released}; thresholds at {record.operating_point} on validation)",
        "(95 % intervals over test patients; contrasts of the registered pairs, left minus right; "
        "k of n: findings with enough patients)",
        *domain_lines(directory),
        "",
        f"split        {_split_of(record)} (digest {record.split_digest})",
        f"results      {directory.path}",
        "next         python -m leaderboard",
        f"             mlflow ui --backend-store-uri {record.tracking_uri}",
        f"             python runner.py --config {directory.path / 'config.yaml'} --again",
    ]
    return "\n".join(lines)


def _split_of(record: RunRecord) -> str:
    return f"{record.folds} folds by patient" if record.folds else record.split


def per_finding(scores: list[Score]) -> list[Score]:
    """AUC of each finding over everybody, where there are few enough to be read at a glance."""
    found = [s for s in scores if s.metric == "auc" and s.group == ALL and s.finding != MACRO]
    return found if len({s.finding for s in found}) <= FEW_FINDINGS else []


def wanted(score: Score) -> bool:
    """Whether a headline score stands in the summary of the terminal."""
    if score.metric == "auc":
        return score.finding == "macro" and not score.attribute
    return score.metric in WORDS and score.metric != "auc"


def row_name(score: Score) -> str:
    """How a headline score is called in the summary."""
    if score.metric == "auc" and score.finding != MACRO:
        return f"AUC  {score.finding}"
    group = f" {score.group}" if score.metric.endswith("_contrast") else ""
    return f"{WORDS[score.metric]}{'  ' + score.attribute if score.attribute else ''}{group}"


def told(score: Score) -> str:
    """A score with its interval, or why there is none."""
    if math.isnan(score.value):
        return f"n/a ({score.note})"
    averaged = re.search(r"mean over (\d+) of (\d+) findings", score.note)
    few = f" ({averaged[1]} of {averaged[2]})" if averaged and averaged[1] != averaged[2] else ""
    if math.isnan(score.low):
        return f"{score.value:.3g} ({score.note})" if score.note else f"{score.value:.3g}"
    signed = "+" if score.metric.endswith("_contrast") else ""
    return f"{score.value:{signed}.3f} [{score.low:{signed}.3f}, {score.high:{signed}.3f}]{few}"
