"""The MLflow store: the log of runs and the place to browse them."""

from __future__ import annotations

import logging
import math
import os
import re
import sqlite3
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from metrics.score import Score

# Set before mlflow is imported: it reads this once.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

MAX_METRICS = 200
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
        from mlflow.exceptions import MlflowException

        self.uri = uri
        self.remote = uri.startswith(("http://", "https://", "databricks"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self._open(experiment)
            except MlflowException as error:
                reason = str(error).split(". ")[0].split("\n")[0]
                raise StoreError(
                    f"--tracking-uri must name an MLflow store, but {uri!r} failed: {reason}"
                ) from error

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
            fresh = not file.exists()
            self._client = MlflowClient(tracking_uri=self.uri)
            self._experiment = _experiment_id(self._client, experiment, file.parent / "mlruns")
            if fresh:
                _use_write_ahead_log(file)

    def start(
        self,
        name: str,
        *,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        lineage: tuple[str, str, str],
        run_id: str = "",
    ) -> str:
        """The id of a new run, or of `run_id` continued. `lineage`: name, digest, source."""
        from mlflow.entities import Param, RunStatus, RunTag

        if run_id and self._known(run_id):
            self._client.update_run(run_id, status=RunStatus.to_string(RunStatus.RUNNING))
            for key, value in tags.items():
                self._client.set_tag(run_id, key, value)
            return run_id
        run = self._client.create_run(self._experiment, run_name=name, tags=dict(tags))
        run_id = run.info.run_id
        self._client.log_batch(
            run_id,
            params=[Param(k, str(v)[:PARAM_LENGTH]) for k, v in params.items()],
            tags=[RunTag(k, v) for k, v in tags.items()],
        )
        self._log_lineage(run_id, *lineage)
        return run_id

    def epoch(self, run_id: str, row: Mapping[str, float], part: int = 0) -> None:
        """Log one epoch of training."""
        from mlflow.entities import Metric

        prefix = f"train/part{part}" if part else "train"
        now = int(time.time() * 1000)
        metrics = [
            Metric(f"{prefix}/{k}", v, now, int(row["epoch"]))
            for k, v in row.items()
            if k != "epoch"
        ]
        self._client.log_batch(run_id, metrics=metrics)

    def finish(
        self,
        run_id: str,
        metrics: Mapping[str, float],
        files: Iterable[Path],
        root: Path,
        tags: Mapping[str, str],
    ) -> None:
        """Log the headline metrics and the files, and close the run."""
        from mlflow.entities import Metric, RunTag

        now = int(time.time() * 1000)
        self._client.log_batch(
            run_id,
            metrics=[Metric(k, v, now, 0) for k, v in metrics.items()],
            tags=[RunTag(k, v) for k, v in tags.items()],
        )
        for file in files:
            folder = file.relative_to(root).parent.as_posix()
            self._client.log_artifact(run_id, str(file), None if folder == "." else folder)
        self._client.set_terminated(run_id, "FINISHED")

    def fail(self, run_id: str, error: str) -> None:
        """Close the run as failed, with its error as a tag."""
        self._client.set_tag(run_id, "error", error)
        self._client.set_terminated(run_id, "FAILED")

    def _known(self, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            self._client.get_run(run_id)
        except MlflowException:
            return False
        return True

    def _log_lineage(self, run_id: str, name: str, digest: str, source: str) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(name=name, digest=digest, source_type="local", source=source)
        tag = InputTag("mlflow.data.context", "training and evaluation")
        self._client.log_inputs(run_id, datasets=[DatasetInput(dataset, [tag])])


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite address, or None for another kind of store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def metric_keys(scores: Sequence[Score]) -> dict[str, float]:
    """Headline scores under the documented keys, at most 200.

    The key is `metric/finding[/attribute/group][/true]`, with characters that MLflow refuses
    replaced by `_`; interval bounds of macro values over everybody follow as `…/low`, `…/high`.
    """
    keys: dict[str, float] = {}
    for score in scores:
        parts = [score.metric, score.finding]
        if score.attribute:
            parts += [score.attribute, score.group]
        if score.labels != "recorded":
            parts.append(score.labels)
        key = "/".join(re.sub(r"[^\w\-. :]", "_", part) for part in parts)
        keys[key] = score.value
        if score.finding == "macro" and not math.isnan(score.low):
            keys[f"{key}/low"], keys[f"{key}/high"] = score.low, score.high
    return dict(list(keys.items())[:MAX_METRICS])


def _experiment_id(client: Any, name: str, artifacts: Path | None) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = str(artifacts / re.sub(r"[^\w\-.]", "_", name)) if artifacts else None
        try:
            created: str = client.create_experiment(name, artifact_location=location)
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
