"""Methods made of several: which stages combine, which refuse, and why."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import options
from datasets.split import Folds
from methods.base import Context, Task
from methods.compose import method_class
from methods.fit import fit
from registry import UnknownName
from runs.plan import resolve
from runs.request import Request


def combined(name: str, **fields: Any) -> Any:
    return method_class(name)(**fields)


def test_a_combination_runs_the_stages_of_all_its_parts(folds: Folds, ctx: Context) -> None:
    method = combined("upsample+group_thresholds", attribute="race", image_size=32, epochs=1)
    rows = method.data(folds.train, ctx)
    counts = rows.frame["race"].astype(str).value_counts()
    assert counts.nunique() == 1  # all cells as large as the largest
    predictor, _ = fit(method, folds, ctx)
    assert predictor.rule is not None and predictor.rule.attributes == ("race",)


def test_a_combination_equals_its_only_acting_part(folds: Folds, ctx: Context) -> None:
    fields: dict[str, Any] = {"image_size": 32, "epochs": 1}
    alone = fit(combined("upsample", **fields), folds, ctx)[0](folds.test).logits()
    (ctx.workdir / "checkpoint.pt").unlink()
    both = combined("upsample+group_thresholds", **fields)
    assert np.array_equal(alone, fit(both, folds, ctx)[0](folds.test).logits())


def test_two_methods_that_override_one_stage_are_refused() -> None:
    with pytest.raises(ValueError, match=r"upsample and downsample both override 'data'"):
        method_class("upsample+downsample")


def test_a_method_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="name each method once"):
        method_class("upsample+upsample")


def test_an_unknown_part_answers_with_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match=r"did you mean 'group_thresholds'"):
        method_class("upsample+group_threshold")


def test_what_only_one_part_changes_is_its_default_in_the_combination() -> None:
    one, both = method_class("upsample"), method_class("group_thresholds+upsample")
    assert options.plain(both()) == options.plain(one()) | {"attribute": ""}


def test_a_combination_is_skipped_for_the_reason_of_any_part(task: Task) -> None:
    reason = combined("upsample+group_thresholds", attribute="income").skip(task)
    assert reason is not None and "income" in reason


def test_a_combination_names_the_attributes_of_all_parts(task: Task) -> None:
    method = combined("upsample+group_thresholds", attribute="sex")
    assert method.attributes_at_test(task) == ("sex",)


def test_a_combination_reaches_another_process() -> None:
    method = combined("upsample+group_thresholds", attribute="race", lr=1e-3)
    assert pickle.loads(pickle.dumps(method)) == method


def test_a_plan_resolves_a_combination_and_its_fields(tmp_path: Path) -> None:
    request = Request(
        method="upsample+group_thresholds",
        set={"attribute": "race", "cells": "group_label"},
        dataset="phantom",
        output=str(tmp_path),
    )
    plan = resolve(request)
    assert plan.method.registered_name == "upsample+group_thresholds"
    assert plan.config()["set"]["cells"] == "group_label"
    assert "--method upsample+group_thresholds" in plan.command()
