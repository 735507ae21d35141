"""`python -m datasets split`: counts worked by hand, and a manifest that gives the same folds."""

from __future__ import annotations

import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from datasets.__main__ import main
from registry import DATASETS, load_plugins

PLUGIN = '''
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from datasets.base import ChestXrayDataset
from datasets.split import Split
from registry import DATASETS


@DATASETS.register("listed")
@dataclass(frozen=True)
class Listed(ChestXrayDataset):
    """Twenty people of a list, the first with two images.

    License: none. Access: none.
    """

    needs_root = False
    given: bool = False

    @property
    def default_split(self) -> str:
        return "official" if self.given else "patient"

    def table(self, root: Path) -> Split:
        people = [0, *range(20)]
        frame = pd.DataFrame({
            "image_id": [f"i{n}" for n in range(21)], "path": [f"{n}.png" for n in range(21)],
            "patient_id": [f"name{p:02}" for p in people], "origin": "real",
            "sex": ["Female" if p < 8 else "Male" for p in people],
            "Edema": [float(p % 4 == 0) for p in people],
        })
        if self.given:
            frame["fold"] = ["train" if p < 10 else "val" if p < 15 else "test" for p in people]
        return Split(self.registered_name, frame, root, ("Edema",), ("sex",), {"lateral view": 3})
'''


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The flags that name the made data set."""
    monkeypatch.setattr(DATASETS, "_entries", dict(DATASETS.entries()))
    monkeypatch.setattr(DATASETS, "_loaded", dict(DATASETS._loaded))
    monkeypatch.setenv("TRILEMMA_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "listed.py").write_text(PLUGIN)
    load_plugins([str(tmp_path / "listed.py")])
    yield ["split", "--dataset", "listed"]
    sys.modules.pop("trilemma_plugin_listed", None)


def cells(text: str, name: str) -> list[str]:
    """The cells of a row of the table."""
    (line,) = re.findall(rf"^ *{name}  +(.*)$", text, re.MULTILINE)
    return re.split(r" {2,}", line)


def test_patients_are_counted_by_fold_group_and_finding(
    listed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*listed, "--data", "given=true"]) == 0
    told = capsys.readouterr().out
    # Ten train patients, of which one may be carved out for audit, and joins train again.
    assert cells(told, "patients") == ["train", "val", "test"]
    assert cells(told, "all") == ["10", "5", "5"]
    assert cells(told, "images") == ["11", "5", "5"]
    assert cells(told, "Female") == ["8 (80.0%)", "0 (0.0%)", "0 (0.0%)"]
    assert cells(told, "Male") == ["2 (20.0%)", "5 (100.0%)", "5 (100.0%)"]
    assert cells(told, "Edema") == ["3 (30.0%)", "1 (20.0%)", "1 (20.0%)"]
    assert "audit reuses train" in told and "left out: 3 rows, lateral view" in told
    assert "split official, seed 0, digest " in told and "name0" not in told


def test_a_manifest_is_written_on_request_alone(
    listed: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags in (["--out", "m.csv"], ["--write-ids"]):
        assert main([*listed, *flags]) == 2
        assert "--out and --write-ids must be given together" in capsys.readouterr().err
    assert not (tmp_path / "m.csv").exists()
    assert main([*listed, "--out", "m.csv", "--write-ids"]) == 0
    told = capsys.readouterr()
    assert "warning: m.csv holds raw ids" in told.err and "name0" not in told.out + told.err
    assert stat.S_IMODE((tmp_path / "m.csv").stat().st_mode) == 0o600
    rows = pd.read_csv("m.csv")
    assert list(rows) == ["patient_id", "fold"] and len(rows) == 20


@pytest.mark.parametrize(
    "flags",
    [[], ["--seed", "3"], ["--data", "given=true"], ["--split", "fold:2/4"],
     ["--limit-patients", "12"]],
)  # fmt: skip
def test_a_written_manifest_gives_the_folds_it_was_made_of(
    listed: list[str], flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*listed, *flags, "--out", "m.csv", "--write-ids"]) == 0
    made = capsys.readouterr().out
    (pinned,) = re.findall(r"--split (\S+#sha256:[0-9a-f]{16})$", made, re.MULTILINE)
    assert main([*listed, "--split", pinned]) == 0
    read = capsys.readouterr().out
    digests = [re.findall(r"digest ([0-9a-f]{16})", text) for text in (made, read)]
    assert digests[0] == digests[1]


def test_the_digest_is_that_of_a_run(
    listed: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from datasets.folds import split_digest
    from runs.plan import resolve
    from runs.preparation import load_table, split
    from runs.request import Request

    assert main(listed) == 0
    plan = resolve(Request(method="erm", dataset="listed", output=str(tmp_path)))
    digest = split_digest(split(plan, load_table(plan)).folds)
    assert f"digest {digest}" in capsys.readouterr().out


def test_another_ending_than_csv_is_refused(
    listed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*listed, "--out", "folds.txt", "--write-ids"]) == 2
    assert "--out must name a .csv file" in capsys.readouterr().err
