"""What data sets say that they expect agrees with the trees that their loaders read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from inspection.checking.problems import ERROR
from inspection.checking.tree import check_tree
from registry import DATASETS, ROOT

sys.path.insert(0, str(ROOT / "tests" / "datasets"))

from trees import NEEDING, tree_of


@pytest.mark.parametrize("name", NEEDING)
def test_a_tree_that_its_loader_reads_has_no_error(name: str, tmp_path: Path) -> None:
    tree_of(name)(tmp_path)
    cls: Any = DATASETS.get(name)
    found = [p for p in check_tree(cls().expects(), tmp_path) if p.severity == ERROR]
    assert found == []


@pytest.mark.parametrize("name", NEEDING)
def test_a_data_set_with_a_root_says_what_it_expects(name: str) -> None:
    cls: Any = DATASETS.get(name)
    expected = cls().expects()
    for table in expected.tables:
        named = {*table.columns, *table.also}
        spoken = {*table.vocabulary, *table.numbers, *table.ages, *table.filled}
        spoken |= {table.unique, table.patient} - {""}
        assert spoken <= named
