"""`anonymized`: every fold through the anonymiser, rows in place, changed once and kept."""

from __future__ import annotations

import pickle
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datasets.images import open_images
from datasets.split import Folds, Split
from methods.anonymisers import views
from methods.anonymisers.pixelate import Pixelate
from methods.anonymized import Anonymized
from methods.base import Context, Method
from methods.compose import method_class
from methods.erm import Erm
from methods.fit import fit
from registry import ANONYMISERS, UnknownName

SMALL: dict[str, Any] = {"image_size": 32, "epochs": 2}


def through(name: str, **fields: Any) -> Anonymized:
    return Anonymized(anonymiser=name, **SMALL, **fields)


def pixels(split: Split) -> np.ndarray:
    return open_images(split, 32).take()


@pytest.mark.parametrize("name", ["identity", "blur", "pixelate", "random_warp"])
def test_a_view_shows_the_transformed_pixels(name: str, folds: Folds, ctx: Context) -> None:
    seen = pixels(through(name).view(folds.test, ctx))
    assert np.array_equal(seen, ANONYMISERS.get(name)().transform(pixels(folds.test)))


def test_rows_labels_and_groups_stay_in_place(folds: Folds, ctx: Context) -> None:
    view = through("blur").view(folds.test, ctx)
    same = view.frame.drop(columns=["path", "origin"])
    assert same.equals(folds.test.frame.drop(columns=["path", "origin"]))
    assert set(view.frame["origin"]) == {"anonymised"}
    assert view.root == ctx.shared


def test_identity_is_erm(folds: Folds, ctx: Context) -> None:
    logits = []
    for method in (Erm(**SMALL), through("identity")):
        workdir = ctx.workdir / method.registered_name
        workdir.mkdir()
        predictor = fit(method, folds, replace(ctx, workdir=workdir))[0]
        logits.append(predictor(folds.test).logits())
    assert np.array_equal(*logits)


def test_identity_says_that_originals_are_released(folds: Folds, ctx: Context) -> None:
    assert through("identity").releases_originals
    assert through("identity").released == Erm().released
    assert through("identity").release(folds.test, ctx) is folds.test


@pytest.mark.parametrize("name", ["blur", "pixelate", "random_warp", "inpaint"])
def test_changed_images_are_not_called_originals(name: str) -> None:
    assert not through(name).releases_originals
    assert through(name).released == f"images changed by {name}"


def test_an_oracle_is_called_one() -> None:
    assert "oracle" in through("inpaint", keep="regions").released


def test_a_release_is_the_view(folds: Folds, ctx: Context) -> None:
    method = through("random_warp")
    view, release = method.view(folds.audit, ctx), method.release(folds.audit, ctx)
    assert view.frame.equals(release.frame)


def test_images_are_changed_once(
    folds: Folds, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = through("pixelate")
    first = pixels(method.view(folds.val, ctx))

    def refuse(self: Pixelate, images: np.ndarray) -> np.ndarray:
        raise AssertionError("changed again")

    monkeypatch.setattr(Pixelate, "change", refuse)
    other_seed = replace(ctx, seed=5)
    assert np.array_equal(pixels(method.view(folds.val, other_seed)), first)
    with pytest.raises(AssertionError, match="changed again"):
        method.view(folds.test, ctx)


def test_other_settings_are_changed_anew(folds: Folds, ctx: Context) -> None:
    paths = {
        through("random_warp", **fields).view(folds.val, ctx).frame["path"][0]
        for fields in ({}, {"strength": 0.5}, {"generator_seed": 1})
    }
    assert len(paths) == 3


def test_another_text_of_an_anonymiser_is_changed_anew(
    folds: Folds, ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = through("blur").view(folds.val, ctx).frame["path"][0]
    edited = tmp_path / "edited.py"
    edited.write_text("# another formula")
    monkeypatch.setattr(views, "_sources", lambda anonymiser: [edited])
    assert through("blur").view(folds.val, ctx).frame["path"][0] != before


def test_work_goes_on_where_it_was_stopped(
    folds: Folds, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "CHUNK", 20)  # 80 images: four chunks
    change, calls = Pixelate.change, 0

    def killed_in_the_third(self: Pixelate, images: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return change(self, images)

    monkeypatch.setattr(Pixelate, "change", killed_in_the_third)
    method = through("pixelate")
    with pytest.raises(KeyboardInterrupt):
        method.view(folds.val, ctx)
    assert not list((ctx.shared / "views").glob("*.npy"))
    view = method.view(folds.val, ctx)
    assert calls == 5  # two were kept, the third is repeated, the fourth is new
    assert np.array_equal(pixels(view), Pixelate().transform(pixels(folds.val)))
    assert [p.suffix for p in (ctx.shared / "views").iterdir() if p.suffix != ".lock"] == [".npy"]


def test_a_half_written_stack_is_not_taken_for_a_whole_one(
    folds: Folds, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, written = np.save, 0

    def killed_at_the_stack(file: Any, array: np.ndarray) -> None:
        nonlocal written
        written += 1
        save(file, array[: len(array) // 2] if written == 2 else array)
        if written == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", killed_at_the_stack)
    with pytest.raises(KeyboardInterrupt):
        through("blur").view(folds.val, ctx)
    monkeypatch.setattr(np, "save", save)
    assert len(pixels(through("blur").view(folds.val, ctx))) == len(folds.val)


def _view_in_another_process(sent: bytes) -> np.ndarray:
    method, split, ctx = pickle.loads(sent)
    return pixels(method.view(split, ctx))


def test_two_processes_share_one_stack(folds: Folds, ctx: Context) -> None:
    method = through("random_warp")
    sent = pickle.dumps((method, folds.test, replace(ctx, seed=9)))
    with get_context("spawn").Pool(2) as pool:
        seen = pool.map(_view_in_another_process, [sent, sent])
    mine = pixels(method.view(folds.test, ctx))
    assert all(np.array_equal(other, mine) for other in seen)
    assert len(list((ctx.shared / "views").glob("*.npy"))) == 1


def test_random_numbers_of_the_run_are_not_shifted(folds: Folds, ctx: Context) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    Anonymized(**SMALL, **Anonymized.smallest).view(folds.val, ctx)
    assert torch.equal(torch.rand(4), expected)


def test_a_view_does_not_depend_on_labels(folds: Folds, ctx: Context) -> None:
    flipped = folds.test.frame.copy()
    for finding in folds.test.findings:
        flipped[finding] = 1 - flipped[finding]
    method = Anonymized(**SMALL, **Anonymized.smallest)
    seen = [
        pixels(method.view(split, replace(ctx, shared=ctx.shared / str(i))))
        for i, split in enumerate((folds.test, folds.test.with_frame(flipped)))
    ]
    assert np.array_equal(*seen)


def test_before_and_after_are_drawn_once_and_of_validation(folds: Folds, ctx: Context) -> None:
    method, picture = through("pixelate"), ctx.pictures / "before_after.png"
    method.view(folds.test, ctx)
    assert not picture.exists()
    method.view(folds.val, ctx)
    stamp = picture.stat().st_mtime_ns
    method.view(folds.val, ctx)
    assert picture.stat().st_mtime_ns == stamp


def test_an_unknown_anonymiser_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match="did you mean 'pixelate'"):
        through("pixellate")


def test_a_setting_of_another_anonymiser_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sampling_steps must be a setting.*'blur' has only"):
        through("blur", sampling_steps=3)
    with pytest.raises(ValueError, match=r"strength must be a setting.*'inpaint' has only"):
        through("inpaint", strength=2.0)


def test_settings_reach_the_anonymiser() -> None:
    assert through("blur", strength=0.25).changer == ANONYMISERS.get("blur")(strength=0.25)
    changer: Any = through("inpaint", keep_share=0.1, generator_steps=7).changer
    assert (changer.keep_share, changer.generator_steps) == (0.1, 7)


def test_a_size_that_the_generator_cannot_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        Anonymized(image_size=40)
    Anonymized(image_size=40, anonymiser="blur")


def test_resampling_combines_with_anonymised_images(folds: Folds, ctx: Context) -> None:
    method = method_class("upsample+anonymized")(anonymiser="blur", attribute="race", **SMALL)
    rows = method.data(method.view(folds.train, ctx), ctx)
    assert set(rows.frame["origin"]) == {"anonymised"}
    assert len(rows) > len(folds.train)
    assert method.released == "images changed by blur"


def test_a_method_that_publishes_other_images_is_not_combined(ctx: Context) -> None:
    class Publishes(Anonymized):
        def release(self, split: Split, ctx: Context) -> Split:
            return Method.release(self, split, ctx)

    method = Publishes(anonymiser="identity", **SMALL)
    assert "not be anonymised" in str(method.skip(ctx.task))
    assert not method.releases_originals
