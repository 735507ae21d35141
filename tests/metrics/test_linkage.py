"""Re-identification scores of embeddings: anchors, and brute force over all pairs."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from metrics import pairs
from metrics.bootstrap import PatientBootstrap
from metrics.linkage import linkage_scores, undefined_linkage, worst_linkage
from metrics.pairs import Linkage
from metrics.score import Score

NAMES = ("auc", "eer", "rank1", "tpr_at_1pct_fpr")


def scores(
    embeddings: np.ndarray,
    patients: np.ndarray,
    parts: np.ndarray | None = None,
    replicates: int = 50,
    gallery: np.ndarray | None = None,
) -> dict[str, Score]:
    bootstrap = PatientBootstrap(int(patients.max()) + 1, replicates)
    parts = np.zeros(len(patients), int) if parts is None else parts
    found = linkage_scores("image", embeddings, patients, parts, bootstrap, gallery)
    return {s.metric.removeprefix("image_reid_"): s for s in found}


def cohort(
    patients: int = 60, strength: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings `(n, 8)` with a part shared by the 1 to 4 images of a patient, and codes."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    own = rng.normal(size=(patients, 8))[codes] * strength
    return (own + rng.normal(size=(len(codes), 8))).astype(np.float32), codes


def released_cohort(
    patients: int = 60, strength: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings of released images and of their originals, and codes: the two sides of an image
    share a part of their own, and the released side is turned a little."""
    rng = np.random.default_rng(7)
    originals, codes = cohort(patients, strength)
    released = originals @ (np.eye(8) + 0.2 * rng.normal(size=(8, 8)))
    return (released + rng.normal(size=released.shape)).astype(np.float32), originals, codes


def all_pairs(
    embeddings: np.ndarray, codes: np.ndarray, gallery: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cosine, both patients, and whether they are the same, pair by pair; ordered pairs with a
    gallery."""
    listed = combinations if gallery is None else permutations
    x = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    y = x if gallery is None else gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    i, j = np.array(list(listed(range(len(codes)), 2))).T
    cosine = (x[i].astype(float) * y[j].astype(float)).sum(axis=1)
    return cosine, codes[i], codes[j], codes[i] == codes[j]


def test_identical_images_of_a_patient_are_linked_perfectly() -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(30), 2)
    found = scores(rng.normal(size=(30, 16))[codes], codes)
    assert [found[n].value for n in NAMES] == [1, 0, 1, 1]
    assert (found["auc"].low, found["auc"].high) == (1, 1)


def test_random_embeddings_link_nobody() -> None:
    rng = np.random.default_rng(1)
    codes = np.repeat(np.arange(300), 3)
    found = scores(rng.normal(size=(900, 32)), codes)
    assert found["auc"].value == pytest.approx(0.5, abs=0.03)
    assert found["eer"].value == pytest.approx(0.5, abs=0.03)
    assert found["tpr_at_1pct_fpr"].value == pytest.approx(0.01, abs=0.01)
    assert found["rank1"].value == pytest.approx(1 / 300, abs=0.01)


def test_equal_embeddings_tie_everywhere() -> None:
    found = scores(np.full((40, 5), 0.3), np.repeat(np.arange(20), 2))
    assert found["auc"].value == 0.5
    assert found["eer"].value == 0.5
    assert found["tpr_at_1pct_fpr"].value == pytest.approx(0.01)
    assert found["rank1"].value == pytest.approx(1 / 20)


def test_values_equal_brute_force_over_all_pairs() -> None:
    embeddings, codes = cohort()
    cosine, _, _, same = all_pairs(embeddings, codes)
    found = scores(embeddings, codes)
    assert found["auc"].value == pytest.approx(roc_auc_score(same, cosine), abs=1e-6)
    fpr, tpr, _ = roc_curve(same, cosine, drop_intermediate=False)
    assert found["tpr_at_1pct_fpr"].value == tpr[fpr <= 0.01].max()
    nearest = np.abs(fpr + tpr - 1).argmin()
    assert found["eer"].value == pytest.approx(fpr[nearest], abs=0.01)
    assert found["auc"].note == f"{same.sum()} genuine and {(~same).sum()} impostor pairs"


def test_released_against_original_equals_brute_force_over_ordered_pairs() -> None:
    released, originals, codes = released_cohort()
    cosine, _, _, same = all_pairs(released, codes, originals)
    found = scores(released, codes, gallery=originals)
    assert found["auc"].value == pytest.approx(roc_auc_score(same, cosine), abs=1e-6)
    fpr, tpr, _ = roc_curve(same, cosine, drop_intermediate=False)
    assert found["tpr_at_1pct_fpr"].value == tpr[fpr <= 0.01].max()
    nearest = np.abs(fpr + tpr - 1).argmin()
    assert found["eer"].value == pytest.approx(fpr[nearest], abs=0.01)
    assert found["auc"].note.startswith(f"{same.sum()} genuine and {(~same).sum()} impostor pairs")
    # The two directions differ, so that one alone would not do.
    assert found["auc"].value != scores(originals, codes)["auc"].value


def test_no_released_image_meets_its_own_original() -> None:
    # Released images equal their originals, and the images of a patient have nothing in common.
    rng = np.random.default_rng(0)
    originals, codes = rng.normal(size=(800, 16)), np.repeat(np.arange(400), 2)
    found = scores(originals, codes, gallery=originals)
    assert found["auc"].value == pytest.approx(0.5, abs=0.06)
    assert found["rank1"].value == pytest.approx(0, abs=0.03)


def test_a_gallery_of_the_same_images_counts_every_pair_twice_and_scores_the_same() -> None:
    embeddings, codes = cohort()
    alone, beside = scores(embeddings, codes), scores(embeddings, codes, gallery=embeddings)
    for name in NAMES:
        assert beside[name].value == pytest.approx(alone[name].value, abs=1e-12)
        assert beside[name].low == pytest.approx(alone[name].low, abs=1e-6)
        assert beside[name].high == pytest.approx(alone[name].high, abs=1e-6)
    pairs_of = [int(found["auc"].note.split()[0]) for found in (alone, beside)]
    assert pairs_of[1] == 2 * pairs_of[0]


def test_released_later_images_probe_a_gallery_of_original_first_images() -> None:
    # Originals at 0° and 90° are first images of two patients. Released later images: of patient 0
    # at 80° (nearest 90°, miss), of patient 1 at 70° (nearest 90°, hit). Released first images and
    # original later images lie where they would turn either answer round.
    released = np.radians([70, 80, 80, 70])
    originals = np.radians([0, 80, 90, 0])
    found = scores(
        np.c_[np.cos(released), np.sin(released)], np.array([0, 0, 1, 1]),
        gallery=np.c_[np.cos(originals), np.sin(originals)],
    )["rank1"]  # fmt: skip
    assert found.value == 0.5
    assert found.note == "2 probes in a gallery of 2 images"


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, codes = cohort()
    whole = scores(embeddings, codes)
    across = scores(embeddings, codes, gallery=embeddings[::-1])
    monkeypatch.setattr(pairs, "BLOCK", 7)
    assert scores(embeddings, codes) == whole
    assert scores(embeddings, codes, gallery=embeddings[::-1]) == across


def test_rank1_counts_later_images_whose_nearest_first_image_is_their_own() -> None:
    # First images at 0°, 60°, 120°. Probes: patient 0 at 10° (nearest 0°, hit), patient 1 at 100°
    # (nearest 120°, miss), patient 1 at 70° (nearest 60°, hit). Patient 2 has no probe.
    angles = np.radians([0, 10, 60, 100, 70, 120])
    embeddings = np.c_[np.cos(angles), np.sin(angles)]
    found = scores(embeddings, np.array([0, 0, 1, 1, 1, 2]))["rank1"]
    assert found.value == pytest.approx(2 / 3)
    assert found.note == "3 probes in a gallery of 3 images"


def test_counts_say_how_many_patients_have_a_pair() -> None:
    rng = np.random.default_rng(0)
    found = scores(rng.normal(size=(5, 3)), np.array([0, 0, 1, 2, 2]))["auc"]
    assert (found.n, found.positives, found.negatives) == (3, 2, 3)


def replicates(linkage: Linkage) -> np.ndarray:
    roc = linkage.replicates
    return np.stack([roc.auc(), roc.eer(), roc.tpr_at(0.01)])


def brute_force(linkage: Linkage) -> np.ndarray:
    """AUC, EER and TPR under weights w_p and w_p w_q, pair by pair."""
    cosine, p, q, same = all_pairs(linkage.embeddings, linkage.patients, linkage.gallery)
    rows = []
    for w in linkage.bootstrap.weights.T.astype(float):
        weight = np.where(same, w[p], w[p] * w[q])
        fpr, tpr, _ = roc_curve(same, cosine, sample_weight=weight, drop_intermediate=False)
        area = roc_auc_score(same, cosine, sample_weight=weight)
        cross = (fpr + tpr - 1 >= 0).argmax()
        rows.append([area, (fpr[cross] + fpr[cross - 1]) / 2, tpr[fpr <= 0.01].max()])
    return np.array(rows).T


@pytest.mark.parametrize("strength", [0.5, 1.5])
def test_replicates_agree_with_a_node_bootstrap_written_out(strength: float) -> None:
    embeddings, codes = cohort(150, strength)
    linkage = Linkage(
        "image", embeddings, codes, np.zeros(len(codes), int), PatientBootstrap(150, 120)
    )
    fast, slow = replicates(linkage), brute_force(linkage)
    for ours, theirs in zip(fast, slow, strict=True):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.95
        assert ours.std() == pytest.approx(theirs.std(), rel=0.15)
        assert ours.mean() == pytest.approx(theirs.mean(), abs=0.25 * theirs.std())


@pytest.mark.parametrize("strength", [0.5, 1.5])
def test_replicates_of_ordered_pairs_agree_with_a_node_bootstrap(strength: float) -> None:
    released, originals, codes = released_cohort(150, strength)
    linkage = Linkage(
        "cross", released, codes, np.zeros(len(codes), int), PatientBootstrap(150, 120), originals
    )
    fast, slow = replicates(linkage), brute_force(linkage)
    for ours, theirs in zip(fast, slow, strict=True):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.95
        assert ours.std() == pytest.approx(theirs.std(), rel=0.15)
        assert ours.mean() == pytest.approx(theirs.mean(), abs=0.25 * theirs.std())


def test_impostor_pairs_weigh_the_product_of_their_patients() -> None:
    embeddings, codes = cohort(150)
    linkage = Linkage(
        "image", embeddings, codes, np.zeros(len(codes), int), PatientBootstrap(150, 120)
    )
    cosine, p, q, same = all_pairs(embeddings, codes)
    middle = len(linkage.bins.cuts) // 2
    above = (cosine > linkage.bins.cuts[middle] - 1e-6) & ~same
    weights = linkage.bootstrap.weights.astype(float)
    exact = (weights[p[above]] * weights[q[above]]).sum(0) / (
        weights[p[~same]] * weights[q[~same]]
    ).sum(0)
    fpr = linkage.replicates.fpr
    # Read from above, the curve has passed the bin on the middle cut after this many bins.
    ours = fpr[:, fpr.shape[1] - 1 - (2 * middle + 1)]
    assert ours == pytest.approx(exact, rel=0.1)
    # First order leaves out (w_p - 1)(w_q - 1), a sixth of the spread with 150 patients.
    assert ours.std() == pytest.approx(exact.std(), rel=0.25)


def test_thinned_histograms_keep_the_value_and_nearly_the_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embeddings, codes = cohort(150)
    full = scores(embeddings, codes)
    monkeypatch.setattr(pairs, "THRESHOLDS", 64)
    thin = scores(embeddings, codes)
    for name in NAMES:
        assert thin[name].value == full[name].value
        assert thin[name].low == pytest.approx(full[name].low, abs=0.01)
        assert thin[name].high == pytest.approx(full[name].high, abs=0.01)


def test_pairs_across_parts_are_not_compared() -> None:
    # Each part embeds in a space of its own; across parts the two images of a patient agree.
    rng = np.random.default_rng(0)
    codes, parts = np.tile(np.arange(20), 2), np.repeat([0, 1], 20)
    found = scores(np.tile(rng.normal(size=(20, 4)), (2, 1)), codes, parts)
    assert np.isnan(found["auc"].value)
    assert "two images in one part" in found["auc"].note


def test_a_gallery_holds_the_patients_of_its_part() -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(30), 2)
    parts = (codes >= 20).astype(int)
    found = scores(rng.normal(size=(30, 16))[codes], codes, parts)["rank1"]
    assert found.value == 1
    assert found.note == "30 probes in a gallery of 20 + 10 images"


def test_patients_with_one_image_each_give_nan_with_a_note() -> None:
    rng = np.random.default_rng(0)
    for score in scores(rng.normal(size=(9, 4)), np.arange(9)).values():
        assert np.isnan(score.value)
        assert np.isnan(score.low)
        assert score.note == "no patient has two images in one part"


def of_attacker(name: str, **values: float) -> list[Score]:
    return [Score(f"{name}_reid_{m}", v, note=f"{name} {m}") for m, v in values.items()]


def test_the_worst_attacker_is_the_headline_with_all_its_scores() -> None:
    attackers = {
        "static": of_attacker("static", auc=0.6, rank1=0.9),
        "cross": of_attacker("cross", auc=0.8, rank1=0.1),
        "retrained": of_attacker("retrained", auc=np.nan, rank1=0.5),
    }
    worst = {s.metric: s for s in worst_linkage(attackers)}
    assert {m: s.value for m, s in worst.items()} == {
        "image_reid_auc": 0.8,
        "image_reid_rank1": 0.1,
    }
    note = worst["image_reid_auc"].note
    assert note.startswith("cross attacker, the worst of static, cross, retrained")
    assert "errs on the side of risk" in note and note.endswith("cross auc")


def test_undefined_attackers_give_an_undefined_headline() -> None:
    attackers = {name: of_attacker(name, auc=np.nan) for name in ("static", "cross")}
    (worst,) = worst_linkage(attackers)
    assert np.isnan(worst.value) and worst.note.endswith("static auc")


@pytest.mark.parametrize("prefix", pairs.PREFIXES)
def test_every_attacker_has_the_four_scores(prefix: str) -> None:
    assert {s.metric for s in undefined_linkage(prefix, "none")} == {
        f"{prefix}_reid_{name}" for name in NAMES
    }


def test_undefined_scores_have_the_same_names() -> None:
    found = undefined_linkage("embedding", "no attacker")
    assert {s.metric for s in found} == {f"embedding_reid_{n}" for n in NAMES}
    assert all(np.isnan(s.value) and s.note == "no attacker" for s in found)


def test_order_of_rows_changes_nothing_but_who_is_first() -> None:
    embeddings, codes = cohort()
    shuffled = np.random.default_rng(0).permutation(len(codes))
    before, after = scores(embeddings, codes), scores(embeddings[shuffled], codes[shuffled])
    for name in ("auc", "eer", "tpr_at_1pct_fpr"):
        assert before[name] == after[name]


def test_a_zero_embedding_is_alike_to_nothing() -> None:
    embeddings, codes = cohort()
    embeddings[0] = 0
    assert np.isfinite(scores(embeddings, codes)["auc"].value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_are_refused(bad: float) -> None:
    embeddings, codes = cohort()
    fine = embeddings.copy()
    embeddings[3, 0] = bad
    with pytest.raises(ValueError, match=r"must be finite.*row 3"):
        scores(embeddings, codes)
    with pytest.raises(ValueError, match=r"must be finite.*row 3"):
        scores(fine, codes, gallery=embeddings)


def test_lengths_prefix_and_codes_are_checked() -> None:
    embeddings, codes = cohort()
    zeros, bootstrap = np.zeros(len(codes), int), PatientBootstrap(60, 10)
    with pytest.raises(ValueError, match="an embedding, a patient and a part"):
        linkage_scores("image", embeddings[1:], codes, zeros, bootstrap)
    with pytest.raises(ValueError, match="its row of the gallery"):
        linkage_scores("cross", embeddings, codes, zeros, bootstrap, embeddings[1:])
    with pytest.raises(ValueError, match="prefix must be one of"):
        linkage_scores("picture", embeddings, codes, zeros, bootstrap)
    with pytest.raises(ValueError, match="patient codes must lie in"):
        linkage_scores("image", embeddings, codes + 1, zeros, bootstrap)
