"""Strategies in the training loop: the epoch, early stopping, resuming, and saying what failed."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import toy_split

import options
from datasets.split import Folds
from methods.base import Context
from methods.dpsgd import DpSgd
from methods.erm import Erm
from methods.fit import fit
from methods.predictor import Predictor, forward
from methods.selection.base import Candidate, Value
from methods.train import History
from registry import SELECTION, UnknownName


class Cut(Exception):
    """Stands for a process that is killed between two epochs."""


@pytest.fixture
def larger(folds: Folds, tmp_path: Path) -> Folds:
    """The toy folds with so many validation patients that groups are evaluable."""
    return replace(folds, val=toy_split(tmp_path, "val", range(1000, 1160)))


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Values that the strategy `worst_class` gives the epochs in turn, with their AUCs as usual."""
    values: list[float] = []
    turn = iter(range(99))

    def of_epoch(candidate: Candidate) -> Value:
        return Value(values[next(turn)])

    SELECTION.get("worst_class")
    monkeypatch.setitem(SELECTION._loaded, "worst_class", of_epoch)
    return values


def trained(
    folds: Folds, ctx: Context, place: str = "w", **fields: object
) -> tuple[Predictor, History]:
    workdir = ctx.workdir / place
    workdir.mkdir(exist_ok=True)
    given = {"image_size": 32, "epochs": 3, "batch_size": 60, "lr": 3e-4, **fields}
    return fit(Erm(**given), folds, replace(ctx, workdir=workdir))  # type: ignore[arg-type]


def test_the_strategy_chooses_the_epoch(folds: Folds, ctx: Context, planted: list[float]) -> None:
    planted += [0.2, 0.9, 0.4]
    _, history = trained(folds, ctx, selection="worst_class")
    assert history.best_epoch == 1
    assert [row["selection"] for row in history.rows] == planted


def test_the_strategy_stops_early(folds: Folds, ctx: Context, planted: list[float]) -> None:
    planted += [0.9, 0.5, 0.4, 0.3]
    _, history = trained(folds, ctx, selection="worst_class", epochs=9, patience=2)
    assert len(history.rows) == 3 and history.best_epoch == 0


def test_the_model_is_the_one_of_the_chosen_epoch(larger: Folds, ctx: Context) -> None:
    chosen, history = trained(larger, ctx, "a", selection="loss")
    assert history.best_epoch == 2, "the loss falls through; the AUC is best before"
    default, by_auc = trained(larger, ctx, "b")
    assert by_auc.best_epoch != 2
    differ = ~np.isclose(chosen(larger.test).logits(), default(larger.test).logits())
    assert differ.any()
    assert [r["train_loss"] for r in history.rows] == [r["train_loss"] for r in by_auc.rows]


@pytest.mark.parametrize("name", ["minimum_contrast", "minimum_encoding", "worst_group"])
def test_a_run_that_was_cut_off_chooses_the_same(name: str, larger: Folds, ctx: Context) -> None:
    whole, history = trained(larger, ctx, "whole", selection=name)

    def cut(row: dict[str, float]) -> None:
        if row["epoch"] == 1:
            raise Cut

    method = Erm(image_size=32, epochs=3, batch_size=60, lr=3e-4, selection=name)
    halves = replace(ctx, workdir=ctx.workdir / "halves")
    halves.workdir.mkdir()
    with pytest.raises(Cut):
        fit(method, larger, halves, on_epoch=cut)
    resumed, again = fit(method, larger, halves)
    assert again.best_epoch == history.best_epoch and set(again.states) == set(history.states)
    assert [r["selection"] for r in again.rows] == [r["selection"] for r in history.rows]
    assert np.array_equal(whole(larger.test).logits(), resumed(larger.test).logits())


def test_what_cannot_be_measured_is_said_and_the_auc_chooses(
    folds: Folds, ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    alone = replace(ctx, log=logging.getLogger("test.undefined"))
    few = replace(folds, val=folds.val.where(np.arange(len(folds.val)) < 40))
    with caplog.at_level(logging.WARNING, "test.undefined"):
        _, history = trained(few, alone, selection="worst_group")
    said = [r.message for r in caplog.records if "no value to be chosen by" in r.message]
    assert len(said) == 1 and "the macro AUC decides" in said[0]
    assert "no attribute has two groups" in history.undefined
    assert all(np.isnan(r["selection"]) for r in history.rows)
    aucs = [r["val_auc"] for r in history.rows]
    assert history.best_epoch == int(np.argmax(aucs))


def test_an_epoch_whose_logits_are_not_finite_is_not_chosen(
    folds: Folds, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = iter(range(99))

    def broken_first(*args: Any, **kwargs: Any) -> np.ndarray:
        return forward(*args, **kwargs) * (np.inf if next(turn) == 0 else 1)

    monkeypatch.setattr("methods.fit.forward", broken_first)
    _, history = trained(folds, ctx)
    assert history.without_value == 1 and history.undefined == "the logits are not finite"
    assert history.best_epoch in (1, 2)


def test_the_reason_survives_a_kill(folds: Folds, ctx: Context) -> None:
    few = replace(folds, val=folds.val.where(np.arange(len(folds.val)) < 40))
    trained(few, ctx, selection="worst_group")
    _, again = trained(few, ctx, selection="worst_group")
    assert "no attribute has two groups" in again.undefined


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_features_of_a_hardened_network_can_be_probed(larger: Folds, ctx: Context) -> None:
    method = DpSgd(image_size=32, epochs=1, batch_size=15, selection="minimum_encoding")
    _, history = fit(method, larger, ctx)
    assert 0.5 <= history.rows[0]["selection"] <= 1 and not history.undefined


def test_a_strategy_that_is_not_there_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"unknown selection strategy 'worst_grup'; did you mean"):
        options.build(Erm, {"selection": "worst_grup"}, flag="--set", owner="erm")
