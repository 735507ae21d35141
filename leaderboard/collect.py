"""From run directories on disk to one tidy table.

The store is the files `<output>/<dataset>/<method>/<key>/run.json` and `scores.parquet`. Only to
compare methods patient by patient is `predictions.parquet` read as well, where it is there. A
directory that cannot be read is left out with a warning that names the file.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metrics.comparison.spread import Z
from metrics.score import Score
from registry import ROOT, unknown

log = logging.getLogger(__name__)

SCORE_COLUMNS = tuple(f.name for f in fields(Score))
SCORE_KEY = ("metric", "finding", "attribute", "group", "labels")
"""Columns that name one score of one run."""
STATUSES = ("RUNNING", "FINISHED", "FAILED")
KINDS = ("simulated", "real")
REFERENCE = "erm"
"""The method that stands first: the others change something about it."""


@dataclass(frozen=True)
class Run:
    """What one `run.json` says of its run.

    `method_variant` and `data_variant` are the non-default fields as text; fields that only draw
    other people from the same population (such as a cohort) are not part of `data_variant`.
    `seconds` holds `train` and `total`; `primary_contrasts` maps an attribute to "B - A". `oracle`
    says what was chosen with knowledge that nobody has.
    """

    key: str
    status: str
    error: str
    experiment: str
    method: str
    method_variant: str
    method_fields: Mapping[str, Any]
    dataset: str
    data_variant: str
    data_fields: Mapping[str, Any]
    kind: str
    terms: str
    seed: int
    folds: int
    test_digest: str
    primary_contrasts: Mapping[str, str]
    attributes_at_test: tuple[str, ...]
    released: str
    operating_point: str
    seconds: Mapping[str, float | None]
    parameters: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    started: str
    finished: str
    mlflow_run_id: str
    tracking_uri: str
    command: str
    source_digest: str = ""
    oracle: str = ""
    allowed_leakage: str = ""
    """Why persons or pictures may stand in two folds of it; empty where none do."""
    targets: tuple[Any, ...] = ()
    """Other data sets that its model was tested on, as its record describes them."""

    @property
    def comparable(self) -> bool:
        """Whether it has results that stand for its method: finished, and chosen by no oracle."""
        return self.status == "FINISHED" and not self.oracle

    @property
    def train_seconds(self) -> float:
        """Training time in seconds, NaN where it was not recorded."""
        value = self.seconds.get("train")
        return math.nan if value is None else float(value)

    @property
    def setting(self) -> tuple[str, str, str, int, str]:
        """What must be equal for numbers to be comparable: data, folds and operating point."""
        return (self.kind, self.dataset, self.data_variant, self.folds, self.operating_point)

    @property
    def order(self) -> tuple[Any, ...]:
        """Sort key: by setting; in it the reference first, then by name, fields and seed."""
        method = (self.method != REFERENCE, self.method, self.method_variant)
        return (*self.setting, *method, self.seed, self.test_digest, self.key)


@dataclass(frozen=True)
class Tested:
    """One run on one other data set, `label`: its name and the fields that are not its defaults.

    `scores` have the columns `domain` ("in" or "out") and `thresholds` ("source" or "target").
    """

    run: Run
    name: str
    label: str
    digest: str
    findings: tuple[str, ...]
    scores: pd.DataFrame


@dataclass(frozen=True)
class Store:
    """Everything readable under an output directory.

    `runs` holds every run once, of any status; `scores` the scores of finished runs, one row each,
    with the run's `key`; `left_out` says in sentences what is not here and why; `directories` are
    where the finished runs lie, by key.
    """

    runs: tuple[Run, ...]
    scores: pd.DataFrame
    left_out: tuple[str, ...] = ()
    directories: Mapping[str, Path] = field(default_factory=dict)
    tested: tuple[Tested, ...] = ()
    """What finished runs measured on other data sets. A run that a later one replaces still counts
    here where that one was not tested there."""

    @property
    def finished(self) -> tuple[Run, ...]:
        """The runs that may be compared."""
        return tuple(run for run in self.runs if run.comparable)

    @property
    def unfinished(self) -> tuple[Run, ...]:
        """Failed and running runs, and what an oracle chose: listed, never compared."""
        return tuple(run for run in self.runs if not run.comparable)


def fields_of(variant: str) -> tuple[str, ...]:
    """The fields of a variant such as "lr=0.01 epochs=3", each as a text."""
    return tuple(part for part in re.split(r" (?=[A-Za-z_]\w*=)", variant) if part)


def by_number(text: str) -> tuple[tuple[str, float], ...]:
    """A sort key that puts "epsilon=3" before "epsilon=10"."""
    found = re.findall(r"([^\d]*)(\d+(?:\.\d+)?)?", text)
    return tuple((words, float(number or -1)) for words, number in found)


def default_output() -> Path:
    """The output directory: `$TRILEMMA_OUTPUT`, or `output` in the checkout."""
    return Path(os.environ.get("TRILEMMA_OUTPUT") or ROOT / "output")


def collect(output: Path | None = None, experiment: str | None = None) -> pd.DataFrame:
    """A tidy table of all finished runs: one row per run and score, the run's columns joined.

    >>> frame = collect()
    >>> frame.query("metric == 'auc' and finding == 'macro' and group == 'all'")

    Raises:
        FileNotFoundError: the output directory does not exist.
        UnknownName: no run belongs to `experiment`.
    """
    return tidy(read_store(output, experiment))


def tidy(store: Store) -> pd.DataFrame:
    """The scores of a store with the columns of their runs in front."""
    columns = [f.name for f in fields(Run) if f.type in ("str", "int")]
    rows = [
        {name: getattr(run, name) for name in columns} | {"train_seconds": run.train_seconds}
        for run in store.finished
    ]
    runs = pd.DataFrame(rows, columns=[*columns, "train_seconds"])
    return runs.merge(store.scores, on="key", how="inner", validate="one_to_many")


def read_store(output: Path | None = None, experiment: str | None = None) -> Store:
    """All readable runs of an output directory, each once, in a fixed order.

    Raises:
        FileNotFoundError: the output directory does not exist.
        UnknownName: there are runs, but none belongs to `experiment`.
    """
    output = default_output() if output is None else output
    if not output.is_dir():
        raise FileNotFoundError(
            f"the output directory must exist, but {str(output)!r} does not; make a first run with "
            "`python runner.py --method erm --dataset phantom`, or name another with --output"
        )
    left_out: list[str] = []
    by_key: dict[str, tuple[Run, pd.DataFrame, Path]] = {}
    for path in sorted(output.glob("*/*/*/run.json")):
        try:
            run, scores = _read(path)
        except (OSError, TypeError, ValueError) as error:
            left_out.append(f"{path.relative_to(output).as_posix()}: {error}")
            log.warning("left out %s: %s", path, error)
            continue
        held = by_key.get(run.key)
        if held is None or _preference(run) > _preference(held[0]):
            by_key[run.key] = (run, scores, path.parent)
    known = {run.experiment for run, *_ in by_key.values()}
    if experiment is not None and known and experiment not in known:
        raise unknown("experiment", experiment, known)
    chosen = [run for run, *_ in by_key.values() if experiment in (None, run.experiment)]
    runs, older = _newest(chosen)
    left_out += [_superseded(run) for run in older]
    parts = [by_key[r.key][1].assign(key=r.key) for r in runs if r.status == "FINISHED"]
    columns = ["key", *SCORE_COLUMNS]
    scores = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    directories = {r.key: by_key[r.key][2] for r in runs if r.status == "FINISHED"}
    tested = _tested(chosen, {key: path for key, (_, _, path) in by_key.items()}, left_out)
    return Store(tuple(runs), scores[columns], tuple(left_out), directories, tuple(tested))


def _preference(run: Run) -> tuple[bool, str]:
    return run.status == "FINISHED", run.finished


def _newest(runs: Iterable[Run]) -> tuple[list[Run], list[Run]]:
    """Runs in order, and those that a later run of the same settings and seed replaces.

    The key of a run covers the sources, so a repeat after a change of code has another key; the
    mean over both would count one seed twice and mix two programs.
    """
    newest: dict[tuple[Any, ...], Run] = {}
    kept, older = [], []
    for run in sorted(runs, key=lambda r: (r.finished, r.key)):
        if run.status != "FINISHED":
            kept.append(run)
            continue
        same = run.order[:-1]
        if same in newest:
            older.append(newest[same])
        newest[same] = run
    # An attempt that failed or hangs is no news once the same settings have finished.
    pending = [run for run in kept if run.order[:-1] not in newest]
    return sorted([*newest.values(), *pending], key=lambda r: r.order), older


def _tested(
    runs: Iterable[Run], directories: Mapping[str, Path], left_out: list[str]
) -> list[Tested]:
    """Of each setting, seed and other data set the newest run, in order."""
    newest: dict[tuple[Any, ...], Tested] = {}
    for run in sorted(runs, key=lambda r: (r.finished, r.key)):
        for target in run.targets if run.comparable else ():
            path = directories[run.key] / "ood" / str(target.get("name")) / "scores.parquet"
            try:
                made = _one_tested(run, target, path)
            except (OSError, KeyError, TypeError, ValueError) as error:
                left_out.append(f"{run.dataset}/{run.method}/{run.key}/{path.parent.name}: {error}")
                log.warning("left out %s: %s", path, error)
                continue
            newest[(*run.order[:-1], made.label)] = made
    return [newest[place] for place in sorted(newest)]


def _one_tested(run: Run, target: Mapping[str, Any], path: Path) -> Tested:
    table = pd.read_parquet(path)
    sides = table["domain"].astype(str) + " " + table["thresholds"].astype(str)
    # A score stands once on each side.
    parts = []
    for side, rows in table.groupby(sides):
        domain, thresholds = str(side).split()
        parts.append(_scores(rows).assign(domain=domain, thresholds=thresholds))
    return Tested(
        run=run,
        name=str(target["name"]),
        label=f"{target['name']} {target['variant']}".strip(),
        digest=f"{target['data_digest']} {target['split_digest']}",
        findings=tuple(map(str, target["findings"])),
        scores=pd.concat(parts, ignore_index=True),
    )


def _superseded(run: Run) -> str:
    return (
        f"{run.dataset}/{run.method}/{run.key}: replaced by a later run of the same settings and "
        f"seed {run.seed}"
    )


def _read(path: Path) -> tuple[Run, pd.DataFrame]:
    run = _run(json.loads(path.read_text(encoding="utf-8")))
    if run.status != "FINISHED":
        return run, pd.DataFrame(columns=list(SCORE_COLUMNS))
    table = path.with_name("scores.parquet")
    if not table.is_file():
        raise ValueError("a finished run must have scores.parquet beside it, but it is not there")
    return run, _scores(pd.read_parquet(table))


def _run(content: Any) -> Run:
    if not isinstance(content, dict):
        raise ValueError(f"run.json must hold one object, but holds a {type(content).__name__}")
    missing = [f.name for f in fields(Run) if f.default is MISSING and f.name not in content]
    if missing:
        raise ValueError(f"run.json must have every key, but lacks {', '.join(missing)}")
    known = [f for f in fields(Run) if f.name in content]
    run = Run(**{f.name: _typed(f.name, str(f.type), content[f.name]) for f in known})
    for name, value, allowed in (("status", run.status, STATUSES), ("kind", run.kind, KINDS)):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, but is {value!r}")
    return run


def _typed(name: str, annotation: str, value: Any) -> Any:
    kinds: dict[str, type] = {"str": str, "int": int}
    kind = list if annotation.startswith("tuple") else kinds.get(annotation, dict)
    if value is None:  # what an interrupted run did not get to know
        value = kind()
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name} must be of type {kind.__name__}, but is {value!r}")
    if isinstance(value, list):
        return tuple(map(str, value) if "str" in annotation else value)
    return value


def _scores(table: pd.DataFrame) -> pd.DataFrame:
    if "se" not in table:  # runs of an older suite
        table = table.assign(se=np.nan)
    missing = [c for c in SCORE_COLUMNS if c not in table]
    if missing:
        raise ValueError(f"scores.parquet must have the columns {', '.join(missing)}")
    table = table[list(SCORE_COLUMNS)].reset_index(drop=True)
    text = [*SCORE_KEY, "note"]
    table[text] = table[text].astype("object").fillna("").astype(str)
    numbers = [c for c in SCORE_COLUMNS if c not in text]
    table[numbers] = table[numbers].astype(float)
    # Where no error is stored the interval is of the value alone, and tells it.
    table["se"] = table["se"].fillna((table["high"] - table["low"]) / (2 * Z))
    twice = table[table.duplicated(list(SCORE_KEY))]
    if len(twice):
        named = ", ".join(str(twice.iloc[0][c]) for c in SCORE_KEY)
        raise ValueError(f"a score must stand once in scores.parquet, but {named} repeats")
    endless = table[np.isinf(table["value"])]
    if len(endless):
        raise ValueError(f"a score must be finite or NaN, but {endless.iloc[0]['metric']} is not")
    silent = table["value"].isna() & (table["note"] == "")
    table.loc[silent, "note"] = "no reason recorded"
    return table
