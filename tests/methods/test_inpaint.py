"""Inpainting: what is kept is bit-identical, what is not is new, and regions come from pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.folds import assign
from datasets.images import open_images
from datasets.phantom import Phantom
from datasets.regions import has_regions, recorded_regions
from datasets.split import Folds, Split
from methods import regions as methods_regions
from methods.anonymisers.inpaint import Inpaint, Inpainter, training_masks
from methods.anonymisers.sheet import coverage
from methods.anonymized import Anonymized
from methods.base import Context, Task
from methods.regions import Saliency, fit_saliency, greatest

TINY = Inpaint(region_epochs=2, generator_steps=8, generator_width=8, sampling_steps=2)


@pytest.fixture(scope="module")
def levels() -> np.ndarray:
    """Images of one grey level each, 60 or 200, with some noise."""
    rng = np.random.default_rng(0)
    level = np.where(np.arange(96) % 2, 60, 200)[:, None, None]
    return (level + rng.integers(-8, 9, (96, 32, 32))).astype(np.uint8)


@pytest.fixture
def fitted(folds: Folds, ctx: Context, tmp_path: Path) -> Inpainter:
    made = TINY.fit(folds.train, 32, ctx, tmp_path)
    assert isinstance(made, Inpainter)
    return made


@pytest.fixture
def phantom(tmp_path: Path) -> Folds:
    sizes = {f"{fold}_patients": n for fold, n in
             {"train": 30, "val": 10, "audit": 100, "test": 10}.items()}  # fmt: skip
    return assign(Phantom(**sizes).table(tmp_path))


def of_phantom(folds: Folds, ctx: Context) -> Context:
    table = folds.train
    groups = {a: table.groups_of(a) for a in table.attributes}
    task = Task(table.findings, table.attributes, groups, table.findings)
    return replace(ctx, task=task, train=table)


def pixels(split: Split) -> np.ndarray:
    return open_images(split, 32).take()


def test_what_is_kept_is_identical_and_the_rest_is_new(fitted: Inpainter, folds: Folds) -> None:
    images = pixels(folds.test)
    keep = np.zeros(images.shape, dtype=bool)
    keep[:, 4:14, 6:30] = True
    drawn = fitted.transform(images, keep)
    assert np.array_equal(drawn[keep], images[keep])
    assert (drawn[~keep] != images[~keep]).mean() > 0.9


def test_the_region_that_is_found_is_kept(fitted: Inpainter, folds: Folds) -> None:
    images = pixels(folds.test)
    keep = fitted.kept(images)
    drawn = fitted.transform(images)
    assert np.array_equal(drawn[keep], images[keep])
    assert (drawn[~keep] != images[~keep]).mean() > 0.9


def test_all_kept_and_nothing_kept(fitted: Inpainter, folds: Folds) -> None:
    images = pixels(folds.test)[:3]
    everything = np.ones(images.shape, dtype=bool)
    assert np.array_equal(fitted.transform(images, everything), images)
    drawn = fitted.transform(images, ~everything)
    other = fitted.transform(images[::-1].copy(), ~everything)[::-1]
    # With nothing kept, only the noise differs from image to image, and it follows the image.
    assert np.array_equal(drawn, other)
    assert not np.array_equal(drawn[0], drawn[1])


def test_an_image_does_not_depend_on_its_neighbours(fitted: Inpainter, folds: Folds) -> None:
    images = pixels(folds.test)  # 80: a chunk of 64 and one of 16
    whole = fitted.transform(images)
    assert np.array_equal(fitted.transform(images[::-1].copy()), whole[::-1])
    assert np.array_equal(fitted.transform(images[70:]), whole[70:])
    assert np.array_equal(fitted.transform(images[5:6]), whole[5:6])


def test_no_image_is_no_image(fitted: Inpainter) -> None:
    assert fitted.transform(np.zeros((0, 32, 32), np.uint8)).shape == (0, 32, 32)


def test_it_is_the_same_after_saving_and_loading(
    fitted: Inpainter, folds: Folds, tmp_path: Path
) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    fitted.save(folder)
    again = TINY.load(folder, "cpu")
    images = pixels(folds.test)[:8]
    assert np.array_equal(again.kept(images), fitted.kept(images))
    assert np.array_equal(again.transform(images), fitted.transform(images))


def test_what_is_drawn_follows_what_is_kept(
    levels: np.ndarray, folds: Folds, ctx: Context, tmp_path: Path
) -> None:
    """A generator that took kept for open, in training or later, would not know the grey level."""
    np.save(tmp_path / "levels.npy", levels)
    train = folds.train.where(np.arange(len(folds.train)) < len(levels))
    rows = [f"levels.npy#{i}" for i in range(len(levels))]
    train = replace(train.with_frame(train.frame.assign(path=rows)), root=tmp_path)
    settings = Inpaint(region_epochs=1, generator_steps=150, generator_width=8, sampling_steps=4)
    inpainter = settings.fit(train, 32, ctx, tmp_path)
    keep = np.zeros(levels.shape, dtype=bool)
    keep[:, :, :10] = True
    drawn = inpainter.transform(levels, keep)[:, :, 16:].mean(axis=(1, 2))
    assert drawn[0::2].min() > 130 > drawn[1::2].max()


def test_a_killed_fit_goes_on_to_the_same_pixels(
    folds: Folds, ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from methods import diffusion

    method = Anonymized(image_size=32, **Anonymized.smallest)
    whole = pixels(method.view(folds.test, replace(ctx, shared=tmp_path / "other")))
    monkeypatch.setattr(diffusion, "CHECKPOINT_SECONDS", 0.0)
    step = diffusion._Training.step

    def killed_at_the_fourth(self: diffusion._Training, number: int) -> torch.Tensor:
        if number == 3:
            raise KeyboardInterrupt
        return step(self, number)

    monkeypatch.setattr(diffusion._Training, "step", killed_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        method.view(folds.test, ctx)
    done: list[int] = []

    def counted(self: diffusion._Training, number: int) -> torch.Tensor:
        done.append(number)
        return step(self, number)

    monkeypatch.setattr(diffusion._Training, "step", counted)
    assert np.array_equal(pixels(method.view(folds.test, ctx)), whole)
    assert done == [3, 4, 5]
    kept = {p.suffix for p in (ctx.shared / "anonymisers").iterdir()}
    assert kept == {"", ".lock"}


def test_half_of_the_training_masks_are_regions() -> None:
    regions = np.zeros((600, 32, 32), dtype=bool)
    regions[:, ::2, ::2] = True  # no ellipse or rectangle looks like this
    masks = training_masks(regions, np.random.default_rng(0))
    same = (masks == regions).all(axis=(1, 2))
    assert 0.44 < same.mean() < 0.56
    share = masks[~same].mean(axis=(1, 2))
    assert (share < 0.3).any() and (share > 0.7).any()


def test_a_region_has_the_stated_share_of_every_image(fitted: Inpainter, folds: Folds) -> None:
    images = pixels(folds.test)
    images[0] = 128
    counts = fitted.kept(images).sum(axis=(1, 2))
    assert set(counts) == {round(0.25 * 32 * 32)}


def test_greatest_breaks_ties_by_place() -> None:
    chosen = greatest(np.zeros((1, 4, 4)), 0.25)
    assert chosen[0].ravel().tolist() == [True] * 4 + [False] * 12


def test_saliency_is_where_the_network_looks(folds: Folds) -> None:
    class LooksAtACorner(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, 0, 2:8, 3:9].square().sum((1, 2))[:, None] * torch.ones(1, 2)

    found = Saliency(LooksAtACorner(), 0.04, "cpu").find(pixels(folds.test))
    assert found[:, 2:8, 3:9].sum() > 0.8 * found.sum()


def test_saliency_finds_the_square_that_tells_the_label(
    folds: Folds, ctx: Context, tmp_path: Path
) -> None:
    finder = fit_saliency(folds.train, 32, 0.25, 6, 0, ctx, tmp_path)
    square = np.zeros((32, 32), dtype=bool)
    square[10:20, 10:20] = True
    assert finder.find(pixels(folds.test))[:, square].mean() > 0.5  # by chance 0.25


def test_regions_are_chosen_by_training_patients_alone(
    folds: Folds, ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: set[str] = set()
    rows = methods_regions.Rows

    def watched(split: Split, task: Task, size: int) -> methods_regions.Rows:
        opened.update(split.frame["patient_id"])
        return rows(split, task, size)

    monkeypatch.setattr(methods_regions, "Rows", watched)
    fit_saliency(folds.train, 32, 0.25, 1, 0, ctx, tmp_path)
    assert opened == set(folds.train.patients)


def test_recorded_regions_are_those_of_the_phantom(phantom: Folds) -> None:
    masks = recorded_regions(phantom.test, 32)
    truth = phantom.test.labels(true=True) == 1
    assert masks.shape == (len(phantom.test), len(phantom.test.findings), 32, 32)
    seen = masks.any(axis=(2, 3))
    assert not seen[~truth].any()
    heart = phantom.test.findings.index("Cardiomegaly")
    assert np.array_equal(seen[:, heart], truth[:, heart])


def test_recorded_regions_follow_rows_and_findings(phantom: Folds) -> None:
    findings = ("Pneumothorax", "Cardiomegaly")
    some = np.zeros(len(phantom.audit), dtype=bool)
    some[[3, 8, 20]] = True
    backwards = phantom.audit.where(some)
    backwards = backwards.with_frame(backwards.frame.iloc[::-1])
    picked = replace(backwards, findings=findings)
    places = [phantom.audit.findings.index(f) for f in findings]
    whole = recorded_regions(phantom.audit, 32)[[20, 8, 3]][:, places]
    assert np.array_equal(recorded_regions(picked, 32), whole)


def test_images_without_masks_are_refused(folds: Folds) -> None:
    assert not has_regions(folds.test)
    with pytest.raises(ValueError, match="80 of 80 have none"):
        recorded_regions(folds.test, 32)
    with pytest.raises(ValueError, match="keep=regions needs masks"):
        Anonymized(image_size=32, keep="regions").check(folds)


def test_recorded_regions_are_what_is_kept_if_asked(phantom: Folds, ctx: Context) -> None:
    method = Anonymized(image_size=32, keep="regions", **Anonymized.smallest)
    method.check(phantom)
    seen = method.view(phantom.test, of_phantom(phantom, ctx))
    before, after = pixels(phantom.test), pixels(seen)
    keep = recorded_regions(phantom.test, 32).any(axis=1)
    assert np.array_equal(after[keep], before[keep])
    assert (after[~keep] != before[~keep]).mean() > 0.9
    assert method.released == "images changed by inpaint; kept regions are an oracle"


def test_without_saliency_pixels_alone_do_not_tell_regions(
    phantom: Folds, ctx: Context, tmp_path: Path
) -> None:
    oracle = replace(TINY, keep="regions").fit(
        phantom.train, 32, of_phantom(phantom, ctx), tmp_path
    )
    with pytest.raises(ValueError, match="must be given"):
        oracle.transform(pixels(phantom.test))


def test_coverage_counts_pixels_of_regions(phantom: Folds) -> None:
    masks = recorded_regions(phantom.test, 32)
    union = masks.any(axis=1)
    told = coverage(union, phantom.test, 32)
    assert "of recorded regions 100%" in told
    assert "of recorded regions 0%" in coverage(~union, phantom.test, 32)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"keep": "lesion"}, "keep must be one of saliency, regions"),
        ({"keep_share": 0.0}, r"keep_share must lie in \(0, 1\)"),
        ({"region_epochs": 0}, "region_epochs must be at least 1"),
        ({"sampling_steps": 1}, "sampling_steps of a diffusion model must be at least 2"),
    ],
)
def test_settings_outside_their_limits_are_refused(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Anonymized(image_size=32, **fields)  # type: ignore[arg-type]
