"""The verifier: it learns who is who, repeats itself exactly, and is trained once."""

from __future__ import annotations

import multiprocessing
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metrics import reidentification
from metrics.bootstrap import PatientBootstrap
from metrics.linkage import linkage_scores
from metrics.reidentification import Verifier, attack, cannot_train, embed, train_verifier

TINY = Verifier(steps=60, batch_patients=12, width=16, image_size=16)


def toy(patients: int, seed: int, nuisance: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Three images `(n, 16, 16)` each: a pattern of the patient, changing exposure and nuisance."""
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(patients, 4, 4)).repeat(4, axis=1).repeat(4, axis=2)
    codes = np.repeat(np.arange(patients), 3)
    n = len(codes)
    other = rng.normal(size=(n, 8, 8)).repeat(2, axis=1).repeat(2, axis=2) * nuisance
    exposure = rng.uniform(0.7, 1.3, (n, 1, 1))
    images = 120 + exposure * (25 * own[codes] + other + 5 * rng.normal(size=(n, 16, 16)))
    return images.clip(0, 255).astype(np.uint8), codes


def verification_auc(
    embeddings: np.ndarray, patients: np.ndarray, gallery: np.ndarray | None = None
) -> float:
    codes = np.unique(patients, return_inverse=True)[1]
    bootstrap = PatientBootstrap(int(codes.max()) + 1, 10)
    parts = np.zeros(len(codes), int)
    found = linkage_scores("image", embeddings, codes, parts, bootstrap, gallery)
    return next(s.value for s in found if s.metric == "image_reid_auc")


def test_verifier_links_new_patients_better_than_before_training() -> None:
    images, patients = toy(80, seed=0, nuisance=30)
    unseen, others = toy(40, seed=1, nuisance=30)
    one_step = train_verifier(images, patients, replace(TINY, steps=1))
    trained = train_verifier(images, patients, TINY)
    before = verification_auc(embed(one_step, unseen, 16), others)
    after = verification_auc(embed(trained, unseen, 16), others)
    assert after > before + 0.1


def test_equal_seeds_train_equal_verifiers_and_others_do_not() -> None:
    images, patients = toy(20, seed=0)
    config = replace(TINY, steps=3)
    one, two, other = (
        embed(train_verifier(images, patients, replace(config, seed=s)), images, 16)
        for s in (5, 5, 6)
    )
    assert np.array_equal(one, two)
    assert not np.allclose(one, other)


def test_training_leaves_the_global_generator_and_threads_alone() -> None:
    images, patients = toy(20, seed=0)
    threads = torch.get_num_threads()
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    train_verifier(images, patients, replace(TINY, steps=2))
    assert torch.rand(1) == expected
    assert torch.get_num_threads() == threads


def test_embeddings_are_unit_vectors_and_do_not_see_exposure() -> None:
    images, patients = toy(20, seed=0)
    net = train_verifier(images, patients, replace(TINY, steps=2))
    dark = (images // 2 * 2, images // 2)
    first, second = (embed(net, x, 16) for x in dark)
    assert first.shape == (60, 16)
    assert np.linalg.norm(first, axis=1) == pytest.approx(np.ones(60), abs=1e-5)
    assert np.abs(first - second).max() < 1e-3


def test_images_of_another_size_are_resampled() -> None:
    images, patients = toy(20, seed=0)
    large = images.repeat(2, axis=1).repeat(2, axis=2)
    net = train_verifier(large, patients, replace(TINY, steps=2))
    assert embed(net, large, 16).shape == (60, 16)


def test_no_image_gives_no_embedding() -> None:
    images, patients = toy(20, seed=0)
    net = train_verifier(images, patients, replace(TINY, steps=1))
    assert len(embed(net, images[:0], 16)) == 0


def test_progress_is_told_every_step() -> None:
    images, patients = toy(20, seed=0)
    told: list[tuple[int, int]] = []
    train_verifier(
        images, patients, replace(TINY, steps=3), lambda step, of, loss: told.append((step, of))
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_batch_holds_two_different_images_of_different_patients() -> None:
    patients = np.array([3, 3, 3, 1, 1, 2, 7, 7])
    pairs = reidentification._Pairs(patients, replace(TINY, batch_patients=3))
    for _ in range(20):
        rows = pairs.draw().reshape(-1, 2)
        assert (patients[rows[:, 0]] == patients[rows[:, 1]]).all()
        assert (rows[:, 0] != rows[:, 1]).all()
        assert sorted(patients[rows[:, 0]]) == [1, 3, 7]


def test_cross_pairs_are_two_different_images_one_of_each_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Every image is of one gray: row r as 2 r, its counterpart as 2 r + 1.
    patients = np.repeat(np.arange(10), 3)
    images = np.zeros((30, 16, 16), np.uint8) + 2 * np.arange(30, dtype=np.uint8)[:, None, None]
    batches = []

    def see(x: torch.Tensor) -> torch.Tensor:
        batches.append(x[:, 0, 0, 0].numpy().astype(int))
        return torch.rand(x.shape)

    def as_it_is(given: np.ndarray, size: int) -> torch.Tensor:
        return torch.from_numpy(np.array(given)).unsqueeze(1).float()

    monkeypatch.setattr(reidentification, "_augment", see)
    monkeypatch.setattr(reidentification, "_prepare", as_it_is)
    config = replace(TINY, steps=20, batch_patients=10)
    train_verifier(images, patients, config, counterparts=images + 1)
    pairs = np.concatenate(batches).reshape(-1, 2)
    assert len(pairs) == 200
    assert (pairs % 2 == (0, 1)).all()
    rows = pairs // 2
    assert (rows[:, 0] != rows[:, 1]).all()
    assert (patients[rows[:, 0]] == patients[rows[:, 1]]).all()
    # Either of the two visits is the counterpart.
    assert set(np.sign(rows[:, 1] - rows[:, 0])) == {-1, 1}


def test_a_fixed_permutation_of_pixels_hides_from_the_static_attacker_alone(
    tmp_path: Path,
) -> None:
    images, patients = toy(80, seed=0)
    unseen, others = toy(40, seed=1)
    order = np.random.default_rng(3).permutation(256)

    def permuted(x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), -1)[:, order].reshape(x.shape)

    released = permuted(unseen)
    changed = permuted(images)
    static = attack(TINY, images, patients, released, unseen, cache=tmp_path)
    (retrained,) = attack(TINY, changed, patients, released, cache=tmp_path)
    cross = attack(
        TINY, changed, patients, released, unseen, counterparts=images, cache=tmp_path
    )  # fmt: skip
    assert verification_auc(static[1], others) > 0.95  # it is no weak attacker
    assert verification_auc(static[0], others, static[1]) < 0.65
    assert verification_auc(retrained, others) > 0.9
    assert verification_auc(cross[0], others, cross[1]) > 0.85


def test_patients_with_one_image_cannot_train_a_verifier() -> None:
    images, _ = toy(20, seed=0)
    with pytest.raises(ValueError, match="at least 2 patients with 2 images each, but got 0"):
        train_verifier(images, np.arange(60), TINY)
    assert "got 1 among 3" in (cannot_train(np.array([0, 0, 1, 2])) or "")
    assert cannot_train(np.array([0, 0, 1, 1])) is None


@pytest.mark.parametrize("field", ["steps", "batch_patients", "width", "image_size"])
def test_budgets_that_cannot_train_are_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} of a verifier"):
        replace(TINY, **{field: 0})  # type: ignore[arg-type]


def test_a_second_attack_trains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, patients = toy(20, seed=0)
    unseen, _ = toy(5, seed=1)
    config = replace(TINY, steps=2)
    (first,) = attack(config, images, patients, unseen, cache=tmp_path)

    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(reidentification, "train_verifier", refuse)
    (second,) = attack(config, images, patients, unseen, cache=tmp_path)
    assert np.array_equal(second, first)


def test_a_trained_verifier_attacks_other_images_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, patients = toy(20, seed=0)
    unseen, _ = toy(5, seed=1)
    config = replace(TINY, steps=2)
    at_once = attack(config, images, patients, unseen, unseen ^ 1, cache=tmp_path / "a")
    attack(config, images, patients, unseen, cache=tmp_path / "b")
    monkeypatch.setattr(reidentification, "train_verifier", None)
    later = attack(config, images, patients, unseen, unseen ^ 1, cache=tmp_path / "b")
    assert not np.array_equal(*at_once)
    for one, other in zip(at_once, later, strict=True):
        assert np.array_equal(one, other)


def test_both_sides_of_an_attack_are_seen_by_one_verifier(tmp_path: Path) -> None:
    images, patients = toy(20, seed=0)
    unseen, _ = toy(5, seed=1)
    one, other = attack(
        replace(TINY, steps=2), images, patients, unseen, unseen, counterparts=images ^ 1,
        cache=tmp_path,
    )  # fmt: skip
    assert np.array_equal(one, other)


def test_whatever_an_attack_depends_on_trains_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, patients = toy(20, seed=0)
    unseen, _ = toy(5, seed=1)
    config = replace(TINY, steps=1)
    trained = []

    def train(*given: Any) -> torch.nn.Module:
        trained.append(given)
        return train_verifier(*given)

    monkeypatch.setattr(reidentification, "train_verifier", train)
    attack(config, images, patients, unseen, cache=tmp_path)
    attack(replace(config, seed=1), images, patients, unseen, cache=tmp_path)
    attack(config, images ^ 1, patients, unseen, cache=tmp_path)
    attack(config, images, patients[::-1], unseen, cache=tmp_path)
    attack(config, images, patients, unseen, cache=tmp_path, counterparts=images)
    attack(config, images, patients, unseen, cache=tmp_path, counterparts=images ^ 1)
    attack(config, images, patients, unseen, cache=tmp_path, key_digest="other")
    assert len(trained) == 7
    assert len(list((tmp_path / "attacks").glob("*.npz"))) == 7


def test_arrays_and_files_are_the_same_attack(tmp_path: Path) -> None:
    images, patients = toy(20, seed=0)
    unseen, _ = toy(5, seed=1)
    files = []
    for name, array in (("audit", images), ("patients", patients), ("test", unseen)):
        np.save(tmp_path / f"{name}.npy", array)
        files.append(tmp_path / f"{name}.npy")
    config = replace(TINY, steps=1)
    attack(config, *files, cache=tmp_path)
    attack(config, images, patients, unseen, cache=tmp_path)
    assert len(list((tmp_path / "attacks").glob("*.npz"))) == 1


def test_names_held_as_objects_are_hashed_by_content(tmp_path: Path) -> None:
    images, patients = toy(20, seed=0)
    unseen, _ = toy(5, seed=1)
    for _ in range(2):
        names = np.array([f"p{p}" for p in patients], dtype=object)
        attack(replace(TINY, steps=1), images, names, unseen, cache=tmp_path)
    assert len(list((tmp_path / "attacks").glob("*.npz"))) == 1


def test_lengths_must_fit(tmp_path: Path) -> None:
    images, patients = toy(20, seed=0)
    with pytest.raises(ValueError, match="60 images and 59 patients"):
        attack(TINY, images, patients[1:], images, cache=tmp_path)
    with pytest.raises(ValueError, match="59 images and 60 patients"):
        attack(TINY, images, patients, images, counterparts=images[1:], cache=tmp_path)


def test_an_attack_can_be_sent_to_another_process(tmp_path: Path) -> None:
    images, patients = toy(20, seed=0)
    unseen, _ = toy(5, seed=1)
    here = partial(attack, replace(TINY, steps=1), images, patients, unseen, cache=tmp_path)
    there = pickle.loads(pickle.dumps(here))
    assert np.array_equal(here()[0], there()[0])
    assert len(list((tmp_path / "attacks").glob("*.npz"))) == 1


@pytest.mark.slow
def test_an_attack_in_another_process_fills_the_cache(tmp_path: Path) -> None:
    images, patients = toy(20, seed=0)
    unseen, _ = toy(5, seed=1)
    config = replace(TINY, steps=2)
    other = multiprocessing.get_context("spawn").Process(
        target=attack, args=(config, images, patients, unseen), kwargs={"cache": tmp_path / "b"}
    )
    other.start()
    (here,) = attack(config, images, patients, unseen, cache=tmp_path / "a")
    other.join()
    assert other.exitcode == 0
    (held,) = (tmp_path / "b" / "attacks").glob("*.npz")
    assert np.array_equal(np.load(held)["embeddings"], here)


def people(patients: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three embeddings `(n, 32)` each, told apart by four small numbers among large noise."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(patients), 3)
    vectors = 3 * rng.normal(size=(len(codes), 32))
    vectors[:, :4] = rng.normal(size=(patients, 4))[codes] + 0.1 * rng.normal(size=(len(codes), 4))
    return vectors.astype(np.float32), codes


def test_embeddings_are_attacked_by_what_their_encoder_says_of_patients(tmp_path: Path) -> None:
    audit, known = people(150, seed=0)
    unseen, others = people(60, seed=1)
    unit = unseen / np.linalg.norm(unseen, axis=1, keepdims=True)
    config = replace(Verifier.of_embeddings(32), steps=150)
    (found,) = attack(config, audit, known, unseen, cache=tmp_path)
    assert verification_auc(found, others) > verification_auc(unit, others) + 0.2
    # Stored weights bring the scale that the audit embeddings had.
    (again,) = attack(config, audit, known, unseen[:9], cache=tmp_path)
    assert np.allclose(again, found[:9], atol=1e-6)
