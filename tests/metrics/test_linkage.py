"""Re-identification scores of embeddings: anchors, and brute force over all pairs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from metrics import pairs
from metrics.bootstrap import PatientBootstrap
from metrics.linkage import linkage_scores, undefined_linkage
from metrics.pairs import Linkage
from metrics.score import Score

NAMES = ("auc", "eer", "rank1", "tpr_at_1pct_fpr")


def scores(
    embeddings: np.ndarray,
    patients: np.ndarray,
    parts: np.ndarray | None = None,
    replicates: int = 50,
) -> dict[str, Score]:
    bootstrap = PatientBootstrap(int(patients.max()) + 1, replicates)
    parts = np.zeros(len(patients), int) if parts is None else parts
    found = linkage_scores("image", embeddings, patients, parts, bootstrap)
    return {s.metric.removeprefix("image_reid_"): s for s in found}


def cohort(
    patients: int = 60, strength: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings `(n, 8)` with a part shared by the 1 to 4 images of a patient, and codes."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    own = rng.normal(size=(patients, 8))[codes] * strength
    return (own + rng.normal(size=(len(codes), 8))).astype(np.float32), codes


def all_pairs(
    embeddings: np.ndarray, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cosine, both patients, and whether they are the same, pair by pair."""
    x = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    i, j = np.array(list(combinations(range(len(codes)), 2))).T
    cosine = (x[i].astype(float) * x[j].astype(float)).sum(axis=1)
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


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, codes = cohort()
    whole = scores(embeddings, codes)
    monkeypatch.setattr(pairs, "BLOCK", 7)
    assert scores(embeddings, codes) == whole


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
    cosine, p, q, same = all_pairs(linkage.embeddings, linkage.patients)
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
    embeddings[3, 0] = bad
    with pytest.raises(ValueError, match=r"must be finite.*row 3"):
        scores(embeddings, codes)


def test_lengths_prefix_and_codes_are_checked() -> None:
    embeddings, codes = cohort()
    zeros, bootstrap = np.zeros(len(codes), int), PatientBootstrap(60, 10)
    with pytest.raises(ValueError, match="an embedding, a patient and a part"):
        linkage_scores("image", embeddings[1:], codes, zeros, bootstrap)
    with pytest.raises(ValueError, match="prefix must be one of"):
        linkage_scores("picture", embeddings, codes, zeros, bootstrap)
    with pytest.raises(ValueError, match="patient codes must lie in"):
        linkage_scores("image", embeddings, codes + 1, zeros, bootstrap)
