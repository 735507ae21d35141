"""Re-identification scores: how well embeddings tell images of one patient from all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from metrics.bootstrap import PatientBootstrap
from metrics.pairs import Linkage
from metrics.roc import Roc
from metrics.score import Score
from registry import METRICS

FALSE_POSITIVES = 0.01
"""False-positive rate at which the true-positive rate is read."""


@METRICS.register("image_reid_auc", direction="lower", unit="probability", input="linkage")
@METRICS.register("embedding_reid_auc", direction="lower", unit="probability", input="linkage")
@METRICS.register("static_reid_auc", direction="lower", unit="probability", input="linkage")
@METRICS.register("retrained_reid_auc", direction="lower", unit="probability", input="linkage")
@METRICS.register("cross_reid_auc", direction="lower", unit="probability", input="linkage")
def reid_auc(linkage: Linkage) -> Score:
    """Probability that two images of one patient are more alike than two of different patients.

    `image_` is the worst attacker on released images, `static_`, `retrained_` and `cross_` are each
    of them, `embedding_` the classifier's own features.

    AUC = P(c_genuine > c_impostor) + 1/2 P(c_genuine = c_impostor) over all pairs, c the cosine.

    Source: Packhäuser et al., Sci. Rep. 2022;12:14851.
    """
    return linkage.verification("auc", Roc.auc)


@METRICS.register("image_reid_eer", direction="higher", unit="rate", input="linkage")
@METRICS.register("embedding_reid_eer", direction="higher", unit="rate", input="linkage")
@METRICS.register("static_reid_eer", direction="higher", unit="rate", input="linkage")
@METRICS.register("retrained_reid_eer", direction="higher", unit="rate", input="linkage")
@METRICS.register("cross_reid_eer", direction="higher", unit="rate", input="linkage")
def reid_eer(linkage: Linkage) -> Score:
    """Equal error rate of verification: where as many genuine as impostor pairs are judged wrongly.

    EER = FPR at the point of the ROC curve with FPR = 1 - TPR, linearly interpolated.

    Source: ISO/IEC 19795-1, Biometric performance testing and reporting.
    """
    return linkage.verification("eer", Roc.eer)


@METRICS.register("image_reid_tpr_at_1pct_fpr", direction="lower", unit="rate", input="linkage")
@METRICS.register("embedding_reid_tpr_at_1pct_fpr", direction="lower", unit="rate", input="linkage")
@METRICS.register("static_reid_tpr_at_1pct_fpr", direction="lower", unit="rate", input="linkage")
@METRICS.register("retrained_reid_tpr_at_1pct_fpr", direction="lower", unit="rate", input="linkage")
@METRICS.register("cross_reid_tpr_at_1pct_fpr", direction="lower", unit="rate", input="linkage")
def reid_tpr_at_1pct_fpr(linkage: Linkage) -> Score:
    """Share of genuine pairs recognised where 1 % of the impostor pairs are taken for genuine.

    TPR at FPR = 0.01, linearly interpolated on the ROC curve.

    Source: Carlini et al., IEEE S&P 2022, section IV (report attacks at a low FPR).
    """
    return linkage.verification("tpr_at_1pct_fpr", lambda roc: roc.tpr_at(FALSE_POSITIVES))


@METRICS.register("image_reid_rank1", direction="lower", unit="rate", input="linkage")
@METRICS.register("embedding_reid_rank1", direction="lower", unit="rate", input="linkage")
@METRICS.register("static_reid_rank1", direction="lower", unit="rate", input="linkage")
@METRICS.register("retrained_reid_rank1", direction="lower", unit="rate", input="linkage")
@METRICS.register("cross_reid_rank1", direction="lower", unit="rate", input="linkage")
def reid_rank1(linkage: Linkage) -> Score:
    """Share of later images whose nearest gallery image is the earliest image of the same patient.

    The gallery holds the first image, in table order, of every patient; all others are probes.
    Where released images meet originals the gallery is original and the probes are released. If k
    gallery images tie for nearest, a probe counts 1/k. Falls as the gallery grows, so its size
    stands in the note. Replicates weigh the probes and leave the gallery as it is.

    Source: Packhäuser et al., Sci. Rep. 2022;12:14851 (precision at 1).
    """
    hits, probes, galleries = linkage.identified
    weights = linkage.bootstrap.matrix.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = hits.sum() / probes.sum()
        replicates = (weights @ hits) / (weights @ probes)
    sizes = " + ".join(str(size) for size in galleries)
    return linkage.as_score(
        "rank1", value, replicates, f"{int(probes.sum())} probes in a gallery of {sizes} images"
    )


def linkage_scores(
    prefix: str,
    embeddings: np.ndarray,
    patients: np.ndarray,
    parts: np.ndarray,
    bootstrap: PatientBootstrap,
    gallery: np.ndarray | None = None,
) -> list[Score]:
    """Scores of every registered linkage metric: AUC, EER, rank 1, TPR at 1 % FPR.

    `prefix` is one of `metrics.pairs.PREFIXES`; `embeddings` `(n, width)` and `patients`, codes
    `(n,)`, are in table order, so that the first image of a patient is the earliest; `parts` `(n,)`
    are zeros without k-fold. With a `gallery` `(n, width)` of the same rows, `embeddings` are
    probes that are compared with it. Undefined scores are NaN with a note.

    Raises:
        ValueError: lengths or patient codes do not fit, or an embedding is not finite.
    """
    linkage = Linkage(prefix, embeddings, patients, parts, bootstrap, gallery)
    return [METRICS.get(name)(linkage) for name in linkage_metrics(prefix)]


def worst_linkage(attackers: Mapping[str, list[Score]]) -> list[Score]:
    """The scores of the attacker with the highest AUC, as those of the released images.

    `attackers` holds the scores of each under its prefix. An undefined AUC is below all others.
    """
    aucs = {
        name: next(s.value for s in scores if s.metric == f"{name}_reid_auc")
        for name, scores in attackers.items()
    }
    worst = max(aucs, key=lambda name: np.nan_to_num(aucs[name], nan=-np.inf))
    told = (
        f"{worst} attacker, the worst of {', '.join(attackers)}; the highest of several noisy AUCs "
        "errs on the side of risk"
    )
    return [
        replace(s, metric=f"image{s.metric.removeprefix(worst)}", note=f"{told}; {s.note}")
        for s in attackers[worst]
    ]


def undefined_linkage(prefix: str, reason: str) -> list[Score]:
    """The same scores as NaN with a note, where no attack is possible."""
    return [Score(metric=name, value=np.nan, note=reason) for name in linkage_metrics(prefix)]


def linkage_metrics(prefix: str) -> list[str]:
    """Names of the registered linkage metrics with a prefix, sorted."""
    return [
        name
        for name, entry in METRICS.entries().items()
        if entry.facts.get("input") == "linkage" and name.startswith(f"{prefix}_")
    ]
