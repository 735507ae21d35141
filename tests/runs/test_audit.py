"""Attackers on changed images: what each can do, who is told, and who does the work."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from datasets.images import open_images
from datasets.phantom import Phantom
from datasets.split import Folds, Split
from methods.base import Context, Method, Task
from methods.predictor import as_predictions
from metrics import reidentification
from metrics.bootstrap import PatientBootstrap
from metrics.predictions import Predictions, pool
from metrics.reidentification import Verifier
from metrics.score import Score
from runs import audit
from runs.audit import Attackers, ImageAudit, NothingToAttack, linkage
from runs.plan import resolve
from runs.preparation import Prepared, prepare_run
from runs.request import Request

FINDINGS, ATTRIBUTES = ("Cardiomegaly", "No Finding"), ("sex", "race")
"""Those of the fixture `task`."""
SIDE = 32
BLOCK = 8
TINY = Verifier(steps=60, batch_patients=12, width=16, image_size=SIDE)


@dataclass(frozen=True)
class Planted(Method):
    """An anonymiser whose images are put into a stack below `ctx.shared`, once."""

    image_size: int = SIDE

    def view(self, split: Split, ctx: Context) -> Split:
        """The split with changed pixels."""
        ctx.shared.mkdir(parents=True, exist_ok=True)
        stack = ctx.shared / f"{type(self).__name__}-{split.name}.npy"
        with FileLock(f"{stack}.lock"):
            if not stack.is_file():
                ctx.log.info("changing the images of %s", split.name)
                np.save(stack, self.change(open_images(split, SIDE).take()))
        paths = [f"{stack.name}#{row}" for row in range(len(split))]
        return replace(split, frame=split.frame.assign(path=paths), root=ctx.shared)

    def change(self, pixels: np.ndarray) -> np.ndarray:
        """Changed pixels of the same shape."""
        return pixels


@dataclass(frozen=True)
class Copied(Planted):
    """Changes nothing, in files of its own."""


@dataclass(frozen=True)
class Rearranged(Planted):
    """Puts the 16 tiles of every image into another order, the same for all images."""

    def change(self, pixels: np.ndarray) -> np.ndarray:
        """The tiles of each image in the new order."""
        per_side = SIDE // BLOCK
        order = np.random.default_rng(6).permutation(per_side**2)
        tiles = pixels.reshape(-1, per_side, BLOCK, per_side, BLOCK).transpose(0, 1, 3, 2, 4)
        tiles = tiles.reshape(-1, per_side**2, BLOCK, BLOCK)[:, order]
        tiles = tiles.reshape(-1, per_side, per_side, BLOCK, BLOCK).transpose(0, 1, 3, 2, 4)
        return tiles.reshape(pixels.shape)


@dataclass(frozen=True)
class Blanked(Planted):
    """Leaves noise without anybody in it."""

    def change(self, pixels: np.ndarray) -> np.ndarray:
        """Noise that no two images share."""
        return np.random.default_rng(len(pixels)).integers(0, 255, pixels.shape, np.uint8)


@dataclass(frozen=True)
class Invented(Method):
    """Releases images of nobody."""

    image_size: int = SIDE

    def release(self, split: Split, ctx: Context) -> Split:
        """Other rows."""
        return split.with_frame(split.frame.assign(image_id=[f"new{i}" for i in split.frame.index]))


@dataclass(frozen=True)
class Broken(Method):
    """Cannot release anything."""

    image_size: int = SIDE

    def release(self, split: Split, ctx: Context) -> Split:
        """Nothing."""
        raise ValueError("the generator must be fitted, but image 'p7-v1' is not")


@dataclass(frozen=True)
class Dying(Rearranged):
    """Takes its process with it, unless that is the one of the test."""

    def view(self, split: Split, ctx: Context) -> Split:
        """Nothing in a second process."""
        if ctx.workdir.name == "attackers":
            os._exit(3)
        return super().view(split, ctx)


class Forbidden(Phantom):
    """The phantom under terms that do not allow linkage."""

    reidentification_allowed: ClassVar[bool] = False


def people(root: Path, name: str, patients: range) -> Split:
    """Three images per patient: a pattern of 4 x 4 tiles of the patient's own, and noise."""
    rng = np.random.default_rng(patients.start)
    own = rng.normal(size=(len(patients), 4, 4)).repeat(BLOCK, axis=1).repeat(BLOCK, axis=2)
    pattern = own.repeat(3, axis=0)
    pixels = 120 + 30 * pattern + 12 * rng.normal(size=pattern.shape)
    np.save(root / f"{name}.npy", pixels.clip(0, 255).astype(np.uint8))
    rows = [
        {
            "image_id": f"p{patient}-v{visit}", "patient_id": f"p{patient}",
            "path": f"{name}.npy#{3 * i + visit}", "origin": "simulated",
            "sex": ("Female", "Male")[patient % 2], "race": "AABBC"[patient % 5],
            "Cardiomegaly": float(patient % 2), "No Finding": float(1 - patient % 2),
        }
        for i, patient in enumerate(patients) for visit in range(3)
    ]  # fmt: skip
    return Split(name, pd.DataFrame(rows), root, FINDINGS, ATTRIBUTES)


@pytest.fixture
def crowd(tmp_path: Path) -> Folds:
    """Folds of recognisable people."""
    root = tmp_path / "crowd"
    root.mkdir()
    return Folds(
        train=people(root, "train", range(0, 10)),
        val=people(root, "val", range(100, 110)),
        audit=people(root, "audit", range(200, 280)),
        test=people(root, "test", range(300, 340)),
    )


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache for each test, so that it sees what is trained, and tiny attackers."""
    monkeypatch.setenv("TRILEMMA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(audit, "verifier", lambda plan: TINY)


Preparing = Callable[..., Prepared]


@pytest.fixture
def prepared_for(tmp_path: Path, crowd: Folds, task: Task) -> Preparing:
    """Makes a prepared run of a method on folds of recognisable people."""
    request = Request(
        method="erm", dataset="phantom", set={"image_size": SIDE}, device="cpu",
        data={f"{fold}_patients": 12 for fold in ("train", "val", "audit", "test")},
        output=str(tmp_path / "output"), tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
    )  # fmt: skip
    base = prepare_run(resolve(request))

    def made(method: Method, *parts: Folds, **plan: Any) -> Prepared:
        return replace(
            base, plan=replace(base.plan, method=method, **plan), task=task, folds=parts or (crowd,)
        )

    return made


@pytest.fixture
def heard(ctx: Context) -> list[str]:
    """What the log of the run is told."""
    told: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    log = logging.getLogger("trilemma.test_audit")
    log.setLevel(logging.DEBUG)
    log.handlers[:] = [Listener()]
    return told


@pytest.fixture
def contexts(ctx: Context, heard: list[str]) -> list[Context]:
    """The context of a run with one part."""
    return [replace(ctx, log=logging.getLogger("trilemma.test_audit"))]


def predictions(*parts: Folds, task: Task) -> Predictions:
    tested = []
    for folds in parts:
        tested.append(as_predictions(folds.test, task, np.zeros((len(folds.test), len(FINDINGS)))))
    return pool(tested)


def scores_of(prepared: Prepared, contexts: list[Context]) -> dict[str, Score]:
    test = predictions(*prepared.folds, task=prepared.task)
    features = [np.eye(len(folds.test), 8) for folds in prepared.folds]
    bootstrap = PatientBootstrap(test.patient_codes()[1], 50)
    return {s.metric: s for s in linkage(prepared, contexts, test, features, bootstrap)}


def image_scores(scores: dict[str, Score]) -> list[Score]:
    return [s for metric, s in scores.items() if metric.startswith("image_")]


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls that train a verifier in this process."""
    calls: list[Any] = []
    train = reidentification.train_verifier

    def counted(*given: Any) -> Any:
        calls.append(given)
        return train(*given)

    monkeypatch.setattr(reidentification, "train_verifier", counted)
    return calls


def test_unchanged_pixels_give_exactly_the_scores_of_erm(
    prepared_for: Preparing, contexts: list[Context], trainings: list[Any]
) -> None:
    erm = scores_of(prepared_for(Method()), contexts)
    copied = scores_of(prepared_for(Copied()), contexts)
    assert image_scores(copied) == image_scores(erm)
    assert len(trainings) == 1
    assert set(copied) == set(erm)
    assert not any(m.startswith(("static", "retrained", "cross")) for m in erm)
    assert erm["image_reid_auc"].value > 0.9


def test_a_fixed_rearrangement_fools_the_static_attacker_alone(
    prepared_for: Preparing, contexts: list[Context], trainings: list[Any]
) -> None:
    found = scores_of(prepared_for(Rearranged()), contexts)
    aucs = {name: found[f"{name}_reid_auc"].value for name in ("static", "retrained", "cross")}
    assert aucs["static"] < 0.7
    assert aucs["retrained"] > 0.9
    assert aucs["cross"] > 0.8
    assert len(trainings) == 3


def test_the_headline_is_the_worst_attacker_and_says_who_it_is(
    prepared_for: Preparing, contexts: list[Context]
) -> None:
    found = scores_of(prepared_for(Rearranged()), contexts)
    names = ("static", "retrained", "cross")
    worst = max(names, key=lambda name: found[f"{name}_reid_auc"].value)
    for metric in ("auc", "eer", "rank1", "tpr_at_1pct_fpr"):
        headline, own = found[f"image_reid_{metric}"], found[f"{worst}_reid_{metric}"]
        assert (headline.value, headline.low, headline.high) == (own.value, own.low, own.high)
        assert headline.note.startswith(f"{worst} attacker, the worst of static, retrained, cross")
    assert len(found) == 5 * 4


def test_images_without_anybody_in_them_defeat_every_attacker(
    prepared_for: Preparing, contexts: list[Context]
) -> None:
    found = scores_of(prepared_for(Blanked()), contexts)
    for name in ("static", "retrained", "cross", "image"):
        assert found[f"{name}_reid_auc"].value == pytest.approx(0.5, abs=0.12)


def test_static_and_cross_attack_released_images_against_originals(
    prepared_for: Preparing, contexts: list[Context]
) -> None:
    prepared = prepared_for(Rearranged())
    attacked = {a.prefix: a for a in ImageAudit.of(prepared, contexts).attacked()}
    assert attacked["retrained"].originals is None
    (unchanged,) = ImageAudit.of(prepared_for(Method()), contexts).attacked()
    # The static attacker is the one of ERM: it makes the same of the originals.
    assert np.array_equal(attacked["static"].originals, unchanged.released)
    assert not np.array_equal(attacked["static"].released, unchanged.released)
    assert attacked["cross"].originals is not None
    assert not np.array_equal(attacked["cross"].originals, attacked["static"].originals)


def test_anonymisers_share_the_static_attacker(
    prepared_for: Preparing, contexts: list[Context], trainings: list[Any]
) -> None:
    for method in (Method(), Rearranged(), Blanked()):
        ImageAudit.of(prepared_for(method), contexts).attacked()
    assert len(trainings) == 1 + 2 + 2


def test_images_of_nobody_are_not_attacked(
    prepared_for: Preparing, contexts: list[Context], trainings: list[Any]
) -> None:
    found = scores_of(prepared_for(Invented()), contexts)
    assert len(image_scores(found)) == 4
    for score in image_scores(found):
        assert np.isnan(score.value) and "not those of the audit patients" in score.note
    assert not trainings
    assert np.isfinite(found["embedding_reid_auc"].value)


def test_too_few_audit_patients_are_said(
    prepared_for: Preparing, contexts: list[Context], crowd: Folds
) -> None:
    lonely = crowd.audit.where(np.arange(len(crowd.audit)) % 3 == 0)
    prepared = prepared_for(Rearranged(), replace(crowd, audit=lonely))
    found = scores_of(prepared, contexts)
    assert "2 images each, but got 0" in found["image_reid_auc"].note
    with Attackers(prepared, contexts, contexts[0].log) as attackers:
        assert attackers._process is None


def test_terms_that_forbid_it_are_respected(
    prepared_for: Preparing, contexts: list[Context]
) -> None:
    # A release would raise.
    prepared = prepared_for(Broken(), dataset=Forbidden())
    with Attackers(prepared, contexts, contexts[0].log) as attackers:
        assert attackers._process is None
        attackers.wait()
    assert scores_of(prepared, contexts) == {}


def test_parts_are_attacked_one_by_one_and_put_together(
    prepared_for: Preparing, contexts: list[Context], tmp_path: Path, crowd: Folds
) -> None:
    (tmp_path / "b").mkdir()
    other = replace(crowd, test=people(tmp_path / "b", "later", range(500, 520)))
    both = [contexts[0], replace(contexts[0], shared=tmp_path / "shared-b")]
    prepared = prepared_for(Rearranged(), crowd, other)
    attacked = {a.prefix: a for a in ImageAudit.of(prepared, both).attacked()}
    alone = {
        a.prefix: a
        for a in ImageAudit.of(prepared_for(Rearranged(), other), both[1:]).attacked()
    }  # fmt: skip
    for name, found in attacked.items():
        assert len(found.released) == 120 + 60
        assert np.array_equal(found.released[120:], alone[name].released)
    assert scores_of(prepared, both)["cross_reid_rank1"].note == (
        "120 probes in a gallery of 40 + 20 images"
    )


def test_progress_of_every_attacker_is_told(
    prepared_for: Preparing, contexts: list[Context], heard: list[str]
) -> None:
    ImageAudit.of(prepared_for(Rearranged()), contexts).attacked()
    for number, name in enumerate(("static", "retrained", "cross")):
        line = f"re-identification by the {name} attacker ({number + 1} of 3): step 60 of 60"
        assert any(text.startswith(line) for text in heard), heard


def test_a_second_process_releases_and_attacks(
    prepared_for: Preparing,
    contexts: list[Context],
    heard: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepared = prepared_for(Rearranged())
    with Attackers(prepared, contexts, contexts[0].log) as attackers:
        attackers.wait()
    assert "changing the images of audit" in heard
    assert any("cross attacker (3 of 3): step 60 of 60" in text for text in heard)
    assert (contexts[0].workdir / "attackers").is_dir()
    monkeypatch.setattr(reidentification, "train_verifier", None)
    monkeypatch.setattr(Rearranged, "change", None)
    found = scores_of(prepared, contexts)
    assert found["image_reid_auc"].value > 0.9


def test_an_error_in_the_second_process_is_raised_by_the_first(
    prepared_for: Preparing, contexts: list[Context], heard: list[str]
) -> None:
    prepared = prepared_for(Broken())
    with Attackers(prepared, contexts, contexts[0].log) as attackers:
        attackers.wait()
    assert any("met a ValueError" in text for text in heard)
    assert not any("p7-v1" in text for text in heard)
    with pytest.raises(ValueError, match="the generator must be fitted"):
        scores_of(prepared, contexts)


def test_the_first_process_goes_on_where_the_second_died(
    prepared_for: Preparing, contexts: list[Context], heard: list[str], trainings: list[Any]
) -> None:
    prepared = prepared_for(Dying())
    with Attackers(prepared, contexts, contexts[0].log) as attackers:
        attackers.wait()
    assert any("ended early (exit code 3)" in text for text in heard)
    assert scores_of(prepared, contexts)["image_reid_auc"].value > 0.9
    assert len(trainings) == 3


def test_leaving_early_ends_the_second_process(
    prepared_for: Preparing, contexts: list[Context]
) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        Attackers(prepared_for(Rearranged()), contexts, contexts[0].log) as attackers,
    ):
        assert attackers._process is not None and attackers._process.is_alive()
        raise KeyboardInterrupt
    assert not attackers._process.is_alive()


def test_what_another_process_cannot_import_has_none(
    prepared_for: Preparing, contexts: list[Context]
) -> None:
    @dataclass(frozen=True)
    class Local(Method):
        """Known in this function only."""

    for prepared in (
        prepared_for(Local()),
        prepared_for(Rearranged(), plugins=(str(Path(__file__).resolve()),)),
    ):
        with Attackers(prepared, contexts, contexts[0].log) as attackers:
            assert attackers._process is None
            attackers.wait()


def test_combined_methods_reach_the_second_process(
    prepared_for: Preparing, contexts: list[Context]
) -> None:
    from methods.compose import method_class

    method = method_class("upsample+group_thresholds")(image_size=SIDE)
    sent = audit._pickled(ImageAudit.of(prepared_for(method), contexts), prepared_for(method).plan)
    assert sent is not None
    assert pickle.loads(sent).method == method


def test_only_other_pixels_are_other_images(
    prepared_for: Preparing, contexts: list[Context], crowd: Folds
) -> None:
    # Any single pixel, in the audit fold or in the test fold.
    def names(prepared: Prepared) -> list[str]:
        return [a.prefix for a in ImageAudit.of(prepared, contexts).attacked()]

    assert names(prepared_for(Copied())) == ["image"]
    for fold in ("audit", "test"):
        stack = contexts[0].shared / f"Copied-{fold}.npy"
        pixels = np.load(stack)
        pixels[-1, -1, -1] ^= 1
        np.save(stack, pixels)
        assert names(prepared_for(Copied())) == ["static", "retrained", "cross"]
        pixels[-1, -1, -1] ^= 1
        np.save(stack, pixels)


def test_an_audit_without_images_of_its_patients_says_so(
    prepared_for: Preparing, contexts: list[Context]
) -> None:
    with pytest.raises(NothingToAttack, match="image by image"):
        ImageAudit.of(prepared_for(Invented()), contexts).attacked()
