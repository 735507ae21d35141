"""The example in docs/adding-a-dataset.md works as it stands."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import registry
from datasets.images import open_images, prepare

PAGE = Path(registry.__file__).parent / "docs" / "adding-a-dataset.md"
ROWS = """file,patient,sex,view,Effusion,No Finding
a.png,007,F,PA,1,0
b.png,007,F,L,1,0
c.png,8,,AP,,1
"""


@pytest.fixture
def example() -> str:
    match = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert match is not None
    return match[1]


def test_example_is_short(example: str) -> None:
    assert len(example.splitlines()) <= 40


def test_example_loads_as_a_plugin(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRILEMMA_CACHE", str(tmp_path / "cache"))
    # Copies, so that no other test meets the example's name.
    datasets = registry.DATASETS
    monkeypatch.setattr(datasets, "_entries", dict(datasets.entries()))
    monkeypatch.setattr(datasets, "_loaded", dict(datasets._loaded))
    monkeypatch.delitem(sys.modules, "trilemma_plugin_my_hospital", raising=False)
    plugin = tmp_path / "my_hospital.py"
    plugin.write_text(example, encoding="utf-8")
    (tmp_path / "list.csv").write_text(ROWS)
    for name in ("a", "b", "c"):
        Image.new("L", (50, 40), 99).save(tmp_path / f"{name}.png")

    registry.load_plugins([str(plugin)])
    table = prepare(datasets.get("my-hospital")().table(tmp_path), 32)

    assert table.patients.tolist() == ["007", "8"] and table.dropped == {"not frontal": 1}
    assert table.frame["sex"].tolist() == ["Female", "Unknown"]
    np.testing.assert_array_equal(table.labels(), [[1, 0], [np.nan, 1]])
    assert open_images(table, 32).take().shape == (2, 32, 32)
