"""Re-identification of a run: by the images it releases, and by the features of its model."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from types import TracebackType

import numpy as np

from datasets.contents import open_contents
from datasets.images import cache_dir
from datasets.split import Folds, Split
from methods.base import Context, Method
from metrics.bootstrap import PatientBootstrap
from metrics.linkage import linkage_scores, undefined_linkage, worst_linkage
from metrics.pairs import ATTACKERS
from metrics.predictions import Predictions
from metrics.reidentification import Array, Verifier, attack, cannot_train
from metrics.score import Score
from runs.plan import Plan
from runs.preparation import Prepared
from runs.process import settle
from runs.release_audit import compared

TOLD_EVERY = 15.0
"""Seconds between two lines about an attacker that is being trained."""


class NothingToAttack(ValueError):
    """Why the images that a method releases cannot be attacked."""


@dataclass(frozen=True)
class Scene:
    """Pixels uint8 `(n, s, s)` of one part, or embeddings float32 `(n, width)`: those the attacker
    learns from, with the patients of the rows `(n,)`, and those it attacks, each before and after
    the method."""

    patients: np.ndarray
    audit: np.ndarray
    audit_released: np.ndarray
    test: np.ndarray
    test_released: np.ndarray

    @property
    def unchanged(self) -> bool:
        """Whether the released pixels are the originals."""
        return _equal(self.audit, self.audit_released) and _equal(self.test, self.test_released)


@dataclass(frozen=True)
class Attacked:
    """What one attacker makes of all parts: embeddings `(n, width)` of the released test images,
    and of their originals where those are the other side of its pairs."""

    prefix: str
    released: np.ndarray
    originals: np.ndarray | None = None


@dataclass(frozen=True)
class ImageAudit:
    """The attack on the images that a method releases, part by part; it can be pickled."""

    method: Method
    verifier: Verifier
    folds: tuple[Folds, ...]
    contexts: tuple[Context, ...]

    @classmethod
    def of(cls, prepared: Prepared, contexts: Sequence[Context]) -> ImageAudit:
        """The audit of a run, with a context for each part."""
        plan = prepared.plan
        return cls(plan.method, verifier(prepared), prepared.folds, tuple(contexts))

    def beside(self, log: logging.Logger) -> ImageAudit:
        """The same audit, with folders of its own and another log, for a second process."""
        own = tuple(replace(c, workdir=c.workdir / "attackers", log=log) for c in self.contexts)
        for ctx in own:
            ctx.workdir.mkdir(parents=True, exist_ok=True)
        return replace(self, contexts=own)

    def attacked(self) -> list[Attacked]:
        """What the attackers make of the released test images; one attacker if they are originals.

        What was trained before is read from the cache.

        Raises:
            NothingToAttack: no attacker can be trained, or the released images are not those of
                the patients.
        """
        scenes = self._scenes()
        if all(scene.unchanged for scene in scenes):
            return [self._attack("image", scenes, 1, 1)]
        count = len(ATTACKERS)
        return [self._attack(who, scenes, i + 1, count) for i, who in enumerate(ATTACKERS)]

    def _scenes(self) -> list[Scene]:
        if reason := hopeless(self.folds):
            raise NothingToAttack(reason)
        released = [
            tuple(self.method.release(fold, ctx) for fold in (folds.audit, folds.test))
            for folds, ctx in zip(self.folds, self.contexts, strict=True)
        ]
        for folds, splits in zip(self.folds, released, strict=True):
            for fold, split in zip((folds.audit, folds.test), splits, strict=True):
                if not np.array_equal(fold.frame["image_id"], split.frame["image_id"]):
                    raise NothingToAttack(
                        f"the released images are not those of the {fold.name} patients, image by "
                        "image"
                    )
        return [
            self._scene(folds, *splits) for folds, splits in zip(self.folds, released, strict=True)
        ]

    def _scene(self, folds: Folds, audit: Split, test: Split) -> Scene:
        originals = [self.pixels(fold) for fold in (folds.audit, folds.test)]
        changed = [
            before if split is fold else self.pixels(split)
            for before, fold, split in zip(
                originals, (folds.audit, folds.test), (audit, test), strict=True
            )
        ]
        patients = folds.audit.frame["patient_id"].to_numpy(dtype=str)
        return Scene(patients, originals[0], changed[0], originals[1], changed[1])

    def pixels(self, split: Split) -> np.ndarray:
        """What the verifier sees of a split: uint8 `(n, s, s)`, or float32 `(n, width)`."""
        task = self.contexts[0].task
        return open_contents(split, task.holds, self.verifier.image_size).take()

    def _attack(self, prefix: str, scenes: Sequence[Scene], number: int, count: int) -> Attacked:
        """One attacker on all parts."""
        released: list[np.ndarray] = []
        originals: list[np.ndarray] = []
        for part, scene in enumerate(scenes):
            name = f"re-identification by the {prefix} attacker ({number} of {count})"
            if prefix == "image":
                name = "re-identification attacker"
            if len(scenes) > 1:
                name += f", part {part + 1} of {len(scenes)}"
            found = self._embeddings(prefix, scene, _Told(name, self.contexts[part].log))
            released.append(found[0])
            originals += found[1:]
        across = np.concatenate(originals) if originals else None
        return Attacked(prefix, np.concatenate(released), across)

    def _embeddings(self, prefix: str, scene: Scene, told: _Told) -> tuple[np.ndarray, ...]:
        if prefix in ("image", "retrained"):
            return self._by(scene, scene.audit_released, (scene.test_released,), told)
        stacks = (scene.test_released, scene.test)
        if prefix == "static":
            return self._by(scene, scene.audit, stacks, told)
        return self._by(scene, scene.audit_released, stacks, told, counterparts=scene.audit)

    def _by(
        self,
        scene: Scene,
        learnt: np.ndarray,
        stacks: tuple[Array, ...],
        told: _Told,
        counterparts: np.ndarray | None = None,
    ) -> tuple[np.ndarray, ...]:
        return attack(
            self.verifier,
            learnt,
            scene.patients,
            *stacks,
            counterparts=counterparts,
            cache=cache_dir(),
            progress=told,
        )


class Attackers:
    """A second process that trains the attackers while the classifier trains in this one.

    It only fills caches: that of the attackers, and what the method keeps of its changed images. So
    nothing hangs on it: where it fails or cannot be, this process does the work and meets the
    errors. There is none where the terms do not allow the audit or no attacker can be trained, and
    none for a method that the other process could not import.
    """

    def __init__(
        self, prepared: Prepared, contexts: Sequence[Context], log: logging.Logger
    ) -> None:
        self._log = log
        self._process: BaseProcess | None = None
        self._relay: Thread | None = None
        plan = prepared.plan
        if not plan.dataset.reidentification_allowed or hopeless(prepared.folds):
            return
        sent = _pickled(ImageAudit.of(prepared, contexts), plan)
        if sent is not None:
            spawn = multiprocessing.get_context("spawn")
            self._receiver, self._sender = spawn.Pipe(duplex=False)
            self._process = spawn.Process(
                target=_attack_beside, args=(sent, plan.threads, self._sender), daemon=True
            )

    def __enter__(self) -> Attackers:
        if self._process is not None:
            self._process.start()
            # With this end closed, that of the other process is the last, and its end is noticed.
            self._sender.close()
            self._relay = Thread(target=_relay, args=(self._receiver, self._log), daemon=True)
            self._relay.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.is_alive():
            self._process.terminate()
            self._process.join()
        if self._relay is not None:
            self._relay.join()

    def wait(self) -> None:
        """Return once the attackers are trained; meanwhile their process tells how far it is."""
        if self._process is not None:
            if self._process.is_alive():
                self._log.info("waiting for the re-identification attackers")
            self._process.join()
            if self._relay is not None:
                self._relay.join()
            if code := self._process.exitcode:
                self._log.info(
                    "the attackers' process ended early (exit code %d); their work is done here",
                    code,
                )


def linkage(
    prepared: Prepared,
    contexts: Sequence[Context],
    test: Predictions,
    embeddings: Sequence[np.ndarray],
    bootstrap: PatientBootstrap,
) -> list[Score]:
    """Scores of both columns; none where the data set's terms do not allow the audit.

    Where the released images are not the originals, scores of each attacker precede those of the
    worst.
    """
    if not prepared.plan.dataset.reidentification_allowed:
        return []
    codes, parts = test.patient_codes()[0], test.frame["part"].to_numpy(np.int64)
    try:
        attacked = ImageAudit.of(prepared, contexts).attacked()
    except NothingToAttack as reason:
        images = undefined_linkage("image", str(reason))
    else:
        by_attacker = {
            a.prefix: linkage_scores(a.prefix, a.released, codes, parts, bootstrap, a.originals)
            for a in attacked
        }
        images = [score for scores in by_attacker.values() for score in scores]
        if "image" not in by_attacker:
            images += worst_linkage(by_attacker)
    features = np.concatenate(embeddings)
    return images + linkage_scores("embedding", features, codes, parts, bootstrap)


def verifier(prepared: Prepared) -> Verifier:
    """The attacker's budget. Its own seed is fixed: what is measured is what the images give away,
    and one attack serves all methods and seeds that release the same images."""
    size, width = prepared.plan.method.image_size, prepared.task.width
    return Verifier.of_embeddings(width, seed=0) if width else Verifier(seed=0, image_size=size)


def hopeless(parts: Sequence[Folds]) -> str | None:
    """Why no attacker can be trained on the audit folds, or None."""
    for folds in parts:
        if reason := cannot_train(folds.audit.frame["patient_id"].to_numpy(dtype=str)):
            return reason
    return None


class _Told:
    """Tells the log that an attacker is trained, and every 15 seconds how far it is."""

    def __init__(self, name: str, log: logging.Logger) -> None:
        self.name, self.log = name, log
        self.last = -TOLD_EVERY

    def __call__(self, step: int, steps: int, loss: float) -> None:
        now = time.monotonic()
        if now - self.last >= TOLD_EVERY or step == steps:
            self.last = now
            self.log.info("%s: step %d of %d, loss %.3f", self.name, step, steps, loss)


class _Sent(logging.Handler):
    """Sends what is logged to the first process."""

    def __init__(self, sender: Connection) -> None:
        super().__init__()
        self.sender = sender

    def emit(self, record: logging.LogRecord) -> None:
        """Send level and text of a record."""
        try:
            self.sender.send((record.levelno, record.getMessage()))
        except OSError:
            # The first process is gone; what is trained here still serves the next run.
            return


def _attack_beside(sent: bytes, threads: int, sender: Connection) -> None:
    """Release and attack in this process, and tell the first one about it."""
    # Ctrl-C reaches the whole group; the first process tells the user and ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settle(threads)
    log = logging.getLogger("trilemma.attackers")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.handlers[:] = [_Sent(sender)]
    try:
        sent_audit: ImageAudit = pickle.loads(sent)
        audit = sent_audit.beside(log)
        compared(audit)
        audit.attacked()
    except NothingToAttack:
        return
    except Exception as error:  # noqa: BLE001 - the first process meets it again, and raises it
        # Without its message, which may name patients and would be kept in a file.
        log.info("the attackers' process met a %s; their work is done here", type(error).__name__)


def _relay(receiver: Connection, log: logging.Logger) -> None:
    """Log what the other process sends, until it ends."""
    while True:
        try:
            level, text = receiver.recv()
        except (EOFError, OSError):
            return
        log.log(level, "%s", text)


def _pickled(audit: ImageAudit, plan: Plan) -> bytes | None:
    """The audit as bytes, or None if another process could not make it from them."""
    plugins = {Path(plugin) for plugin in plan.plugins}
    for base in type(audit.method).__mro__[:-1]:
        file = getattr(sys.modules.get(base.__module__), "__file__", None)
        if file is not None and Path(file).resolve() in plugins:
            return None
    try:
        return pickle.dumps(audit)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a is b or np.array_equal(a, b)
