"""Synthetic rows: even groups, kept prevalence, shared between seeds, or read from a pool."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from toy import FINDINGS, GROUPS, SIZE

from datasets.images import open_images
from datasets.split import IMAGE_ROOT, Folds, Split
from methods import diffusion, generated
from methods.base import Context, Method, Task
from methods.fit import Incompatible, fit
from methods.generated import Generated, conditions, even_groups
from methods.loader import Rows
from methods.pool import pool_digest, read_pool, refuse_known
from methods.synthetic import Synthetic

SMALL: dict[str, Any] = {"image_size": SIZE, "epochs": 2, **Synthetic.smallest}


def synthetic(**fields: Any) -> Synthetic:
    return Synthetic(**SMALL | fields)


def skewed(train: Split) -> Split:
    """Training rows in which the first finding is nearly always there in group A, else rarely."""
    frame = train.frame.copy()
    rng = np.random.default_rng(0)
    likely = np.where(frame["race"].astype(str) == "A", 0.9, 0.1)
    frame["Cardiomegaly"] = (rng.random(len(frame)) < likely).astype(float)
    frame["No Finding"] = 1 - frame["Cardiomegaly"]
    frame.loc[::7, "No Finding"] = np.nan
    return train.with_frame(frame)


# Rows.


def test_groups_are_even_and_labels_are_kept_but_do_not_tell_the_group(ctx: Context) -> None:
    ctx = replace(ctx, train=skewed(ctx.train))
    config = synthetic()._generator()
    rows = Generated(config, "race", 10 * len(ctx.train)).images(ctx)
    counts = rows.frame["race"].astype(str).value_counts()
    assert counts.to_dict() == {"A": 400, "B": 400, "C": 400}
    for finding in FINDINGS:
        real, made = ctx.train.frame[finding], rows.frame[finding]
        assert made.mean() == pytest.approx(real.mean(), abs=1e-9)
        assert made.isna().mean() == pytest.approx(real.isna().mean(), abs=1e-9)
    by_group = rows.frame.groupby(rows.frame["race"].astype(str))["Cardiomegaly"].mean()
    before = ctx.train.frame.groupby(ctx.train.frame["race"].astype(str))["Cardiomegaly"].mean()
    assert before.max() - before.min() > 0.6
    assert by_group.max() - by_group.min() < 0.1
    # Another attribute stays with the labels of its row.
    assert rows.frame["sex"].astype(str).value_counts(normalize=True)["Male"] == 0.5


def test_an_unknown_or_empty_group_is_not_drawn(folds: Folds) -> None:
    frame = folds.train.frame.copy()
    groups = ("A", "B", "C", "D", "Unknown")
    race = frame["race"].astype(str)
    race[:9] = "Unknown"
    frame["race"] = pd.Categorical(race, categories=groups)
    assert even_groups(folds.train.with_frame(frame), "race") == ("A", "B", "C")
    frame["race"] = pd.Categorical(["Unknown"] * len(frame), categories=groups)
    assert even_groups(folds.train.with_frame(frame), "race") == ("Unknown",)


def test_real_rows_stay_and_synthetic_ones_are_patients_of_their_own(
    folds: Folds, ctx: Context
) -> None:
    rows = synthetic(ratio=0.25).data(folds.train, ctx)
    real = rows.where((rows.frame["origin"] != "synthetic").to_numpy())
    made = rows.where((rows.frame["origin"] == "synthetic").to_numpy())
    assert real.frame["image_id"].tolist() == folds.train.frame["image_id"].tolist()
    assert len(made) == round(0.25 * len(folds.train)) == made.frame["patient_id"].nunique()
    known = {p for fold in folds.all() for p in fold.patients}
    assert not known & set(made.patients)
    # The pixels of both kinds are found below their own roots.
    pixels = Rows(rows, ctx.task, SIZE).pixels
    assert pixels is not None
    assert np.array_equal(pixels[: len(real)], open_images(folds.train, SIZE).take())
    alone = made.with_frame(made.frame.drop(columns=IMAGE_ROOT))
    below = replace(alone, root=Path(made.frame[IMAGE_ROOT].iloc[0]))
    assert np.array_equal(pixels[len(real) :], open_images(below, SIZE).take())


def test_conditions_are_labels_and_groups(folds: Folds) -> None:
    frame = folds.train.frame.iloc[:2].copy()
    frame["race"] = pd.Categorical(["C", "A"], categories=GROUPS["race"])
    frame["sex"] = pd.Categorical(["Male", "Female"], categories=GROUPS["sex"])
    frame["Cardiomegaly"], frame["No Finding"] = [1.0, np.nan], [0.0, 1.0]
    told = conditions(folds.train.with_frame(frame))
    #                      labels    sex     race
    assert told.tolist() == [[1, 0, 0, 1, 0, 0, 1], [0.5, 1, 1, 0, 1, 0, 0]]


def test_the_sheet_of_samples_says_that_data_are_simulated(folds: Folds, ctx: Context) -> None:
    synthetic().data(folds.train, ctx)
    with Image.open(ctx.pictures / "samples.png") as picture:
        assert picture.width > 4 * 128


# Shared between seeds and processes.


def test_seeds_share_one_generator_and_its_images(
    folds: Folds, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = synthetic().release(folds.test, ctx)
    monkeypatch.setattr(generated, "train_denoiser", None)  # a second fit would fail
    monkeypatch.setattr(generated, "sample", None)
    again = synthetic().release(folds.audit, replace(ctx, seed=7))
    assert first.root == again.root and first.frame.equals(again.frame)


def test_how_images_are_sampled_needs_no_other_generator(
    folds: Folds, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = synthetic().release(folds.test, ctx)
    monkeypatch.setattr(generated, "train_denoiser", None)
    pixels = [open_images(plain, SIZE).take()]
    for fields in ({"guidance": 3.0}, {"sampling_steps": 3}):
        other = synthetic(**fields).release(folds.test, ctx)
        assert other.root == plain.root
        pixels.append(open_images(other, SIZE).take())
    assert len({p.tobytes() for p in pixels}) == 3


def test_another_ratio_uses_the_same_generator(
    folds: Folds, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = synthetic(ratio=0.25).release(folds.test, ctx)
    monkeypatch.setattr(generated, "train_denoiser", None)
    many = synthetic(ratio=0.5).release(folds.test, ctx)
    assert few.root == many.root and len(many) == 2 * len(few)


def test_other_training_rows_make_another_generator(folds: Folds, ctx: Context) -> None:
    first = synthetic().release(folds.test, ctx)
    fewer = folds.train.where(np.arange(len(folds.train)) < 100)
    assert synthetic().release(folds.test, replace(ctx, train=fewer)).root != first.root
    other = synthetic(generator_lr=1e-3).release(folds.test, ctx)
    assert other.root != first.root


def test_a_killed_fit_goes_on_to_the_same_images(
    folds: Folds, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = synthetic().release(folds.test, replace(ctx, shared=ctx.shared / "whole"))
    monkeypatch.setattr(diffusion, "CHECKPOINT_SECONDS", 0.0)
    step = diffusion._Training.step

    def killed(self: Any, number: int) -> Any:
        if number == 4:
            raise KeyboardInterrupt
        return step(self, number)

    monkeypatch.setattr(diffusion._Training, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        synthetic().release(folds.test, ctx)
    taken: list[int] = []

    def counted(self: Any, number: int) -> Any:
        taken.append(number)
        return step(self, number)

    monkeypatch.setattr(diffusion._Training, "step", counted)
    resumed = synthetic().release(folds.test, ctx)
    assert taken == [4, 5]
    pixels = [open_images(split, SIZE).take() for split in (whole, resumed)]
    assert np.array_equal(pixels[0], pixels[1])
    assert not list(resumed.root.glob("checkpoint*"))


def _release(shared: Path, train: Split, task: Task, ctx: Context, done: Any) -> None:
    done.put(synthetic().release(train, replace(ctx, shared=shared, train=train, task=task)).root)


def test_two_processes_make_one_set(folds: Folds, ctx: Context, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    done = spawn.Queue()
    shared = tmp_path / "both"
    processes = [
        spawn.Process(target=_release, args=(shared, folds.train, ctx.task, ctx, done))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    roots = {done.get(timeout=120) for _ in processes}
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(roots) == 1
    (root,) = roots
    assert len(list(root.glob("images-*.npy"))) == 1 and not list(root.rglob("*.partial"))


# What cannot be.


class _Blurred(Synthetic):
    def view(self, split: Split, ctx: Context) -> Split:
        return split


def test_a_changed_view_is_refused(task: Task) -> None:
    reason = _Blurred(**SMALL).skip(task)
    assert reason is not None and "would release what the other method hides" in reason


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"ratio": 0.0}, "ratio must lie in"),
        ({"image_size": 40}, "must be a multiple of 16"),
        ({"generator_width": 10}, "multiple of 8"),
    ],
)
def test_fields_outside_their_limits_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        synthetic(**fields)


def test_an_attribute_that_is_not_there_is_refused(task: Task) -> None:
    assert "only: sex, race" in str(synthetic(attribute="age").skip(task))
    assert synthetic(attribute="race").skip(task) is None
    assert synthetic().skip(replace(task, attributes=(), groups={})) is None


# Pools.


def write_pool(folder: Path, rows: int = 6, **columns: Any) -> Path:
    """A pool of grey squares of growing brightness; `columns` replace or (None) drop columns."""
    folder.mkdir(parents=True, exist_ok=True)
    for row in range(rows):
        Image.new("L", (48, 48), 20 * row + 10).save(folder / f"{row}.png")
    table = {
        "path": [f"{row}.png" for row in range(rows)],
        "Cardiomegaly": ["1", "0", ""] * (rows // 3),
        "No Finding": ["0", "1", "1"] * (rows // 3),
        "sex": ["Female", "Male"] * (rows // 2),
        "race": ["A", "B", "C"] * (rows // 3),
        "model": ["elsewhere"] * rows,
    }
    frame = pd.DataFrame({k: v for k, v in (table | columns).items() if v is not None})
    frame.to_csv(folder / "pool.csv", index=False)
    return folder / "pool.csv"


def test_a_pool_is_read_with_its_labels_and_groups(tmp_path: Path, task: Task) -> None:
    pool = read_pool(write_pool(tmp_path / "pool"), task, SIZE)
    assert pool.labels()[:3].tolist()[:2] == [[1, 0], [0, 1]]
    assert np.isnan(pool.labels()[2, 0]) and pool.labels()[2, 1] == 1
    assert pool.frame["race"].astype(str).tolist() == ["A", "B", "C"] * 2
    assert pool.groups_of("race") == GROUPS["race"]
    assert set(pool.frame["origin"]) == {"synthetic"}
    assert [int(p[0, 0]) for p in open_images(pool, SIZE).take()] == [10, 30, 50, 70, 90, 110]


def test_a_pool_takes_the_place_of_the_generator(
    tmp_path: Path, folds: Folds, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generated, "train_denoiser", None)
    method = synthetic(pool=str(write_pool(tmp_path / "pool")), epochs=1)
    assert method.skip(ctx.task) is None
    method.check(folds)
    predictor, _ = fit(method, folds, ctx)
    assert np.isfinite(predictor(folds.test).logits()).all()
    assert len(method.release(folds.test, ctx)) == 6
    assert len(method.data(folds.train, ctx)) == len(folds.train) + 6


def test_of_a_large_pool_as_many_rows_are_drawn_as_the_ratio_says(
    tmp_path: Path, folds: Folds, ctx: Context
) -> None:
    method = synthetic(pool=str(write_pool(tmp_path / "pool", rows=60)), ratio=0.25)
    drawn = []
    for seed in (0, 0, 1):
        rows = method.data(folds.train, replace(ctx, seed=seed)).frame
        drawn.append(rows.loc[rows["origin"] == "synthetic", "image_id"].tolist())
    assert len(drawn[0]) == 30 == len(set(drawn[0]))
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(method.release(folds.test, ctx)) == 60


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"Cardiomegaly": None, "cardiomegaly": ["1"] * 6},
         r"must have the columns 'Cardiomegaly', but .* near: 'cardiomegaly'"),
        ({"path": None}, "must have the columns 'path'"),
        ({"sex": None, "race": None}, "must have the columns 'sex', 'race'"),
        ({"No Finding": ["0", "1", "1", "uncertain", "1", "-1"]},
         r"a label must be 0, 1 or blank, but got 'uncertain' \(column 'No Finding', line 5 of .*; "
         "2 rows in all"),
        ({"race": ["A", "B", "C", "A", "D", "C"]},
         r"'race' must be one of A, B, C, but got 'D' \(column 'race', line 6"),
        ({"sex": ["Female", "Male", "", "Male", "Female", "Male"]},
         "'sex' must be one of Female, Male, but got ''"),
        ({"path": ["0.png", "1.png", "2.png", "gone.png", "4.png", "5.png"]},
         "must be readable, but 1 of .*gone.png"),
        ({"path": ["0.png", "1.png", "../secret.png", "3.png", "4.png", "5.png"]},
         "must lie below"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_pool_is_said_before_a_run(
    columns: dict[str, Any], said: str, tmp_path: Path, folds: Folds, ctx: Context
) -> None:
    method = synthetic(pool=str(write_pool(tmp_path / "pool", **columns)))
    reason = method.skip(ctx.task)
    assert reason is not None
    with pytest.raises(Incompatible, match=said):
        fit(method, folds, ctx)


@pytest.mark.parametrize("content", [None, "", "path,Cardiomegaly\n", b"\xff\xfe\x00\x01PNG"])
def test_a_file_that_is_no_pool_is_refused(
    content: str | bytes | None, tmp_path: Path, task: Task
) -> None:
    path = tmp_path / "pool.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    reason = synthetic(pool=str(path)).skip(task)
    assert reason is not None and "pool must" in reason


def test_blank_groups_are_unknown_where_the_task_has_that_group(tmp_path: Path, task: Task) -> None:
    groups = {"sex": ("Female", "Male", "Unknown"), "race": GROUPS["race"]}
    path = write_pool(tmp_path / "pool", sex=["", "Male"] * 3)
    pool = read_pool(path, replace(task, groups=groups), SIZE)
    assert pool.frame["sex"].astype(str).tolist() == ["Unknown", "Male"] * 3


@pytest.mark.parametrize("fold", ["val", "audit", "test"])
def test_a_pool_with_images_of_other_patients_is_refused(
    fold: str, tmp_path: Path, folds: Folds, task: Task
) -> None:
    path = write_pool(tmp_path / "pool")
    refuse_known(path, folds, SIZE)
    stolen = open_images(getattr(folds, fold), SIZE).take(np.array([5]))[0]
    Image.fromarray(stolen).save(tmp_path / "pool" / "3.png")
    with pytest.raises(ValueError, match=rf"no image of {fold} patients, but 1 .*3\.png"):
        synthetic(pool=str(path)).check(folds)


def test_a_pool_with_training_images_is_allowed(tmp_path: Path, folds: Folds) -> None:
    path = write_pool(tmp_path / "pool")
    known = open_images(folds.train, SIZE).take(np.array([0]))[0]
    Image.fromarray(known).save(tmp_path / "pool" / "0.png")
    refuse_known(path, folds, SIZE)


def test_the_key_of_a_run_follows_the_content_of_the_pool(tmp_path: Path) -> None:
    path = write_pool(tmp_path / "pool")
    method = synthetic(pool=str(path))
    first = method.content()
    assert first == method.content() and synthetic().content() == Method().content() == ()
    copied = write_pool(tmp_path / "copy")
    assert pool_digest(copied, SIZE) == first[0]
    Image.new("L", (48, 48), 255).save(tmp_path / "pool" / "2.png")
    changed = method.content()
    write_pool(tmp_path / "copy", race=["C", "B", "A"] * 2)
    assert len({first, changed, (pool_digest(copied, SIZE),)}) == 3
