"""Fixtures shared by all tests: a private cache, tiny tables, and the real data if it is there."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from pathlib import Path

import pytest
from toy import FINDINGS, GROUPS, toy_split

from datasets.split import Folds
from methods.base import Context, Task
from methods.fit import quiet_logger


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image and attack cache for the whole session, away from the user's."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _private_cache(session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRILEMMA_CACHE", str(session_cache))


@pytest.fixture
def real_data() -> Path:
    """The directory of real data, named by TRILEMMA_DATA; without it the test is skipped."""
    root = os.environ.get("TRILEMMA_DATA")
    if not root:
        pytest.skip("TRILEMMA_DATA is not set: the tests on real data need the directory it names")
    return Path(root).resolve()


@pytest.fixture
def folds(tmp_path: Path) -> Folds:
    """Disjoint toy folds whose first finding is easy to see."""
    return Folds(
        train=toy_split(tmp_path, "train", range(0, 60)),
        val=toy_split(tmp_path, "val", range(100, 140)),
        audit=toy_split(tmp_path, "audit", range(200, 220)),
        test=toy_split(tmp_path, "test", range(300, 340)),
    )


@pytest.fixture
def task() -> Task:
    """The task of the toy folds."""
    return Task(FINDINGS, tuple(GROUPS), GROUPS, FINDINGS)


@pytest.fixture
def ctx(tmp_path: Path, task: Task, folds: Folds) -> Context:
    """A silent context with a working directory."""
    workdir = tmp_path / "work"
    workdir.mkdir()
    return Context(
        seed=0,
        device="cpu",
        workdir=workdir,
        shared=tmp_path / "shared",
        pictures=tmp_path / "pictures",
        log=quiet_logger(),
        task=task,
        train=folds.train,
    )
