"""The notebook of the documentation runs as it stands."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "docs" / "analysis.ipynb"


def read() -> Any:
    import nbformat

    return nbformat.read(NOTEBOOK, as_version=4)


def execute(notebook: Any) -> list[dict[str, Any]]:
    """All outputs of the notebook, run in the folder in which it lies."""
    from nbclient import NotebookClient

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=120,
        resources={"metadata": {"path": ROOT / "docs"}},
    )
    client.execute()
    return [dict(o) for cell in notebook.cells for o in cell.get("outputs", [])]


@pytest.fixture
def quiet_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the kernel's own files out of the user's home."""
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))


@pytest.mark.usefixtures("quiet_kernel")
def test_the_notebook_runs_on_stored_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests" / "leaderboard")
    store = importlib.import_module("synthetic_store")
    for world in (store.PHANTOM, store.COVID):
        for seed in range(2):
            content = store.run_json(world, "erm", seed)
            store.write_run(tmp_path / "output", content, store.scores(world, "erm", seed))
    monkeypatch.setenv("TRILEMMA_OUTPUT", str(tmp_path / "output"))
    outputs = execute(read())
    shown = " ".join(str(o.get("text", "")) + str(o.get("data", "")) for o in outputs)
    assert "covid-chestxray" in shown
    assert any("image/png" in o.get("data", {}) for o in outputs)
    frames = [o["data"]["text/html"] for o in outputs if "text/html" in o.get("data", {})]
    assert len(frames) == 5
    assert pd.notna(frames).all()


def test_the_notebook_is_stored_without_outputs() -> None:
    for cell in read().cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
