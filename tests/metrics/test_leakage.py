"""What a probe reads from features: against scikit-learn step by step, and where it is mute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from datasets.split import Split
from metrics.bootstrap import PatientBootstrap
from metrics.leakage import SMALLEST_GROUP, Probe, leakage_scores
from metrics.predictions import Predictions
from metrics.score import Score

RACES = ("A", "B", "C")
SHARES = (0.5, 0.3, 0.2)
WIDTH = 6


def people(patients: int, first: int, rng: np.random.Generator) -> pd.DataFrame:
    """Two images per patient, whose race is that of the patient."""
    race = rng.choice(RACES, patients, p=SHARES)
    code = np.repeat(np.arange(patients), 2)
    return pd.DataFrame(
        {
            "image": [f"i{first + i}" for i in range(2 * patients)],
            "patient": [f"p{first + c:05d}" for c in code],
            "race": race[code],
        }
    )


def features(frame: pd.DataFrame, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Noise, with race C and then race B in the first two features."""
    noise = rng.normal(size=(len(frame), WIDTH)).astype(np.float32)
    for column, race in enumerate(("C", "B")):
        noise[:, column] += strength * (frame["race"] == race)
    # Features need no common scale: the probe standardises them.
    return noise * np.array([1, 100, 1, 0.01, 1, 1], np.float32)


def probe(frame: pd.DataFrame, embeddings: np.ndarray) -> Probe:
    table = frame.rename(columns={"image": "image_id", "patient": "patient_id"}).assign(
        path="none.npy", origin="simulated", Edema=0.0
    )
    return Probe(Split("audit", table, Path(), ("Edema",), ("race",)), embeddings)


def predictions(frames: Sequence[pd.DataFrame]) -> Predictions:
    frame = pd.concat([f.assign(part=i) for i, f in enumerate(frames)], ignore_index=True)
    frame = frame.assign(**{"y:Edema": 0.0, "logit:Edema": np.float32(0)})
    return Predictions("test", frame, ("Edema",), ("race",), {"race": RACES})


def score(
    tests: Sequence[pd.DataFrame], embeddings: Sequence[np.ndarray], probes: Sequence[Probe]
) -> Score:
    test = predictions(tests)
    bootstrap = PatientBootstrap(test.patient_codes()[1], replicates=200)
    (only,) = leakage_scores(test, embeddings, probes, bootstrap)
    return only


def drawn(
    strength: float, *, seed: int = 0, audit: int = 300, test: int = 200
) -> tuple[pd.DataFrame, np.ndarray, Probe]:
    """Test people with their features, and what the probe learns from."""
    rng = np.random.default_rng(seed)
    audited, tested = people(audit, 50_000, rng), people(test, 0, rng)
    material = probe(audited, features(audited, strength, rng))
    return tested, features(tested, strength, rng), material


def by_hand(tested: pd.DataFrame, embeddings: np.ndarray, material: Probe, race: str) -> float:
    """AUC of one race against the rest, with scikit-learn's parts and no helper of ours."""
    x, known = material.embeddings.astype(float), material.split.frame["race"] == race
    mean, deviation = x.mean(0), x.std(0)
    model = LogisticRegression(max_iter=1000).fit((x - mean) / deviation, known)
    odds = model.decision_function((embeddings.astype(float) - mean) / deviation)
    return float(roc_auc_score(tested["race"] == race, odds))


def test_the_score_is_the_mean_of_one_against_the_rest() -> None:
    tested, embeddings, material = drawn(0.8)
    found = score([tested], [embeddings], [material])
    expected = np.mean([by_hand(tested, embeddings, material, race) for race in RACES])
    assert found.value == pytest.approx(expected, abs=1e-6)
    assert (found.metric, found.attribute, found.n) == ("attribute_auc", "race", 200)
    assert found.low < found.value < found.high


def test_separable_features_give_an_auc_of_nearly_one() -> None:
    found = score([(d := drawn(12.0))[0]], [d[1]], [d[2]])
    # A lies below B and C on two features, so that it too is separable, linearly.
    assert found.value > 0.999


def test_noise_gives_an_interval_around_one_half_in_most_draws() -> None:
    held = []
    for seed in range(20):
        tested, embeddings, material = drawn(0.0, seed=seed)
        found = score([tested], [embeddings], [material])
        held.append(found.low <= 0.5 <= found.high)
    # 19 of 20 are expected at 95 %; 15 or fewer have a chance below 0.0003.
    assert sum(held) >= 16


def test_what_one_patient_looks_like_counts_once() -> None:
    # Both images of a patient alike: the interval must be as wide as if there were one image each.
    rng = np.random.default_rng(3)
    tested, _, material = drawn(1.0, test=150)
    alone = tested.iloc[::2]
    single = features(alone, 1.0, rng)
    doubled = np.repeat(single, 2, axis=0)
    once, twice = score([alone], [single], [material]), score([tested], [doubled], [material])
    assert (once.value, once.low, once.high) == pytest.approx((twice.value, twice.low, twice.high))


def test_a_group_with_too_few_patients_is_left_out_and_named() -> None:
    tested, embeddings, material = drawn(1.0)
    few = set(tested.loc[tested["race"] == "C", "patient"].unique()[: SMALLEST_GROUP - 1])
    keep = ((tested["race"] != "C") | tested["patient"].isin(few)).to_numpy()
    found = score([tested[keep]], [embeddings[keep]], [material])
    assert found.note == "mean of A, B against the rest; too few patients: C"
    expected = [by_hand(tested[keep], embeddings[keep], material, race) for race in "AB"]
    assert found.value == pytest.approx(np.mean(expected), abs=1e-6)


def test_a_group_that_the_probe_cannot_learn_is_left_out() -> None:
    tested, embeddings, material = drawn(1.0)
    frame = material.split.frame
    without = (frame["race"] != "B").to_numpy()
    bare = Probe(material.split.where(without), material.embeddings[without])
    assert "too few patients: B" in score([tested], [embeddings], [bare]).note


def test_too_few_patients_of_all_groups_are_undefined_with_a_note() -> None:
    tested, embeddings, material = drawn(1.0, test=SMALLEST_GROUP)
    found = score([tested], [embeddings], [material])
    assert np.isnan(found.value)
    assert "fewer than two groups have 10 audit and test patients" in found.note


def test_each_part_has_its_own_probe_and_only_pairs_within_a_part_count() -> None:
    first, second = drawn(0.8, seed=1), drawn(0.8, seed=2)
    # The second model's features point the other way; a shared probe would read them wrongly.
    turned = -second[1]
    material = Probe(second[2].split, -second[2].embeddings)
    other = second[0].assign(
        image=[f"j{i}" for i in range(len(second[0]))], patient="q" + second[0]["patient"]
    )
    found = score([first[0], other], [first[1], turned], [first[2], material])
    values = []
    for race in RACES:
        aucs, pairs = [], []
        for frame, x, learnt in ((first[0], first[1], first[2]), (other, turned, material)):
            aucs.append(by_hand(frame, x, learnt, race))
            members = int((frame["race"] == race).sum())
            pairs.append(members * (len(frame) - members))
        values.append(np.average(aucs, weights=pairs))
    assert found.value == pytest.approx(np.mean(values), abs=1e-6)
