"""Test labels cannot reach what fits thresholds or chooses models: by type, by name, and run."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from toy import toy_split

from datasets.split import Folds, Split
from methods.base import Context, Method
from methods.erm import Erm
from methods.fit import fit
from methods.selection.base import Candidate
from metrics.predictions import Predictions
from metrics.thresholds import fit_rule
from metrics.validation import ValidationPredictions
from registry import METHODS, ROOT, SELECTION

GUARDED = sorted(
    [
        *(ROOT / "methods" / "selection").glob("*.py"),
        *(ROOT / "metrics" / name for name in ("thresholds.py", "validation.py")),
    ]
)
"""Files that fit thresholds or choose models."""
DOORS = {
    "methods/predictor.py", "methods/fit.py", "runs/goals.py", "runs/out_of_domain.py",
    "metrics/audit/decisions.py",
}  # fmt: skip
"""Files that make `ValidationPredictions`: each of `Folds.val`; another data set's of its own
validation fold; the audit of the file that its user names as validation, which shares no patient
with the tested one."""

SNIPPET = """
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from datasets.split import Folds
from methods.base import Method
from methods.predictor import Predictor
from methods.selection.base import Candidate, recorded
from metrics.predictions import Predictions
from metrics.thresholds import Rule, fit_rule
from metrics.validation import ValidationPredictions


def allowed(
    method: Method, predictor: Predictor, folds: Folds, features: Callable[[], np.ndarray]
) -> None:
    val = predictor.on_validation(folds)
    rule: Rule = fit_rule(val)
    method.decide(rule.apply(val))
    Candidate(recorded(val), (), decide=method.decide, features=features)


def planted(
    method: Method, predictor: Predictor, folds: Folds, features: Callable[[], np.ndarray]
) -> None:
    test: Predictions = predictor(folds.test)
    fit_rule(test)  # refused
    fit_rule(predictor(folds.val))  # refused
    method.decide(test)  # refused
    Candidate(test, (), decide=method.decide, features=features)  # refused
    recorded(test)  # refused
    predictor.on_validation(folds.test)  # refused
"""


def test_types_refuse_test_predictions(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET)
    words = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "setup.cfg")]
    # With no option of its own, so that it finds and leaves the cache of `make types`.
    done = subprocess.run([*words, str(snippet)], cwd=ROOT, capture_output=True, text=True)
    refused = {int(n) for n in re.findall(r"snippet\.py:(\d+): error", done.stdout)}
    lines = SNIPPET.splitlines()
    assert refused == {n for n, line in enumerate(lines, 1) if "# refused" in line}, done.stdout
    assert done.stdout.count("[arg-type]") == len(refused)


def words_of(path: Path) -> Iterator[tuple[int, str]]:
    """Names, attributes and texts of a file that are not docstrings, with their lines."""
    tree = ast.parse(path.read_text())
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and ast.get_docstring(node) is not None
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute | ast.alias | ast.arg):
            word = getattr(node, "attr", None) or getattr(node, "name", None) or node.arg
            yield node.lineno, word


def names_a_test_fold(path: Path) -> list[tuple[int, str]]:
    """Where a file names a fold that is neither training nor validation, or a table of folds."""
    word = re.compile(r"\b(test|audit)(_|\b)|\bFolds\b|datasets\.split", re.IGNORECASE)
    return [(line, text) for line, text in words_of(path) if word.search(text)]


@pytest.mark.parametrize("path", GUARDED, ids=lambda p: p.stem)
def test_no_file_that_chooses_names_a_test_fold(path: Path) -> None:
    assert not names_a_test_fold(path)


@pytest.mark.parametrize(
    "line",
    ["x = folds.test", "from datasets.split import Folds", 'name = "test"', "test_labels = 1",
     "def f(audit): ..."],
)  # fmt: skip
def test_a_planted_name_of_a_test_fold_is_found(line: str, tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(f'"""Thresholds; a docstring may speak of test patients."""\n{line}\n')
    assert names_a_test_fold(planted)


def makers(path: Path) -> bool:
    """Whether a file makes `ValidationPredictions`."""
    text = path.read_text()
    return bool(re.search(r"(?<!class )\bValidationPredictions(\.of)?\(", text))


def test_validation_predictions_are_made_in_few_places() -> None:
    ours = [
        p for name in ("datasets", "metrics", "methods", "tracking", "runs", "benchmarks")
        for p in (ROOT / name).rglob("*.py")
    ]  # fmt: skip
    found = {p.relative_to(ROOT).as_posix() for p in ours if makers(p)}
    assert found == DOORS


@pytest.mark.parametrize("name", [n for n, e in METHODS.entries().items() if "decide" in e.defines])
def test_every_method_decides_on_validation_predictions(name: str) -> None:
    if METHODS.entries()[name].file.is_relative_to(ROOT):
        assert METHODS.get(name).decide.__annotations__["val"] == "ValidationPredictions"
    assert Method.decide.__annotations__["val"] == "ValidationPredictions"


# At run time, for callers whose types nobody checks.


def predictions(fold: str) -> Predictions:
    frame = pd.DataFrame(
        {"image": ["a", "b"], "patient": ["a", "b"], "part": 0, "y:Edema": [0.0, 1.0],
         "logit:Edema": np.array([0, 1], np.float32)}
    )  # fmt: skip
    return Predictions(fold, frame, ("Edema",), ())


@pytest.mark.parametrize("fold", ["test", "audit", "train"])
def test_predictions_of_another_fold_are_no_validation_predictions(fold: str) -> None:
    with pytest.raises(ValueError, match=f"but these predictions are of fold '{fold}'"):
        ValidationPredictions.of(predictions(fold))
    with pytest.raises(ValueError, match="must be fitted on validation"):
        fit_rule(predictions(fold))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="of fold"):
        replace(ValidationPredictions.of(predictions("val")), fold=fold)


def test_a_candidate_is_made_of_validation_predictions_alone() -> None:
    with pytest.raises(TypeError, match="must be judged by ValidationPredictions"):
        Candidate(predictions("val"), (), decide=fit_rule, features=lambda: np.zeros((2, 1)))  # type: ignore[arg-type]


def test_decisions_keep_the_type() -> None:
    val = ValidationPredictions.of(predictions("val"))
    assert type(fit_rule(val, "youden").apply(val)) is ValidationPredictions


# End to end: test labels permuted, turned round or taken away.


def spoilt(split: Split, how: str) -> Split:
    """The split with other labels."""
    labels = split.frame[list(split.findings)]
    if how == "permuted":
        order = np.random.default_rng(1).permutation(len(split))
        labels = labels.iloc[order].reset_index(drop=True)
    changed = {
        f: np.nan if how == "taken away" else 1 - labels[f] if how == "turned" else labels[f]
        for f in split.findings
    }
    return split.with_frame(split.frame.assign(**changed))


@pytest.fixture
def larger(folds: Folds, tmp_path: Path) -> Folds:
    """The toy folds with so many validation patients that groups are evaluable."""
    return replace(folds, val=toy_split(tmp_path, "val", range(1000, 1160)))


def outcome(name: str, folds: Folds, ctx: Context, place: str) -> tuple[Any, ...]:
    """Thresholds, the chosen epoch and the values of all epochs."""
    workdir = ctx.workdir / place
    workdir.mkdir()
    method = Erm(image_size=32, epochs=2, batch_size=60, lr=3e-4, selection=name)
    predictor, history = fit(method, folds, replace(ctx, workdir=workdir))
    assert predictor.rule is not None
    values = [row["selection"] for row in history.rows]
    return predictor.rule, history.best_epoch, values, history.undefined


@pytest.mark.parametrize("name", SELECTION.names())
def test_test_labels_move_no_threshold_and_no_choice(
    name: str, larger: Folds, ctx: Context
) -> None:
    whole = outcome(name, larger, ctx, "whole")
    assert (whole[3] == "") == (name != "oracle"), "the toy data has no simulated truth"
    for how in ("permuted", "turned", "taken away") if name == "worst_group" else ("turned",):
        changed = replace(larger, test=spoilt(larger.test, how), audit=spoilt(larger.audit, how))
        assert repr(outcome(name, changed, ctx, how)) == repr(whole)


def test_validation_labels_do_move_them(larger: Folds, ctx: Context) -> None:
    # The same comparison sees a difference where there is one to be seen.
    changed = replace(larger, val=spoilt(larger.val, "permuted"))
    one, two = (outcome("worst_group", f, ctx, str(i)) for i, f in enumerate((larger, changed)))
    assert one[0] != two[0] and one[2] != two[2]
