"""A plugin with the made-up data set of `planted`, known for one test only."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry import DATASETS

PLUGIN = """
from dataclasses import dataclass
import sys
sys.path.insert(0, {folder!r})
from planted import Listed
from registry import DATASETS

@DATASETS.register("listed")
@dataclass(frozen=True)
class Mine(Listed):
    \"\"\"A made-up data set.\"\"\"
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    DATASETS.entries()
    for names in ("_entries", "_loaded"):
        monkeypatch.setattr(DATASETS, names, dict(getattr(DATASETS, names)))
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN.format(folder=str(Path(__file__).parent)))
    return str(path)
