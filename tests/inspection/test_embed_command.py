"""`python -m datasets embed`: what it writes, how it goes on, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from toy import toy_split

from backbones import build
from datasets.__main__ import main
from datasets.base import ChestXrayDataset
from datasets.embedded import Meta
from datasets.embeddings import Embeddings
from datasets.folds import assign
from datasets.images import cache_dir, open_images
from datasets.phantom import Phantom
from datasets.split import Split
from datasets.vectors import open_vectors
from inspection import embedding
from inspection.embedding import Job, with_folds
from inspection.encoding import Encoder, load
from methods.loader import scale

PEOPLE = {"train_patients": 8, "val_patients": 4, "audit_patients": 4, "test_patients": 4}


class Hospital(ChestXrayDataset):
    """Toy images under terms that keep their ids at home; it assigns no folds."""

    registered_name = "toy-hospital"
    terms: ClassVar[str] = "restricted"
    reidentification_allowed: ClassVar[bool] = False
    primary_contrasts: ClassVar[dict[str, tuple[str, str]]] = {"sex": ("Male", "Female")}

    def table(self, root: Path) -> Split:
        return toy_split(root, "toy", range(0, 30))


def hospital(root: Path) -> Split:
    """Its table, ready to be embedded."""
    return with_folds(Hospital(), Hospital().table(root))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The encoder of a small network, as a run stores it."""
    torch.manual_seed(3)
    path = tmp_path / "weights.pt"
    net = build("small_cnn", 5)
    torch.save({f"backbone.{k}": v for k, v in net.state_dict().items()}, path)
    return path


def encoder(weights: Path, **changes: object) -> Encoder:
    fields = {"backbone": "small_cnn", "image_size": 32, "channels": 1, "scale": (-2.0, 2.0),
              "device": "cpu"}  # fmt: skip
    return load(weights, **(fields | changes))  # type: ignore[arg-type]


def embed(*more: str, out: Path, weights: Path) -> int:
    people = [word for k, v in PEOPLE.items() for word in ("--data", f"{k}={v}")]
    return main(["embed", "--dataset", "phantom", *people, "--weights", str(weights), "--device",
                 "cpu", "--backbone", "small_cnn", "--image-size", "32", "--threads", "1", "--out",
                 str(out), *more])  # fmt: skip


def test_vectors_are_the_features_of_the_encoder(weights: Path, tmp_path: Path) -> None:
    assert embed(out=tmp_path / "out", weights=weights) == 0
    source = Phantom(**PEOPLE).table(cache_dir() / "recipes")
    table = Embeddings().table(tmp_path / "out")
    net = build("small_cnn", 1, weights=str(weights)).eval()
    pixels = torch.from_numpy(open_images(source, 32).take())
    with torch.inference_mode():
        expected = net.embed(scale(pixels)).numpy()
    assert np.allclose(open_vectors(table).take(), expected, atol=1e-5)


def test_the_table_is_that_of_the_source(weights: Path, tmp_path: Path) -> None:
    embed(out=tmp_path / "out", weights=weights)
    source = Phantom(**PEOPLE).table(cache_dir() / "recipes")
    known = Embeddings().at(tmp_path / "out")
    table = known.table(tmp_path / "out")
    assert (known.kind, known.terms, known.reidentification_allowed) == ("simulated", "open", True)
    assert known.primary_contrasts == Phantom.primary_contrasts
    assert known.unlearnable(1024) == ("Fracture",)
    assert table.findings == source.findings and table.has_truth
    assert {a: table.groups_of(a) for a in table.attributes} == {
        a: source.groups_of(a) for a in source.attributes
    }
    for column in ("image_id", "patient_id", "fold", *source.attributes):
        assert table.frame[column].astype(str).tolist() == source.frame[column].astype(str).tolist()
    assert np.array_equal(table.labels(), source.labels(), equal_nan=True)


def test_the_same_command_finds_its_work_done(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embed(out=tmp_path / "out", weights=weights)
    before = (tmp_path / "out" / "embeddings.npy").stat().st_mtime_ns
    assert embed(out=tmp_path / "out", weights=weights) == 0
    assert "already done" in capsys.readouterr().out
    assert (tmp_path / "out" / "embeddings.npy").stat().st_mtime_ns == before


def test_another_encoder_does_not_overwrite(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embed(out=tmp_path / "out", weights=weights)
    assert embed("--scale", "0,1", out=tmp_path / "out", weights=weights) == 2
    assert "name another folder" in capsys.readouterr().err


def test_work_goes_on_where_it_was_stopped(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "SAVED_EVERY", 0.0)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    table = hospital(tmp_path)
    Job(Hospital(), table, encoder(weights), whole, batch_size=16).write()

    def stop(done: int, total: int) -> None:
        if done == 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Job(Hospital(), table, encoder(weights), broken, batch_size=16).write(stop)
    assert not (broken / "meta.json").exists()
    told: list[int] = []
    Job(Hospital(), table, encoder(weights), broken, batch_size=16).write(
        lambda done, total: told.append(done)
    )
    # The batch that was stopped in is made again, the one before it is not.
    assert told == [32, 48, 60]
    stacks = [np.load(folder / "embeddings.npy") for folder in (whole, broken)]
    assert np.array_equal(*stacks)
    assert sorted(p.name for p in broken.iterdir()) == [
        "embeddings.npy", "meta.json", "table.parquet"
    ]  # fmt: skip


def test_a_stopped_job_of_another_encoder_begins_anew(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "SAVED_EVERY", 0.0)
    out, table = tmp_path / "out", hospital(tmp_path)

    def stop(done: int, total: int) -> None:
        if done == 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Job(Hospital(), table, encoder(weights), out, batch_size=16).write(stop)
    other = encoder(weights, scale=(0.0, 1.0))
    Job(Hospital(), table, other, out, batch_size=16).write()
    expected = other(open_images(table, 32).take(np.arange(4)))
    assert np.allclose(np.load(out / "embeddings.npy")[:4], expected, atol=1e-6)


def test_ids_of_restricted_sets_become_pseudonyms_and_folds_stay(
    weights: Path, tmp_path: Path
) -> None:
    out, table = tmp_path / "out", hospital(tmp_path)
    (tmp_path / "same_person.csv").write_text("patientid_a,patientid_b\np0,p1\n")
    meta = Job(Hospital(), table, encoder(weights), out).write()
    assert meta is not None and meta.ids == "pseudonyms" and meta.terms == "restricted"
    raw = set(table.frame["patient_id"]) | set(table.frame["image_id"])
    frame = pd.read_parquet(out / "table.parquet")
    assert not raw & set(frame["patient_id"]) and not raw & set(frame["image_id"])
    assert "path" not in frame
    # One pseudonym per patient, also in the list of persons.
    pairs = frame.groupby("patient_id")["image_id"].count()
    assert len(pairs) == 30 and (pairs == 2).all()
    listed = pd.read_csv(out / "same_person.csv", dtype=str)
    assert listed.iloc[0].isin(pairs.index).all()
    # The folds are those of a run on the images themselves, although ids are others now.
    source = {f.name: f.frame["image_id"] for f in assign(Hospital().table(tmp_path)).all()}
    ours = {f.name: f.frame.index for f in assign(Embeddings().table(out)).all()}
    assert {k: len(v) for k, v in source.items()} == {k: len(v) for k, v in ours.items()}
    fold = frame["fold"].to_numpy()
    assert set(table.frame["image_id"][fold == "test"]) == set(source["test"])
    assert not [p for p in out.iterdir() if any(i in p.read_bytes().decode("latin1")
                                                for i in ("p12-0", "p12-1"))]  # fmt: skip


class Pooled(nn.Module):
    """Three channels, each averaged: what black and white become can be read off."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)


class Mapped(nn.Module):
    """An encoder that was not pooled."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, ::8, ::8]


def traced(net: nn.Module, tmp_path: Path, channels: int) -> Path:
    path = tmp_path / "traced.pt"
    torch.jit.trace(net, torch.rand(2, channels, 32, 32)).save(str(path))  # type: ignore[no-untyped-call]
    return path


def test_a_traced_encoder_sees_what_scale_and_channels_say(tmp_path: Path) -> None:
    path = traced(Pooled(), tmp_path, 3)
    net = encoder(path, channels=3, scale=(-1024.0, 1024.0))
    assert net.backbone == "torchscript"
    pixels = np.zeros((1, 32, 32), np.uint8)
    pixels[0, 0, 0] = 255
    mean = -1024 + 2048 / 1024
    assert np.allclose(net(pixels), [[mean] * 3 + [1024.0] * 3], atol=0.01)


def test_an_encoder_without_pooling_is_refused(tmp_path: Path) -> None:
    net = encoder(traced(Mapped(), tmp_path, 1))
    with pytest.raises(ValueError, match=r"gives 1 x 1 x 4 x 4; pool"):
        net(np.zeros((1, 32, 32), np.uint8))


class Fixed(nn.Module):
    """An encoder that gives one vector for everybody, whose second number is given."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean((1, 2, 3))[:, None] * 0, x.new_full((len(x), 1), self.number)], 1)


class Viewed(Hospital):
    """A data set whose contrasts cannot be changed, as those of the real ones."""

    registered_name = "toy-viewed"
    primary_contrasts = MappingProxyType({"sex": ("Male", "Female")})  # type: ignore[assignment]


def test_contrasts_that_cannot_be_changed_are_written(weights: Path, tmp_path: Path) -> None:
    assert Job(Viewed(), Viewed().table(tmp_path), encoder(weights), tmp_path / "out").write()
    assert Meta.read(tmp_path / "out").primary_contrasts == {"sex": ("Male", "Female")}


def test_weights_of_a_run_are_read_by_its_config(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import save_file

    run = tmp_path / "run"
    run.mkdir()
    save_file(torch.load(weights), run / "weights.safetensors")
    (run / "config.yaml").write_text("set: {backbone: small_cnn, image_size: 48}\n")
    small = [word for k, v in PEOPLE.items() for word in ("--data", f"{k}={v}")]
    command = ["embed", "--dataset", "phantom", *small, "--device", "cpu"]
    command += ["--weights", str(run / "weights.safetensors"), "--out", str(tmp_path / "out")]
    assert main(command) == 0, capsys.readouterr().err
    used = Meta.read(tmp_path / "out").encoder
    assert (used["backbone"], used["image_size"]) == ("small_cnn", 48)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt"])
def test_a_file_that_holds_no_weights_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("00000001_000.png\n")
    assert embed(out=tmp_path / "out", weights=tmp_path / name) == 2
    assert "weights must be a .safetensors file or a PyTorch" in capsys.readouterr().err


@pytest.mark.parametrize("number", [0.0, float("nan"), float("inf")])
def test_useless_vectors_stop_the_work_at_once(tmp_path: Path, number: float) -> None:
    broken = Encoder(Fixed(number), "x", "0", "small_cnn", 32, 1, (-2.0, 2.0), "cpu")
    with pytest.raises(ValueError, match="row 1 of the table"):
        Job(Hospital(), hospital(tmp_path), broken, tmp_path / "out").write()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--image-size", "16"], "--image-size must be a whole number from 32 to 1024"),
        (["--channels", "3"], "--channels must be 1 for a backbone"),
        (["--scale", "2"], "--scale must be two numbers"),
        (["--scale", "1,0"], "--scale must be two numbers"),
        (["--backbone", "mlp"], "'mlp' sees embeddings"),
        (["--backbone", "densenet"], "did you mean 'densenet121'"),
        (["--backbone", "resnet9"], "weights must fit the backbone"),
        (["--on-bad-image", "hide"], "--on-bad-image must be error or drop"),
        (["--device", "quantum"], "--device must be"),
        (["--data", "patients=3"], "unknown field"),
    ],
)
def test_wrong_usage_is_one_sentence(
    weights: Path, tmp_path: Path, more: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert embed(*more, out=tmp_path / "out", weights=weights) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ") and told in said
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_things_in_it_is_left_alone(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    assert embed(out=tmp_path / "out", weights=weights) == 2
    assert "thesis.tex" in capsys.readouterr().err
    assert (tmp_path / "out" / "thesis.tex").read_text() == "x"


def test_embeddings_are_not_embedded_again(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embed(out=tmp_path / "out", weights=weights)
    code = main(["embed", "--dataset", "embeddings", "--data-root", str(tmp_path / "out"),
                 "--weights", str(weights), "--out", str(tmp_path / "again")])  # fmt: skip
    assert code == 2 and "holds embeddings already" in capsys.readouterr().err


def test_what_was_made_names_its_encoder_and_no_place_on_disk(
    weights: Path, tmp_path: Path
) -> None:
    embed(out=tmp_path / "out", weights=weights)
    text = (tmp_path / "out" / "meta.json").read_text()
    held = json.loads(text)
    assert held["encoder"]["file"] == "weights.pt" and len(held["encoder"]["sha256"]) == 64
    assert held["data_fields"]["train_patients"] == 8
    assert str(tmp_path) not in text
    assert Meta.read(tmp_path / "out").width == 96
