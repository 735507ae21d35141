"""Which files name a run: those that can change its numbers, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry import METHODS, ROOT, SELECTION
from runs.plan import resolve
from runs.request import Request
from runs.sources import sources


def of(method: str, output: Path) -> set[str]:
    plan = resolve(Request(method=method, dataset="phantom", output=str(output)))
    return {p.relative_to(ROOT).as_posix() for p in sources(plan)}


def test_a_run_counts_its_loop_its_metrics_and_its_data(tmp_path: Path) -> None:
    assert {"runs/pipeline.py", "runs/audit.py", "methods/fit.py", "methods/train.py",
            "methods/objective.py", "metrics/auroc.py", "datasets/phantom_render.py",
            "backbones.py", "methods/erm.py"} <= of("erm", tmp_path)  # fmt: skip


def test_other_methods_and_their_modules_do_not_count(tmp_path: Path) -> None:
    assert not {"methods/dpsgd.py", "methods/private.py", "methods/diffusion.py",
                "runs/summary.py", "datasets/covid_chestxray.py"} & of("erm", tmp_path)  # fmt: skip


@pytest.mark.parametrize(
    ("method", "module"),
    [
        ("dpsgd", "methods/private.py"),  # imported within a function
        ("fairread", "methods/disentangle.py"),
        ("synthetic", "methods/diffusion.py"),
        ("anonymized", "methods/anonymisers/inpaint.py"),  # found by name, in a registry's folder
        ("upsample+group_thresholds", "methods/upsample.py"),
        ("upsample+group_thresholds", "methods/group_thresholds.py"),
    ],
)
def test_what_a_method_imports_counts(method: str, module: str, tmp_path: Path) -> None:
    assert module in of(method, tmp_path)


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_counts_its_own_file(name: str, tmp_path: Path) -> None:
    assert METHODS.entries()[name].file.relative_to(ROOT).as_posix() in of(name, tmp_path)


def test_a_run_counts_the_strategies_that_choose_its_epoch(tmp_path: Path) -> None:
    assert {"methods/selection/order.py", "methods/selection/worst_group.py",
            "metrics/validation.py"} <= of("erm", tmp_path)  # fmt: skip


def test_a_strategy_from_outside_counts(tmp_path: Path) -> None:
    plugin = tmp_path / "first_epoch.py"
    plugin.write_text(
        "from methods.selection.base import Candidate, Value\nfrom registry import SELECTION\n\n\n"
        '@SELECTION.register("first_epoch", direction="higher", unit="nothing")\n'
        'def first_epoch(candidate: Candidate) -> Value:\n    """No epoch is better."""\n'
        "    return Value(0.0)\n"
    )
    request = Request(
        method="erm", dataset="phantom", set={"selection": "first_epoch"},
        plugins=(str(plugin),), output=str(tmp_path),
    )  # fmt: skip
    try:
        assert plugin in sources(resolve(request))
    finally:
        SELECTION._entries.pop("first_epoch")
        SELECTION._loaded.pop("first_epoch")
