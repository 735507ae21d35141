"""The registry: listing without importing, errors that help, plugins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import registry
from registry import DATASETS, METHODS, METRICS, SELECTION, Registry, UnknownName

HEAVY = ("torch", "pandas", "mlflow", "sklearn", "matplotlib", "numpy")


def write(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(body)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry folder of its own below a temporary root."""
    monkeypatch.setattr(registry, "ROOT", tmp_path)
    (tmp_path / "things").mkdir()
    return tmp_path / "things"


def test_a_dropped_file_is_registered_without_being_imported(folder: Path) -> None:
    write(
        folder,
        "a.py",
        '@THINGS.register("alpha", unit="m")\nclass Alpha(Base):\n'
        '    """First line.\n\n    More."""\n'
        '    def view(self): ...\nraise RuntimeError("imported")\n',
    )
    entry = Registry("thing", "things").entries()["alpha"]
    assert (entry.summary, entry.defines, entry.bases) == ("First line.", ("view",), ("Base",))
    assert entry.facts == {"unit": "m"}


def test_a_name_in_two_files_names_both(folder: Path) -> None:
    for name in ("a.py", "b.py"):
        write(folder, name, '@THINGS.register("same")\nclass X: ...\n')
    with pytest.raises(ValueError, match=r"a\.py:2 .* b\.py:2|a\.py.*b\.py"):
        Registry("thing", "things").entries()


@pytest.mark.parametrize("kind", [METHODS, DATASETS, METRICS, SELECTION], ids=lambda r: r.kind)
def test_an_unknown_name_lists_what_there_is(kind: Registry[object]) -> None:
    near = kind.names()[0]
    with pytest.raises(UnknownName) as caught:
        kind.get(near + "x")
    assert f"did you mean {near!r}" in str(caught.value) or near in str(caught.value)
    assert all(name in str(caught.value) for name in kind.names())


@pytest.mark.parametrize("kind", [METHODS, DATASETS, METRICS, SELECTION], ids=lambda r: r.kind)
def test_everything_registered_can_be_got_and_has_a_summary(kind: Registry[object]) -> None:
    for name, entry in kind.entries().items():
        assert kind.get(name) is not None
        assert entry.summary.endswith("."), f"{name}: {entry.summary!r}"


@pytest.mark.parametrize(
    "arguments",
    [["--help"], *(["--list", kind] for kind in ("methods", "datasets", "metrics", "selection"))],
    ids=" ".join,
)
def test_help_and_lists_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys, runner\n"
        f"try: runner.main({arguments!r})\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_a_plugin_registers_from_outside(tmp_path: Path) -> None:
    plugin = tmp_path / "outside_method.py"
    plugin.write_text(
        "from dataclasses import dataclass\nfrom methods.base import Method\n"
        "from registry import METHODS\n\n"
        '@METHODS.register("outside")\n@dataclass(frozen=True)\nclass Outside(Method):\n'
        '    """A method from outside."""\n'
    )
    registry.load_plugins([str(plugin)])
    try:
        assert METHODS.get("outside")().registered_name == "outside"
        assert METHODS.entries()["outside"].file == plugin
    finally:
        METHODS._entries.pop("outside")
        METHODS._loaded.pop("outside")


def test_a_plugin_that_does_not_exist_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.py"):
        registry.load_plugins(["nowhere.py"])
