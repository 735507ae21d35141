"""Features that tell the least of who the patient is, among models that are accurate enough."""

from __future__ import annotations

import math

import numpy as np

from methods.selection.base import Candidate, Value
from metrics.auroc import auroc
from metrics.leakage import SMALLEST_GROUP, group_log_odds
from registry import SELECTION

NO_ATTRIBUTE = (
    f"no attribute has two groups with {SMALLEST_GROUP} patients inside and {SMALLEST_GROUP} "
    "outside in each half of the validation patients"
)


@SELECTION.register("minimum_encoding", direction="lower", unit="probability", floor=0.01)
def minimum_encoding(candidate: Candidate) -> Value:
    """Lowest AUC of an attribute probe on frozen features, at most 0.01 below the best macro AUC.

    V = max_a max(1/2, mean_g AUC_a,g) over attributes a; AUC_a,g is that of a logistic regression
    that tells group g from all others, fitted to one half of the validation patients and tested on
    the other, both ways, averaged. Halves are drawn by patient with a fixed seed, so no patient is
    in both. An AUC below 1/2 counts as 1/2: it says no less than a guess.

    Source: "minimum attribute prediction AUROC" of Yang et al., The limits of fair medical imaging
    AI in real-world generalization, Nat. Med. 2024;30:2838–2848, figure 5, there without a floor.
    """
    # In the order of images, so that a fit does not depend on how the rows came.
    order = np.argsort(candidate.val.frame["image"].to_numpy(dtype=str), kind="stable")
    half = _half_of_each_patient(candidate)[order]
    features = candidate.features()[order]
    found = []
    for attribute in candidate.val.attributes:
        known = candidate.val.frame[attribute].astype(str).to_numpy()[order]
        patients = candidate.val.patient_codes()[0][order]
        judged = [g for g in candidate.val.groups[attribute] if _enough(known == g, patients, half)]
        if len(judged) > 1:
            found.append(np.mean([_probed(features, known, half == h, judged) for h in (0, 1)]))
    return Value(max(0.5, *map(float, found))) if found else Value(math.nan, NO_ATTRIBUTE)


def _half_of_each_patient(candidate: Candidate) -> np.ndarray:
    """0 or 1 for each row `(n,)`, the same for all images of a patient and for every candidate."""
    codes, patients = candidate.val.patient_codes()
    drawn = np.random.default_rng([patients, 0x9A1F]).permutation(patients) % 2
    halves: np.ndarray = drawn[codes]
    return halves


def _enough(inside: np.ndarray, patients: np.ndarray, half: np.ndarray) -> bool:
    counts = [
        len(np.unique(patients[(inside == side) & (half == h)]))
        for side in (True, False)
        for h in (0, 1)
    ]
    return min(counts) >= SMALLEST_GROUP


def _probed(
    features: np.ndarray, known: np.ndarray, held_out: np.ndarray, groups: list[str]
) -> float:
    """Mean AUC over groups on the rows `held_out` `(n,)` of probes fitted to the others."""
    scores = group_log_odds(features[~held_out], known[~held_out], groups, features[held_out])
    once = np.ones((len(scores), 1), np.uint8)
    aucs = [
        auroc(scores[:, j], (known[held_out] == g).astype(np.float32), once)[0]
        for j, g in enumerate(groups)
    ]
    return float(np.mean(aucs))
