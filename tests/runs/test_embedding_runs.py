"""Runs on embeddings: what is chosen, what is refused, and results from end to end."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import FINDINGS, GROUPS, toy_split

from datasets.split import Folds, Split
from methods.base import Context, Method, Task
from methods.fit import Incompatible, fit, quiet_logger
from metrics.score import MACRO
from registry import METHODS
from runs.pipeline import execute
from runs.plan import Plan, resolve
from runs.preparation import prepare_run
from runs.request import Request
from tracking.store import Store

WIDTH = 12
ON_EMBEDDINGS = ("erm", "upsample", "downsample", "group_thresholds", "dpsgd", "fairread")
NEED_PIXELS = ("synthetic", "anonymized")
SMALL: dict[str, Any] = {"epochs": 3, "batch_size": 32, "backbone": "mlp"}


def vectors_of(split: Split, seed: int) -> Split:
    """The split with embeddings in place of its pictures; the first finding is easy to see."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(len(split), WIDTH)).astype(np.float32)
    vectors[:, 0] += 4 * split.labels()[:, 0]
    np.save(split.root / f"{split.name}.npy", vectors)
    return split


@pytest.fixture
def folds(tmp_path: Path) -> Folds:
    """The toy folds as embeddings."""
    sizes = {"train": range(0, 60), "val": range(100, 140), "audit": range(200, 220),
             "test": range(300, 340)}  # fmt: skip
    made = {
        name: vectors_of(toy_split(tmp_path, name, people), seed)
        for seed, (name, people) in enumerate(sizes.items())
    }
    return Folds(**made)


@pytest.fixture
def task() -> Task:
    """The task of the toy folds, of embeddings."""
    return Task(FINDINGS, tuple(GROUPS), GROUPS, FINDINGS, WIDTH)


def small(name: str, **changes: Any) -> Method:
    fields = {"epsilon": float("inf")} if name == "dpsgd" else {}
    made: Method = METHODS.get(name)(**SMALL | fields | changes)
    return made


@pytest.mark.parametrize("name", ON_EMBEDDINGS)
def test_the_method_learns_from_embeddings(name: str, folds: Folds, ctx: Context) -> None:
    changes = {"epochs": 25} if name == "dpsgd" else {"epochs": 8}
    predictor, _ = fit(small(name, **changes), folds, ctx)
    test = predictor(folds.test)
    logits, y = test.logits()[:, 0], folds.test.labels()[:, 0]
    wins = (logits[y == 1][:, None] > logits[y == 0]).mean()
    assert wins > 0.9
    assert predictor.embed(folds.test).shape == (80, 256)


def test_every_method_runs_on_embeddings_or_says_why(task: Task) -> None:
    registered = {n for n, e in METHODS.entries().items() if e.module.startswith("methods.")}
    assert registered == {*ON_EMBEDDINGS, *NEED_PIXELS}
    for name in registered:
        reason = METHODS.get(name)(backbone="mlp").skip(task)
        assert (reason is not None) == (name in NEED_PIXELS)


@pytest.mark.parametrize("name", NEED_PIXELS)
def test_methods_that_need_pixels_say_so(name: str, folds: Folds, ctx: Context) -> None:
    with pytest.raises(Incompatible, match="holds embeddings and no pixels"):
        fit(METHODS.get(name)(backbone="mlp"), folds, ctx)


def means(method: Method, folds: Folds, ctx: Context) -> np.ndarray:
    net = fit(method, folds, ctx)[0].net
    held: np.ndarray = net.state_dict()["backbone.encoder.0.mean"].numpy()
    return held


def test_embeddings_are_scaled_by_training_rows(folds: Folds, ctx: Context) -> None:
    rows = np.load(folds.train.root / "train.npy").astype(np.float64)
    level = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
    assert np.allclose(means(small("erm"), folds, ctx), level.mean(0), atol=1e-3)


def test_private_training_does_not_release_means(folds: Folds, ctx: Context) -> None:
    assert not means(small("dpsgd"), folds, ctx).any()


def test_stored_weights_bring_their_scale(folds: Folds, ctx: Context, tmp_path: Path) -> None:
    predictor, _ = fit(small("fairread"), folds, ctx)
    predictor.save(tmp_path / "w.safetensors")
    again, _ = fit(small("fairread"), folds, ctx, stored_weights=tmp_path / "w.safetensors")
    assert np.array_equal(predictor(folds.test).logits(), again(folds.test).logits())


# Whole runs, on a folder as `python -m datasets embed` writes it.


@pytest.fixture(scope="session")
def empty_store_of_embeddings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store made once."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    Store(f"sqlite:///{path}", "default")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An embedding data set of 295 patients, most of them for the audit and the test."""
    root = tmp_path / "data"
    root.mkdir()
    return write(root)


def write(root: Path, **changes: Any) -> Path:
    people = {"train": 40, "val": 30, "audit": 105, "test": 120}
    names = np.repeat([*people], [*people.values()])
    patient = np.repeat(np.arange(len(names)), 2)
    rng = np.random.default_rng(1)
    present = rng.random(len(patient)) < 0.5
    frame = toy_split(root, "toy", range(0, len(names))).frame.drop(columns="path")
    frame["Cardiomegaly"], frame["No Finding"] = present * 1.0, 1.0 - present
    frame["origin"], frame["fold"] = "real", names[patient]
    frame.to_parquet(root / "table.parquet", index=False)
    who = rng.normal(size=(len(names), WIDTH))[patient]
    vectors = who + 0.2 * rng.normal(size=who.shape)
    vectors[:, 0] = 4 * present
    np.save(root / "embeddings.npy", vectors.astype(np.float32))
    (root / "toy.npy").unlink()
    meta = {
        "encoder": {"file": "w.pt", "sha256": "cd" * 32, "backbone": "densenet121"},
        "width": WIDTH, "images": len(frame), "dataset": "somewhere", "data_version": "1",
        "data_fields": {}, "content": "0", "findings": FINDINGS, "attributes": GROUPS,
        "terms": "open", "kind": "real", "reidentification_allowed": True, "ids": "raw",
        "format": 1,
    }  # fmt: skip
    (root / "meta.json").write_text(json.dumps(meta | changes))
    return root


def request(data: Path, method: str = "erm", **changes: Any) -> Request:
    fields = {
        "method": method, "dataset": "embeddings", "data_root": str(data), "device": "cpu",
        "set": {"epochs": 2}, "output": str(data.parent / "output"),
        "tracking_uri": f"sqlite:///{data.parent}/mlflow.db",
    }  # fmt: skip
    return Request(**fields | changes)  # type: ignore[arg-type]


def ready(data: Path, store: Path, **changes: Any) -> Plan:
    for file in store.parent.glob("mlflow.db*"):
        shutil.copy(file, data.parent / file.name)
    return resolve(request(data, **changes))


@pytest.mark.parametrize("method", ["erm", "dpsgd", "fairread"])
def test_a_run_on_embeddings_is_stored_in_full(
    method: str, data: Path, empty_store_of_embeddings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Attacked in this process: a second one would spend its time on imports.
    monkeypatch.setattr("runs.audit._pickled", lambda audit, plan: None)
    fields: dict[str, Any] = {"epochs": 4}
    if method == "dpsgd":
        fields |= {"epsilon": 50, "batch_size": 16}
    plan = ready(data, empty_store_of_embeddings, method=method, set=fields)
    prepared = prepare_run(plan)
    record = execute(prepared, quiet_logger())
    assert record.status == "FINISHED" and record.logged
    assert record.released == "embeddings released"
    assert record.method_fields["backbone"] == "mlp"
    assert "of=somewhere encoder=densenet121:cdcdcdcd" in record.data_variant
    stored = prepared.directory.scores()
    value = {s.metric: s.value for s in stored if s.metric.endswith("_reid_auc")}
    # Whose embedding it is shows in all its numbers, so the attacker must find it.
    assert value["image_reid_auc"] > 0.9
    assert 0 <= value["embedding_reid_auc"] <= 1
    macro = next(s for s in stored if s.metric == "auc" and s.finding == MACRO and not s.attribute)
    assert macro.value > 0.7


def test_without_a_named_backbone_it_is_mlp(data: Path) -> None:
    assert resolve(request(data)).method.backbone == "mlp"
    named = resolve(request(data, set={"backbone": "linear"}))
    assert named.method.backbone == "linear"
    assert resolve(request(data, method="upsample+group_thresholds")).method.backbone == "mlp"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"set": {"backbone": "small_cnn"}}, "'small_cnn' sees images"),
        ({"set": {"augmentation": "light"}}, "augmentation must be none"),
        ({"dataset": "phantom", "data_root": "", "set": {"backbone": "mlp"}},
         "'mlp' sees embeddings; python -m datasets embed"),
    ],
)  # fmt: skip
def test_what_cannot_be_seen_is_refused(data: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        resolve(request(data, **changes))


@pytest.mark.parametrize("method", NEED_PIXELS)
def test_a_run_that_needs_pixels_is_refused_before_it_begins(method: str, data: Path) -> None:
    with pytest.raises(Incompatible, match="holds embeddings and no pixels"):
        prepare_run(resolve(request(data, method=method, set={})))


def test_terms_of_the_source_hold_for_a_run(tmp_path: Path) -> None:
    root = tmp_path / "restricted"
    root.mkdir()
    write(root, terms="restricted", reidentification_allowed=False, kind="simulated")
    dataset = resolve(request(root)).dataset
    assert dataset.terms == "restricted" and not dataset.reidentification_allowed


def test_an_embedding_in_two_folds_stops_the_run(data: Path) -> None:
    vectors = np.load(data / "embeddings.npy")
    vectors[-1] = vectors[0]
    np.save(data / "embeddings.npy", vectors)
    with pytest.raises(ValueError, match="same image"):
        prepare_run(resolve(request(data)))


def test_a_bad_embedding_stops_the_run_or_is_dropped(data: Path) -> None:
    vectors = np.load(data / "embeddings.npy")
    vectors[5, 2] = np.nan
    np.save(data / "embeddings.npy", vectors)
    with pytest.raises(ValueError, match="embedding not finite"):
        prepare_run(resolve(request(data)))
    prepared = prepare_run(resolve(request(data, on_bad_image="drop")))
    assert prepared.dropped == {"embedding not finite": 1}


def test_other_vectors_are_another_run(data: Path) -> None:
    first = prepare_run(resolve(request(data)))
    np.save(data / "embeddings.npy", np.load(data / "embeddings.npy")[:, ::-1])
    second = prepare_run(resolve(request(data)))
    assert first.key != second.key and first.split_digest == second.split_digest


def two(data: Path, **changes: Any) -> dict[str, Any]:
    """A second folder of embeddings beside the first, as fields of a request."""
    other = data.parent / "other"
    other.mkdir()
    write(other, **changes)
    vectors = np.load(other / "embeddings.npy")
    np.save(other / "embeddings.npy", vectors + np.float32(0.01))
    roots = {"embeddings": str(data), "embeddings-elsewhere": str(other)}
    return {"data_root": "", "data_roots": roots}


def test_other_embeddings_test_a_model(data: Path) -> None:
    plan = resolve(request(data, test_datasets=("embeddings-elsewhere",), **two(data)))
    (domain,) = prepare_run(plan).domains
    assert domain.name == "embeddings-elsewhere" and len(domain.test) == 240


def test_a_union_of_embeddings_is_what_its_folders_say(data: Path) -> None:
    changes = two(data, kind="real", terms="restricted")
    plan = resolve(request(data, dataset="embeddings+embeddings-elsewhere", **changes))
    assert plan.dataset.holds == "embeddings" and plan.method.backbone == "mlp"
    assert plan.dataset.terms == "restricted" and not plan.from_run
    assert "embeddings-elsewhere.of=somewhere" in plan.dataset.variant
    prepared = prepare_run(plan)
    assert len(prepared.folds[0].test) == 480 and prepared.task.width == WIDTH


def test_open_embeddings_make_an_open_union(data: Path) -> None:
    plan = resolve(request(data, dataset="embeddings+embeddings-elsewhere", **two(data)))
    assert plan.dataset.terms == "open" and plan.dataset.reidentification_allowed


OTHER = {"file": "other.pt", "sha256": "ef" * 32, "backbone": "densenet121"}


@pytest.mark.parametrize(
    ("meta", "told"),
    [
        ({"encoder": OTHER}, "differ in sha256; embed both alike"),
        ({"kind": "simulated"}, "real and simulated data must not be mixed"),
    ],
)
@pytest.mark.parametrize(
    "asked",
    [{"dataset": "embeddings+embeddings-elsewhere"}, {"test_datasets": ("embeddings-elsewhere",)}],
    ids=["union", "test"],
)
def test_embeddings_that_do_not_go_together_are_refused(
    data: Path, meta: dict[str, Any], told: str, asked: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=told):
        resolve(request(data, **asked, **two(data, **meta)))


def test_images_and_embeddings_are_not_tested_together(tmp_path: Path) -> None:
    root = tmp_path / "simulated"
    root.mkdir()
    write(root, kind="simulated")
    with pytest.raises(ValueError, match="phantom holds images; embed the images"):
        resolve(request(root, test_datasets=("phantom",)))


def test_the_order_of_rows_is_kept_where_some_are_dropped(folds: Folds, ctx: Context) -> None:
    predictor, _ = fit(small("erm"), folds, replace(ctx))
    some = folds.test.where(np.arange(80) % 3 == 0)
    assert np.allclose(predictor(some).logits(), predictor(folds.test).logits()[::3], atol=1e-5)
