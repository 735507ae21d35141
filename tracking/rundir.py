"""A run's directory: complete on disk before anything is sent to MLflow."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import pandas as pd
import yaml
from filelock import BaseFileLock, FileLock

from metrics.intersections import AND
from metrics.pairs import ATTACKERS
from metrics.score import ALL, MACRO, Score, to_frame
from registry import METRICS

RECORD = "run.json"
CONFIG = "config.yaml"
SCORES = "scores.parquet"
PREDICTIONS = "predictions.parquet"
SPLIT = "split.csv"
HISTORY = "history.csv"
THRESHOLDS = "thresholds.csv"
LOG = "run.log"
IDS = "ids.csv"
"""What each pseudonym stands for; only where a user asked for it, and never sent anywhere."""
SHAREABLE = {SCORES, "scores.json", HISTORY, THRESHOLDS, "figures"}
"""Files, and a folder, of aggregates: all that leaves the directory of a run on restricted data."""
CONTRASTS = {"fnr_contrast", "fpr_contrast", "auc_contrast"}
WORST = "worst_group_auc"
SCALARS = {
    "fnr_gap", "fpr_gap", "auc_gap", "worst_group_auc_crossfit", "equalized_odds_max",
    "demographic_parity",
}  # fmt: skip
"""Numbers of an attribute that MLflow shows, of the many that there are."""


OOD = "ood"
"""Folder of what a model is on other data sets, with a folder for each."""
SOURCE_THRESHOLDS, TARGET_THRESHOLDS = "source", "target"
"""On whose validation patients thresholds were fitted."""


@dataclass(frozen=True)
class Target:
    """What a record says of another data set that the model was tested on.

    `variant` are its non-default fields, `findings` those that averages run over, `lacking` those
    of the task that it does not record.
    """

    name: str
    variant: str
    terms: str
    data_digest: str
    split_digest: str
    val_patients: int
    test_patients: int
    test_images: int
    findings: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run beside its scores; the leaderboard's index is made of these."""

    key: str
    status: str
    experiment: str
    method: str
    method_variant: str
    method_fields: dict[str, Any]
    dataset: str
    data_variant: str
    data_fields: dict[str, Any]
    kind: str
    terms: str
    seed: int
    folds: int
    data_digest: str
    split_digest: str
    test_digest: str
    source_digest: str
    primary_contrasts: dict[str, str]
    attributes_at_test: list[str]
    released: str
    operating_point: str
    command: str
    tracking_uri: str
    started: str
    finished: str = ""
    mlflow_run_id: str = ""
    logged: bool = False
    """Whether the tracking store holds the finished run."""
    oracle: str = ""
    """What an oracle chose, in words, such as the epoch; such a run is shown and never compared."""
    from_run: str = ""
    """Key of the run whose weights were scored; empty for a run that was trained."""
    error: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    parameters: int = 0
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    leakage: dict[str, int] = field(default_factory=dict)
    """Pairs of persons or pictures in two folds, by kind; a run with any was allowed to have it."""
    allowed_leakage: str = ""
    """The reason that was given; empty where nothing leaks."""
    split: str = ""
    """`official`, `patient`, `fold:i/k`, or the digest of a manifest."""
    limit_patients: int = 0
    """Number of patients that a trial was limited to; 0 means all."""
    environment: dict[str, str] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)
    """Other data sets that it was tested on; their results lie in `ood/<name>/`."""


@dataclass(frozen=True)
class RunDirectory:
    """One directory per run key; every file in it appears whole or not at all."""

    path: Path

    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / RECORD).is_file()

    @property
    def finished(self) -> bool:
        """Whether its results are complete on disk."""
        return self.exists() and self.record().status == "FINISHED"

    @property
    def aside(self) -> RunDirectory:
        """Where the run is repeated while the finished one stays in place."""
        return RunDirectory(self.path.parent / ".again" / self.path.name)

    @property
    def _outgoing(self) -> Path:
        return self.path.parent / ".again" / f"{self.path.name}.old"

    def locked(self) -> BaseFileLock:
        """A lock on the run's key, for one process at a time; it lies outside what is exchanged."""
        folder = self.path.parent / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{self.path.name}.lock")

    def take_the_place_of(self, final: RunDirectory) -> None:
        """Move to `final`, whose earlier content goes; both under the lock of `final`."""
        if final.path.exists():
            final.path.rename(final._outgoing)
        self.path.rename(final.path)
        rmtree(final._outgoing, ignore_errors=True)

    def recover(self) -> None:
        """Finish an exchange that was cut off; under the lock."""
        if self._outgoing.exists():
            if not self.path.exists():
                whole = self.aside.path if self.aside.finished else self._outgoing
                whole.rename(self.path)
            rmtree(self._outgoing, ignore_errors=True)

    def record(self) -> RunRecord:
        """The stored record.

        Raises:
            ValueError: the file is not a record of this version.
        """
        try:
            held = json.loads((self.path / RECORD).read_text())
            held["targets"] = [Target(**target) for target in held.get("targets", [])]
            return RunRecord(**held)
        except (TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{self.path / RECORD} must be a run's record, but could not be read ({error}); "
                "delete the directory to run again"
            ) from error

    def write_record(self, record: RunRecord) -> RunRecord:
        """Store the record and return it."""
        self.write_text(RECORD, json.dumps(asdict(record), indent=1) + "\n")
        return record

    def update(self, **changes: Any) -> RunRecord:
        """Store the record with some fields changed."""
        return self.write_record(replace(self.record(), **changes))

    def write_config(self, config: dict[str, Any]) -> None:
        """Store what `--config` needs to repeat the run."""
        self.write_text(CONFIG, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

    def write_scores(self, scores: Sequence[Score]) -> None:
        """Store the scores as parquet and, for reading by eye, as JSON with null for NaN."""
        self.write_parquet(SCORES, to_frame(scores))
        rows = [{k: _json(v) for k, v in asdict(s).items()} for s in scores]
        self.write_text("scores.json", "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")

    def scores(self) -> list[Score]:
        """The stored scores."""
        rows = pd.read_parquet(self.path / SCORES).to_dict("records")
        return [Score(**{str(k): v for k, v in row.items()}) for row in rows]

    def write_parquet(self, name: str, frame: pd.DataFrame) -> None:
        """Store a table."""
        partial = self.path / f"{name}.partial"
        frame.to_parquet(partial, index=False)
        partial.replace(self.path / name)

    def write_csv(self, name: str, frame: pd.DataFrame) -> None:
        """Store a table as text."""
        self.write_text(name, frame.to_csv(index=False, lineterminator="\n"))

    def write_text(self, name: str, text: str) -> None:
        """Store a text file."""
        self.path.mkdir(parents=True, exist_ok=True)
        partial = self.path / f"{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(self.path / name)

    def weights(self, part: int, parts: int) -> Path:
        """Where the weights of the model of one part are; one file without k-fold."""
        return self.path / ("weights.safetensors" if parts == 1 else f"weights-{part}.safetensors")

    def ood(self, name: str) -> RunDirectory:
        """Where the results on another data set are."""
        return RunDirectory(self.path / OOD / name)

    def workdir(self, part: int) -> Path:
        """A directory for what is needed only while the run is under way."""
        path = self.path / "work" / str(part)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def files(self) -> list[Path]:
        """Finished files that may be logged, sorted: neither raw ids nor a run's scratch."""
        found = (p for p in self.path.rglob("*") if p.is_file())
        left_out = (".partial", ".lock")
        kept = [
            p
            for p in found
            if p.relative_to(self.path).parts[0] != "work"
            and p.suffix not in left_out
            and p.name != IDS
        ]
        return sorted(kept)


def find(output: Path, run: str) -> RunDirectory:
    """The run that a directory, a config file in it, or (the start of) a key names.

    Raises:
        FileNotFoundError: no run, or more than one, is meant.
    """
    given = Path(run)
    directory = given.parent if given.is_file() else given
    if (directory / RECORD).is_file():
        return RunDirectory(directory)
    found = sorted(output.glob(f"*/*/{run}*/{RECORD}")) if "/" not in run and run else []
    if len(found) != 1:
        raise FileNotFoundError(
            f"--from-run must name one run below {output} by directory or key, but {run!r} "
            f"matches {len(found)}; list them with: python -m leaderboard"
        )
    return RunDirectory(found[0].parent)


def headline(scores: Iterable[Score], contrasts: dict[str, str]) -> list[Score]:
    """The scores of the summary and of MLflow; all others are in scores.parquet.

    AUC of everybody, per finding, and averaged in every group; of the single attackers on changed
    images the AUC; averaged contrasts of the pre-registered pairs; `SCALARS` of each attribute, of
    joint ones the worst group's AUC; every other average over everybody, against recorded labels.
    """
    return [score for score in scores if _leads(score, contrasts)]


def _leads(score: Score, contrasts: dict[str, str]) -> bool:
    macro, plain = score.finding == MACRO, AND not in score.attribute
    if score.metric in CONTRASTS:
        return macro and contrasts.get(score.attribute) == score.group
    if score.metric == "auc":
        return plain and (macro or score.group == ALL)
    if score.metric == WORST:
        return macro
    if score.metric.partition("_reid_")[0] in ATTACKERS:
        return score.metric.endswith("_reid_auc")
    if METRICS.entries()[score.metric].facts["input"] != "cells":
        return macro
    once = not score.attribute or (plain and score.metric in SCALARS)
    return macro and once and score.labels == "recorded"


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
