"""One run of a plan, from data to files: prepare, attack, fit, evaluate, store."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing.process import BaseProcess
from pathlib import Path
from shutil import rmtree

import numpy as np
import pandas as pd
import torch
from filelock import FileLock

import options
from datasets.folds import assign, digest, kfold, manifest
from datasets.images import cache_dir, open_images, prepare
from datasets.split import Folds, Split
from methods.base import Context, Task
from methods.fit import Incompatible, Predictor, fit
from metrics.bootstrap import PatientBootstrap
from metrics.evaluate import evaluate
from metrics.linkage import linkage_scores, undefined_linkage
from metrics.predictions import Predictions, pool
from metrics.reidentification import Verifier, attack, cannot_train
from metrics.score import Score
from plan import Plan
from registry import DATASETS, METHODS, ROOT, unknown
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

SOURCES = ("backbones.py", "datasets", "methods", "metrics", "pipeline.py")
"""What can change a number; their hash is part of the key of a run."""


@dataclass(frozen=True)
class Prepared:
    """A plan with its data: folds, frozen names, digests and the key of the run."""

    plan: Plan
    folds: tuple[Folds, ...]
    task: Task
    dropped: dict[str, int]
    data_digest: str
    split_digest: str
    test_digest: str
    source_digest: str
    key: str
    notes: tuple[str, ...]

    @property
    def directory(self) -> RunDirectory:
        """Where the run is stored."""
        plan = self.plan
        name = plan.method.registered_name
        return RunDirectory(plan.output / plan.dataset.registered_name / name / self.key)


def load_table(plan: Plan) -> Split:
    """The table of the data set with the findings and attributes that were asked for.

    Raises:
        ValueError, FileNotFoundError, UnknownName: the data or a name breaks a rule.
    """
    root = plan.data_root or cache_dir() / "recipes"
    if plan.data_root is None:
        root.mkdir(parents=True, exist_ok=True)
    table = plan.dataset.table(root)
    findings = plan.findings or table.findings
    attributes = plan.attributes or table.attributes
    for kind, asked, known in (
        ("finding", findings, table.findings),
        ("attribute", attributes, table.attributes),
    ):
        for name in asked:
            if name not in known:
                raise unknown(f"{kind} of {plan.dataset.registered_name}", name, known)
    return replace(table, findings=findings, attributes=attributes)


def split(plan: Plan, table: Split) -> tuple[Folds, ...]:
    """The folds of the run: one set, or k of them."""
    if plan.folds:
        return tuple(kfold(table, plan.folds, seed=plan.seed))
    return (assign(table, seed=0),)


def task_of(plan: Plan, table: Split) -> Task:
    """Names frozen before any method sees an image."""
    hopeless = plan.dataset.unlearnable(plan.method.image_size)
    return Task(
        findings=table.findings,
        attributes=table.attributes,
        groups={a: table.groups_of(a) for a in table.attributes},
        macro_findings=tuple(f for f in table.findings if f not in hopeless) or table.findings,
    )


def prepare_run(plan: Plan, progress: Callable[[int, int], None] | None = None) -> Prepared:
    """Load, split, decode once, and name the run by all that can change its numbers.

    Raises:
        ValueError, FileNotFoundError, UnknownName: the data breaks a rule; nothing was stored.
        Incompatible: the method says why it cannot run on this task.
    """
    torch.set_num_threads(plan.threads)
    table = load_table(plan)
    task = task_of(plan, table)
    if reason := plan.method.skip(task):
        raise Incompatible(f"{plan.method.registered_name} cannot run here: {reason}")
    folds = split(plan, table)
    size = plan.method.image_size
    kept = prepare(table, size, on_bad=plan.on_bad_image, progress=progress)
    if len(kept) < len(table):
        folds = tuple(_keep(f, set(kept.frame["image_id"])) for f in folds)
    data_digest = _short(digest(kept.frame), open_images(kept, size).digest())
    split_digest = _short(*(digest(manifest(f)) for f in folds))
    source_digest = _short(*(p.read_text() for p in _sources(plan)))
    test = sorted({p for f in folds for p in f.test.patients})
    notes = []
    if any(f.audit_reuses_train for f in folds):
        notes.append("the attacker is trained on the training patients: the data set is small")
    return Prepared(
        plan=plan,
        folds=folds,
        task=task,
        dropped=dict(kept.dropped),
        data_digest=data_digest,
        split_digest=split_digest,
        test_digest=_short(data_digest, *test),
        source_digest=source_digest,
        key=_short(
            json.dumps(plan.identity(), sort_keys=True), data_digest, split_digest, source_digest
        ),
        notes=tuple(notes),
    )


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
                finished=_now(),
                seconds={k: round(v, 2) for k, v in self.seconds.items()},
                parameters=parameters,
            )
            self._log(record, scores)
        except BaseException as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            self.directory.update(status="FAILED", finished=_now(), error=reason)
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
        record = _first_record(prepared)
        self.run_id = self.store.start(
            f"{plan.method.registered_name} {plan.dataset.registered_name} seed {plan.seed}",
            tags=_tags(prepared),
            params=_params(plan),
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


def _keep(folds: Folds, images: set[str]) -> Folds:
    """The folds without the images that could not be read."""
    kept = {f.name: f.where(f.frame["image_id"].isin(images).to_numpy()) for f in folds.all()}
    return Folds(**kept)


def _first_record(prepared: Prepared) -> RunRecord:
    plan = prepared.plan
    method, dataset = plan.method, plan.dataset
    return RunRecord(
        key=prepared.key,
        status="RUNNING",
        experiment=plan.experiment,
        method=method.registered_name,
        method_variant=" ".join(options.non_defaults(method)),
        method_fields=options.plain(method),
        dataset=dataset.registered_name,
        data_variant=" ".join(options.non_defaults(dataset, leave_out=dataset.resampling_fields)),
        data_fields=options.plain(dataset),
        kind=dataset.kind,
        terms=dataset.terms,
        seed=plan.seed,
        folds=plan.folds,
        data_digest=prepared.data_digest,
        split_digest=prepared.split_digest,
        test_digest=prepared.test_digest,
        source_digest=prepared.source_digest,
        primary_contrasts=_primary_contrasts(prepared),
        attributes_at_test=list(method.attributes_at_test(prepared.task)),
        released="originals released" if method.releases_originals else "images changed",
        operating_point=method.operating_point,
        command=plan.command(),
        tracking_uri=plan.tracking_uri,
        started=_now(),
        notes=list(prepared.notes),
        dropped=prepared.dropped,
        environment=environment(plan.device),
    )


def _primary_contrasts(prepared: Prepared) -> dict[str, str]:
    """The one contrast per attribute that stands on the leaderboard, chosen before any result."""
    chosen = {}
    val = pd.concat([f.val.frame for f in prepared.folds])
    for attribute in prepared.task.attributes:
        pair = prepared.plan.dataset.primary_contrasts.get(attribute)
        if pair is None:
            patients = val.drop_duplicates("patient_id")[attribute].astype(str).value_counts()
            by_size = sorted(patients.index, key=lambda g: (-patients[g], g))
            known = [g for g in by_size if g != "Unknown"]
            if len(known) < 2:
                continue
            # In the frozen order of groups, as contrasts are written.
            order = prepared.task.groups[attribute].index
            reference, group = sorted(known[:2], key=order)
            pair = (group, reference)
        chosen[attribute] = f"{pair[0]} - {pair[1]}"
    return chosen


def _tags(prepared: Prepared) -> dict[str, str]:
    plan = prepared.plan
    return {
        "key": prepared.key,
        "kind": plan.dataset.kind,
        "terms": plan.dataset.terms,
        "data_digest": prepared.data_digest,
        "split_digest": prepared.split_digest,
        "source_digest": prepared.source_digest,
        "data_version": plan.dataset.version,
        "status": "RUNNING",
        "directory": str(prepared.directory.path.relative_to(plan.output)),
    }


def _params(plan: Plan) -> dict[str, object]:
    params: dict[str, object] = {
        "method": plan.method.registered_name,
        "dataset": plan.dataset.registered_name,
        "seed": plan.seed,
        "folds": plan.folds,
    }
    params |= {f"method.{k}": v for k, v in options.plain(plan.method).items()}
    params |= {f"data.{k}": v for k, v in options.plain(plan.dataset).items()}
    return params


def environment(device: str) -> dict[str, str]:
    """Versions and device, as printed before the first step and kept on the run."""
    packages = ("torch", "torchvision", "numpy", "pandas", "mlflow")
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return {
        "python": platform.python_version(),
        "device": name,
        "threads": str(torch.get_num_threads()),
        **{p: version(p) for p in packages},
    }


def _sources(plan: Plan) -> list[Path]:
    files = []
    for name in SOURCES:
        path = ROOT / name
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    method = METHODS.entries()[plan.method.registered_name].file
    dataset = DATASETS.entries()[plan.dataset.registered_name].file
    return files + [f for f in (method, dataset) if f not in files]


def _short(*texts: str) -> str:
    whole = hashlib.sha256()
    for text in texts:
        whole.update(hashlib.sha256(text.encode()).digest())
    return whole.hexdigest()[:16]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
