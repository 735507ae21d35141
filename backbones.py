"""Backbones: encoders of images or of embeddings, shared by the methods and by their attackers.

`small_cnn` and `resnet9` have GroupNorm, do not couple the images of a batch and use no in-place
operation on an activation, so that per-sample gradients exist. Those of torchvision have BatchNorm.
`linear` and `mlp` see embeddings, vectors that another encoder made, and couple nothing either.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from registry import unknown

SMALLEST_SPREAD = 1e-4
"""Of a number of a levelled embedding, whose typical deviation is 1."""


class Backbone(nn.Module):
    """An encoder `embed: (n, channels, s, s) -> (n, width)` and a linear head on it.

    An encoder of embeddings sees `(n, inputs)` in place of images.
    """

    def __init__(self, encoder: nn.Module, width: int, outputs: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.width = width
        self.head = nn.Linear(width, outputs)

    def embed(self, images: Tensor) -> Tensor:
        """Penultimate features `(n, width)` of images `(n, channels, s, s)`."""
        features: Tensor = self.encoder(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Outputs `(n, outputs)` of images `(n, channels, s, s)`."""
        outputs: Tensor = self.head(self.embed(images))
        return outputs


def build(
    name: str, outputs: int, *, channels: int = 1, weights: str = "", inputs: int = 0
) -> Backbone:
    """A freshly initialised backbone, or one whose encoder is read from a local weights file.

    `inputs` is the width of the embeddings that it sees, 0 for images.

    `weights` is a `.safetensors` file, or a `.pt`/`.pth` state dict, of this architecture; its
    classification head is ignored, and a three-channel first layer is summed to one channel.

    Raises:
        UnknownName: no backbone has this name.
        FileNotFoundError, ValueError: the weights file is absent or of another architecture; or
            the backbone sees images and is given embeddings, or the reverse.
    """
    if reason := cannot_see(name, embeddings=inputs > 0):
        raise ValueError(reason)
    of_embeddings = OF_EMBEDDINGS.get(name)
    net = of_embeddings(outputs, inputs) if of_embeddings else BUILDERS[name](outputs, channels)
    if weights:
        _load_encoder(net, Path(weights))
    return net


def cannot_see(name: str, *, embeddings: bool) -> str | None:
    """Why a backbone cannot see embeddings, or else images, as a sentence, or None.

    Raises:
        UnknownName: no backbone has this name.
    """
    if name not in BUILDERS and name not in OF_EMBEDDINGS:
        raise unknown("backbone", name, [*BUILDERS, *OF_EMBEDDINGS])
    if embeddings and name not in OF_EMBEDDINGS:
        return (
            f"backbone must be one of {', '.join(OF_EMBEDDINGS)} where the data set holds "
            f"embeddings, but {name!r} sees images; leave --set backbone out"
        )
    if not embeddings and name not in BUILDERS:
        return (
            f"backbone must be one of {', '.join(BUILDERS)} where the data set holds images, but "
            f"{name!r} sees embeddings; python -m datasets embed makes them"
        )
    return None


def _norm(width: int) -> nn.GroupNorm:
    # Groups of 8 channels: the size at which GroupNorm is flat in the number of groups.
    # Source: Wu & He, Group Normalization, ECCV 2018, Table 3.
    return nn.GroupNorm(max(1, width // 8), width)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


class _Residual(nn.Module):
    """Two normalised convolutions beside a shortcut; `stride` divides the side."""

    def __init__(self, inputs: int, outputs: int, stride: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(inputs, outputs, stride), _norm(outputs), activation(),
            _conv(outputs, outputs), _norm(outputs),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.body(x) + self.shortcut(x))
        return y


def _pooled(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def small_cnn(outputs: int, channels: int) -> Backbone:
    """A residual network of 0.18 M parameters for 32–128 px on a CPU."""
    widths = (16, 32, 64, 96)
    layers: list[nn.Module] = [_conv(channels, widths[0], stride=2), _norm(widths[0]), nn.ReLU()]
    for inputs, width in pairwise(widths):
        layers.append(_Residual(inputs, width, 2, nn.ReLU))
    return Backbone(_pooled(*layers), widths[-1], outputs)


def resnet9(outputs: int, channels: int) -> Backbone:
    """ResNet-9 with GroupNorm and Mish, as used for private training of chest X-ray models.

    Source: Tayebi Arasteh et al., Commun. Med. 2024;4:46, Methods, "DP training".
    """

    def block(inputs: int, width: int, pool: bool) -> nn.Sequential:
        layers: list[nn.Module] = [_conv(inputs, width), _norm(width), nn.Mish()]
        return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))

    encoder = _pooled(
        block(channels, 64, False), block(64, 128, True), _Residual(128, 128, 1, nn.Mish),
        block(128, 256, True), block(256, 256, True), _Residual(256, 256, 1, nn.Mish),
    )  # fmt: skip
    return Backbone(encoder, 256, outputs)


def _torchvision(name: str) -> Callable[[int, int], Backbone]:
    def build_one(outputs: int, channels: int) -> Backbone:
        import torchvision.models

        net = getattr(torchvision.models, name)(weights=None)
        if name.startswith("resnet"):
            width = net.fc.in_features
            net.fc = nn.Identity()
            net.conv1 = _first_layer(net.conv1, channels)
        else:
            width = net.classifier.in_features
            net.classifier = nn.Identity()
            net.features.conv0 = _first_layer(net.features.conv0, channels)
        return Backbone(net, width, outputs)

    return build_one


def _first_layer(layer: nn.Conv2d, channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, layer.out_channels, kernel_size=7, stride=2, padding=3, bias=False)


class Level(nn.Module):
    """Embeddings `(n, width)`, each with mean 0 and standard deviation 1 over its own numbers.

    Once `fit`, every one of the numbers has these over training rows too. That is a little better
    (validation macro AUC of embeddings of the phantom, two seeds: +0.01 for a linear head, up to
    +0.004 for mlp), but private training cannot account for means of its patients and does without.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("spread", torch.ones(inputs))

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take mean and standard deviation of the rows of all batches `(k, width)`."""
        rows = 0
        total = squares = torch.zeros(len(self.mean), dtype=torch.float64)
        for batch in batches:
            level = _leveled(batch).double()
            rows, total = rows + len(level), total + level.sum(0)
            squares = squares + level.square().sum(0)
        mean = total / max(1, rows)
        spread = (squares / max(1, rows) - mean.square()).clamp_min(0).sqrt()
        # A number that never moves in training is noise if it moves later.
        spread = torch.where(spread < SMALLEST_SPREAD, torch.ones_like(spread), spread)
        self.mean.copy_(mean)
        self.spread.copy_(spread)

    def forward(self, x: Tensor) -> Tensor:
        return (_leveled(x) - self.mean) / self.spread


def _leveled(x: Tensor) -> Tensor:
    leveled: Tensor = nn.functional.layer_norm(x.float(), x.shape[1:])
    return leveled


def levels(*modules: nn.Module) -> list[Level]:
    """The parts of networks that can be fitted to the embeddings that they will see."""
    return [part for module in modules for part in module.modules() if isinstance(part, Level)]


def linear(outputs: int, inputs: int) -> Backbone:
    """A linear head on embeddings as they are, but for their level: a linear probe."""
    return Backbone(Level(inputs), inputs, outputs)


def mlp(outputs: int, inputs: int) -> Backbone:
    """One hidden layer of 256 on embeddings."""
    hidden = 256
    encoder = nn.Sequential(
        Level(inputs), nn.Linear(inputs, hidden), nn.LayerNorm(hidden), nn.ReLU()
    )
    return Backbone(encoder, hidden, outputs)


BUILDERS: dict[str, Callable[[int, int], Backbone]] = {
    "small_cnn": small_cnn,
    "resnet9": resnet9,
    "resnet18": _torchvision("resnet18"),
    "resnet50": _torchvision("resnet50"),
    "densenet121": _torchvision("densenet121"),
}


OF_EMBEDDINGS: dict[str, Callable[[int, int], Backbone]] = {"mlp": mlp, "linear": linear}
"""Encoders of vectors; their second argument is the width."""


def _load_encoder(net: Backbone, path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"weights must be a local file, but {str(path)!r} does not exist")
    state = {
        key.removeprefix("backbone.").removeprefix("encoder."): value
        for key, value in _tensors(path).items()
    }
    wanted = net.encoder.state_dict()
    for key, value in wanted.items():
        given = state.get(key)
        # Published encoders see RGB; on a gray image the three filters act as their sum.
        if given is not None and given.ndim == 4 and given.shape[1] == 3 and value.shape[1] == 1:
            state[key] = given.sum(1, keepdim=True)
    wrong = [k for k, v in wanted.items() if k not in state or state[k].shape != v.shape]
    if wrong:
        raise ValueError(
            f"weights must fit the backbone, but {str(path)!r} lacks or misshapes "
            f"{len(wrong)} of {len(wanted)} tensors (first {wrong[0]!r}); name the backbone that "
            "they are of"
        )
    net.encoder.load_state_dict({key: state[key] for key in wanted})


def _tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of weights by name."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(
            f"weights must be a .safetensors file or a PyTorch state dict, but {str(path)!r} is "
            "neither; a whole model that was pickled must be saved again as its state_dict()"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(
            f"weights must be a state dict, tensors by name, but {str(path)!r} holds something "
            "else; save model.state_dict()"
        )
    return state
