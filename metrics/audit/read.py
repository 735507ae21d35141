"""From somebody's table to `Predictions`: every cell checked, nothing guessed in silence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from metrics.audit import check
from metrics.audit.columns import FOLD, Columns, FindingColumns, Named, nearest, resolve
from metrics.audit.groups import group
from metrics.audit.scale import LOGIT, Scale, detect, to_logits
from metrics.audit.source import SHOWN, Source, read
from metrics.predictions import DECISION, LABEL, TRUE, Predictions
from metrics.predictions import LOGIT as LOGIT_COLUMN
from metrics.validation import VALIDATION

TEST = "test"


@dataclass(frozen=True)
class Material:
    """What an audit works on.

    `scores` are the scores of the tested images as given `(n, findings)` float64; `notes` say in
    sentences what was done with the table. `decided` says whether the table came with decisions.
    """

    name: str
    test: Predictions
    validation: Predictions | None
    scores: np.ndarray
    scale: Scale
    columns: Columns
    decided: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Part:
    """The checked columns of the tested, or of the validation, images."""

    source: Source
    columns: Columns
    patients: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def load(
    table: pd.DataFrame | str | Path,
    named: Named,
    *,
    validation: pd.DataFrame | str | Path | None = None,
    scores: str = "auto",
) -> Material:
    """Tables of tested and, if given, of validation images as predictions.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column or a cell breaks a rule; the message says where and what to do.
    """
    text = (named.patient or "patient", named.image or "image")
    source = read(table, text=text)
    source, own_validation, told = _folds(source)
    columns = resolve(list(source.frame.columns), named, source.name)
    test = _checked(source, columns)
    held: _Part | None = None
    if validation is not None:
        other = read(validation, text=text)
        held = _checked(other, _same_findings(other, columns, named))
        if own_validation is not None:
            told = f"{told} Its rows of fold {VALIDATION!r} were not used, since a file was given."
    elif own_validation is not None:
        held = _checked(own_validation, columns)
    if held is not None:
        _disjoint(test, held)
    if len(np.unique(test.patients)) < 2:
        raise ValueError(
            f"an audit needs at least 2 patients, but {source.name} has 1 ({test.patients[0]!r}); "
            "check which column --patient names"
        )
    scale = _scale(test, held, scores)
    logits = _logits(test, held, scale)
    predictions, notes = _tested(test, logits[: len(test.scores)])
    return Material(
        name=source.name,
        test=predictions,
        validation=None if held is None else _held_out(held, columns, logits[len(test.scores) :]),
        scores=test.scores,
        scale=scale,
        columns=columns,
        decided=predictions.has_decisions,
        notes=tuple(n for n in (told, scale.told, *_certain(test, scale), *notes) if n),
    )


def _folds(source: Source) -> tuple[Source, Source | None, str]:
    """Tested rows, validation rows, and what was left out, where a column `fold` says so."""
    if FOLD not in source.frame or TEST not in set(source.frame[FOLD].astype(str).unique()):
        return source, None, ""
    fold = source.frame[FOLD].astype(str).to_numpy()
    tested, held = fold == TEST, fold == VALIDATION
    left = int((~tested & ~held).sum())
    told = f"Rows of fold {TEST!r} were audited"
    told += f", {left:,} of other folds left out." if left else "."
    return source.where(tested), source.where(held) if held.any() else None, told


def _same_findings(other: Source, columns: Columns, named: Named) -> Columns:
    """The columns of the validation table; it needs no attributes.

    Raises:
        ValueError: it lacks a finding of the tested table.
    """
    there = list(other.frame.columns)
    for finding in columns.findings:
        for column in (finding.label, finding.score):
            if column not in there:
                raise ValueError(
                    f"the validation file must have every finding that is tested, but {other.name} "
                    f"has no {column!r} (finding {finding.name!r}); add it, or leave the finding "
                    f"out of both; {nearest(column, there)}"
                )
    own = resolve(there, Named(named.patient, named.image, named.label, named.score, ()), "it")
    return Columns(own.patient, own.image, "", columns.findings, (), (), columns.logits)


def _checked(source: Source, columns: Columns) -> _Part:
    patients = check.ids(source, columns.patient, "patient")
    if columns.image:
        images = check.ids(source, columns.image, "image")
        repeated = pd.Series(images).duplicated(keep=False).to_numpy()
        if repeated.any():
            name = images[repeated][0]
            raise ValueError(
                f"an image must have one row, but image {name!r} in column {columns.image!r} "
                f"of {source.name} stands on {source.at(np.flatnonzero(images == name))}; "
                "keep one of them"
            )
    else:
        images = np.array([f"row {i}" for i in range(len(patients))], dtype=object)
    labels = [check.labels(source, f.label) for f in columns.findings]
    scores = [check.scores(source, f.score) for f in columns.findings]
    return _Part(source, columns, patients, images, np.stack(labels, 1), np.stack(scores, 1))


def _disjoint(test: _Part, validation: _Part) -> None:
    shared = np.intersect1d(test.patients.astype(str), validation.patients.astype(str))
    if len(shared):
        shown = ", ".join(map(repr, shared[:SHOWN].tolist()))
        raise ValueError(
            f"no patient may be in both tables, since thresholds would then be fitted on tested "
            f"patients, but {len(shared)} of {test.source.name} are in {validation.source.name} "
            f"too ({shown}); leave them out of one of the two"
        )


def _scale(test: _Part, validation: _Part | None, kind: str) -> Scale:
    if test.columns.logits and kind == "auto":
        return Scale(LOGIT, "Scores are logits, as the names of their columns say.")
    columns = [(f.score, test.scores[:, j]) for j, f in enumerate(test.columns.findings)]
    names = test.source.name
    if validation is not None:
        columns += [(n, validation.scores[:, j]) for j, (n, _) in enumerate(columns)]
        names = f"{names} and {validation.source.name}"
    return detect(columns, kind, names)


def _logits(test: _Part, validation: _Part | None, scale: Scale) -> np.ndarray:
    """Logits `(tested + validation, findings)` float32; both at once, so that equals stay equal."""
    scores = test.scores
    if validation is not None:
        scores = np.concatenate([scores, validation.scores])
    return np.stack([to_logits(s, scale.kind) for s in scores.T], axis=1)


def _certain(test: _Part, scale: Scale) -> Iterable[str]:
    if scale.kind == LOGIT:
        return
    sure = (test.scores == 0) | (test.scores == 1)
    if sure.any():
        yield (
            f"{int(sure.sum()):,} scores are exactly 0 or 1: rounding may have made ties, and "
            "log-loss and calibration slope rest on the logits ∓37 that stand for them."
        )


def _tested(part: _Part, logits: np.ndarray) -> tuple[Predictions, Sequence[str]]:
    """The tested images as predictions, and what is to be said of them."""
    source, columns, notes = part.source, part.columns, []
    data: dict[str, object] = {"image": part.images, "patient": part.patients}
    data["part"] = _parts(source, columns.part)
    groups = {}
    for attribute in columns.attributes:
        made = group(source, attribute)
        data[attribute], groups[attribute] = made.values, made.order
        notes += [made.note] if made.note else []
    data |= _of_findings(columns.findings, part.labels, logits)
    for prefix, wanted in ((TRUE, "truth"), (DECISION, "decision")):
        found = [getattr(f, wanted) for f in columns.findings]
        if all(found):
            for finding, column in zip(columns.findings, found, strict=True):
                data[prefix + finding.name] = check.labels(source, column)
    patients = len(np.unique(part.patients))
    if patients == len(part.patients):
        notes.append(
            "Every image is of another patient. If that is not so, intervals are too narrow: name "
            "the column that holds the patient."
        )
    if columns.unused:
        shown = ", ".join(columns.unused[:12]) + (" …" if len(columns.unused) > 12 else "")
        notes.append(f"Columns that were not used: {shown}.")
    names = tuple(f.name for f in columns.findings)
    frame = pd.DataFrame(data)
    return Predictions(TEST, frame, names, columns.attributes, groups), notes


def _parts(source: Source, column: str) -> np.ndarray:
    if not column:
        return np.zeros(len(source.frame), np.int64)
    parts = check.numbers(source, column, "parts must be whole numbers")
    strange = np.flatnonzero(parts % 1 != 0)
    if len(strange):
        raise ValueError(
            f"parts must be whole numbers that say which of k models scored a row, but "
            f"{source.name} has {parts[strange[0]]:g} in column {column!r} "
            f"({source.at(strange)}); correct or rename the column"
        )
    return parts.astype(np.int64)


def _of_findings(
    findings: Sequence[FindingColumns], labels: np.ndarray, logits: np.ndarray
) -> dict[str, np.ndarray]:
    made = {LABEL + f.name: labels[:, j] for j, f in enumerate(findings)}
    return made | {LOGIT_COLUMN + f.name: logits[:, j] for j, f in enumerate(findings)}


def _held_out(part: _Part, columns: Columns, logits: np.ndarray) -> Predictions:
    frame = pd.DataFrame(
        {"image": part.images, "patient": part.patients, "part": 0}
        | _of_findings(columns.findings, part.labels, logits)
    )
    return Predictions(VALIDATION, frame, tuple(f.name for f in columns.findings), (), {})
