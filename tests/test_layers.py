"""The layers of the suite: what may import what."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ["registry", "options", "backbones", "datasets", "metrics", "methods", "tracking",
          "runs", "inspection", "runner", "benchmarks"]  # fmt: skip
LEADERBOARD_MAY = {"registry", "metrics.score", "metrics.slopes"}
"""Stored results, the record they are rows of, how patients move a number; beside them `PURE`."""
PURE = "metrics.comparison"
"""Functions of arrays, which import nothing else of the suite."""
ONLY_IN = {
    "mlflow": {"tracking", "leaderboard"},
    "fairlearn": {"metrics", "methods", "benchmarks"},
    "opacus": {"methods"},
    "diffusers": {"methods"},
    "peft": {"methods"},
}
DOOR = Path("datasets/__main__.py")
"""A command line, as `runner.py` is; it stands where users look for it."""
LAZY = {"opacus", "diffusers", "peft", "mlflow", "optuna"}


def sources() -> list[Path]:
    packages = [p for name in [*LAYERS, "leaderboard"] for p in (ROOT / name).rglob("*.py")]
    return packages + [ROOT / f"{name}.py" for name in LAYERS if (ROOT / f"{name}.py").exists()]


def part_of(path: Path) -> str:
    if path.relative_to(ROOT) == DOOR:
        return "runner"
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path, *, whole: bool = False) -> list[tuple[str, bool]]:
    """Package (or `whole` module) of every import, and whether importing the file executes it."""
    tree = ast.parse(path.read_text())
    found = []

    def walk(node: ast.AST, lazy: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend((alias.name, not lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.module, not lazy))
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        inside = lazy or typing_only or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            walk(child, inside)

    walk(tree, False)
    return found if whole else [(name.split(".")[0], eager) for name, eager in found]


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downward(path: Path) -> None:
    part = part_of(path)
    ours = {name for name, _ in imports(path) if name in {*LAYERS, "leaderboard"}} - {part}
    if part == "leaderboard":
        modules = {name for name, _ in imports(path, whole=True) if name.split(".")[0] in ours}
        assert {m for m in modules if not m.startswith(f"{PURE}.")} <= LEADERBOARD_MAY
        return
    below = set(LAYERS[: LAYERS.index(part)])
    assert ours <= below, f"{path.name} imports upward: {ours - below}"


@pytest.mark.parametrize(
    "path", sorted((ROOT / PURE.replace(".", "/")).glob("*.py")), ids=lambda p: p.stem
)
def test_comparisons_are_functions_of_arrays(path: Path) -> None:
    for name, _ in imports(path, whole=True):
        known = name.split(".")[0] in {*sys.stdlib_module_names, "numpy", "scipy"}
        assert known or name.startswith(f"{PURE}."), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_libraries_stay_in_their_rooms(path: Path) -> None:
    part = part_of(path)
    for name, eager in imports(path):
        if name in ONLY_IN:
            assert part in ONLY_IN[name], f"{name} is imported in {path.name}"
        assert not (eager and name in LAZY), (
            f"{name} must be imported inside the stage: {path.name}"
        )


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks" / "suites").glob("*.py")), ids=lambda p: p.stem
)
def test_a_suite_is_data(path: Path) -> None:
    ours = {name for name, _ in imports(path, whole=True) if name.split(".")[0] in LAYERS}
    assert ours <= {"registry", "benchmarks.suites.base"}


def test_a_planted_upward_import_is_found(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("def f():\n    from runner import main\n")
    assert ("runner", False) in imports(planted)
