"""A synthetic store and what is rendered from it, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
import synthetic_store

from leaderboard.collect import Store, read_store
from leaderboard.render import render


@pytest.fixture(scope="session")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output directory with two data sets, four methods, and runs that must not be compared."""
    directory = tmp_path_factory.mktemp("output")
    synthetic_store.write_store(directory)
    return directory


@pytest.fixture(scope="session")
def store(output: Path) -> Store:
    """The synthetic store as read."""
    return read_store(output)


@pytest.fixture(scope="session")
def rendered(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the rendered leaderboard of the synthetic store."""
    out = tmp_path_factory.mktemp("rendered")
    render(store, out)
    return out


@pytest.fixture(scope="session")
def page(rendered: Path) -> str:
    """The rendered page."""
    return (rendered / "index.html").read_text(encoding="utf-8")
