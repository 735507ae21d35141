"""The loop: masking, stopping, resuming, diverging."""

from __future__ import annotations

import copy
import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from datasets.split import Folds, Split
from methods.augment import light
from methods.base import Batch, Context, Kit, Method
from methods.erm import Erm
from methods.fit import fit
from methods.loader import EpochShuffle, Rows, ordered_loader, scale, training_loader
from methods.objective import MaskedCrossEntropy, masked_cross_entropy
from methods.train import Diverged, History

SMALL = Erm(image_size=32, epochs=4, batch_size=32)


def test_unknown_labels_do_not_enter_the_loss() -> None:
    logits = torch.tensor([[0.0, 3.0], [2.0, -1.0]])
    labels = torch.tensor([[1.0, math.nan], [math.nan, 0.0]])
    expected = (math.log(2) + math.log(1 + math.exp(-1.0))) / 2
    assert masked_cross_entropy(logits, labels).item() == pytest.approx(expected)


def test_unknown_labels_send_no_gradient() -> None:
    logits = torch.zeros(1, 2, requires_grad=True)
    masked_cross_entropy(logits, torch.tensor([[1.0, math.nan]])).backward()
    assert logits.grad is not None and logits.grad[0, 1] == 0 and logits.grad[0, 0] != 0


def test_a_batch_without_known_labels_has_loss_zero() -> None:
    assert masked_cross_entropy(torch.ones(2, 2), torch.full((2, 2), math.nan)).item() == 0


def test_an_easy_finding_is_learnt(folds: Folds, ctx: Context) -> None:
    from sklearn.metrics import roc_auc_score

    predictor, history = fit(replace(SMALL, epochs=10, patience=10), folds, ctx)
    predictions = predictor(folds.test)
    assert roc_auc_score(predictions.labels()[:, 0], predictions.logits()[:, 0]) > 0.95
    assert history.rows[-1]["train_loss"] < history.rows[0]["train_loss"]


def test_the_best_epoch_by_validation_is_kept() -> None:
    net, history = nn.Linear(1, 1), History()
    for epoch, auc in enumerate((0.6, 0.8, 0.7, math.nan)):
        nn.init.constant_(net.weight, epoch)
        row = {"epoch": epoch, "val_auc": auc, "val_loss": 1.0, "selection": auc}
        history.add(row, net)
    assert history.best_epoch == 1 and set(history.states) == {1}
    assert history.states[1]["weight"].item() == 1
    assert not history.exhausted(3)
    assert history.exhausted(2)


def test_without_an_auc_the_validation_loss_chooses() -> None:
    net, history = nn.Linear(1, 1), History()
    for epoch, loss in enumerate((0.7, 0.4, 0.5)):
        row = {"epoch": epoch, "val_auc": math.nan, "val_loss": loss, "selection": math.nan}
        history.add(row, net)
    assert history.best_epoch == 1


def test_a_last_batch_of_one_row_is_left_out(folds: Folds, ctx: Context) -> None:
    rows = Rows(folds.train.where(np.arange(len(folds.train)) < 65), ctx.task, 32)
    assert [len(b.labels) for b in training_loader(rows, 32, seed=0)] == [32, 32]
    assert [len(b.labels) for b in training_loader(rows, 31, seed=0)] == [31, 31, 3]


def test_an_empty_batch_has_the_shape_of_a_batch(folds: Folds, ctx: Context) -> None:
    batch = Rows(folds.train, ctx.task, 32).__getitems__([])
    assert batch.images.shape == (0, 1, 32, 32) and batch.labels.shape == (0, 2)


def test_a_view_that_reorders_rows_is_refused(
    folds: Folds, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reverse(self: Method, split: Split, ctx: Context) -> Split:
        return split.with_frame(split.frame.iloc[::-1])

    monkeypatch.setattr(Method, "view", reverse)
    with pytest.raises(ValueError, match="view must keep every row in its place"):
        fit(SMALL, folds, ctx)


def test_hardening_another_network_is_refused(
    folds: Folds, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(self: Method, kit: Kit, ctx: Context) -> Kit:
        net = copy.deepcopy(kit.net)
        return replace(kit, net=net, optimizer=torch.optim.SGD(net.parameters(), lr=0.1))

    monkeypatch.setattr(Method, "harden", copied)
    with pytest.raises(ValueError, match="harden must wrap the network"):
        fit(SMALL, folds, ctx)


class Exploding(MaskedCrossEntropy):
    """A loss that becomes NaN at its third call."""

    calls = 0

    def forward(self, net: nn.Module, batch: Batch) -> torch.Tensor:
        type(self).calls += 1
        return super().forward(net, batch) * (math.nan if self.calls > 2 else 1)


def test_a_loss_that_is_not_finite_stops_training(
    folds: Folds, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Method, "objective", lambda self, task: Exploding())
    with pytest.raises(Diverged, match=r"epoch 1 .*lower the learning rate"):
        fit(SMALL, folds, ctx)


class Cut(Exception):
    """Stands for a process that is killed between two epochs."""


def test_a_run_that_was_cut_off_continues_to_identical_predictions(
    folds: Folds, ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    whole, history = fit(SMALL, folds, replace(ctx, workdir=_fresh(ctx, "whole")))

    def cut(row: dict[str, float]) -> None:
        if row["epoch"] == 1:
            raise Cut

    log = logging.getLogger("test.resume")
    halves = replace(ctx, workdir=_fresh(ctx, "halves"), log=log)
    with pytest.raises(Cut):
        fit(SMALL, folds, halves, on_epoch=cut)
    torch.manual_seed(99)
    with caplog.at_level(logging.INFO, logger="test.resume"):
        resumed, resumed_history = fit(SMALL, folds, halves)
    assert "continuing at epoch 3/4" in caplog.text
    assert np.array_equal(whole(folds.test).logits(), resumed(folds.test).logits())
    same = ("epoch", "train_loss", "val_loss", "val_auc")
    rows = [[{k: r[k] for k in same} for r in h.rows] for h in (history, resumed_history)]
    assert rows[0] == rows[1]


def _fresh(ctx: Context, name: str) -> Path:
    path = ctx.workdir / name
    path.mkdir()
    return path


def test_a_checkpoint_holds_all_that_resuming_needs(folds: Folds, ctx: Context) -> None:
    fit(replace(SMALL, epochs=1), folds, ctx)
    state = torch.load(ctx.workdir / "checkpoint.pt", weights_only=True)
    held = {"net", "objective", "optimizer", "rows", "states", "undefined", "seed", "torch_rng"}
    assert held <= set(state)
    assert not list(ctx.workdir.glob("*.partial"))


def test_the_kit_refuses_an_optimiser_that_misses_parameters(folds: Folds, ctx: Context) -> None:
    net = nn.Linear(2, 2)
    loader = training_loader(Rows(folds.train, ctx.task, 32), 32, seed=0)
    with pytest.raises(ValueError, match="1 are missing and 0 are foreign"):
        Kit(net, MaskedCrossEntropy(), torch.optim.SGD([net.weight], lr=0.1), loader)


def test_rows_are_shuffled_by_seed_and_epoch() -> None:
    sampler = EpochShuffle(10, seed=3)
    first = list(sampler)
    assert list(sampler) == first and sorted(first) == list(range(10))
    sampler.epoch = 1
    assert list(sampler) != first
    assert list(EpochShuffle(10, seed=4)) != first


def test_batches_hold_every_row_once_with_its_label_and_group(folds: Folds, ctx: Context) -> None:
    rows = Rows(folds.train, ctx.task, 32)
    batches = list(ordered_loader(rows, 50))
    assert [len(b.labels) for b in batches] == [50, 50, 20]
    labels = torch.cat([b.labels for b in batches]).numpy()
    assert np.array_equal(labels, folds.train.labels())
    race = torch.cat([b.groups for b in batches])[:, 1].numpy()
    assert ["ABC"[i] for i in race] == folds.train.frame["race"].astype(str).tolist()


def test_mid_gray_is_scaled_to_zero() -> None:
    scaled = scale(torch.tensor([[[0, 255]]], dtype=torch.uint8))
    assert scaled.shape == (1, 1, 1, 2)
    assert scaled.flatten().tolist() == pytest.approx([-2.0, 2.0], abs=1e-6)


def test_light_augmentation_keeps_the_side() -> None:
    images = torch.full((200, 1, 32, 32), -2.0)
    images[:, :, 10:20, 22:28] = 2.0
    moved = light(images, torch.Generator().manual_seed(0))
    right, left = moved[..., 16:].mean((1, 2, 3)), moved[..., :16].mean((1, 2, 3))
    assert (right > left).all()
    assert not torch.equal(moved[0], moved[1])


def test_light_augmentation_repeats_with_its_generator() -> None:
    images = torch.rand(4, 1, 32, 32)
    drawn = [light(images, torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(*drawn)


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", 0), ("lr", 0.0), ("lr", -1.0), ("image_size", 16), ("batch_size", 1),
     ("augmentation", "heavy"), ("weight_decay", -0.1), ("patience", 0), ("image_size", 4096)],
)  # fmt: skip
def test_a_hyper_parameter_out_of_range_is_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        replace(Erm(), **{field: value})  # type: ignore[arg-type]
