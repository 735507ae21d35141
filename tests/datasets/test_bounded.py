"""Tables that unpack to far more than they are: refused while they are read, not after."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from datasets import bounded, tabular
from datasets.bounded import opened
from datasets.csv_columns import separator_of

COLUMNS = {"a": ("a",), "b": ("b",)}


@pytest.fixture(autouse=True)
def _little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "PLENTY", 2**20)
    monkeypatch.setattr(bounded, "LARGEST", 2**23)


def packed(path: Path, text: bytes) -> Path:
    path.write_bytes(gzip.compress(text))
    return path


@pytest.mark.parametrize("row", [b"1,2\n", b"1", b"\n", b"\0"])
def test_a_compressed_bomb_is_refused(tmp_path: Path, row: bytes) -> None:
    path = packed(tmp_path / "t.csv.gz", b"a,b\n" + row * (2**22 // len(row)))
    with pytest.raises(ValueError, match=r"at most 1 MiB unpacked, but has more.*get it again"):
        tabular.read(path, COLUMNS)


def test_a_first_line_without_end_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "t.csv.gz", b"a;" * 2**22)
    assert separator_of(path) == ";"
    with pytest.raises(ValueError, match="unpacked, but has more"):
        tabular.header(path)


def test_a_table_that_is_large_but_no_bomb_is_read(tmp_path: Path) -> None:
    rows = "".join(f"{i * i % 99991},{i**3 % 99989}\n" for i in range(150_000))
    path = packed(tmp_path / "t.csv.gz", b"a,b\n" + rows.encode())
    assert bounded.PLENTY < len(rows) < bounded.RATIO * path.stat().st_size
    assert len(tabular.read(path, COLUMNS)) == 150_000


def test_a_plain_file_of_absurd_size_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        file.truncate(2**23 + 1)
    with pytest.raises(ValueError, match="at most 8 MiB"):
        opened(path)
