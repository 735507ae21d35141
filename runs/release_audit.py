"""Memorisation of a run that releases synthetic images: do they resemble training patients?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from datasets.images import cache_dir
from datasets.split import Split
from methods.base import Method
from metrics.memorisation import Real, Release, memorisation_scores, undefined_memorisation
from metrics.reidentification import attack, cannot_train
from metrics.score import Score

if TYPE_CHECKING:
    from runs.audit import ImageAudit


def memorisation(audit: ImageAudit) -> list[Score]:
    """Scores of the metrics of a release; none where the released images are not synthetic."""
    if reason := unmeasurable(audit):
        first = audit.method.release(audit.folds[0].test, audit.contexts[0])
        return undefined_memorisation(reason) if _synthetic(first) else []
    releases = compared(audit)
    return memorisation_scores(releases) if releases else []


def compared(audit: ImageAudit) -> list[Release]:
    """The embeddings of each part by a verifier trained on its audit patients; empty where the
    released images are not synthetic. What was embedded before is read from the cache."""
    releases = []
    if type(audit.method).release is Method.release or unmeasurable(audit):
        return []
    for folds, ctx in zip(audit.folds, audit.contexts, strict=True):
        learnt = audit.pixels(folds.audit), _patients(folds.audit)
        real = [audit.pixels(fold) for fold in (folds.train, folds.test)]
        # The verifier first: it needs no release, and another process may be busy making that.
        training, held_out = attack(audit.verifier, *learnt, *real, cache=cache_dir())
        release = audit.method.release(folds.test, ctx)
        if not _synthetic(release):
            return []
        (released,) = attack(audit.verifier, *learnt, audit.pixels(release), cache=cache_dir())
        releases.append(
            Release(
                released,
                Real(training, _patients(folds.train)),
                Real(held_out, _patients(folds.test)),
            )
        )
    return releases


def unmeasurable(audit: ImageAudit) -> str | None:
    """Why no verifier can judge training against held-out patients, or None."""
    for folds in audit.folds:
        if folds.audit_reuses_train:
            return "the verifier would be trained on the training patients that it must judge"
        if reason := cannot_train(_patients(folds.audit)):
            return reason
    return None


def _synthetic(split: Split) -> bool:
    return set(split.frame["origin"]) == {"synthetic"}


def _patients(split: Split) -> np.ndarray:
    return split.frame["patient_id"].to_numpy(dtype=str)
