"""Which columns of somebody's table mean what: by option, or by convention."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

FINDINGS = (("label_", "score_", "decision_"), ("y:", "logit:", "decision:"))
"""Prefixes of label, score and decision of a finding; the second are those of the suite's runs."""
TRUTH = "true:"
"""Prefix of simulated true labels in the suite's runs."""
ONE = ("label", "score", "decision")
"""Columns of a table with one finding."""
ATTRIBUTES = (
    "sex", "gender", "age", "age_band", "age_group", "race", "ethnicity", "insurance", "language",
    "view", "scanner", "manufacturer", "site", "hospital",
)  # fmt: skip
"""Columns that are taken as attributes without being named, in any capitals."""
TOGETHER = " & "
"""Joins attributes whose groups are crossed, as in "sex & race"."""
FOLD, PART = "fold", "part"
"""Columns that say which rows are tested, and which of k models scored a row."""


@dataclass(frozen=True)
class Named:
    """What a user says of the columns; empty is by convention. `attributes` None: by convention."""

    patient: str = ""
    image: str = ""
    label: tuple[str, ...] = ()
    score: tuple[str, ...] = ()
    attributes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class FindingColumns:
    """The columns of one finding; `decision` and `truth` are empty where there is none."""

    name: str
    label: str
    score: str
    decision: str = ""
    truth: str = ""


@dataclass(frozen=True)
class Columns:
    """The meaning of every column; `image` and `part` are empty where there is none.

    `logits` says that the naming itself declares scores to be logits.
    """

    patient: str
    image: str
    part: str
    findings: tuple[FindingColumns, ...]
    attributes: tuple[str, ...]
    unused: tuple[str, ...]
    logits: bool


def resolve(columns: Sequence[str], named: Named, source: str) -> Columns:
    """The meaning of the columns of the table called `source`.

    Raises:
        ValueError: a column that is needed or named is not there; labels and scores do not pair up.
    """
    patient = _patient(columns, named.patient, source)
    image = named.image or ("image" if "image" in columns else "")
    if image:
        _present(image, columns, source, "--image")
    findings = _named(columns, named, source) or _by_convention(columns, source)
    attributes = _attributes(columns, named.attributes, source)
    used = {patient, image, FOLD, PART}
    used |= {c for f in findings for c in (f.label, f.score, f.decision, f.truth)}
    used |= {part for a in attributes for part in parts_of(a)}
    return Columns(
        patient=patient,
        image=image,
        part=PART if PART in columns else "",
        findings=findings,
        attributes=attributes,
        unused=tuple(c for c in columns if c not in used),
        logits=not named.label and findings[0].score.startswith(FINDINGS[1][1]),
    )


def parts_of(attribute: str) -> tuple[str, ...]:
    """The columns of an attribute: one, or several that are crossed."""
    return tuple(part.strip() for part in attribute.split(TOGETHER.strip()))


def nearest(name: str, columns: Iterable[str]) -> str:
    """A hint at the column that `name` may have meant, and all columns: for an error message."""
    known = [str(c) for c in columns]
    folded = {c.casefold(): c for c in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    hint = f"did you mean {folded[near[0]]!r}? " if near else ""
    shown = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
    return f"{hint}its columns: {shown}"


def _present(column: str, columns: Sequence[str], source: str, option: str) -> None:
    if column not in columns:
        raise ValueError(
            f"{option} must name a column of {source}, but there is no {column!r}; "
            f"{nearest(column, columns)}"
        )


def _patient(columns: Sequence[str], named: str, source: str) -> str:
    if named:
        _present(named, columns, source, "--patient")
        return named
    if "patient" not in columns:
        raise ValueError(
            f"{source} must have a column of patients, since patients and not images are "
            f"resampled, but none is called 'patient'; name it with --patient (where every image "
            f"is of another patient, name the column of images); {nearest('patient', columns)}"
        )
    return "patient"


def _named(columns: Sequence[str], named: Named, source: str) -> tuple[FindingColumns, ...]:
    if len(named.label) != len(named.score):
        raise ValueError(
            f"every label must have its score, but --label names {len(named.label)} columns and "
            f"--score names {len(named.score)} ({source}); give both in the same order"
        )
    for option, given in (("--label", named.label), ("--score", named.score)):
        for column in given:
            _present(column, columns, source, option)
            if given.count(column) > 1:
                raise ValueError(f"{option} must name a column once, but {column!r} stands twice")
    return tuple(
        FindingColumns(_finding(label), label, score)
        for label, score in zip(named.label, named.score, strict=True)
    )


def _finding(label: str) -> str:
    for prefix in ("label_", "label:", "y_", "y:"):
        if label.startswith(prefix) and label != prefix:
            return label.removeprefix(prefix)
    return label


def _by_convention(columns: Sequence[str], source: str) -> tuple[FindingColumns, ...]:
    for labels, scores, decisions in FINDINGS:
        names = [c.removeprefix(labels) for c in columns if c.startswith(labels) and c != labels]
        scored = [c.removeprefix(scores) for c in columns if c.startswith(scores) and c != scores]
        for name in names:
            if name not in scored:
                raise _unpaired(labels + name, scores + name, columns, source)
        for name in scored:
            if name not in names:
                raise _unpaired(scores + name, labels + name, columns, source)
        if names:
            return tuple(
                FindingColumns(
                    name,
                    labels + name,
                    scores + name,
                    decisions + name if decisions + name in columns else "",
                    TRUTH + name if TRUTH + name in columns else "",
                )
                for name in names
            )
    label, score, decision = ONE
    if label in columns and score in columns:
        return (FindingColumns("finding", label, score, decision if decision in columns else ""),)
    if label in columns or score in columns:
        there, missing = (label, score) if label in columns else (score, label)
        raise _unpaired(there, missing, columns, source)
    raise ValueError(
        f"{source} must have labels and scores, but no column is called 'label' and 'score', or "
        f"'label_X' and 'score_X' for a finding X; name them with --label and --score; "
        f"{nearest('label', columns)}"
    )


def _unpaired(there: str, missing: str, columns: Sequence[str], source: str) -> ValueError:
    return ValueError(
        f"every label must have its score, but {source} has {there!r} and no {missing!r}; "
        f"{nearest(missing, [c for c in columns if c != there])}"
    )


def _attributes(
    columns: Sequence[str], named: tuple[str, ...] | None, source: str
) -> tuple[str, ...]:
    if named is None:
        return tuple(c for c in columns if c.casefold() in ATTRIBUTES)
    found = tuple(TOGETHER.join(parts_of(a)) for a in named)
    for attribute in found:
        for column in parts_of(attribute):
            _present(column, columns, source, "--attributes")
        if found.count(attribute) > 1:
            raise ValueError(f"--attributes must name one once, but {attribute!r} stands twice")
    return found
