"""Inpainting: everything but a region is drawn anew by a diffusion model."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar

import numpy as np

from datasets.images import open_images
from datasets.regions import recorded_regions
from datasets.split import Split
from methods.anonymisers.base import Anonymiser, Fitted
from methods.base import Context
from methods.diffusion import Denoiser, Diffusion, load, sample, save, train_denoiser
from methods.regions import Saliency, fit_saliency, load_saliency
from registry import ANONYMISERS

KEEPS = ("saliency", "regions")


@ANONYMISERS.register("inpaint")
@dataclass(frozen=True)
class Inpaint(Anonymiser):
    """Keeps, bit by bit, the pixels that a diagnosis hangs on, and draws the others anew.

    The generator learns on training images with half of their masks as they are used later and half
    random; it is given neither labels nor attributes, so nothing of them can reach a drawn pixel.
    What is kept is the patient's own and can still identify them.

    Source: the idea of CXR-AnoFAIR (a lesion is kept and its surroundings inpainted), from its
    description; Lugmayr et al., RePaint, CVPR 2022, for masks of half-known images. Differs: a
    small model from scratch in place of Stable Diffusion, the mask found from pixels alone, kept
    pixels pasted back.

    Raises:
        ValueError: a field lies outside its limits.
    """

    keep: str = "saliency"
    """"saliency": where a small diagnostic network is most sensitive, found from pixels alone.
    "regions": the data set's own masks, an oracle: that and where there is a mask tells the label,
    in test images too, so a classifier looks better than any that must do without."""
    keep_share: float = 0.25
    """Share of pixels that saliency keeps, the same for every image."""
    region_epochs: int = 8
    """Epochs of the diagnostic network."""
    generator_steps: int = 2000
    generator_batch: int = 32
    generator_width: int = 32
    generator_lr: float = 2e-3
    sampling_steps: int = 10
    """Evaluations of the generator per image."""
    generator_seed: int = 0
    """Not the seed of the run: all its seeds share one generator."""

    learns: ClassVar[bool] = True
    sources: ClassVar[tuple[str, ...]] = (
        "backbones.py", "methods/diffusion.py", "methods/regions.py", "methods/train.py",
        "methods/loader.py", "methods/objective.py", "datasets/regions.py",
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.keep not in KEEPS:
            raise ValueError(f"keep must be one of {', '.join(KEEPS)}, but got {self.keep!r}")
        if not 0 < self.keep_share < 1:
            raise ValueError(f"keep_share must lie in (0, 1), but got {self.keep_share}")
        if self.region_epochs < 1:
            raise ValueError(f"region_epochs must be at least 1, but got {self.region_epochs}")

    @property
    def looks_up(self) -> bool:
        """Whether regions come from the data set and not from pixels."""
        return self.keep == "regions"

    def check(self, size: int) -> None:
        """Nothing, if the generator can draw images of side `size`.

        Raises:
            ValueError: it cannot, or a field of its budget lies outside its limits.
        """
        self.generator(size)

    def generator(self, size: int) -> Diffusion:
        """Architecture and budget of the generator."""
        return Diffusion(
            image_size=size,
            steps=self.generator_steps,
            batch_size=self.generator_batch,
            width=self.generator_width,
            lr=self.generator_lr,
            sampling_steps=self.sampling_steps,
            seed=self.generator_seed,
        )

    def recorded(self, split: Split, size: int) -> np.ndarray | None:
        """The data set's own regions of any finding, where they are what is kept."""
        if not self.looks_up:
            return None
        frame, together = split.frame, 256  # a mask per finding for all at once would be large
        parts = [frame.iloc[i : i + together] for i in range(0, len(frame), together)]
        return np.concatenate(
            [recorded_regions(split.with_frame(part), size).any(axis=1) for part in parts]
        )

    def fit(self, train: Split, size: int, ctx: Context, workdir: Path) -> Fitted:
        """Diagnostic network first, then the generator on the regions that it finds."""
        pixels = open_images(train, size).take()
        finder, regions = None, self.recorded(train, size)
        if regions is None:
            finder = fit_saliency(
                train, size, self.keep_share, self.region_epochs, self.generator_seed, ctx, workdir
            )
            regions = finder.find(pixels)
        ctx.log.info("a generator learns to fill in what is not kept")
        denoiser = train_denoiser(
            self.generator(size),
            pixels,
            _unconditioned(len(pixels)),
            masks=lambda rng, rows: training_masks(regions[rows], rng),
            log=ctx.log,
            checkpoint=workdir / "generator.pt",
            device=ctx.device,
        )
        return Inpainter(self, denoiser, finder)

    def load(self, folder: Path, device: str) -> Fitted:
        """Generator and diagnostic network from `folder`."""
        network = folder / "regions.safetensors"
        finder = None if self.looks_up else load_saliency(network, self.keep_share, device)
        return Inpainter(self, load(folder / "generator.safetensors").to(device), finder)


@dataclass(frozen=True)
class Inpainter:
    """A fitted `Inpaint`; without a finder the pixels to keep must be given."""

    settings: Inpaint
    denoiser: Denoiser
    finder: Saliency | None

    def transform(self, pixels: np.ndarray, keep: np.ndarray | None = None) -> np.ndarray:
        """Images whose kept pixels are bit-identical and whose others are drawn anew.

        The noise follows from the pixels of the image, so chunks and order do not matter.
        """
        if not len(pixels):
            return pixels
        return sample(
            self.denoiser,
            _unconditioned(len(pixels)),
            seed=self.settings.generator_seed,
            known=pixels,
            keep=self.kept(pixels) if keep is None else keep,
            numbers=[_number(image) for image in pixels],
        )

    def kept(self, pixels: np.ndarray) -> np.ndarray:
        """The region that the diagnostic network finds.

        Raises:
            ValueError: regions come from the data set, and pixels alone do not tell them.
        """
        if self.finder is None:
            raise ValueError(
                "with keep=regions the pixels to keep must be given, but got images alone; "
                "use keep=saliency"
            )
        return self.finder.find(pixels)

    def save(self, folder: Path) -> None:
        """Write both networks."""
        save(self.denoiser, folder / "generator.safetensors")
        if self.finder is not None:
            self.finder.save(folder / "regions.safetensors")


def training_masks(regions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What is kept in training, bool `(b, s, s)`: half the `regions`, half random shapes.

    Source: the code of CXR-AnoFAIR, stage 1 (random rectangles and ellipses of up to the whole
    side).
    Differs: a shape is what is kept as often as what is drawn, since here most is drawn.
    """
    n, side = regions.shape[:2]
    middle = rng.uniform(0, side, (2, n, 1, 1))
    reach = rng.uniform(0, side / 2, (2, n, 1, 1))
    away = np.abs(np.indices((side, side))[:, None] + 0.5 - middle) / reach
    ellipse = np.square(away).sum(0) <= 1
    shape = np.where(rng.random((n, 1, 1)) < 0.5, ellipse, away.max(0) <= 1)
    shape ^= rng.random((n, 1, 1)) < 0.5
    masks: np.ndarray = np.where(rng.random((n, 1, 1)) < 0.5, regions, shape)
    return masks


def _unconditioned(n: int) -> np.ndarray:
    """Constant conditions `(n, 1)`: neither labels nor attributes reach the generator."""
    return np.zeros((n, 1), np.float32)


def _number(image: np.ndarray) -> int:
    return int.from_bytes(blake2b(image.tobytes(), digest_size=8).digest(), "big")
