"""The audit of a synthetic release: which runs it judges, and that it catches a copied pool."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy import SIZE

from datasets.images import open_images
from datasets.split import Folds, Split
from methods.base import Context, Method
from methods.erm import Erm
from methods.synthetic import Synthetic
from metrics.reidentification import Verifier
from runs.audit import ImageAudit
from runs.release_audit import compared, memorisation

VERIFIER = Verifier(steps=150, image_size=SIZE, batch_patients=10)


def audit(method: Method, folds: Folds, ctx: Context, verifier: Verifier = VERIFIER) -> ImageAudit:
    return ImageAudit(method, verifier, (folds,), (ctx,))


def of_people(root: Path, name: str, patients: range) -> Split:
    """Two images per patient, who is known by a pattern; each image has noise of its own."""
    root.mkdir(exist_ok=True)
    pixels, rows = [], []
    for patient in patients:
        own = np.random.default_rng([7, patient]).integers(0, 200, (8, 8)).repeat(4, 0).repeat(4, 1)
        for visit in range(2):
            noise = np.random.default_rng([8, patient, visit]).integers(0, 30, (SIZE, SIZE))
            pixels.append((own + noise).astype(np.uint8))
            rows.append((f"p{patient}-{visit}", f"p{patient}", f"{name}.npy#{len(rows)}"))
    np.save(root / f"{name}.npy", np.stack(pixels))
    frame = pd.DataFrame(rows, columns=["image_id", "patient_id", "path"])
    frame = frame.assign(origin="simulated", sex="Male", Edema=0.0)
    return Split(name, frame, root, ("Edema",), ("sex",))


@pytest.fixture
def people(tmp_path: Path) -> Folds:
    """Folds of recognisable patients."""
    root = tmp_path / "people"
    return Folds(
        train=of_people(root, "train", range(60)),
        val=of_people(root, "val", range(100, 104)),
        audit=of_people(root, "audit", range(200, 260)),
        test=of_people(root, "test", range(300, 360)),
    )


def pool_of(split: Split, rows: np.ndarray, folder: Path) -> str:
    """A pool that holds the images of `rows` with a little noise."""
    folder.mkdir()
    pixels = open_images(split, SIZE).take(rows).astype(int)
    noise = np.random.default_rng(0).integers(-3, 4, pixels.shape)
    np.save(folder / "stack.npy", np.clip(pixels + noise, 0, 255).astype(np.uint8))
    paths = [f"stack.npy#{row}" for row in range(len(rows))]
    pd.DataFrame({"path": paths, "Edema": "0", "sex": "Male"}).to_csv(folder / "p.csv", index=False)
    return str(folder / "p.csv")


def memorised(folds: Folds, source: Split, tmp_path: Path, ctx: Context) -> dict[str, float]:
    task = replace(ctx.task, findings=("Edema",), attributes=("sex",), groups={"sex": ("Male",)})
    ctx = replace(ctx, task=task, train=folds.train)
    pool = pool_of(source, np.arange(0, len(source), 2), tmp_path / "pool")
    method = Synthetic(image_size=SIZE, pool=pool)
    return {s.metric: s.value for s in memorisation(audit(method, folds, ctx))}


def test_a_pool_copied_from_training_patients_is_caught(
    people: Folds, tmp_path: Path, ctx: Context
) -> None:
    found = memorised(people, people.train, tmp_path, ctx)
    assert found["release_memorisation_auc"] > 0.9
    assert found["release_copy_share"] > 0.9


def test_a_pool_of_other_people_is_not_accused(people: Folds, tmp_path: Path, ctx: Context) -> None:
    others = of_people(tmp_path / "others", "others", range(500, 560))
    found = memorised(people, others, tmp_path, ctx)
    assert 0.35 < found["release_memorisation_auc"] < 0.65
    assert found["release_copy_share"] < 0.2


def test_a_generated_release_is_judged(folds: Folds, ctx: Context) -> None:
    method = Synthetic(image_size=SIZE, **Synthetic.smallest)
    scores = memorisation(audit(method, folds, ctx, replace(VERIFIER, steps=2)))
    by_name = {s.metric: s for s in scores}
    assert by_name["release_memorisation_auc"].n == 80  # 40 test patients, 40 of 60 in training
    assert 0 <= by_name["release_copy_share"].value <= 1
    assert "60 released images" in by_name["release_memorisation_auc"].note


def test_methods_that_release_test_images_have_no_such_scores(folds: Folds, ctx: Context) -> None:
    assert memorisation(audit(Erm(image_size=SIZE), folds, ctx)) == []


def test_without_patients_for_the_verifier_the_scores_are_undefined(
    folds: Folds, ctx: Context
) -> None:
    method = Synthetic(image_size=SIZE, **Synthetic.smallest)
    reused = replace(folds, audit=folds.train)
    single = folds.audit.where(np.arange(len(folds.audit)) % 2 == 0)
    for changed, said in ((reused, "trained on the training"), (replace(folds, audit=single), "2")):
        scores = memorisation(audit(method, changed, ctx))
        assert len(scores) == 2 and all(np.isnan(s.value) and said in s.note for s in scores)
        assert compared(audit(method, changed, ctx)) == []
    assert memorisation(audit(Erm(image_size=SIZE), reused, ctx)) == []
