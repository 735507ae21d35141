"""One prepared run, from data to stored results: fit, evaluate, audit, store."""

from __future__ import annotations

import logging
import time
import traceback
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import pandas as pd

from datasets.folds import manifest
from datasets.images import cache_dir
from datasets.split import Folds
from methods.base import Context
from methods.fit import fit
from methods.predictor import Predictor
from methods.train import FALLS_BACK
from metrics.bootstrap import PatientBootstrap
from metrics.evaluate import evaluate
from metrics.leakage import Probe, leakage_scores
from metrics.predictions import pool
from metrics.score import Score
from metrics.training import training_scores
from runs.audit import Attackers, ImageAudit, linkage
from runs.out_of_domain import InDomain, measure
from runs.preparation import Prepared
from runs.provenance import first_record, now, params, tags
from runs.release_audit import memorisation
from tracking.domains import domain_keys
from tracking.figures import draw_run
from tracking.identifiers import write_ids
from tracking.pseudonyms import Pseudonyms
from tracking.redaction import Redactor, WithoutIds
from tracking.rundir import (
    HISTORY,
    LOG,
    PREDICTIONS,
    SCORES,
    SHAREABLE,
    SPLIT,
    THRESHOLDS,
    RunDirectory,
    RunRecord,
    headline,
)
from tracking.store import Store, StoreError, metric_keys


def execute(
    prepared: Prepared, log: logging.Logger, *, again: bool = False, ids: bool = False
) -> RunRecord:
    """Train, attack, evaluate and store; the record of the finished run.

    A run that was cut off is continued: same directory, same MLflow run, next epoch. A failure is
    recorded as failed and raised. With `again` a finished run is repeated beside the old one,
    which it replaces at its end. A second runner with the same key waits for the first. With `ids`
    a file beside the results says which ids the pseudonyms stand for.

    Raises:
        StoreError: the tracking store cannot be used; nothing was stored.
    """
    final = prepared.directory
    store = Store(prepared.plan.tracking_uri, prepared.plan.experiment)
    with final.locked():
        final.recover()
        directory = final.aside if again else final
        directory.path.mkdir(parents=True, exist_ok=True)
        run = _Run(prepared, directory, store, log)
        if ids:
            write_ids(directory.path, run.pseudonyms, prepared.tables)
        if directory.finished:
            record = directory.record()
            record = record if record.logged else run.log_results(record)
        else:
            record = run.go()
        if again:
            same = final.exists() and _same_predictions(final.path, directory.path)
            if final.exists():
                log.info(
                    "predictions identical to those of the earlier run: %s",
                    "yes" if same else "NO",
                )
            directory.take_the_place_of(final)
        return record


class _Run:
    """One run under way: what its steps share."""

    def __init__(
        self,
        prepared: Prepared,
        directory: RunDirectory,
        store: Store,
        log: logging.Logger,
    ) -> None:
        self.prepared, self.plan = prepared, prepared.plan
        self.directory, self.store, self.log = directory, store, log
        self.pseudonyms = Pseudonyms(self.plan.output, self.plan.dataset.registered_name)
        self.redactor = Redactor(self.pseudonyms, prepared.tables)
        self.contexts: list[Context] = []
        self.warnings: list[str] = []
        self.run_id = ""

    def go(self) -> RunRecord:
        """Every step in order; the stored record."""
        started = time.perf_counter()
        handler = logging.FileHandler(self.directory.path / LOG)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self.log.addHandler(handler)
        without_ids = WithoutIds(self.redactor)
        told = [*self.log.handlers]
        for one in told:
            # The terminal's too: a suite keeps what its runs say there.
            one.addFilter(without_ids)
        self.contexts = [self._context(*part) for part in enumerate(self.prepared.folds)]
        try:
            with Attackers(self.prepared, self.contexts, self.log) as attackers:
                self._begin()
                table, scores, parameters, training = self._measure(attackers)
            self._write(table, scores)
            total = time.perf_counter() - started
            record = self.directory.update(
                status="FINISHED",
                finished=now(),
                seconds=training | {"total": round(total, 2)},
                parameters=parameters,
                warnings=self.warnings,
            )
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            for one in told:
                one.removeFilter(without_ids)
            self.log.removeHandler(handler)
            handler.close()
        rmtree(self.directory.path / "work", ignore_errors=True)
        return self.log_results(record)

    def log_results(self, record: RunRecord) -> RunRecord:
        """Send a finished run to the tracking store; if that fails, the results stay complete."""
        restricted = self.store.remote and self.plan.terms == "restricted"
        files = [
            f for f in self.directory.files()
            if not restricted or SHAREABLE & {f.name, f.parent.name}
        ]  # fmt: skip
        scores = headline(self.directory.scores(), record.primary_contrasts)
        keys = metric_keys(scores, domain_keys(self.directory))
        try:
            self.store.finish(record.mlflow_run_id, keys, files, self.directory.path)
        except StoreError as error:
            self.log.warning("results are complete, but were not logged: %s", error)
            return record
        return self.directory.update(logged=True)

    def _begin(self) -> None:
        """Record, config and split on disk, and the MLflow run open."""
        prepared, plan = self.prepared, self.plan
        earlier = self.directory.record().mlflow_run_id if self.directory.exists() else ""
        record = self.directory.write_record(replace(first_record(prepared), mlflow_run_id=earlier))
        self.directory.write_config(plan.config())
        parts = [manifest(f).assign(part=i) for i, f in enumerate(prepared.folds)]
        split = self.pseudonyms.hide(pd.concat(parts), ("patient_id", "image_id"))
        self.directory.write_csv(SPLIT, split)
        self.run_id = self.store.start(
            f"{plan.method.registered_name} {plan.dataset.registered_name} seed {plan.seed}",
            tags=tags(prepared),
            params=params(plan),
            lineage=(plan.dataset.registered_name, prepared.data_digest, record.dataset),
            run_id=earlier,
        )
        self.directory.update(mlflow_run_id=self.run_id)

    def _measure(
        self, attackers: Attackers
    ) -> tuple[pd.DataFrame, list[Score], int, dict[str, float]]:
        """Predictions for val and test in one table, all scores, parameters, training seconds."""
        vals, tests, embeddings, probes, histories, thresholds = [], [], [], [], [], []
        parameters = 0
        for part, folds in enumerate(self.prepared.folds):
            predictor, history = self._fit(part, folds)
            vals.append(predictor.on_validation(folds))
            tests.append(predictor(folds.test))
            thresholds.append(predictor.thresholds().assign(part=part))
            embeddings.append(predictor.embed(folds.test))
            probes.append(Probe(folds.audit, predictor.embed(folds.audit)))
            histories.append(history.assign(part=part))
            parameters = predictor.parameters
            predictor.save(self.directory.weights(part, len(self.prepared.folds)))
        history = pd.concat(histories, ignore_index=True)
        self.directory.write_csv(HISTORY, history if len(history) else pd.DataFrame({"part": []}))
        self.directory.write_csv(THRESHOLDS, pd.concat(thresholds))
        test = pool(tests)
        patients = test.patient_codes()[1]
        self.log.info("evaluating %d test images of %d patients", len(test), patients)
        bootstrap = PatientBootstrap(patients)
        macro = self.prepared.task.macro_findings
        joint = [
            names for names in self.plan.dataset.intersections if set(names) <= set(test.attributes)
        ]
        scores = evaluate(
            test, macro_findings=macro, bootstrap=bootstrap, val=vals, intersections=joint
        )
        inside = InDomain(test, vals[0], bootstrap, macro, tuple(scores), tuple(joint))
        self._test_elsewhere(predictor, inside)
        attackers.wait()
        scores += linkage(self.prepared, self.contexts, test, embeddings, bootstrap)
        if self.plan.dataset.reidentification_allowed:
            scores += memorisation(ImageAudit.of(self.prepared, self.contexts))
        scores += leakage_scores(test, embeddings, probes, bootstrap)
        scores += training_scores(history)
        frames = [val.frame.assign(part=part, fold="val") for part, val in enumerate(vals)]
        table = pd.concat([*frames, test.frame.assign(fold="test")], ignore_index=True)
        # Nothing was trained where stored weights are scored; then there is no cost to show.
        trained = "seconds" in history
        training = {"train": round(float(history["seconds"].sum()), 2)} if trained else {}
        return table, scores, parameters, training

    def _test_elsewhere(self, predictor: Predictor, inside: InDomain) -> None:
        """Test the model on other data sets; of a run with folds there are none."""
        targets = []
        for domain in self.prepared.domains:
            self.log.info("testing on %s: %d images", domain.name, len(domain.test))
            measured = measure(predictor, domain, inside)
            directory = self.directory.ood(domain.name)
            table = self.pseudonyms.hide(measured.predictions, ("patient", "image"))
            directory.path.mkdir(parents=True, exist_ok=True)
            directory.write_parquet(PREDICTIONS, table)
            directory.write_csv(THRESHOLDS, measured.thresholds)
            directory.write_parquet(SCORES, measured.scores)
            targets.append(measured.target)
        self.directory.update(targets=targets)

    def _fit(self, part: int, folds: Folds) -> tuple[Predictor, pd.DataFrame]:
        plan, parts = self.plan, len(self.prepared.folds)
        if parts > 1:
            self.log.info("part %d of %d", part + 1, parts)
        stored = plan.from_run.weights(part, parts) if plan.from_run else None
        predictor, history = fit(
            plan.method,
            folds,
            self.contexts[part],
            stored_weights=stored,
            on_epoch=lambda row: self._tell_epoch(row, part),
        )
        if history.undefined:
            name = plan.method.selection
            where = f"part {part + 1}: " if parts > 1 else ""
            self.warnings.append(
                f"{where}{history.without_value} of {len(history.rows)} epochs have no value of "
                f"{name} ({history.undefined}): {FALLS_BACK}"
            )
        return predictor, pd.DataFrame(history.rows)

    def _context(self, part: int, folds: Folds) -> Context:
        return Context(
            seed=self.plan.seed,
            device=self.plan.device,
            workdir=self.directory.workdir(part),
            shared=cache_dir() / "fitted",
            pictures=self.directory.path / "pictures",
            log=self.log,
            task=self.prepared.task,
            train=folds.train,
        )

    def _tell_epoch(self, row: dict[str, float], part: int) -> None:
        try:
            self.store.epoch(self.run_id, row, part)
        except StoreError as error:
            # A curve with a hole is no reason to lose hours of training.
            self.log.warning("epoch %d was not logged: %s", row["epoch"] + 1, error)

    def _write(self, table: pd.DataFrame, scores: list[Score]) -> None:
        self.directory.write_parquet(PREDICTIONS, self.pseudonyms.hide(table, ("patient", "image")))
        self.directory.write_scores(scores)
        simulated = "SIMULATED · " if self.plan.dataset.kind == "simulated" else ""
        name = f"{self.plan.method.registered_name} on {self.plan.dataset.registered_name}"
        draw_run(
            self.directory.path / "figures",
            pd.read_csv(self.directory.path / HISTORY),
            scores,
            title=f"{simulated}{name}, seed {self.plan.seed}",
        )

    def _fail(self, error: BaseException) -> None:
        """Record the failure, without ids that its message holds."""
        reason = self.redactor(" ".join(str(error).split()) or type(error).__name__)
        trace = self.redactor(traceback.format_exc())
        with (self.directory.path / LOG).open("a", encoding="utf-8") as file:
            file.write(trace)
        if self.directory.exists():
            self.directory.update(status="FAILED", finished=now(), error=reason)
        if self.run_id:
            shared = self.store.remote and self.plan.terms == "restricted"
            try:
                self.store.fail(self.run_id, "see the run's directory" if shared else reason)
            except StoreError as unreachable:
                self.log.warning("the failure was not logged: %s", unreachable)


def _same_predictions(a: Path, b: Path) -> bool:
    files = (a / PREDICTIONS, b / PREDICTIONS)
    return all(f.is_file() for f in files) and pd.read_parquet(files[0]).equals(
        pd.read_parquet(files[1])
    )
