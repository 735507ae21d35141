"""How often intervals hold the truth and tests of equal groups raise a false alarm.

Simulated cohorts: patients with several images each, label and score both sharing 0.3 of their
variance within a patient, prevalence 10 %. Run with `-s` to see the figures, also of the sparser
regimes that nothing is claimed for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from metrics.auroc import auc
from metrics.bootstrap import PatientBootstrap
from metrics.cells import Cells
from metrics.contrasts import fnr_gap, fpr_gap
from metrics.heterogeneity import auc_heterogeneity_p, fnr_heterogeneity_p, fpr_heterogeneity_p
from metrics.predictions import Predictions
from metrics.rates import fnr, fpr
from metrics.score import Score

PREVALENCE, SHARED = 0.10, 0.3
REPETITIONS = 2000
CUT = norm.isf(0.2)
"""Fixed threshold of the scores: the specificity is 0.80."""

Sizes = Callable[[np.random.Generator, int], np.ndarray]


def geometric(rng: np.random.Generator, patients: int) -> np.ndarray:
    """Images per patient, 3 on average."""
    return rng.geometric(1 / 3, patients)


def heavy(rng: np.random.Generator, patients: int) -> np.ndarray:
    """Images per patient as in the official test list of ChestX-ray14.

    Half have one, 8 on average, 1 in 100 more than 75, at most 184.
    """
    many = np.ceil(np.exp(rng.normal(1.9, 1.15, patients))).astype(int)
    return np.minimum(np.where(rng.random(patients) < 0.45, 1, many), 184)


def draw(
    rng: np.random.Generator, patients: int, sizes: Sizes, true_auc: float, groups: int = 1
) -> Predictions:
    """Decided predictions of one finding; groups are equally large and alike in all but name."""
    code = np.repeat(np.arange(patients), sizes(rng, patients))
    names = tuple("ABCDEFGH"[:groups])

    def noise() -> np.ndarray:
        own = np.sqrt(1 - SHARED) * rng.normal(size=len(code))
        return np.sqrt(SHARED) * rng.normal(size=patients)[code] + own

    label = (noise() > norm.isf(PREVALENCE)).astype(float)
    score = (np.sqrt(2) * norm.ppf(true_auc) * label + noise()).astype(np.float32)
    frame = pd.DataFrame(
        {
            "image": np.arange(len(code)).astype(str),
            "patient": np.array([f"{i:05d}" for i in range(patients)])[code],
            "part": 0,
            "group": np.array(names)[rng.integers(0, groups, patients)][code],
            "y:Mass": label,
            "logit:Mass": score,
            "decision:Mass": (score >= CUT).astype(np.float32),
        }
    )
    return Predictions("test", frame, ("Mass",), ("group",), {"group": names})


def cells(predictions: Predictions, bootstrap: PatientBootstrap) -> Cells:
    return Cells(predictions, "recorded", np.ones(1, bool), bootstrap)


def positives(predictions: Predictions) -> int:
    """Positive patients of the smallest group."""
    ill = predictions.frame[predictions.frame["y:Mass"] == 1]
    counted = ill.groupby("group")["patient"].nunique()
    return int(counted.min()) if len(counted) == len(predictions.groups["group"]) else 0


def shares(cohort: str, found: dict[str, list[bool | None]]) -> dict[str, float]:
    """How often each was true where it was defined, printed and returned."""
    known = {name: [hit for hit in hits if hit is not None] for name, hits in found.items()}
    share = {name: float(np.mean(hits)) if hits else np.nan for name, hits in known.items()}
    told = []
    for name, hits in found.items():
        undefined = 1 - len(known[name]) / len(hits)
        told.append(f"{name} {100 * share[name]:.1f} %")
        told[-1] += f" ({100 * undefined:.0f} % undefined)" * bool(undefined)
    print(f"\n{cohort}:", ", ".join(told))
    return share


def holds(score: Score, truth: float) -> bool | None:
    """Whether an interval holds the truth; None where nothing was reported."""
    return None if np.isnan(score.value) else score.low <= truth <= score.high


def coverage(
    patients: int, sizes: Sizes, true_auc: float, *, seed: int, repetitions: int = REPETITIONS
) -> dict[str, float]:
    """Share of 95 % intervals of everybody that hold the truth, by what was resampled."""
    rng = np.random.default_rng(seed)
    bootstrap = PatientBootstrap(patients, 300)
    truth = {"auc": true_auc, "fpr": 0.2, "fnr": norm.cdf(CUT - np.sqrt(2) * norm.ppf(true_auc))}
    held: dict[str, list[bool | None]] = {name: [] for name in (*truth, "auc by image")}
    ill = []
    for repetition in range(repetitions):
        predictions = draw(rng, patients, sizes, true_auc)
        ill.append(positives(predictions))
        made = cells(predictions, bootstrap)
        for metric in (auc, fnr, fpr):
            score = next(iter(metric(made)))
            held[score.metric].append(holds(score, truth[score.metric]))
        if repetition % 4 == 0:
            frame = predictions.frame.assign(patient=predictions.frame["image"])
            apart = replace(predictions, frame=frame)
            score = next(iter(auc(cells(apart, PatientBootstrap(len(frame), 300)))))
            held["auc by image"].append(holds(score, true_auc))
    cohort = f"{np.mean(ill):.0f} positive of {patients} patients, {sizes.__name__}, AUC {true_auc}"
    return shares(cohort, held)


def false_alarms(
    patients: int,
    sizes: Sizes,
    groups: int,
    *,
    seed: int,
    least: int = 30,
    repetitions: int = REPETITIONS,
) -> dict[str, float]:
    """Share of cohorts of equal groups in which a test, or an interval of a gap, finds a gap.

    Cohorts with fewer than `least` positive patients in a group are drawn again.
    """
    rng = np.random.default_rng(seed)
    bootstrap = PatientBootstrap(patients, 300)
    alarms: dict[str, list[bool | None]] = {}
    ill: list[int] = []
    while len(ill) < repetitions:
        predictions = draw(rng, patients, sizes, 0.8, groups)
        fewest = positives(predictions)
        if fewest < least:
            continue
        ill.append(fewest)
        made = cells(predictions, bootstrap)
        for test in (auc_heterogeneity_p, fnr_heterogeneity_p, fpr_heterogeneity_p):
            score = next(iter(test(made)))
            alarms.setdefault(score.metric, []).append(score.value < 0.05)
        for gap in (fnr_gap, fpr_gap):
            score = next(iter(gap(made)))
            alarms.setdefault(score.metric, []).append(score.low > 0)
    cohort = f"{groups} groups of {patients} patients, {sizes.__name__}, "
    return shares(f"{cohort}{np.mean(ill):.0f} positive in the smallest", alarms)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patients", "sizes", "true_auc"),
    [(480, geometric, 0.80), (480, geometric, 0.90), (400, heavy, 0.80)],
)
def test_intervals_cover_the_truth_and_those_over_images_do_not(
    patients: int, sizes: Sizes, true_auc: float
) -> None:
    found = coverage(patients, sizes, true_auc, seed=patients)
    assert all(0.93 <= found[name] <= 0.97 for name in ("auc", "fpr", "fnr"))
    if sizes is heavy:
        assert found["auc by image"] < 0.88


@pytest.mark.slow
@pytest.mark.parametrize(("patients", "groups"), [(350, 2), (700, 4)])
def test_tests_of_equal_groups_seldom_raise_false_alarms(patients: int, groups: int) -> None:
    found = false_alarms(patients, geometric, groups, seed=groups)
    tests = {name: share for name, share in found.items() if name.endswith("_p")}
    assert max(tests.values()) <= 0.07


@pytest.mark.slow
def test_sparser_cohorts_are_told_and_not_claimed() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metrics.cells.MINIMUM_PATIENTS", 10)
        for patients, sizes in ((150, geometric), (150, heavy), (70, geometric)):
            coverage(patients, sizes, 0.95, seed=1, repetitions=500)
        found = false_alarms(300, geometric, 4, seed=1, least=10, repetitions=500)
    assert set(found) >= {"auc_heterogeneity_p", "fnr_heterogeneity_p"}
