"""The search of a study: trials proposed, run, and stored one by one; cut off and continued."""

from __future__ import annotations

import json
import logging
import math
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import numpy as np

import options
from methods.base import Method
from metrics.score import Score
from runs.goals import Goal
from runs.preparation import Prepared
from runs.provenance import params, primary_contrasts, tags
from runs.study import STARTUP, Found, Study, Trial, short_hash
from runs.trial import run_trial
from tracking.pseudonyms import Pseudonyms
from tracking.redaction import Redactor, WithoutIds
from tracking.rundir import headline
from tracking.store import Store, StoreError, metric_keys

if TYPE_CHECKING:
    from optuna import Study as Journal
    from optuna import Trial as Asked
    from optuna.trial import FrozenTrial

FAILURES_IN_A_ROW = 5
"""Then it is not the fields that are at fault."""


class StudyFailed(RuntimeError):
    """A study that cannot go on."""


def budget(study: Study, trials: int) -> int:
    """How many trials the study needs: one where every field is fixed."""
    return trials if study.space else 1


def search(study: Study, trials: int, store: Store, log: logging.Logger) -> Found:
    """The study with its first `trials` complete trials, of which those missing are made.

    Under the study's lock. Every proposal follows from the study's seed, the number of the trial
    and the trials before it, so a study that was cut off ends as one that was not. A trial that
    was under way goes on with its next epoch.

    Raises:
        StudyFailed: trial after trial failed.
        StoreError: the tracking store cannot be used.
    """
    study.path.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(study.path / "study.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    plan = study.prepared.plan
    names = Pseudonyms(plan.output, plan.dataset.registered_name)
    handler.addFilter(WithoutIds(Redactor(names, study.prepared.tables)))
    log.addHandler(handler)
    try:
        return _Search(study, budget(study, trials), store, log).go()
    finally:
        log.removeHandler(handler)
        handler.close()


class _Search:
    """A search under way: what its steps share."""

    def __init__(self, study: Study, trials: int, store: Store, log: logging.Logger) -> None:
        self.study, self.wanted, self.store, self.log = study, trials, store, log
        self.plan = study.prepared.plan
        self.journal = _open(study)
        self.contrasts = primary_contrasts(
            self.plan.dataset, study.prepared.task, study.prepared.folds
        )
        self.parent = self._begin()

    def go(self) -> Found:
        self._give_up_stale()
        started, here, failures = time.perf_counter(), 0, 0
        while True:
            told, cut_off = _told(self.journal)
            kept = _first_complete(told, self.wanted)
            complete = sum(not t.failed for t in kept)
            if complete == self.wanted:
                if not here:
                    self.log.info("%s: all %d trials are there already", self.study.name, complete)
                return Found(self.study, kept, cut_off, self.parent)
            if failures == FAILURES_IN_A_ROW:
                raise StudyFailed(
                    f"a study needs trials that can be measured, but {failures} in a row failed, "
                    f"the last with: {told[-1].note}"
                )
            trial = self._trial(len(told))
            here += 1
            failures = failures + 1 if trial.failed else 0
            elapsed = time.perf_counter() - started
            left = elapsed / here * (self.wanted - complete - (not trial.failed))
            self.log.info(
                "%s trial %d (%d of %d complete): %s  (%.0f s; %s so far, about %s left)",
                self.study.name, trial.number, complete + (not trial.failed), self.wanted,
                said(trial, self.study.goals), trial.seconds, clock(elapsed), clock(left),
            )  # fmt: skip

    def _trial(self, number: int) -> Trial:
        """The next trial, run, told to Optuna and logged to MLflow."""
        started = time.perf_counter()
        asked = self._ask(number)
        space = self.study.space
        fields = {name: space[name].value(asked.params[name]) for name in space}
        asked.set_user_attr("fields", {k: _plain(v) for k, v in fields.items()})
        self.log.info(
            "%s trial %d: %s",
            self.study.name, number, " ".join(f"{k}={v}" for k, v in fields.items()) or "defaults",
        )  # fmt: skip
        workdir = self.study.path / "work" / short_hash(fields)
        workdir.mkdir(parents=True, exist_ok=True)
        run_id = ""
        scores: list[Score] = []
        try:
            method = self.study.method(fields)
            run_id = self._begin_child(number, method, fields)
            judged = run_trial(
                self.study.prepared,
                method,
                workdir=workdir,
                log=self.log,
                on_epoch=lambda row: self._log(self.store.epoch, run_id, row),
            )
            scores = judged.scores
            trial = replace(
                self._measured(number, fields, scores),
                selection=judged.values,
                undefined=judged.undefined,
            )
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - fields that cannot work are a result too
            trial = Trial(number, fields, note=self._reason(error))
        trial = replace(trial, seconds=round(time.perf_counter() - started, 2))
        self._tell(asked, trial)
        if run_id and trial.failed:
            shared = self.store.remote and self.plan.dataset.terms == "restricted"
            self._log(
                self.store.fail, run_id, "see the study's directory" if shared else trial.note
            )
        elif run_id:
            chosen = metric_keys(headline(scores, self.contrasts))
            metrics = {f"val/{key}": value for key, value in chosen.items()}
            self._log(self.store.finish, run_id, metrics, (), self.study.path)
        rmtree(workdir, ignore_errors=True)
        return trial

    def _ask(self, number: int) -> Asked:
        from optuna.trial import TrialState

        space = self.study.space
        waiting = self.journal.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if number == 0 and not waiting:
            self.journal.enqueue_trial({name: r.parameter() for name, r in space.items()})
        with _quiet():
            self.journal.sampler = _sampler(self.plan.seed, number)
            return self.journal.ask({name: r.distribution() for name, r in space.items()})

    def _measured(self, number: int, fields: Mapping[str, Any], scores: Sequence[Score]) -> Trial:
        found = [goal.score(scores) for goal in self.study.goals]
        undefined = [
            f"{goal.name} is undefined: {s.note if s else 'no such score'}"
            for goal, s in zip(self.study.goals, found, strict=True)
            if s is None or math.isnan(s.value)
        ]
        if undefined:
            return Trial(number, fields, note="; ".join(undefined))
        held = [s for s in found if s is not None]
        return Trial(
            number,
            fields,
            values=tuple(s.value for s in held),
            low=tuple(s.low for s in held),
            high=tuple(s.high for s in held),
            remarks=tuple(s.note for s in held),
        )

    def _tell(self, asked: Asked, trial: Trial) -> None:
        from optuna.trial import TrialState

        asked.set_user_attr("seconds", trial.seconds)
        if trial.failed:
            # Before the trial is told: a failed one without a note is one that was cut off.
            asked.set_user_attr("note", trial.note)
            self.journal.tell(asked, state=TrialState.FAIL)
            return
        for name in ("values", "low", "high", "remarks"):
            asked.set_user_attr(name, list(getattr(trial, name)))
        for name in ("selection", "undefined"):
            asked.set_user_attr(name, dict(getattr(trial, name)))
        costs = [g.cost(v) for g, v in zip(self.study.goals, trial.values, strict=True)]
        with _quiet():
            self.journal.tell(asked, values=costs)

    def _give_up_stale(self) -> None:
        """Trials that nobody works on any more count as cut off; their fields are tried again."""
        from optuna.trial import TrialState

        for stale in self.journal.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.journal.tell(stale.number, state=TrialState.FAIL)
            whole = set(stale.params) == set(self.study.space)
            if whole and "note" not in stale.user_attrs:
                self.journal.enqueue_trial(stale.params)
                self.log.info("%s: a trial was cut off and is tried again", self.study.name)

    def _begin(self) -> str:
        """The parent run in MLflow, begun or continued."""
        study, prepared, plan = self.study, self.study.prepared, self.plan
        file = study.path / "study.json"
        earlier = json.loads(file.read_text())["mlflow_run_id"] if file.is_file() else ""
        goals = ",".join(g.name for g in study.goals)
        searched = {f"search.{name}": str(r) for name, r in study.space.items()}
        fixed = {
            f"fixed.{k}": v for k, v in options.plain(plan.method).items() if k not in study.space
        }
        beside = {k: v for k, v in params(plan).items() if not k.startswith("method.")}
        run_id = self.store.start(
            f"study of {study.name} {plan.dataset.registered_name} seed {plan.seed}",
            tags=self._tags(study.key) | {"role": "study"},
            params={**beside, "objectives": goals, **searched, **fixed},
            lineage=_lineage(prepared),
            run_id=earlier,
        )
        record = {
            "key": study.key,
            "mlflow_run_id": run_id,
            "objectives": [g.words for g in study.goals],
            "search": {name: str(r) for name, r in study.space.items()},
            "request": plan.config(),
        }
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(record, indent=1) + "\n")
        partial.replace(file)
        return run_id

    def _begin_child(self, number: int, method: Method, fields: Mapping[str, Any]) -> str:
        prepared = self.study.prepared
        return self.store.start(
            f"{self.study.name} trial {number}",
            tags=self._tags(f"{self.study.key}/{short_hash(fields)}") | {"role": "trial"},
            params=params(replace(self.plan, method=method)),
            lineage=_lineage(prepared),
            parent=self.parent,
        )

    def _tags(self, key: str) -> dict[str, str]:
        return tags(self.study.prepared) | {
            "mlflow.source.name": "python -m benchmarks study",
            "key": key,
            "study": self.study.key,
            "directory": str(self.study.path.relative_to(self.plan.output)),
        }

    def _log(self, send: Any, *arguments: Any) -> None:
        try:
            send(*arguments)
        except StoreError as error:
            self.log.warning("a trial was not logged whole: %s", error)

    def _reason(self, error: Exception) -> str:
        """What went wrong, without ids of patients or images."""
        text = " ".join(str(error).split()) or type(error).__name__
        names = Pseudonyms(self.plan.output, self.plan.dataset.registered_name)
        redactor = Redactor(names, self.study.prepared.tables)
        self.log.debug("%s", redactor(traceback.format_exc()))
        return redactor(text)


def _lineage(prepared: Prepared) -> tuple[str, str, str]:
    name = prepared.plan.dataset.registered_name
    return name, prepared.data_digest, name


def _open(study: Study) -> Journal:
    """The stored trials; what a kill may have left half done is put right first."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = study.path / "journal.log"
    # Optuna's own lock; the study's lock is held, so nobody holds this one any more.
    file.with_name(f"{file.name}.lock").unlink(missing_ok=True)
    if file.is_file():
        whole = file.read_bytes()
        if not whole.endswith(b"\n"):
            file.write_bytes(whole[: whole.rfind(b"\n") + 1])
    # Every goal is told as a cost, so that "closest to zero" is one among others.
    with _quiet():
        return optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(file))),
            study_name=study.key,
            directions=["minimize"] * len(study.goals),
            load_if_exists=True,
        )


def _sampler(seed: int, number: int) -> Any:
    """The sampler of one trial. Optuna stores no sampler, so each trial gets its own, seeded by
    the trial's number: a study that goes on proposes what it would have proposed."""
    from optuna.samplers import TPESampler

    drawn = int(np.random.SeedSequence([seed, 0x57D1, number]).generate_state(1)[0])
    return TPESampler(seed=drawn, multivariate=True, constant_liar=False, n_startup_trials=STARTUP)


def _told(journal: Journal) -> tuple[list[Trial], int]:
    """Trials that ended by themselves, numbered as they came, and how many were cut off."""
    from optuna.trial import TrialState

    ended: list[FrozenTrial] = journal.get_trials(
        deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL)
    )
    told: list[Trial] = []
    for frozen in ended:
        held = frozen.user_attrs
        if frozen.state == TrialState.FAIL and "note" not in held:
            continue
        failed = frozen.state == TrialState.FAIL
        told.append(
            Trial(
                number=len(told),
                fields=held["fields"],
                values=() if failed else tuple(held["values"]),
                low=() if failed else tuple(held["low"]),
                high=() if failed else tuple(held["high"]),
                remarks=() if failed else tuple(held["remarks"]),
                seconds=held.get("seconds", 0.0),
                note=held.get("note", "") if failed else "",
                selection={} if failed else held["selection"],
                undefined={} if failed else held["undefined"],
            )
        )
    return told, len(ended) - len(told)


def _first_complete(told: Sequence[Trial], wanted: int) -> tuple[Trial, ...]:
    """The trials up to the one that makes them `wanted` complete ones."""
    kept: list[Trial] = []
    for trial in told:
        if sum(not t.failed for t in kept) == wanted:
            break
        kept.append(trial)
    return tuple(kept)


def said(trial: Trial, goals: Sequence[Goal]) -> str:
    """What a trial measured, or why it failed."""
    if trial.failed:
        return f"failed, {trial.note}"
    return "  ".join(f"{g.name} {v:.3f}" for g, v in zip(goals, trial.values, strict=True))


def clock(seconds: float) -> str:
    """A duration to be read: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna warns of settings that are chosen here with their reasons."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
