"""Memorisation: a generator that copies is caught, one that knows nobody is not accused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metrics.memorisation import (
    Real,
    Release,
    Releases,
    memorisation_scores,
    nearest,
    undefined_memorisation,
)
from metrics.score import Score

WIDTH = 16


def unit(rows: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def people(count: int, seed: int, images: int = 2, prefix: str = "p") -> Real:
    """Patients with some images each that lie close together."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.standard_normal((count, WIDTH)), images, axis=0)
    near = unit(centres + 0.2 * rng.standard_normal(centres.shape))
    return Real(near, np.repeat([f"{prefix}{i}" for i in range(count)], images))


def release(released: np.ndarray, *, training: int = 300, held_out: int = 300) -> Release:
    return Release(unit(released), people(training, 0), people(held_out, 1, prefix="h"))


def copies(of: Real, count: int, seed: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(of.embeddings), count, replace=False)
    return of.embeddings[rows] + 0.02 * rng.standard_normal((count, WIDTH))


def strangers(count: int, seed: int = 3) -> np.ndarray:
    return people(count, seed, images=1).embeddings


def scores(*parts: Release) -> dict[str, Score]:
    return {score.metric: score for score in memorisation_scores(parts)}


def test_a_generator_that_copies_is_caught() -> None:
    found = scores(release(copies(people(300, 0), 400)))
    auc, share = found["release_memorisation_auc"], found["release_copy_share"]
    assert auc.value > 0.8 and auc.low > 0.75
    assert share.value > 0.9
    assert (auc.n, auc.positives, auc.negatives) == (600, 300, 300)


def test_a_generator_that_copies_some_patients_is_caught() -> None:
    mixed = np.concatenate([copies(people(300, 0), 100), strangers(400)])
    found = scores(release(mixed))
    assert found["release_memorisation_auc"].low > 0.5
    assert 0.15 < found["release_copy_share"].value < 0.3  # a fifth are copies


@pytest.mark.parametrize("seed", range(5))
def test_a_generator_that_knows_nobody_is_not_accused(seed: int) -> None:
    found = scores(release(strangers(400, 100 + seed)))
    auc = found["release_memorisation_auc"]
    assert 0.42 < auc.value < 0.58
    assert auc.low < 0.52 and auc.high > 0.48
    assert found["release_copy_share"].value < 0.06


def test_copies_of_held_out_patients_lie_below_a_half() -> None:
    found = scores(release(copies(people(300, 1, prefix="h"), 400)))
    assert found["release_memorisation_auc"].high < 0.25


def test_intervals_cover_a_half_about_as_often_as_they_say() -> None:
    covered = 0
    for seed in range(40):
        part = Release(
            strangers(100, 1000 + seed),
            people(60, 2000 + seed),
            people(60, 3000 + seed, prefix="h"),
        )
        auc = scores(part)["release_memorisation_auc"]
        covered += auc.low <= 0.5 <= auc.high
    # 95 % of 40 is 38; fewer than 33 would happen with probability 0.003.
    assert covered >= 33


def test_scores_worked_by_hand() -> None:
    east, north = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    half = unit(np.array([[1.0, 1.0]]))[0]
    part = Release(
        released=np.array([east]),
        training=Real(np.array([east, north, half]), np.array(["a", "a", "b"])),
        held_out=Real(np.array([north, north]), np.array(["c", "d"])),
    )
    by_name = dict(zip(part.patients.tolist(), part.scores.tolist(), strict=True))
    # Patient a has an image that equals the released one, b one at 45 degrees, c and d none near.
    assert by_name == pytest.approx({"a": 1.0, "b": np.sqrt(0.5), "c": 0.0, "d": 0.0})
    assert scores(part)["release_memorisation_auc"].value == 1.0


def test_as_many_patients_of_each_kind_are_compared() -> None:
    part = release(strangers(50), training=500, held_out=120)
    assert part.members.sum() == 120 == len(part.members) / 2
    assert len(set(part.patients[part.members])) == 120
    again = release(strangers(50), training=500, held_out=120)
    assert np.array_equal(part.patients, again.patients)


def test_parts_are_compared_within_themselves() -> None:
    one = release(copies(people(300, 0), 400))
    # The second part's similarities are all lower; pooled over parts the AUC would fall.
    two = replace(one, released=unit(strangers(5)))
    single = [scores(part)["release_memorisation_auc"].value for part in (one, two)]
    both = scores(one, two)["release_memorisation_auc"]
    assert both.value == pytest.approx(np.mean(single), abs=1e-9)
    codes, patients = Releases((one, two)).patient_codes
    assert patients == 600 and len(codes) == 1200


def test_nearest_is_the_largest_cosine() -> None:
    a, b = unit(np.random.default_rng(0).standard_normal((3000, 4))), strangers(70)[:, :4]
    assert np.allclose(nearest(a, b), (a @ b.T).max(axis=1))
    assert nearest(a[:0], b).shape == (0,)


def test_undefined_scores_say_why() -> None:
    found = undefined_memorisation("no audit fold")
    assert {s.metric for s in found} == {"release_memorisation_auc", "release_copy_share"}
    assert all(np.isnan(s.value) and s.note == "no audit fold" for s in found)
