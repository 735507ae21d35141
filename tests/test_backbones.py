"""Backbones: shapes, no coupling of images, weights from a local file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from backbones import BUILDERS, OF_EMBEDDINGS, build, levels
from registry import UnknownName

PER_SAMPLE = ("small_cnn", "resnet9")


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_images_become_outputs_and_features(name: str) -> None:
    net = build(name, 5).eval()
    images = torch.rand(2, 1, 64, 64)
    assert net(images).shape == (2, 5)
    assert net.embed(images).shape == (2, net.width)


@pytest.mark.parametrize("name", PER_SAMPLE)
def test_an_image_does_not_depend_on_its_batch(name: str) -> None:
    net = build(name, 3).train()
    images = torch.rand(3, 1, 32, 32)
    alone = net(images[:1])
    assert torch.allclose(net(images)[:1], alone, atol=1e-5)


@pytest.mark.parametrize("name", PER_SAMPLE)
def test_there_is_no_in_place_activation(name: str) -> None:
    assert not any(getattr(m, "inplace", False) for m in build(name, 3).modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in build(name, 3).modules())


def test_the_small_network_stays_small() -> None:
    assert sum(p.numel() for p in build("small_cnn", 10).parameters()) < 300_000


def test_encoder_weights_are_read_and_the_head_is_new(tmp_path: Path) -> None:
    source, path = build("small_cnn", 7), tmp_path / "w.safetensors"
    save_file(source.state_dict(), path)
    net = build("small_cnn", 3, weights=str(path))
    for key, value in source.encoder.state_dict().items():
        assert torch.equal(net.encoder.state_dict()[key], value)
    assert net.head.out_features == 3


def test_colour_filters_act_as_their_sum_on_gray(tmp_path: Path) -> None:
    colour = build("resnet18", 2, channels=3).eval()
    path = tmp_path / "colour.pt"
    torch.save(colour.encoder.state_dict(), path)
    gray = build("resnet18", 2, weights=str(path)).eval()
    image = torch.rand(1, 1, 64, 64)
    assert torch.allclose(gray.embed(image), colour.embed(image.repeat(1, 3, 1, 1)), atol=1e-4)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(build("small_cnn", 2).state_dict(), path)
    with pytest.raises(ValueError, match="must fit the backbone"):
        build("resnet9", 2, weights=str(path))


def test_absent_weights_are_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors"):
        build("small_cnn", 2, weights="nowhere.safetensors")


def test_an_unknown_backbone_gets_the_list() -> None:
    with pytest.raises(UnknownName, match="did you mean 'densenet121'"):
        build("densenet120", 2)


@pytest.mark.parametrize("name", sorted(OF_EMBEDDINGS))
def test_embeddings_become_outputs_one_by_one(name: str) -> None:
    net = build(name, 5, inputs=12).train()
    vectors = torch.randn(3, 12)
    assert net(vectors).shape == (3, 5) and net.embed(vectors).shape == (3, net.width)
    assert torch.allclose(net(vectors)[:1], net(vectors[:1]), atol=1e-6)
    # Neither the unit of an encoder nor its zero matters.
    assert torch.allclose(net(1000 * vectors + 7), net(vectors), atol=1e-3)


def test_a_level_is_fitted_over_all_batches() -> None:
    (level,) = levels(build("linear", 1, inputs=6))
    rows = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, 7)
    level.fit(rows.split(20))
    seen = level(rows)
    assert torch.allclose(seen.mean(0), torch.zeros(6), atol=1e-5)
    assert torch.allclose(seen.std(0, correction=0), torch.ones(6), atol=1e-4)


def test_a_number_that_never_moves_is_not_blown_up() -> None:
    (level,) = levels(build("linear", 1, inputs=4))
    level.fit([torch.tensor([[1.0, -1, 1, -1]]).repeat(5, 1)])
    assert level.spread.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(("name", "inputs"), [("small_cnn", 8), ("mlp", 0), ("linear", 0)])
def test_a_backbone_refuses_what_it_cannot_see(name: str, inputs: int) -> None:
    with pytest.raises(ValueError, match=f"'{name}' sees"):
        build(name, 1, inputs=inputs)
