"""The diffusion model: a lossless grid, kept pixels, resuming, images that stand alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from methods import diffusion
from methods.diffusion import Denoiser, Diffusion, load, sample, save, train_denoiser
from methods.fit import quiet_logger

SIZE = 32
TINY = Diffusion(
    image_size=SIZE, steps=6, batch_size=8, width=8, lr=2e-3, sampling_steps=3, guidance=1.0
)
LOG = quiet_logger()


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Forty images: a gradient, brighter in some than in others, with a little noise."""
    rng = np.random.default_rng(0)
    slope = np.linspace(60, 180, SIZE)[None, :, None] + rng.normal(0, 30, (40, 1, 1))
    return np.clip(slope + rng.normal(0, 5, (40, SIZE, SIZE)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def conditions() -> np.ndarray:
    """Two columns of zeros and ones."""
    return np.random.default_rng(1).integers(0, 2, (40, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def plain(pixels: np.ndarray, conditions: np.ndarray) -> Denoiser:
    """A denoiser that knows no kept pixels."""
    return train_denoiser(TINY, pixels, conditions, log=LOG, checkpoint=None)


@pytest.fixture(scope="module")
def inpainter(pixels: np.ndarray, conditions: np.ndarray) -> Denoiser:
    """A denoiser that fills in what a mask leaves open."""
    return train_denoiser(TINY, pixels, conditions, masks=some_squares, log=LOG, checkpoint=None)


def some_squares(rng: np.random.Generator, rows: np.ndarray) -> np.ndarray:
    """A kept square of eight pixels somewhere in each image."""
    keep = np.zeros((len(rows), SIZE, SIZE), dtype=bool)
    for mask, (y, x) in zip(keep, rng.integers(0, SIZE - 8, (len(rows), 2)), strict=True):
        mask[y : y + 8, x : x + 8] = True
    return keep


def same_weights(a: Denoiser, b: Denoiser) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


# The grid.


@pytest.mark.parametrize("size", [32, 64, 96])
def test_the_grid_loses_no_pixel(size: int) -> None:
    images = torch.arange(2 * size * size, dtype=torch.float32).view(2, 1, size, size)
    packed = F.pixel_unshuffle(images, size // diffusion.GRID)
    assert packed.shape == (2, (size // 16) ** 2, 16, 16)
    assert torch.equal(F.pixel_shuffle(packed, size // diffusion.GRID), images)


def test_scaling_to_the_model_and_back_is_exact(plain: Denoiser, pixels: np.ndarray) -> None:
    given = torch.from_numpy(pixels)
    assert torch.equal(plain.pixels(plain.scaled(given)), given)


def test_scaled_training_pixels_have_mean_zero_and_deviation_one(
    plain: Denoiser, pixels: np.ndarray
) -> None:
    scaled = plain.scaled(torch.from_numpy(pixels))
    assert scaled.mean(0).abs().max().item() < 1e-5
    assert scaled.square().mean().item() == pytest.approx(1, abs=1e-4)


# Training.


def test_training_lowers_the_loss(pixels: np.ndarray, conditions: np.ndarray) -> None:
    losses = []
    for steps in (1, 150):
        config = replace(TINY, steps=steps, lr=5e-3)
        net = train_denoiser(config, pixels, conditions, log=LOG, checkpoint=None)
        clean = net.scaled(torch.from_numpy(pixels))
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
        times = torch.full((len(clean),), 500)
        training = diffusion._Training(net, pixels, conditions, None)
        signal, spread = training.signal[500], training.noise[500]
        embedded = net.embedding(torch.from_numpy(conditions))
        with torch.inference_mode():
            velocity = net(signal * clean + spread * noise, times, embedded)
        losses.append((velocity - (signal * noise - spread * clean)).square().mean().item())
    assert losses[1] < 0.8 * losses[0]


@pytest.mark.parametrize("stop", [1, 4])
def test_a_killed_training_resumes_to_identical_weights(
    stop: int,
    pixels: np.ndarray,
    conditions: np.ndarray,
    inpainter: Denoiser,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(diffusion, "CHECKPOINT_SECONDS", 0.0)
    calls = 0

    def killed(rng: np.random.Generator, rows: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls > stop:
            raise KeyboardInterrupt
        return some_squares(rng, rows)

    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        train_denoiser(TINY, pixels, conditions, masks=killed, log=LOG, checkpoint=checkpoint)
    steps: list[int] = []

    def counted(rng: np.random.Generator, rows: np.ndarray) -> np.ndarray:
        steps.append(1)
        return some_squares(rng, rows)

    torch.manual_seed(99)  # what ran before must not matter
    resumed = train_denoiser(
        TINY, pixels, conditions, masks=counted, log=LOG, checkpoint=checkpoint
    )
    assert len(steps) == TINY.steps - stop
    assert same_weights(resumed, inpainter)


def test_a_checkpoint_of_other_settings_is_refused(
    pixels: np.ndarray,
    conditions: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(diffusion, "CHECKPOINT_SECONDS", 0.0)
    path = tmp_path / "c.pt"
    train_denoiser(TINY, pixels, conditions, log=LOG, checkpoint=path)
    assert path.is_file()
    with pytest.raises(ValueError, match="continued with the settings it began with"):
        train_denoiser(replace(TINY, lr=1e-3), pixels, conditions, log=LOG, checkpoint=path)


def test_fewer_images_than_a_batch_are_all_used(pixels: np.ndarray, conditions: np.ndarray) -> None:
    training = diffusion._Training(Denoiser(TINY, 2), pixels[:3], conditions[:3], None)
    assert sorted(training._rows(0).tolist()) == [0, 1, 2]


def test_a_pass_meets_every_image_once(pixels: np.ndarray, conditions: np.ndarray) -> None:
    training = diffusion._Training(Denoiser(TINY, 2), pixels, conditions, None)
    first = np.concatenate([training._rows(step) for step in range(5)])
    assert sorted(first.tolist()) == list(range(40))
    assert not np.array_equal(first[:8], training._rows(5))


def test_kept_pixels_weigh_a_tenth(
    pixels: np.ndarray, conditions: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(rng: np.random.Generator, rows: np.ndarray) -> np.ndarray:
        keep = np.zeros((len(rows), SIZE, SIZE), dtype=bool)
        keep[:, : SIZE // 2] = True
        return keep

    torch.manual_seed(0)
    net = Denoiser(TINY, 2, inpaint=True)
    net.learn_scale(pixels)
    # The velocity of a fresh network is zero, so the error is the target itself.
    seen: dict[str, torch.Tensor] = {}
    original = net.forward

    def spy(noisy: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        seen["noisy"] = noisy.detach()
        return original(noisy, *rest) * 0

    monkeypatch.setattr(net, "forward", spy)
    training = diffusion._Training(net, pixels, conditions, half)
    rng = np.random.default_rng([0, 0xD1FF, 0])
    rows = training._rows(0)
    clean = net.scaled(torch.from_numpy(pixels[rows]))
    times = rng.integers(0, diffusion.TRAIN_TIMES, len(rows))
    noise = torch.from_numpy(rng.standard_normal(clean.shape, np.float32))
    signal, spread = (t[times].view(-1, 1, 1, 1) for t in (training.signal, training.noise))
    wrong = (signal * noise - spread * clean).square()
    top, bottom = wrong[:, :, : SIZE // 2].mean(), wrong[:, :, SIZE // 2 :].mean()
    loss = training.step(0)
    assert torch.allclose(seen["noisy"], signal * clean + spread * noise)
    assert loss.item() == pytest.approx(((0.1 * top + bottom) / 1.1).item(), rel=1e-4)


# Sampling.


def test_the_same_seed_draws_the_same_images(plain: Denoiser, conditions: np.ndarray) -> None:
    first, again, other = (sample(plain, conditions[:4], seed=s) for s in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_image_does_not_depend_on_those_beside_it(
    plain: Denoiser, conditions: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diffusion, "SAMPLED_TOGETHER", 8)
    whole = sample(plain, conditions[:21], seed=0)
    assert len({image.tobytes() for image in whole}) == 21
    assert np.array_equal(sample(plain, conditions[:5], seed=0), whole[:5])
    named = sample(plain, conditions[[17, 4]], seed=0, numbers=[17, 4])
    assert np.array_equal(named, whole[[17, 4]])


def test_the_condition_changes_the_image(plain: Denoiser) -> None:
    both = np.array([[0, 0], [1, 1]], dtype=np.float32)
    a, b = sample(plain, both, seed=0, numbers=[5, 5])
    assert not np.array_equal(a, b)


def test_guidance_moves_images_away_from_the_unconditional(
    plain: Denoiser, conditions: np.ndarray
) -> None:
    free, bound, strong = (_guided(plain, g, conditions[:4]).astype(float) for g in (0.0, 1.0, 3.0))
    assert np.abs(strong - free).mean() > np.abs(bound - free).mean() > 0


def _guided(net: Denoiser, guidance: float, conditions: np.ndarray) -> np.ndarray:
    config = net.config
    net.config = replace(config, guidance=guidance)
    try:
        return sample(net, conditions, seed=0)
    finally:
        net.config = config


def test_kept_pixels_are_those_of_the_known_image(
    inpainter: Denoiser, pixels: np.ndarray, conditions: np.ndarray
) -> None:
    keep = some_squares(np.random.default_rng(0), np.arange(10))
    filled = sample(inpainter, conditions[:10], seed=0, known=pixels[:10], keep=keep)
    assert np.array_equal(filled[keep], pixels[:10][keep])
    assert (filled[~keep] != pixels[:10][~keep]).mean() > 0.9


def test_keeping_everything_and_nothing(
    inpainter: Denoiser, pixels: np.ndarray, conditions: np.ndarray
) -> None:
    everything = np.ones((4, SIZE, SIZE), dtype=bool)
    kept = sample(inpainter, conditions[:4], seed=0, known=pixels[:4], keep=everything)
    assert np.array_equal(kept, pixels[:4])
    # What is not kept must not be seen: other pixels there give the same result.
    free = [
        sample(inpainter, conditions[:4], seed=0, known=known, keep=~everything)
        for known in (pixels[:4], 255 - pixels[:4])
    ]
    assert np.array_equal(free[0], free[1])


@pytest.mark.parametrize("inpaint", [False, True])
def test_a_denoiser_is_asked_for_what_it_was_trained_for(
    inpaint: bool, plain: Denoiser, inpainter: Denoiser, pixels: np.ndarray
) -> None:
    asked = np.zeros((2, 2), dtype=np.float32)
    keep = np.zeros((2, SIZE, SIZE), dtype=bool)
    with pytest.raises(ValueError, match="was trained with"):
        if inpaint:
            sample(inpainter, asked, seed=0)
        else:
            sample(plain, asked, seed=0, known=pixels[:2], keep=keep)


# Storage and limits.


def test_a_stored_denoiser_draws_the_same_images(
    inpainter: Denoiser, pixels: np.ndarray, conditions: np.ndarray, tmp_path: Path
) -> None:
    save(inpainter, tmp_path / "deep" / "d.safetensors")
    again = load(tmp_path / "deep" / "d.safetensors")
    assert again.config == TINY and again.inpaint and same_weights(again, inpainter)
    keep = some_squares(np.random.default_rng(0), np.arange(3))
    drawn = [
        sample(net, conditions[:3], seed=0, known=pixels[:3], keep=keep)
        for net in (inpainter, again)
    ]
    assert np.array_equal(drawn[0], drawn[1])
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["d.safetensors"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image_size": 40}, "multiple of 16 and at least 32, but got 40; choose 32"),
        ({"image_size": 16}, "choose 32"),
        ({"width": 12}, "multiple of 8"),
        ({"steps": 0}, "steps of a diffusion model must be at least 1"),
        ({"sampling_steps": 1}, "sampling_steps of a diffusion model must be at least 2"),
        ({"lr": 0.0}, "lr of a diffusion model"),
        ({"guidance": -1.0}, "guidance must lie in"),
    ],
)
def test_settings_outside_their_limits_are_refused(changes: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(TINY, **changes)  # type: ignore[arg-type]


def test_shapes_that_do_not_fit_are_refused(pixels: np.ndarray, conditions: np.ndarray) -> None:
    unknown = np.where(conditions == 1, np.nan, conditions).astype(np.float32)
    for images, told, said in (
        (pixels[:, :16], conditions, "learns from uint8 images"),
        (pixels, conditions[:5], "conditions must be float32"),
        (pixels, conditions.astype(np.float64), "conditions must be float32"),
        (pixels, unknown, "write 0.5 for unknown"),
    ):
        with pytest.raises(ValueError, match=said):
            train_denoiser(TINY, images, told, log=LOG, checkpoint=None)
