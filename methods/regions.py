"""Which pixels a diagnosis hangs on, found from the image alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from backbones import build
from datasets.split import Split
from methods.base import Context, Kit
from methods.fit import validate
from methods.loader import Rows, scale, training_loader
from methods.objective import MaskedCrossEntropy
from methods.train import ImageClassifier, Schedule, train

BACKBONE = "small_cnn"
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.02
BATCH_SIZE = 32
"""As the methods' own defaults."""
HELD_OUT = 8
"""One in so many training patients chooses the epoch."""
SMOOTHING = 1 / 16
"""Deviation, as a share of the side, of the Gaussian over a gradient. Of 1/32, 1/16 and 1/10 it
covered most pixels of the phantom's lesions at 32 and at 64 px."""
TOGETHER = 64
"""Images looked at together; always as many, so that an image's region hangs on nothing else."""


@dataclass(frozen=True)
class Saliency:
    """A small diagnostic network, and the share of pixels it is most sensitive to.

    For each finding the absolute gradient of its logit, divided by its mean over the image, is
    weighted by the predicted probability; the sum over findings is smoothed, and the `share` of
    pixels where it is greatest are the region. Every image gives the same number of pixels, so the
    size of a region says nothing; where it lies is what a network that saw no label of this image
    thinks of it.

    Source: Simonyan et al., Deep Inside Convolutional Networks, ICLR workshop 2014, section 3.1.
    Differs: several findings, weighted by probability, and smoothed.
    """

    net: nn.Module
    share: float
    device: str

    def find(self, pixels: np.ndarray) -> np.ndarray:
        """The region of each image uint8 `(n, s, s)`, bool `(n, s, s)`."""
        from scipy.ndimage import gaussian_filter

        n, side = len(pixels), pixels.shape[-1]
        found = np.zeros(pixels.shape, dtype=bool)
        sigma = SMOOTHING * side
        for start in range(0, n, TOGETHER):
            # The last chunk is filled up with its last image.
            rows = np.minimum(np.arange(start, start + TOGETHER), n - 1)
            maps = gaussian_filter(self._gradients(pixels[rows]), (0, sigma, sigma), mode="nearest")
            found[rows] = greatest(maps, self.share)
        return found

    def _gradients(self, pixels: np.ndarray) -> np.ndarray:
        images = scale(torch.from_numpy(pixels).to(self.device)).requires_grad_(True)
        logits = self.net(images)
        weights = torch.sigmoid(logits.detach())
        total = torch.zeros_like(images[:, 0])
        for finding in range(logits.shape[1]):
            gradient = _slope(logits[:, finding], images).abs()
            mean = gradient.mean((1, 2), keepdim=True)
            # A gradient that is zero everywhere points nowhere.
            total += weights[:, finding, None, None] * gradient / mean.clamp_min(1e-12)
        return total.cpu().numpy()

    def save(self, path: Path) -> None:
        """Write the network into a safetensors file."""
        from safetensors.torch import save_file

        save_file({k: v.cpu().contiguous() for k, v in self.net.state_dict().items()}, path)


def load_saliency(path: Path, share: float, device: str) -> Saliency:
    """The finder whose network `Saliency.save` wrote."""
    from safetensors.torch import load_file

    state = load_file(path)
    net = build(BACKBONE, len(state["head.weight"]))
    net.load_state_dict(state)
    return Saliency(_frozen(net, device), share, device)


def fit_saliency(
    train_fold: Split, size: int, share: float, epochs: int, seed: int, ctx: Context, workdir: Path
) -> Saliency:
    """A finder whose network is trained on the labels of `train_fold`, and on nothing else.

    One in eight of its patients choose the epoch. A state in `workdir` is continued.
    """
    order = np.random.default_rng([seed, 0x5A11]).permutation(train_fold.patients)
    held_out = train_fold.frame["patient_id"].isin(order[::HELD_OUT]).to_numpy()
    rows = Rows(train_fold.where(~held_out), ctx.task, size)
    judge = Rows(train_fold.where(held_out), ctx.task, size)
    torch.manual_seed(seed)
    net = ImageClassifier.build(BACKBONE, len(ctx.task.findings)).to(ctx.device)
    net = net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    loader = training_loader(rows, min(BATCH_SIZE, len(rows)), seed=seed)
    schedule = Schedule(epochs, epochs, seed, ctx.device, checkpoint=workdir / "regions.pt")
    ctx.log.info("a small diagnostic network learns where to look")
    judged = replace(ctx, train=train_fold)
    train(
        Kit(net, MaskedCrossEntropy(), optimizer, loader),
        lambda trained: validate(trained, judge, judged),
        schedule,
        ctx.log,
    )
    return Saliency(_frozen(net.backbone, ctx.device), share, ctx.device)


def greatest(maps: np.ndarray, share: float) -> np.ndarray:
    """Bool `(n, s, s)`, true at the `share` of pixels of each map `(n, s, s)` with greatest value.

    Always the nearest whole number of pixels, whatever ties there are.
    """
    flat = maps.reshape(len(maps), -1)
    count = round(share * flat.shape[1])
    order = np.argsort(-flat, axis=1, kind="stable")[:, :count]
    chosen = np.zeros(flat.shape, dtype=bool)
    np.put_along_axis(chosen, order, True, axis=1)
    return chosen.reshape(maps.shape)


def _slope(logit: Tensor, images: Tensor) -> Tensor:
    """Gradient `(n, s, s)` of each image's logit `(n,)` with respect to that image."""
    return torch.autograd.grad(logit.sum(), images, retain_graph=True)[0][:, 0]


def _frozen(net: nn.Module, device: str) -> nn.Module:
    return net.to(device).eval().requires_grad_(False)
