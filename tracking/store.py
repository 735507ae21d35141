"""The MLflow store: the log of runs and the place to browse them."""

from __future__ import annotations

import logging
import math
import os
import re
import sqlite3
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from metrics.score import MACRO, Score

# Set before mlflow is imported: it reads this once.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# A store that does not answer is told within seconds rather than minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

log = logging.getLogger("trilemma")
MAX_METRICS = 200
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""So that MLflow's pages show columns of training rather than those of language models."""
PARENT = "mlflow.parentRunId"
PARAM_LENGTH = 6000
"""MLflow truncates longer parameters."""


class StoreError(ValueError):
    """A tracking address or experiment that cannot be used."""


class Store:
    """A tracking store; the only place that talks to MLflow.

    Raises:
        StoreError: the tracking address or the experiment cannot be used.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri = uri
        with warnings.catch_warnings(), _reaching(uri):
            warnings.simplefilter("ignore")
            self._open(experiment)

    def _open(self, experiment: str) -> None:
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        file = sqlite_file(self.uri)
        if file is None:
            self._client = MlflowClient(tracking_uri=self.uri)
            self._experiment = _experiment_id(self._client, experiment, None)
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        # Creating the tables is not safe for two processes at once; one goes first.
        with FileLock(f"{file}.lock"):
            self._client = MlflowClient(tracking_uri=self.uri)
            self._experiment = _experiment_id(self._client, experiment, file.parent / "mlruns")
            _use_write_ahead_log(file)

    @property
    def remote(self) -> bool:
        """Whether anything logged leaves this machine: by the store, or by where files go."""
        location = self._client.get_experiment(self._experiment).artifact_location or ""
        scheme = location.partition(":")[0] if "://" in location else "file"
        return sqlite_file(self.uri) is None or scheme != "file"

    def start(
        self,
        name: str,
        *,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        lineage: tuple[str, str, str],
        run_id: str = "",
        parent: str = "",
    ) -> str:
        """The id of a new run, or of one continued. `lineage`: name, digest, source of the data.

        With `parent`, the id of a run, MLflow shows the run below that one.

        Continued is `run_id`, or a run with the same `key` tag that was cut off before anybody
        wrote its id down.
        """
        from mlflow.entities import Param, RunStatus

        if parent:
            tags = {**tags, PARENT: parent}
        with _reaching(self.uri):
            run_id = run_id if run_id and self._known(run_id) else self._cut_off(tags["key"])
            if run_id:
                self._client.update_run(run_id, status=RunStatus.to_string(RunStatus.RUNNING))
                if "error" in self._client.get_run(run_id).data.tags:
                    self._client.delete_tag(run_id, "error")
                for key, value in tags.items():
                    self._client.set_tag(run_id, key, value)
                return run_id
            run = self._client.create_run(self._experiment, run_name=name, tags=dict(tags))
            run_id = run.info.run_id
            self._client.log_batch(
                run_id, params=[Param(k, str(v)[:PARAM_LENGTH]) for k, v in params.items()]
            )
            self._log_lineage(run_id, *lineage)
            return run_id

    def epoch(self, run_id: str, row: Mapping[str, float], part: int = 0) -> None:
        """Log one epoch of training."""
        from mlflow.entities import Metric

        prefix = f"train/part{part}" if part else "train"
        now = int(time.time() * 1000)
        step = int(row["epoch"])
        metrics = [Metric(f"{prefix}/{k}", v, now, step) for k, v in row.items() if k != "epoch"]
        with _reaching(self.uri):
            self._client.log_batch(run_id, metrics=metrics)

    def finish(
        self, run_id: str, metrics: Mapping[str, float], files: Iterable[Path], root: Path
    ) -> None:
        """Log the headline metrics and the files below `root`, and close the run."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with _reaching(self.uri):
            self._client.log_batch(run_id, [Metric(k, v, now, 0) for k, v in metrics.items()])
            for file in files:
                folder = file.relative_to(root).parent.as_posix()
                self._client.log_artifact(run_id, str(file), None if folder == "." else folder)
            self._client.set_tag(run_id, "status", "FINISHED")
            self._client.set_terminated(run_id, "FINISHED")

    def fail(self, run_id: str, error: str) -> None:
        """Close the run as failed, with its error as a tag."""
        with _reaching(self.uri):
            self._client.set_tag(run_id, "error", error)
            self._client.set_tag(run_id, "status", "FAILED")
            self._client.set_terminated(run_id, "FAILED")

    def _known(self, run_id: str) -> bool:
        """Whether the store holds the run and its user has not deleted it."""
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        active: bool = run.info.lifecycle_stage == "active"
        return active

    def _cut_off(self, key: str) -> str:
        """The run with this key that still counts as running although nobody works on it, or ""."""
        found = self._client.search_runs(
            [self._experiment],
            f"tags.key = '{key}' and attributes.status = 'RUNNING'",
            max_results=1,
        )
        return found[0].info.run_id if found else ""

    def _log_lineage(self, run_id: str, name: str, digest: str, source: str) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(name=name, digest=digest, source_type="local", source=source)
        tag = InputTag("mlflow.data.context", "training and evaluation")
        self._client.log_inputs(run_id, datasets=[DatasetInput(dataset, [tag])])


@contextmanager
def _reaching(uri: str) -> Iterator[None]:
    """Whatever a store fails with becomes one error that says which store, and why."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = str(error).split(". ")[0].split("\n")[0]
        raise StoreError(
            f"--tracking-uri must name an MLflow store that can be used, but "
            f"{without_password(uri)!r} failed: {reason}"
        ) from error


def without_password(uri: str) -> str:
    """The address without a user's name and password."""
    return re.sub(r"//[^/@]*@", "//", uri)


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite address, or None for another kind of store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def metric_keys(
    scores: Sequence[Score], others: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Headline scores under the documented keys, at most 200.

    The key is `metric/finding[/attribute/group][/true]`, with characters that MLflow refuses
    replaced by `_`; bounds of the intervals of macro AUC, of contrasts and of re-identification AUC
    follow as `…/low`, `…/high`. `others` are numbers out of domain, under keys of their own.
    """
    # Averages first, so that a data set with very many findings loses details only.
    keys = keys_of([s for s in scores if s.finding == MACRO]) | dict(others or {})
    keys |= keys_of([s for s in scores if s.finding != MACRO])
    if len(keys) > MAX_METRICS:
        log.warning("%d of %d headline scores are logged; all are in scores.parquet",
                    MAX_METRICS, len(keys))  # fmt: skip
    return dict(list(keys.items())[:MAX_METRICS])


def keys_of(scores: Iterable[Score]) -> dict[str, float]:
    """Scores under the documented keys, however many."""
    keys: dict[str, float] = {}
    for score in scores:
        parts = [score.metric, score.finding]
        if score.attribute:
            parts += [score.attribute, score.group]
        if score.labels != "recorded":
            parts.append(score.labels)
        key = "/".join(re.sub(r"[^\w\-. :]", "_", part) for part in parts)
        keys[key] = score.value
        bounded = (score.metric == "auc" and not score.attribute) or score.metric.endswith(
            ("_contrast", "_reid_auc")
        )
        if bounded and score.finding == MACRO and not math.isnan(score.low):
            keys[f"{key}/low"], keys[f"{key}/high"] = score.low, score.high
    return keys


def _experiment_id(client: Any, name: str, artifacts: Path | None) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = str(artifacts / re.sub(r"[^\w\-.]", "_", name)) if artifacts else None
        try:
            created: str = client.create_experiment(
                name, artifact_location=location, tags=EXPERIMENT_TAGS
            )
        except MlflowException:
            # Another runner created it in between.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
        else:
            return created
    if found.lifecycle_stage == "deleted":
        raise StoreError(
            f"--experiment must not name a deleted one, but {name!r} is; restore it or choose "
            "another name"
        )
    identity: str = found.experiment_id
    return identity


def _use_write_ahead_log(file: Path) -> None:
    # Persistent in the file; readers then do not block the writer.
    connection = sqlite3.connect(file)
    try:
        connection.execute("pragma journal_mode=wal")
    finally:
        connection.close()
