"""Frozen encoders: from grey pixels to vectors, by weights in a file."""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

TRACED = "torchscript"
"""Said of an encoder that brings its own architecture."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """A frozen network and what it is shown."""

    net: nn.Module
    file: str
    """Name of the weights file."""
    digest: str
    """SHA-256 of its content."""
    backbone: str
    image_size: int
    channels: int
    scale: tuple[float, float]
    """What black (0) and white (255) become."""
    device: str

    @property
    def described(self) -> dict[str, Any]:
        """All of it that can change a vector, as plain values, and the name of the file."""
        return {
            "file": self.file,
            "sha256": self.digest,
            "backbone": self.backbone,
            "image_size": self.image_size,
            "channels": self.channels,
            "scale": list(self.scale),
        }

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Vectors float32 `(n, width)` of pixels uint8 `(n, s, s)`.

        Raises:
            ValueError: the network gives something else, or cannot see such images.
        """
        low, high = self.scale
        images = torch.from_numpy(pixels).to(self.device).unsqueeze(1).float()
        images = images.mul_((high - low) / 255).add_(low)
        try:
            with torch.inference_mode():
                made = self.net(images.expand(-1, self.channels, -1, -1))
        except RuntimeError as error:
            told = str(error).strip().splitlines()[-1]
            raise ValueError(
                f"the encoder {self.file!r} must see {self.channels} x {self.image_size} x "
                f"{self.image_size} images, but it failed: {told}; see --channels and --image-size"
            ) from error
        if not isinstance(made, Tensor) or made.ndim != 2:
            given = " x ".join(map(str, made.shape)) if isinstance(made, Tensor) else type(made)
            raise ValueError(
                f"an encoder must give one vector per image (n, width), but {self.file!r} gives "
                f"{given}; pool its output before it is traced"
            )
        vectors: np.ndarray = made.float().cpu().numpy()
        return vectors


def load(
    file: Path,
    *,
    backbone: str,
    image_size: int,
    channels: int,
    scale: tuple[float, float],
    device: str,
) -> Encoder:
    """The encoder in a weights file of a backbone of the suite, or in a TorchScript file.

    Raises:
        FileNotFoundError: there is no such file.
        UnknownName, ValueError: it does not fit the backbone, or cannot be read.
    """
    if not file.is_file():
        told = "is a folder" if file.is_dir() else "does not exist"
        raise FileNotFoundError(f"--weights must be a file, but {str(file)!r} {told}")
    traced = is_torchscript(file)
    if traced:
        net = _traced(file, device)
    else:
        from backbones import build, cannot_see

        if reason := cannot_see(backbone, embeddings=False):
            raise ValueError(f"--backbone: {reason}")
        if channels != 1:
            raise ValueError(
                f"--channels must be 1 for a backbone of the suite, but got {channels}; filters of "
                "three channels are summed, which gives the same"
            )
        net = build(backbone, 1, weights=str(file)).encoder
    net = net.to(device).eval()
    return Encoder(
        net=net,
        file=file.name,
        digest=hashlib.sha256(file.read_bytes()).hexdigest(),
        backbone=TRACED if traced else backbone,
        image_size=image_size,
        channels=channels,
        scale=scale,
        device=device,
    )


def is_torchscript(file: Path) -> bool:
    """Whether a file holds a traced or scripted network rather than weights alone."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as held:
        return any("/code/" in name for name in held.namelist())


def _traced(file: Path, device: str) -> nn.Module:
    try:
        with warnings.catch_warnings():
            # That the format is old is no news to who was given such a file.
            warnings.simplefilter("ignore", FutureWarning)
            net: nn.Module = torch.jit.load(str(file), map_location=device)
    except RuntimeError as error:
        told = str(error).strip().splitlines()[0]
        raise ValueError(
            f"--weights must hold a TorchScript network, but {str(file)!r} cannot be read: {told}"
        ) from error
    return net
