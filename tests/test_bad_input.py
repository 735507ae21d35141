"""Bad input: one sentence that names what is wrong, exit code 2, and nothing written."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import registry
import runner

SMALL = ["train_patients=12", "val_patients=8", "audit_patients=8", "test_patients=8"]
BASE = ["--method", "erm", "--dataset", "phantom"]

PLUGIN = '''
from dataclasses import dataclass
from pathlib import Path
import pandas as pd
from datasets.base import ChestXrayDataset
from datasets.split import Split
from registry import DATASETS

@DATASETS.register("broken")
@dataclass(frozen=True)
class Broken(ChestXrayDataset):
    """A data set with one fault.

    License: none. Access: none.
    """

    needs_root = False
    default_split = "official"
    fault: str = ""

    def table(self, root: Path) -> Split:
        n = 8
        frame = pd.DataFrame({
            "image_id": [f"i{k}" for k in range(n)],
            "patient_id": [f"p{k}" for k in range(n)],
            "path": [f"{k}.png" for k in range(n)],
            "origin": "real", "sex": "F", "Edema": [0.0, 1.0] * 4,
            "fold": ["train", "val", "audit", "test"] * 2,
        })
        if self.fault == "overlap":
            frame.loc[7, "patient_id"] = "p0"
        elif self.fault == "empty":
            frame = frame[frame["fold"] != "val"]
        elif self.fault == "twice":
            frame.loc[7, "image_id"] = "i3"
        elif self.fault == "label":
            frame.loc[2, "Edema"] = -1.0
        elif self.fault == "text":
            frame["Edema"] = frame["Edema"].astype(object)
            frame.loc[2, "Edema"] = "maybe"
        elif self.fault == "attribute":
            frame.loc[5, "sex"] = None
        elif self.fault == "column":
            frame = frame.drop(columns="path")
        elif self.fault == "escape":
            frame.loc[4, "path"] = "../../etc/passwd"
        return Split("broken", frame, root, ("Edema",), ("sex",))
'''

METADATA = [
    {"patientid": str(k), "sex": "FM"[k % 2], "age": "50", "view": "PA", "modality": "X-ray",
     "finding": ("COVID-19", "No Finding")[k % 2], "folder": "images", "filename": f"{k}.png",
     "offset": "0", "url": "", "license": ""}
    for k in range(8)
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with bad files of every kind; results and store would go into it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRILEMMA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TRILEMMA_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "not.yaml").write_text("method: [erm\n")
    (tmp_path / "list.yaml").write_text("- erm\n")
    (tmp_path / "key.yaml").write_text("methd: erm\n")
    (tmp_path / "syntax.py").write_text("def broken(:\n")
    (tmp_path / "broken.py").write_text(PLUGIN)
    (tmp_path / "empty").mkdir()
    tree(tmp_path / "nocolumn", drop="finding")
    tree(tmp_path / "truncated", damage="3.png")
    tree(tmp_path / "absent", remove="2.png")
    return tmp_path


@pytest.fixture(autouse=True)
def _forget_plugins() -> object:
    yield
    registry.DATASETS._entries.pop("broken", None)
    registry.DATASETS._loaded.pop("broken", None)


def tree(root: Path, drop: str = "", damage: str = "", remove: str = "") -> None:
    """A eight-image covid-chestxray folder with one fault."""
    (root / "images").mkdir(parents=True)
    columns = [c for c in METADATA[0] if c != drop]
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(METADATA)
    for row in METADATA:
        name = row["filename"]
        if name == remove:
            continue
        pixels = np.random.default_rng(int(row["patientid"])).integers(
            0, 255, (64, 64), dtype=np.uint8
        )
        Image.fromarray(pixels).save(root / "images" / name)
        if name == damage:
            data = (root / "images" / name).read_bytes()
            (root / "images" / name).write_bytes(data[: len(data) // 3])


def covid(root: str) -> list[str]:
    return ["--method", "erm", "--dataset", "covid-chestxray", "--data-root", root, "--folds", "2"]


def broken(fault: str) -> list[str]:
    return ["--method", "erm", "--dataset", "broken", "--plugin", "broken.py",
            "--data", f"fault={fault}"]  # fmt: skip


CASES: dict[str, tuple[list[str], list[str]]] = {
    "no method": (["--dataset", "phantom"], ["--method", "erm"]),
    "unknown method": (["--dataset", "phantom", "--method", "ermm"], ["did you mean 'erm'"]),
    "unknown data set": (["--method", "erm", "--dataset", "phantm"], ["'phantm'", "'phantom'"]),
    "unknown flag": ([*BASE, "--sed", "1", "--nonsense"], ["--nonsense"]),
    "unknown field": ([*BASE, "--set", "epoch=3"], ["'epoch'", "did you mean 'epochs'"]),
    "field of wrong type": ([*BASE, "--set", "epochs=many"], ["epochs", "'many'", "whole number"]),
    "field out of range": ([*BASE, "--set", "lr=-1"], ["lr", "-1"]),
    "field set twice": ([*BASE, "--set", "lr=1", "--set", "lr=2"], ["'lr'", "twice"]),
    "field without value": ([*BASE, "--set", "lr"], ["field=value", "'lr'"]),
    "unknown backbone": ([*BASE, "--set", "backbone=resnet19"], ["'resnet19'", "resnet18"]),
    "absent weights": ([*BASE, "--set", "weights=no.safetensors"], ["no.safetensors"]),
    "bad operating point": ([*BASE, "--set", "operating_point=specificty:0.8"], ["specificty"]),
    "unknown data field": ([*BASE, "--data", "cohrt=1"], ["'cohrt'", "did you mean 'cohort'"]),
    "data field of wrong type": ([*BASE, "--data", "cohort=x"], ["cohort", "'x'"]),
    "reserved cohort": ([*BASE, "--data", "cohort=9001"], ["9001"]),
    "negative patients": ([*BASE, "--data", "test_patients=-5"], ["test_patients", "-5"]),
    "seed of wrong type": ([*BASE, "--seed", "x"], ["--seed", "'x'", "whole number"]),
    "negative seed": ([*BASE, "--seed", "-1"], ["--seed", "-1"]),
    "one fold": ([*BASE, "--folds", "1"], ["--folds", "2"]),
    "absent device": ([*BASE, "--device", "cuda:7"], ["'cuda:7'", "--device cpu"]),
    "nonsense device": ([*BASE, "--device", "abacus"], ["'abacus'"]),
    "no threads": ([*BASE, "--threads", "0"], ["--threads", "0"]),
    "unknown finding": ([*BASE, "--findings", "Edma"], ["'Edma'", "'Edema'"]),
    "unknown attribute": ([*BASE, "--attributes", "race,income"], ["'income'", "race"]),
    "unknown policy": ([*BASE, "--on-bad-image", "maybe"], ["--on-bad-image", "'maybe'"]),
    "absent config": (["--config", "no.yaml"], ["'no.yaml'"]),
    "config that is no YAML": (["--config", "not.yaml"], ["not.yaml", "YAML"]),
    "config that is a list": (["--config", "list.yaml"], ["list.yaml", "mapping"]),
    "unknown key in config": (["--config", "key.yaml"], ["'methd'", "'method'"]),
    "absent plugin": ([*BASE, "--plugin", "no.py"], ["'no.py'"]),
    "plugin with an error": ([*BASE, "--plugin", "syntax.py"], ["syntax.py", "SyntaxError"]),
    "unknown run": (["--from-run", "ffff"], ["'ffff'"]),
    "store that is none": ([*BASE, "--tracking-uri", "nonsense://x"], ["nonsense://x"]),
    "no data root": (["--method", "erm", "--dataset", "covid-chestxray"], ["--data-root"]),
    "absent data root": (covid("nowhere"), ["'nowhere'", "does not exist"]),
    "file as data root": (covid(__file__), ["is a file; name the folder it lies in"]),
    "empty data root": (covid("empty"), ["metadata.csv"]),
    "missing column": (covid("nocolumn"), ["metadata.csv", "'finding'"]),
    "unreadable image": (covid("truncated"), ["3.png", "--on-bad-image"]),
    "missing image": (covid("absent"), ["2.png", "--on-bad-image"]),
    "overlapping patients": (broken("overlap"), ["p0", "'train'", "'test'"]),
    "empty fold": (broken("empty"), ["'val'", "empty"]),
    "repeated image": (broken("twice"), ["i3"]),
    "label out of range": (broken("label"), ["'Edema'", "-1", "row 2"]),
    "label of wrong type": (broken("text"), ["'Edema'", "maybe", "row 2"]),
    "blank attribute": (broken("attribute"), ["'sex'", "row 5", "'Unknown'"]),
    "missing table column": (broken("column"), ["'path'"]),
    "path out of the root": (broken("escape"), ["../../etc/passwd"]),
    "attribute the method needs": (
        ["--method", "upsample", "--dataset", "phantom", "--set", "attribute=income"],
        ["'income'", "race"],
    ),
}  # fmt: skip


def files(place: Path) -> set[Path]:
    """Everything but the image cache, which holds nothing of a run."""
    return {p for p in place.rglob("*") if "cache" not in p.relative_to(place).parts[0]}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_told_in_one_sentence(
    case: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, told = CASES[case]
    if "phantom" in arguments and "--data" not in arguments:
        arguments = [*arguments, *(w for s in SMALL for w in ("--data", s))]
        arguments += ["--set", "image_size=32"]
    before = files(place)
    code = runner.main(arguments)
    out = capsys.readouterr()
    chatter = ("preparing", "note:", "left out:")
    lines = [line for line in out.err.splitlines() if not line.startswith(chatter)]
    assert code == 2, out
    assert len(lines) == 1 and lines[0].startswith("error: "), out.err
    for words in told:
        assert words in lines[0]
    assert "Traceback" not in out.err + out.out
    written = {p for p in files(place) - before if "__pycache__" not in p.parts}
    assert not written


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 25
