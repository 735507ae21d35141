"""What every registered method must hold; a new method needs no test of its own for this."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from datasets.split import Folds
from methods import STAGES
from methods.base import Context, Kit, Method, Task
from methods.fit import Predictor, fit
from methods.loader import Rows, training_loader
from registry import METHODS, ROOT

OURS = [name for name, entry in METHODS.entries().items() if entry.file.is_relative_to(ROOT)]
SMALL: dict[str, Any] = {"image_size": 32, "epochs": 2, "batch_size": 32}


def small(name: str) -> Method:
    kind: type[Method] = METHODS.get(name)
    method: Method = kind(**SMALL | dict(kind.smallest))
    return method


def fitted(name: str, folds: Folds, ctx: Context) -> Predictor:
    return fit(small(name), folds, ctx)[0]


@pytest.fixture(params=OURS)
def name(request: pytest.FixtureRequest) -> str:
    """Each registered method in turn."""
    return str(request.param)


def test_predictions_are_complete_and_decided(name: str, folds: Folds, ctx: Context) -> None:
    predictions = fitted(name, folds, ctx)(folds.test)
    assert predictions.frame["image"].tolist() == folds.test.frame["image_id"].tolist()
    assert np.isfinite(predictions.logits()).all()
    assert set(np.unique(predictions.decisions())) <= {0.0, 1.0}


def test_the_same_seed_gives_identical_predictions(name: str, folds: Folds, ctx: Context) -> None:
    logits = []
    for repeat in ("a", "b"):
        workdir = ctx.workdir / repeat
        workdir.mkdir()
        torch.manual_seed(len(repeat) * 77)  # what ran before must not matter
        logits.append(fitted(name, folds, replace(ctx, workdir=workdir))(folds.test).logits())
    assert np.array_equal(*logits)


def test_test_labels_change_nothing_that_is_fitted(name: str, folds: Folds, ctx: Context) -> None:
    flipped = folds.test.frame.copy()
    for finding in folds.test.findings:
        flipped[finding] = 1 - flipped[finding]
    blind = replace(folds, test=folds.test.with_frame(flipped))
    results = []
    for repeat, data in (("a", folds), ("b", blind)):
        workdir = ctx.workdir / repeat
        workdir.mkdir()
        results.append(fitted(name, data, replace(ctx, workdir=workdir))(data.test))
    assert np.array_equal(results[0].logits(), results[1].logits())
    assert np.array_equal(results[0].decisions(), results[1].decisions())


def test_training_rows_are_training_patients(name: str, folds: Folds, ctx: Context) -> None:
    method = small(name)
    rows = method.data(method.view(folds.train, ctx), ctx)
    real = rows.where((rows.frame["origin"] != "synthetic").to_numpy())
    assert set(real.patients) <= set(folds.train.patients)


def test_the_optimiser_survives_hardening(name: str, folds: Folds, ctx: Context) -> None:
    method = small(name)
    net = method.network(ctx.task, folds, ctx)
    objective = method.objective(ctx.task)
    kit = Kit(
        net=net,
        objective=objective,
        optimizer=torch.optim.SGD([*net.parameters(), *objective.parameters()], lr=0.1),
        loader=training_loader(Rows(folds.train, ctx.task, 32), 32, seed=0),
    )
    assert isinstance(method.harden(kit, ctx), Kit)


def test_the_release_has_rows_and_an_origin(name: str, folds: Folds, ctx: Context) -> None:
    released = small(name).release(folds.test, ctx)
    assert len(released)
    if small(name).releases_originals:
        assert released.frame["path"].tolist() == folds.test.frame["path"].tolist()


def test_stored_weights_give_the_same_predictions(name: str, folds: Folds, ctx: Context) -> None:
    predictor = fitted(name, folds, ctx)
    weights = ctx.workdir / "w.safetensors"
    predictor.save(weights)
    again, history = fit(small(name), folds, ctx, stored_weights=weights)
    assert history.rows == []
    assert np.array_equal(predictor(folds.test).logits(), again(folds.test).logits())


def test_a_task_without_attributes_runs_or_says_why(name: str, task: Task) -> None:
    bare = replace(task, attributes=(), groups={})
    reason = small(name).skip(bare)
    assert reason is None or len(reason.split()) > 4


def test_fields_are_documented_scalars_with_defaults(name: str) -> None:
    for field in dataclasses.fields(METHODS.get(name)):
        assert field.default is not dataclasses.MISSING, field.name
        assert isinstance(field.default, str | int | float | bool | tuple | None), field.name


def test_tunable_fields_hold_their_default(name: str) -> None:
    for field in dataclasses.fields(METHODS.get(name)):
        search = field.metadata.get("tunable")
        if search and "low" in search:
            assert search["low"] <= field.default <= search["high"], field.name
        elif search:
            assert field.default in search["choices"], field.name


def test_a_source_is_cited_and_a_stage_is_overridden(name: str) -> None:
    assert "Source:" in (METHODS.get(name).__doc__ or "")
    overridden = {s for s in STAGES if getattr(METHODS.get(name), s) is not getattr(Method, s)}
    assert overridden or name == "erm"


def test_the_file_is_named_as_the_method(name: str) -> None:
    assert METHODS.entries()[name].file.stem == name
