"""An embedded data set keeps the folds of a run on its images: its encoder may know them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from toy import toy_split

from datasets.__main__ import main
from datasets.base import ChestXrayDataset
from datasets.csv import CsvTable
from datasets.division import Division, divide
from datasets.images import cache_dir
from datasets.split import Split
from datasets.union import joined
from inspection.embedding import Job, with_folds
from inspection.encoding import Encoder
from tracking.pseudonyms import Pseudonyms


class Ward(ChestXrayDataset):
    """A data set that is divided by patient, whatever its column of folds says."""

    registered_name = "toy-ward"

    def table(self, root: Path) -> Split:
        return toy_split(root, "toy", range(0, 30))


class Averaged(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Fifty people with one image each, listed in a table."""
    rng, lines = np.random.default_rng(0), ["path,patient_id,sex,Edema"]
    for i in range(50):
        Image.fromarray(rng.integers(0, 255, (40, 40), np.uint8)).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,p{i},{'MF'[i % 2]},{i % 3 % 2}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_official_folds_that_a_run_does_not_use_are_not_used(tmp_path: Path) -> None:
    plain = Ward().table(tmp_path)
    official = np.where(plain.frame["patient_id"] == "p0", "test", "train")
    listed = plain.with_frame(plain.frame.assign(fold=official))
    given = with_folds(Ward(), listed).frame["fold"]
    # With the official ones, the encoder of a run would have been trained on the test patient.
    assert given.tolist() == divide(listed, Division.named("patient")).names.tolist()
    assert (given == "test").sum() > 2


def test_images_that_cannot_be_read_move_nobody_to_another_fold(
    images: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("out")
    net = torch.jit.trace(Averaged(), torch.rand(2, 1, 32, 32))  # type: ignore[no-untyped-call]
    net.save(str(out / "net.pt"))
    table = CsvTable().table(images)
    fold = divide(table, Division.named("patient")).names
    lost = [0, 7, 20]
    for row in lost:
        (images / table.frame["path"][row]).unlink()
    command = ["embed", "--dataset", "csv", "--data-root", str(images), "--weights",
               str(out / "net.pt"), "--image-size", "32", "--threads", "1", "--device", "cpu",
               "--on-bad-image", "drop", "--out", str(out / "made")]  # fmt: skip
    assert main(command) == 0
    made = pd.read_parquet(out / "made" / "table.parquet")
    known = Pseudonyms(cache_dir(), "csv").of(table.frame["patient_id"])
    assert dict(zip(made["patient_id"], made["fold"], strict=True)) == {
        name: fold[row] for row, name in enumerate(known) if row not in lost
    }


def test_same_persons_of_a_union_stand_under_the_names_of_their_parts(tmp_path: Path) -> None:
    parts = {}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        parts[name] = toy_split(tmp_path / name, name, range(0, 12))
    (tmp_path / "two" / "same_person.csv").write_text("patientid_a,patientid_b\np0,p1\n")
    both = with_folds(Ward(), joined("one+two", parts, tmp_path))
    encoder = Encoder(Averaged(), "x", "0", "traced", 32, 1, (-2.0, 2.0), "cpu")
    assert Job(Ward(), both, encoder, tmp_path / "out").write()
    listed = pd.read_csv(tmp_path / "out" / "same_person.csv", dtype=str)
    assert listed.iloc[0].tolist() == ["two/p0", "two/p1"]
    made = pd.read_parquet(tmp_path / "out" / "table.parquet")
    assert listed.iloc[0].isin(made["patient_id"]).all()
