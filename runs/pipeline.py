"""One prepared run, from data to stored results: attack, fit, evaluate, store."""

from __future__ import annotations

import logging
import multiprocessing
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from shutil import rmtree

import numpy as np
import pandas as pd
from filelock import FileLock

from datasets.folds import manifest
from datasets.images import cache_dir, open_images
from datasets.split import Folds, Split
from methods.base import Context
from methods.fit import Predictor, fit
from metrics.bootstrap import PatientBootstrap
from metrics.evaluate import evaluate
from metrics.linkage import linkage_scores, undefined_linkage
from metrics.predictions import Predictions, pool
from metrics.reidentification import Verifier, attack, cannot_train
from metrics.score import Score
from runs.plan import Plan
from runs.preparation import Prepared
from runs.provenance import first_record, now, params, tags
from tracking.figures import draw_run
from tracking.pseudonyms import Pseudonyms
from tracking.rundir import (
    HISTORY,
    LOG,
    PER_IMAGE,
    PREDICTIONS,
    SPLIT,
    THRESHOLDS,
    RunDirectory,
    RunRecord,
    headline,
)
from tracking.store import Store, StoreError, metric_keys


def execute(prepared: Prepared, log: logging.Logger, *, again: bool = False) -> RunRecord:
    """Train, attack, evaluate and store; the record of the finished run.

    A run that was cut off is continued: same directory, same MLflow run, next epoch. A failure is
    recorded as failed and raised. With `again` a finished run is repeated beside the old one,
    which it replaces at its end.

    Raises:
        StoreError: the tracking store cannot be used; nothing was stored.
    """
    final = prepared.directory
    directory = RunDirectory(final.path.with_name(final.path.name + ".again")) if again else final
    attackers = _start_attacks(prepared)
    try:
        store = Store(prepared.plan.tracking_uri, prepared.plan.experiment)
    except StoreError:
        for attacker in attackers:
            attacker.terminate()
        raise
    directory.path.mkdir(parents=True, exist_ok=True)
    # A second runner with the same key waits here and then finds the run finished.
    with FileLock(directory.path / "run.lock"):
        if not again and directory.exists() and directory.record().status == "FINISHED":
            return directory.record()
        handler = logging.FileHandler(directory.path / LOG)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(handler)
        try:
            record = _Run(prepared, directory, store, attackers, log).go()
        finally:
            log.removeHandler(handler)
            handler.close()
    return _replace(final, directory, log) if again else record


class _Run:
    """One run under way: what its steps share."""

    def __init__(
        self,
        prepared: Prepared,
        directory: RunDirectory,
        store: Store,
        attackers: list[BaseProcess],
        log: logging.Logger,
    ) -> None:
        self.prepared, self.plan, self.task = prepared, prepared.plan, prepared.task
        self.directory, self.store, self.attackers, self.log = directory, store, attackers, log
        plan = prepared.plan
        self.pseudonyms = Pseudonyms(plan.output, plan.dataset.registered_name)
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {}
        self.contexts: list[Context] = []
        self.run_id = ""

    def go(self) -> RunRecord:
        """Every step in order; the stored record."""
        self._begin()
        try:
            table, scores, parameters = self._measure()
            self._write(table, scores)
            self.seconds["total"] = time.perf_counter() - self.started
            record = self.directory.update(
                status="FINISHED",
                finished=now(),
                seconds={k: round(v, 2) for k, v in self.seconds.items()},
                parameters=parameters,
            )
            self._log(record, scores)
        except BaseException as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            self.directory.update(status="FAILED", finished=now(), error=reason)
            self.store.fail(self.run_id, reason)
            self.log.debug("the run failed", exc_info=True)
            raise
        rmtree(self.directory.path / "work", ignore_errors=True)
        return record

    def _begin(self) -> None:
        """Config, split and record on disk, and the MLflow run open."""
        prepared, plan = self.prepared, self.plan
        earlier = self.directory.record() if self.directory.exists() else None
        self.directory.write_config(plan.config())
        self.directory.write_csv(SPLIT, self._split())
        record = first_record(prepared)
        self.run_id = self.store.start(
            f"{plan.method.registered_name} {plan.dataset.registered_name} seed {plan.seed}",
            tags=tags(prepared),
            params=params(plan),
            lineage=(plan.dataset.registered_name, prepared.data_digest, record.dataset),
            run_id=earlier.mlflow_run_id if earlier else "",
        )
        self.directory.write_record(replace(record, mlflow_run_id=self.run_id))

    def _split(self) -> pd.DataFrame:
        tables = [manifest(f).assign(part=i) for i, f in enumerate(self.prepared.folds)]
        return self.pseudonyms.hide(pd.concat(tables), ("patient_id", "image_id"))

    def _measure(self) -> tuple[pd.DataFrame, list[Score], int]:
        """Predictions for val and test in one table, all scores, and the number of parameters."""
        vals, tests, embeddings, histories, thresholds = [], [], [], [], []
        parameters = 0
        train_started = time.perf_counter()
        for part, folds in enumerate(self.prepared.folds):
            predictor, rows = self._fit(part, folds)
            vals.append(predictor(folds.val).frame.assign(part=part, fold="val"))
            tests.append(predictor(folds.test))
            thresholds.append(predictor.thresholds().assign(part=part))
            embeddings.append(predictor.embed(folds.test))
            histories.append(pd.DataFrame(rows).assign(part=part))
            parameters = predictor.parameters
            predictor.save(self.directory.weights(part, len(self.prepared.folds)))
        self.seconds["train"] = time.perf_counter() - train_started
        self.directory.write_csv(HISTORY, pd.concat(histories))
        self.directory.write_csv(THRESHOLDS, pd.concat(thresholds))
        test = pool(tests)
        self.log.info(
            "evaluating %d test images of %d patients", len(test), test.patient_codes()[1]
        )
        bootstrap = PatientBootstrap(test.patient_codes()[1])
        scores = evaluate(test, macro_findings=self.task.macro_findings, bootstrap=bootstrap)
        scores += self._linkage(test, embeddings, bootstrap)
        table = pd.concat([*vals, test.frame.assign(fold="test")], ignore_index=True)
        return table, scores, parameters

    def _fit(self, part: int, folds: Folds) -> tuple[Predictor, list[dict[str, float]]]:
        plan, parts = self.plan, len(self.prepared.folds)
        if parts > 1:
            self.log.info("part %d of %d", part + 1, parts)
        ctx = Context(
            seed=plan.seed,
            device=plan.device,
            workdir=self.directory.workdir(part),
            log=self.log,
            task=self.task,
        )
        self.contexts.append(ctx)
        stored = plan.from_run.weights(part, parts) if plan.from_run else None
        predictor, history = fit(
            plan.method,
            folds,
            ctx,
            stored_weights=stored,
            on_epoch=lambda row: self.store.epoch(self.run_id, row, part),
        )
        return predictor, history.rows

    def _linkage(
        self, test: Predictions, embeddings: list[np.ndarray], bootstrap: PatientBootstrap
    ) -> list[Score]:
        """Re-identification by the released images and by the model's own features."""
        if not self.plan.dataset.reidentification_allowed:
            return []
        for attacker in self.attackers:
            if attacker.is_alive():
                self.log.info("waiting for the re-identification attacker")
            attacker.join()
        codes, parts = test.patient_codes()[0], test.frame["part"].to_numpy(np.int64)
        images = self._image_linkage(codes, parts, bootstrap)
        return [
            *images,
            *linkage_scores("embedding", np.concatenate(embeddings), codes, parts, bootstrap),
        ]

    def _image_linkage(
        self, codes: np.ndarray, parts: np.ndarray, bootstrap: PatientBootstrap
    ) -> list[Score]:
        """An attacker that knows the method: it trains on audit images seen as the method does."""
        method = self.plan.method
        scenes = [
            (method.view(folds.audit, ctx), method.release(folds, ctx))
            for folds, ctx in zip(self.prepared.folds, self.contexts, strict=True)
        ]
        for audit, _ in scenes:
            if reason := cannot_train(audit.frame["patient_id"].to_numpy(dtype=str)):
                return undefined_linkage("image", reason)
        attacked = np.concatenate(_attack_all(_verifier(self.plan), scenes))
        return linkage_scores("image", attacked, codes, parts, bootstrap)

    def _write(self, table: pd.DataFrame, scores: list[Score]) -> None:
        self.directory.write_parquet(PREDICTIONS, self.pseudonyms.hide(table, ("patient", "image")))
        self.directory.write_scores(scores)
        draw_run(self.directory.path / "figures", self.directory.path / HISTORY, scores)

    def _log(self, record: RunRecord, scores: list[Score]) -> None:
        keep_local = self.store.remote and self.plan.dataset.terms == "restricted"
        files = [f for f in self.directory.files() if not (keep_local and f.name in PER_IMAGE)]
        self.store.finish(
            self.run_id,
            metric_keys(headline(scores, record.primary_contrasts)),
            files,
            self.directory.path,
            {"status": record.status, "seconds": str(record.seconds.get("total", ""))},
        )


def _start_attacks(prepared: Prepared) -> list[BaseProcess]:
    """Second processes that train the attackers while the classifier trains here.

    They only fill the attackers' cache, so nothing hangs on one that is lost. A method that
    changes its images has none to attack before it is fitted.
    """
    plan = prepared.plan
    if not (plan.dataset.reidentification_allowed and plan.method.releases_originals):
        return []
    scenes = [(f.audit, f.test) for f in prepared.folds]
    if any(cannot_train(audit.frame["patient_id"].to_numpy(dtype=str)) for audit, _ in scenes):
        return []
    spawn = multiprocessing.get_context("spawn")
    attacker = spawn.Process(target=_attack_all, args=(_verifier(plan), scenes), daemon=True)
    attacker.start()
    return [attacker]


def _verifier(plan: Plan) -> Verifier:
    # The attacker's own seed is fixed: what is measured is what the images give away, and one
    # attack serves all methods and seeds that release the same images.
    return Verifier(seed=0, image_size=plan.method.image_size)


def _attack_all(verifier: Verifier, scenes: list[tuple[Split, Split]]) -> list[np.ndarray]:
    """Embeddings of released images, for each (audit, released) pair of one part."""
    embeddings = []
    for audit, released in scenes:
        known = open_images(audit, verifier.image_size).take()
        attacked = open_images(released, verifier.image_size).take()
        patients = audit.frame["patient_id"].to_numpy(dtype=str)
        embeddings.append(attack(verifier, known, patients, attacked, cache=cache_dir()))
    return embeddings


def _replace(final: RunDirectory, repeated: RunDirectory, log: logging.Logger) -> RunRecord:
    """Put the repeated run in the place of the finished one, and say whether they are identical."""
    if final.exists():
        same = _same_predictions(final.path / PREDICTIONS, repeated.path / PREDICTIONS)
        log.info("predictions identical to those of the earlier run: %s", "yes" if same else "NO")
        old = final.path.with_name(final.path.name + ".old")
        rmtree(old, ignore_errors=True)
        final.path.rename(old)
        repeated.path.rename(final.path)
        rmtree(old)
    else:
        repeated.path.rename(final.path)
    return final.record()


def _same_predictions(a: Path, b: Path) -> bool:
    return a.is_file() and b.is_file() and pd.read_parquet(a).equals(pd.read_parquet(b))
