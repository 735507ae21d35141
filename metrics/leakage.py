"""What a model's features tell about a patient's attributes: a fresh probe on frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datasets.split import Split
from metrics.auroc import auroc
from metrics.bootstrap import PatientBootstrap, percentile_interval
from metrics.predictions import Predictions
from metrics.score import Score
from registry import METRICS

SMALLEST_GROUP = 10
"""Patients of a group that a probe must be trained on, and tested on, to be judged."""


@dataclass(frozen=True)
class Probe:
    """What a probe learns from: patients that neither the model nor the test fold has seen.

    `embeddings` `(n, width)` are the frozen features of the rows of `split`.
    """

    split: Split
    embeddings: np.ndarray


@METRICS.register("attribute_auc", direction="lower", unit="probability", input="leakage")
def attribute_auc(guesses: Guesses) -> Score:
    """How well a fresh linear probe reads an attribute from the model's frozen features.

    AUC of each group against all others, mean over the groups with enough patients; 0.5 is a
    guess. The probe is a logistic regression on standardised features of audit patients, tested on
    test patients. A probe that fails does not prove that nothing is encoded.

    Source: Alain & Bengio, Understanding intermediate layers using linear classifier probes, 2017
    (arXiv 1610.01644); Glocker et al., eBioMedicine 2023;89:104467 (the same for race and sex).
    """
    return guesses.score("attribute_auc")


@dataclass(frozen=True)
class Guesses:
    """Of one attribute: what the probes of all parts say about test images.

    `scores` and `truth` are `(n, groups)` with rows in the order of the predictions, `part` and
    `patient` `(n,)`, and `judged` names the columns with enough patients.
    """

    attribute: str
    scores: np.ndarray
    truth: np.ndarray
    part: np.ndarray
    patient: np.ndarray
    judged: tuple[str, ...]
    left_out: tuple[str, ...]
    bootstrap: PatientBootstrap

    def score(self, metric: str) -> Score:
        """Mean over groups, with its interval over patients; pairs within a part alone count."""
        patients = len(np.unique(self.patient))
        if not self.judged:
            return Score(
                metric=metric, value=np.nan, attribute=self.attribute, n=patients,
                note=f"fewer than two groups have {SMALLEST_GROUP} audit and test patients",
            )  # fmt: skip
        # Column 0 weighs everybody once: the value itself; the others are the replicates.
        weights = np.insert(self.bootstrap.weights, 0, 1, axis=1)[self.patient]
        aucs = [
            auroc(self.scores[:, j], self.truth[:, j].astype(np.float32), weights, self.part)
            for j in range(len(self.judged))
        ]
        mean = np.mean(aucs, axis=0)
        low, high = percentile_interval(mean[1:])
        note = f"mean of {', '.join(self.judged)} against the rest"
        if self.left_out:
            note += f"; too few patients: {', '.join(self.left_out)}"
        return Score(
            metric=metric, value=float(mean[0]), attribute=self.attribute, n=patients,
            low=float(low), high=float(high), note=note,
        )  # fmt: skip


def leakage_scores(
    test: Predictions,
    embeddings: Sequence[np.ndarray],
    probes: Sequence[Probe],
    bootstrap: PatientBootstrap,
) -> list[Score]:
    """`attribute_auc` of every attribute.

    `embeddings` are the frozen features of the test rows, part by part, and `probes` the material
    of each part's probe. Undefined scores are NaN with a note.
    """
    return [
        attribute_auc(_guesses(attribute, test, embeddings, probes, bootstrap))
        for attribute in test.attributes
    ]


def _guesses(
    attribute: str,
    test: Predictions,
    embeddings: Sequence[np.ndarray],
    probes: Sequence[Probe],
    bootstrap: PatientBootstrap,
) -> Guesses:
    part = test.frame["part"].to_numpy(np.int64)
    patient = test.patient_codes()[0]
    group = test.frame[attribute].astype(str).to_numpy()
    judged = [g for g in test.groups[attribute] if _enough(g, attribute, test, probes)]
    # With a single group there is nothing to tell apart.
    judged = judged if len(judged) > 1 else []
    scores = np.zeros((len(test), len(judged)))
    if judged:
        for number, (probe, features) in enumerate(zip(probes, embeddings, strict=True)):
            known = probe.split.frame[attribute].astype(str).to_numpy()
            scores[part == number] = group_log_odds(probe.embeddings, known, judged, features)
    return Guesses(
        attribute=attribute,
        scores=scores,
        truth=group[:, None] == np.array(judged, dtype=str)[None, :],
        part=part,
        patient=patient,
        judged=tuple(judged),
        left_out=tuple(g for g in test.groups[attribute] if g not in judged),
        bootstrap=bootstrap,
    )


def _enough(group: str, attribute: str, test: Predictions, probes: Sequence[Probe]) -> bool:
    """Whether a group, and everybody else, is large enough in every part."""
    learnt = [(p.split.frame[attribute], p.split.frame["patient_id"]) for p in probes]
    judged = [(f[attribute], f["patient"]) for _, f in test.frame.groupby("part")]
    for groups, patients in learnt + judged:
        inside = (groups.astype(str) == group).to_numpy()
        if min(patients[inside].nunique(), patients[~inside].nunique()) < SMALLEST_GROUP:
            return False
    return True


def group_log_odds(
    learnt: np.ndarray, known: np.ndarray, groups: Sequence[str], features: np.ndarray
) -> np.ndarray:
    """Log-odds `(n, groups)` of each group against all others, of `features` `(n, width)`.

    Each column is a logistic regression on standardised features, fitted to the features `learnt`
    `(m, width)` of rows whose groups are `known` `(m,)`.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    columns = []
    for group in groups:
        fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        fitted.fit(learnt.astype(np.float64), known == group)
        columns.append(fitted.decision_function(features.astype(np.float64)))
    return np.stack(columns, axis=1)
