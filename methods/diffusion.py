"""A small diffusion model of grey images: it draws new ones, or fills in what a mask leaves open.

Images are rearranged without loss to a grid of 16 x 16 positions (pixel-unshuffle), so that cost
hardly grows with their size and no autoencoder stands between a kept pixel and the result.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

GRID = 16
"""Positions per side that the network sees; a position holds a square of pixels."""
TRAIN_TIMES = 1000
"""Noise levels in training. Source: Ho et al., NeurIPS 2020, section 4."""
SCHEDULE = "squaredcos_cap_v2"
"""Noise schedule. Source: Nichol & Dhariwal, ICML 2021, equation 17."""
DROPPED_CONDITIONS = 0.1
"""Share of training rows without condition. Source: Ho & Salimans, 2022 (arXiv 2207.12598)."""
MAPS = 8
"""Channels that a condition draws over the positions: so it says where, and not only what. Added
to the embedding of time alone, findings were hardly drawn after 1000 steps."""
KEPT_WEIGHT = 0.1
"""Weight of the loss where pixels are given: they are pasted back, so they matter little."""
EMA_DECAY = 0.995
"""Of the running mean of weights that is used in the end; slower would remember the start."""
WARM_UP = 0.05
"""Share of steps over which the learning rate rises; then it falls to zero along a cosine."""
SAMPLED_TOGETHER = 64
"""Images drawn together. Always as many: an image must not depend on how many others there are."""
CHECKPOINT_SECONDS = 20.0
"""Seconds of training that a kill costs at most."""
TOLD_SECONDS = 15.0
"""Seconds between two lines of progress."""

Masks = Callable[[np.random.Generator, np.ndarray], np.ndarray]
"""`masks(rng, rows)`: for rows `(b,)` of the training pixels bool `(b, s, s)`, True where kept."""


@dataclass(frozen=True)
class Diffusion:
    """Architecture and budget of a small diffusion model.

    With a width of 32 a training image costs 2.8 ms of one core, and a sampled image 0.9 ms per
    step, nearly the same at 32 and at 64 px; a width of 64 costs three times as much. A guidance
    other than 1 doubles the cost of sampling.

    Raises:
        ValueError: a value lies outside its limits.
    """

    image_size: int
    """Pixels per side, a multiple of 16."""
    steps: int
    """Updates of the weights."""
    batch_size: int
    width: int
    """Channels at 16 x 16 positions, a multiple of 8; twice as many at 8 x 8 and 4 x 4."""
    lr: float
    """Peak learning rate of AdamW."""
    sampling_steps: int
    """Evaluations of the network per sampled image."""
    guidance: float = 1.0
    """Classifier-free guidance; 1 samples from the conditional distribution itself."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.image_size % GRID or self.image_size < 2 * GRID:
            raise ValueError(
                f"the image size of a diffusion model must be a multiple of {GRID} and at least "
                f"{2 * GRID}, but got {self.image_size}; choose {self._nearest_size()}"
            )
        if self.width % 8 or self.width < 8:
            raise ValueError(
                f"the width of a diffusion model must be a multiple of 8, but got {self.width}"
            )
        for name, low in {"steps": 1, "batch_size": 1, "sampling_steps": 2}.items():
            if getattr(self, name) < low:
                raise ValueError(
                    f"{name} of a diffusion model must be at least {low}, "
                    f"but got {getattr(self, name)}"
                )
        if not 0 < self.lr < 1:
            raise ValueError(f"lr of a diffusion model must lie in (0, 1), but got {self.lr}")
        if not 0 <= self.guidance <= 20:
            raise ValueError(f"guidance must lie in [0, 20], but got {self.guidance}")

    def _nearest_size(self) -> int:
        return max(2, round(self.image_size / GRID)) * GRID


class Denoiser(nn.Module):
    """A U-Net that predicts the velocity of noisy images `(b, 1, s, s)`, given a vector.

    With `inpaint` it also sees which pixels are kept, and their values. `mean` `(1, s, s)` and
    `deviation` bring pixels to mean 0 and deviation 1; they are those of the training images.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: Diffusion, conditions: int, *, inpaint: bool = False) -> None:
        super().__init__()
        if conditions < 1:
            raise ValueError(f"a denoiser needs at least one condition, but got {conditions}")
        self.config, self.conditions, self.inpaint = config, conditions, inpaint
        self.factor = config.image_size // GRID
        channels, width = self.factor**2, config.width
        self.unet = _unet(channels * (3 if inpaint else 1) + MAPS, channels, width)
        nn.init.zeros_(self.unet.conv_out.weight)
        embedded = 4 * width
        self.embed = nn.Sequential(
            nn.Linear(conditions, embedded), nn.SiLU(), nn.Linear(embedded, embedded)
        )
        self.maps = nn.Linear(embedded, MAPS * GRID**2)
        self.nothing = nn.Parameter(torch.zeros(embedded))
        """Embedding in place of a condition that is not given."""
        self.register_buffer("mean", torch.zeros(1, config.image_size, config.image_size))
        self.register_buffer("deviation", torch.ones(()))

    def forward(
        self, noisy: Tensor, times: Tensor, embedded: Tensor, given: Tensor | None = None
    ) -> Tensor:
        """Velocity `(b, 1, s, s)` at noise levels `times` `(b,)`; `given` comes from `kept`."""
        parts = [noisy] if given is None else [noisy, given]
        packed = [F.pixel_unshuffle(p, self.factor) for p in parts]
        packed.append(self.maps(F.silu(embedded)).view(-1, MAPS, GRID, GRID))
        velocity: Tensor = self.unet(torch.cat(packed, dim=1), times, embedded).sample
        return F.pixel_shuffle(velocity, self.factor)

    def embedding(self, conditions: Tensor, dropped: Tensor | None = None) -> Tensor:
        """Conditions `(b, c)` as the network takes them; rows `dropped` `(b,)` count as unknown."""
        embedded: Tensor = self.embed(conditions)
        if dropped is not None:
            embedded = torch.where(dropped[:, None], self.nothing, embedded)
        return embedded

    def kept(self, images: Tensor, keep: Tensor) -> Tensor:
        """Mask and kept values `(b, 2, s, s)` of scaled images and bool masks `(b, 1, s, s)`."""
        return torch.cat([keep.float(), images * keep], dim=1)

    def scaled(self, pixels: Tensor) -> Tensor:
        """8-bit pixels `(b, s, s)` as float32 `(b, 1, s, s)`."""
        return (pixels.unsqueeze(1).float() / 127.5 - 1 - self.mean) / self.deviation

    def pixels(self, images: Tensor) -> Tensor:
        """Scaled images `(b, 1, s, s)` as 8-bit pixels `(b, s, s)`."""
        values = (images * self.deviation + self.mean + 1) * 127.5
        return values.squeeze(1).round_().clamp_(0, 255).to(torch.uint8)

    def learn_scale(self, pixels: np.ndarray) -> None:
        """Take mean and deviation from training pixels `(n, s, s)`."""
        mean = pixels.mean(axis=0, dtype=np.float64) / 127.5 - 1
        square = np.mean([np.square(p / 127.5 - 1 - mean).mean() for p in pixels])
        self.mean.copy_(torch.from_numpy(mean)[None])
        # Images that are all alike have no deviation; one grey level keeps the quotient finite.
        self.deviation.fill_(max(float(np.sqrt(square)), 1 / 127.5))


def train_denoiser(
    config: Diffusion,
    pixels: np.ndarray,
    conditions: np.ndarray,
    *,
    masks: Masks | None = None,
    log: logging.Logger,
    checkpoint: Path | None,
    device: str = "cpu",
) -> Denoiser:
    """A denoiser of `pixels` uint8 `(n, s, s)` given `conditions` float32 `(n, c)`.

    With `masks` it learns to fill in what they do not keep. The state is saved at `checkpoint`
    every few seconds and found again there; a resumed training ends with identical weights.

    Raises:
        ValueError: shapes do not fit each other, or the checkpoint is of another training.

    Source: Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020; Salimans & Ho, ICLR
    2022, appendix D (the velocity as target).
    """
    _check(config, pixels, conditions)
    torch.manual_seed(config.seed)
    net = Denoiser(config, conditions.shape[1], inpaint=masks is not None)
    net.learn_scale(pixels)
    net = net.to(device)
    training = _Training(net, pixels, conditions, masks)
    done = training.resume(checkpoint)
    if done:
        log.info("generator: continuing at step %d/%d", done + 1, config.steps)
    told = saved = started = time.monotonic()
    losses: list[Tensor] = []
    for step in range(done, config.steps):
        losses.append(training.step(step))
        now, last = time.monotonic(), step + 1 == config.steps
        if last or now - told > TOLD_SECONDS:
            loss = float(torch.stack(losses).mean())
            left = (now - started) / (step + 1 - done) * (config.steps - step - 1)
            log.info(
                "generator: step %d/%d  loss %.4f  %d:%02d left",
                step + 1, config.steps, loss, *divmod(round(left), 60),
            )  # fmt: skip
            if not math.isfinite(loss):
                raise ValueError(
                    f"the loss of a generator must stay finite, but is {loss} by step {step + 1}; "
                    "lower its learning rate"
                )
            told, losses = now, []
        if checkpoint is not None and not last and now - saved >= CHECKPOINT_SECONDS:
            training.save(checkpoint, step + 1)
            saved = time.monotonic()
    return training.finished()


def sample(
    denoiser: Denoiser,
    conditions: np.ndarray,
    *,
    seed: int,
    known: np.ndarray | None = None,
    keep: np.ndarray | None = None,
    numbers: Sequence[int] | None = None,
    log: logging.Logger | None = None,
) -> np.ndarray:
    """New images uint8 `(n, s, s)`, one per row of `conditions` float32 `(n, c)`.

    With images `known` uint8 `(n, s, s)` and `keep` bool `(n, s, s)` everything but the kept pixels
    is drawn anew; the kept ones are those of `known`, bit by bit. Row i depends on `seed`, on the
    number i, or `numbers[i]` if given, and on its own condition alone.

    Raises:
        ValueError: shapes do not fit, or a denoiser of one kind is used as the other.

    Source: Lu et al., DPM-Solver++, 2022 (arXiv 2211.01095), algorithm 2.
    """
    _check_request(denoiser, conditions, known, keep)
    size, n = denoiser.config.image_size, len(conditions)
    result = np.empty((n, size, size), np.uint8)
    denoiser.eval()
    told = started = time.monotonic()
    for rows in _chunks(n):
        # The last chunk is filled up with its last row.
        filled = np.minimum(np.arange(rows[0], rows[0] + SAMPLED_TOGETHER), n - 1)
        named = filled if numbers is None else [numbers[i] for i in filled]
        noise = np.stack([_noise(seed, int(number), size) for number in named])
        part = None if known is None or keep is None else (known[filled], keep[filled])
        drawn = _solve(denoiser, conditions[filled], noise, part)
        result[rows] = drawn[: len(rows)]
        now, done = time.monotonic(), int(rows[-1]) + 1
        if log is not None and (done == n or now - told > TOLD_SECONDS):
            left = (now - started) / done * (n - done)
            log.info("images drawn: %d/%d  %d:%02d left", done, n, *divmod(round(left), 60))
            told = now
    if known is not None and keep is not None:
        result[keep] = known[keep]
    return result


def save(denoiser: Denoiser, path: Path) -> None:
    """Write weights and configuration into one safetensors file, all or nothing."""
    from safetensors.torch import save_file

    about = {
        "config": json.dumps(asdict(denoiser.config)),
        "conditions": str(denoiser.conditions),
        "inpaint": json.dumps(denoiser.inpaint),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    state = {k: v.detach().cpu().contiguous() for k, v in denoiser.state_dict().items()}
    save_file(state, partial, metadata=about)
    partial.replace(path)


def load(path: Path) -> Denoiser:
    """The denoiser that `save` wrote, on the CPU.

    Raises:
        ValueError: the file holds something else.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file

    with safe_open(path, framework="pt") as file:
        about = file.metadata() or {}
    if "config" not in about:
        raise ValueError(f"a denoiser must hold its configuration, but {path} does not")
    config = Diffusion(**json.loads(about["config"]))
    net = Denoiser(config, int(about["conditions"]), inpaint=json.loads(about["inpaint"]))
    net.load_state_dict(load_file(path))
    return net.eval()


class _Training:
    """Network, running mean of its weights and optimiser; each step depends on its number alone."""

    def __init__(
        self, net: Denoiser, pixels: np.ndarray, conditions: np.ndarray, masks: Masks | None
    ) -> None:
        from diffusers import DDPMScheduler

        self.net, self.config, self.masks = net, net.config, masks
        self.pixels, self.conditions = pixels, torch.from_numpy(conditions)
        self.device = net.mean.device
        self.parameters: list[Tensor] = list(net.parameters())
        self.averaged = [p.detach().clone() for p in self.parameters]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=self.config.lr, weight_decay=0.0)
        schedule: Any = DDPMScheduler(TRAIN_TIMES, beta_schedule=SCHEDULE)
        levels = schedule.alphas_cumprod
        self.signal, self.noise = levels.sqrt(), (1 - levels).sqrt()

    def step(self, number: int) -> Tensor:
        """One update; its loss."""
        self.net.train()
        rng = np.random.default_rng([self.config.seed, 0xD1FF, number])
        rows = self._rows(number)
        n = len(rows)
        images = self.net.scaled(torch.from_numpy(self.pixels[rows]).to(self.device))
        times = torch.from_numpy(rng.integers(0, TRAIN_TIMES, n))
        noise = torch.from_numpy(rng.standard_normal(images.shape, np.float32)).to(self.device)
        dropped = torch.from_numpy(rng.random(n) < DROPPED_CONDITIONS).to(self.device)
        signal, spread = (
            level[times].view(-1, 1, 1, 1).to(self.device) for level in (self.signal, self.noise)
        )
        weight, given = torch.ones_like(images), None
        if self.masks is not None:
            keep = torch.from_numpy(self.masks(rng, rows)).unsqueeze(1).to(self.device)
            given = self.net.kept(images, keep)
            weight = torch.where(keep, KEPT_WEIGHT, 1.0)
        embedded = self.net.embedding(self.conditions[rows].to(self.device), dropped)
        noisy = signal * images + spread * noise
        velocity = self.net(noisy, times.to(self.device), embedded, given)
        wrong = (velocity - (signal * noise - spread * images)).square()
        loss: Tensor = (weight * wrong).sum() / weight.sum()
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * self._rate(number)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        decay = min(EMA_DECAY, (1 + number) / (10 + number))
        with torch.no_grad():
            torch._foreach_lerp_(self.averaged, self.parameters, 1 - decay)
        return loss.detach()

    def finished(self) -> Denoiser:
        """The network with the running mean as its weights."""
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, self.averaged)
        return self.net.eval()

    def save(self, path: Path, done: int) -> None:
        """Write the state after `done` steps, all or nothing."""
        state = {
            "config": asdict(self.config),
            "done": done,
            "net": self.net.state_dict(),
            "averaged": self.averaged,
            "optimizer": self.optimizer.state_dict(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        torch.save(state, partial)
        partial.replace(path)

    def resume(self, path: Path | None) -> int:
        """Steps that were done before, with the state as it was then."""
        if path is None or not path.is_file():
            return 0
        state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        if state["config"] != asdict(self.config):
            raise ValueError(
                f"a generator must be continued with the settings it began with, but {path} has "
                "others; delete it to begin anew"
            )
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        with torch.no_grad():
            torch._foreach_copy_(self.averaged, state["averaged"])
        return int(state["done"])

    def _rows(self, number: int) -> np.ndarray:
        """Rows of a step: pass after pass over the images, each in an order of its own."""
        n = len(self.pixels)
        size = min(self.config.batch_size, n)
        per_pass = n // size
        turn, place = divmod(number, per_pass)
        order = np.random.default_rng([self.config.seed, 0x0EDE, turn]).permutation(n)
        rows: np.ndarray = order[place * size : (place + 1) * size]
        return rows

    def _rate(self, number: int) -> float:
        progress = (number + 1) / self.config.steps
        if progress < WARM_UP:
            return progress / WARM_UP
        return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def _unet(inputs: int, outputs: int, width: int) -> Any:
    """A U-Net over 16 x 16, 8 x 8 and 4 x 4 positions, attentive at the last; it begins at zero."""
    from diffusers import UNet2DModel

    unet: Any = UNet2DModel(
        sample_size=GRID,
        in_channels=inputs,
        out_channels=outputs,
        block_out_channels=(width, 2 * width, 2 * width),
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=16,
        class_embed_type="identity",
    )
    return unet


def _solve(
    net: Denoiser,
    conditions: np.ndarray,
    noise: np.ndarray,
    part: tuple[np.ndarray, np.ndarray] | None,
) -> np.ndarray:
    """Images uint8 `(b, s, s)` at the end of the path that begins at `noise` `(b, s, s)`."""
    device, scheduler = net.mean.device, _solver()
    scheduler.set_timesteps(net.config.sampling_steps)
    with torch.inference_mode():
        x = torch.from_numpy(noise).unsqueeze(1).to(device)
        embedded = net.embedding(torch.from_numpy(conditions).to(device))
        given = None
        if part is not None:
            known, keep = (torch.from_numpy(p).to(device) for p in part)
            given = net.kept(net.scaled(known), keep.unsqueeze(1))
        for moment in scheduler.timesteps:
            times = moment.to(device).expand(len(x))
            velocity = net(x, times, embedded, given)
            if net.config.guidance != 1:
                free = net(x, times, net.nothing.expand_as(embedded), given)
                velocity = free + net.config.guidance * (velocity - free)
            x = scheduler.step(velocity, moment, x).prev_sample
        return net.pixels(x).cpu().numpy()


def _solver() -> Any:
    from diffusers import DPMSolverMultistepScheduler

    return DPMSolverMultistepScheduler(
        num_train_timesteps=TRAIN_TIMES,
        beta_schedule=SCHEDULE,
        prediction_type="v_prediction",
        algorithm_type="dpmsolver++",
        timestep_spacing="trailing",
        final_sigmas_type="zero",
        lower_order_final=True,
    )


def _noise(seed: int, number: int, size: int) -> np.ndarray:
    rng = np.random.default_rng([seed, 0x5A3F, number])
    return rng.standard_normal((size, size), np.float32)


def _chunks(n: int) -> Iterator[np.ndarray]:
    for start in range(0, n, SAMPLED_TOGETHER):
        yield np.arange(start, min(start + SAMPLED_TOGETHER, n))


def _check(config: Diffusion, pixels: np.ndarray, conditions: np.ndarray) -> None:
    side = config.image_size
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (side, side) or not len(pixels):
        raise ValueError(
            f"a generator learns from uint8 images (n, {side}, {side}), "
            f"but got {pixels.dtype} {pixels.shape}"
        )
    _check_conditions(conditions, len(pixels))


def _check_conditions(conditions: np.ndarray, rows: int, width: int | None = None) -> None:
    wide = conditions.shape[1] if conditions.ndim == 2 and width is None else width
    if conditions.dtype != np.float32 or conditions.shape != (rows, wide):
        raise ValueError(
            f"conditions must be float32 ({rows}, {'c' if wide is None else wide}), "
            f"but got {conditions.dtype} {conditions.shape}"
        )
    if not np.isfinite(conditions).all():
        raise ValueError("conditions must be finite, but hold NaN; write 0.5 for unknown")


def _check_request(
    net: Denoiser, conditions: np.ndarray, known: np.ndarray | None, keep: np.ndarray | None
) -> None:
    _check_conditions(conditions, len(conditions), net.conditions)
    if (known is None) != (keep is None) or (known is not None) != net.inpaint:
        kind = "with" if net.inpaint else "without"
        raise ValueError(
            f"this denoiser was trained {kind} kept pixels, so `known` and `keep` must "
            f"{'both' if net.inpaint else 'not'} be given"
        )
    shape = (len(conditions), net.config.image_size, net.config.image_size)
    for name, array, dtype in (("known", known, "uint8"), ("keep", keep, "bool")):
        if array is not None and (array.shape != shape or array.dtype != dtype):
            raise ValueError(f"{name} must be {dtype} {shape}, but got {array.dtype} {array.shape}")
