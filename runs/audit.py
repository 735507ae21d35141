"""Re-identification of a run: by the images it releases, and by the features of its model."""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from types import TracebackType

import numpy as np

from datasets.images import cache_dir, open_images
from datasets.split import Split
from methods.base import Context
from metrics.bootstrap import PatientBootstrap
from metrics.linkage import linkage_scores, undefined_linkage
from metrics.predictions import Predictions
from metrics.reidentification import Verifier, attack, cannot_train
from metrics.score import Score
from runs.plan import Plan
from runs.preparation import Prepared

Scene = tuple[Split, Split]
"""Images that the attacker learns from, with patients, and images that it attacks."""


class Attackers:
    """A second process that trains the attackers while the classifier trains in this one.

    It only fills the attackers' cache, so nothing hangs on it. A method that changes its images
    has none to attack before it is fitted; then there is no such process.
    """

    def __init__(self, prepared: Prepared) -> None:
        plan = prepared.plan
        self._process: BaseProcess | None = None
        scenes = [(folds.audit, folds.test) for folds in prepared.folds]
        wanted = plan.dataset.reidentification_allowed and plan.method.releases_originals
        if wanted and not _hopeless(scenes):
            spawn = multiprocessing.get_context("spawn")
            self._process = spawn.Process(
                target=_attack_beside, args=(verifier(plan), scenes), daemon=True
            )

    def __enter__(self) -> Attackers:
        if self._process is not None:
            self._process.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.is_alive():
            self._process.terminate()

    def wait(self, log: logging.Logger) -> None:
        """Return once the attackers are trained."""
        if self._process is not None:
            if self._process.is_alive():
                log.info("waiting for the re-identification attacker")
            self._process.join()


def linkage(
    prepared: Prepared,
    contexts: Sequence[Context],
    test: Predictions,
    embeddings: Sequence[np.ndarray],
    bootstrap: PatientBootstrap,
) -> list[Score]:
    """Scores of both columns; none where the data set's terms do not allow the audit."""
    plan = prepared.plan
    if not plan.dataset.reidentification_allowed:
        return []
    codes, parts = test.patient_codes()[0], test.frame["part"].to_numpy(np.int64)
    scenes = [
        (plan.method.release(folds.audit, ctx), plan.method.release(folds.test, ctx))
        for folds, ctx in zip(prepared.folds, contexts, strict=True)
    ]
    if reason := _hopeless(scenes) or _foreign(scenes, test):
        images = undefined_linkage("image", reason)
    else:
        attacked = np.concatenate(attack_all(verifier(plan), scenes))
        images = linkage_scores("image", attacked, codes, parts, bootstrap)
    features = np.concatenate(embeddings)
    return images + linkage_scores("embedding", features, codes, parts, bootstrap)


def verifier(plan: Plan) -> Verifier:
    """The attacker's budget. Its own seed is fixed: what is measured is what the images give away,
    and one attack serves all methods and seeds that release the same images."""
    return Verifier(seed=0, image_size=plan.method.image_size)


def attack_all(config: Verifier, scenes: Sequence[Scene]) -> list[np.ndarray]:
    """Embeddings of the attacked images of each scene, by an attacker trained on its audit part."""
    embeddings = []
    for audit, released in scenes:
        known = open_images(audit, config.image_size).take()
        attacked = open_images(released, config.image_size).take()
        patients = audit.frame["patient_id"].to_numpy(dtype=str)
        embeddings.append(attack(config, known, patients, attacked, cache=cache_dir()))
    return embeddings


def _attack_beside(config: Verifier, scenes: Sequence[Scene]) -> None:
    # Ctrl-C reaches the whole group; the first process tells the user and ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    attack_all(config, scenes)


def _hopeless(scenes: Sequence[Scene]) -> str | None:
    """Why no attacker can be trained, or None."""
    for audit, _ in scenes:
        if reason := cannot_train(audit.frame["patient_id"].to_numpy(dtype=str)):
            return reason
    return None


def _foreign(scenes: Sequence[Scene], test: Predictions) -> str | None:
    """Why the released images cannot be linked to test patients, or None."""
    released = [i for _, split in scenes for i in split.frame["image_id"].astype(str)]
    if released == test.frame["image"].tolist():
        return None
    return "the released images are not those of the test patients, image by image"
