"""A fitted model on the patients of another data set, once with each of two sets of thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from methods.predictor import Predictor
from metrics.bootstrap import PatientBootstrap
from metrics.cells import MINIMUM_PATIENTS
from metrics.evaluate import evaluate
from metrics.predictions import Predictions
from metrics.score import MACRO, Score, to_frame
from metrics.validation import ValidationPredictions
from runs.data_sets import variant_of
from runs.foreign import Domain
from tracking.rundir import SOURCE_THRESHOLDS, TARGET_THRESHOLDS, Target

INSIDE = (
    "auc", "fnr", "fpr", "tnr", "tpr", "worst_group_auc", "fnr_contrast", "fpr_contrast",
    "auc_contrast", "specificity_transfer", "sensitivity_transfer",
)  # fmt: skip
"""Averages that are stored in domain too, over the findings that both sides evaluate."""


@dataclass(frozen=True)
class InDomain:
    """What the model is on the source's own patients: predictions, and their scores.

    `macro` are the findings that averages of `scores` run over, `intersections` the attributes
    whose joint groups are scored.
    """

    test: Predictions
    val: ValidationPredictions
    bootstrap: PatientBootstrap
    macro: tuple[str, ...]
    scores: tuple[Score, ...]
    intersections: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Measured:
    """What is stored of one other data set, as tables, and what the record says of it.

    `scores` are rows of `Score` with the columns `domain` ("in" or "out") and `thresholds`
    ("source" or "target"); `predictions` hold decisions by the thresholds of the source, and by
    those of the target under "target:"; `thresholds` say under `domain` where they were fitted.
    """

    scores: pd.DataFrame
    predictions: pd.DataFrame
    thresholds: pd.DataFrame
    target: Target


def measure(predictor: Predictor, domain: Domain, inside: InDomain) -> Measured:
    """The test fold of another data set, predicted once and decided twice.

    Thresholds are those of the source's validation patients, and those that the same method fits to
    the target's. Averages run over the findings that both test sets can evaluate, in domain too:
    otherwise a difference would be one of findings.
    """
    undecided = replace(predictor, rule=None, ctx=replace(predictor.ctx, task=domain.task))
    val = ValidationPredictions.of(undecided(domain.val))
    test = undecided(domain.test)
    rule = predictor.method.decide(val)
    if predictor.rule is None:
        raise ValueError("a model must have thresholds before it is tested out of domain")
    by_source, by_target = predictor.rule.apply(test), rule.apply(test)
    macro = common(inside.test, test, domain.macro)
    bootstrap = PatientBootstrap(test.patient_codes()[1], inside.bootstrap.replicates)
    frames = [
        _frame(_inside(inside, macro), domain="in", thresholds=SOURCE_THRESHOLDS),
        *(
            _frame(
                evaluate(
                    decided, macro_findings=macro, bootstrap=bootstrap, val=[fitted],
                    intersections=inside.intersections,
                ),
                domain="out",
                thresholds=thresholds,
                lacking=[f for f in domain.task.findings if f not in domain.shared],
                name=domain.name,
            )
            for decided, fitted, thresholds in (
                (by_source, inside.val, SOURCE_THRESHOLDS),
                (by_target, val, TARGET_THRESHOLDS),
            )
        ),
    ]  # fmt: skip
    decisions = {f"target:{f}": by_target.decisions()[:, i] for i, f in enumerate(test.findings)}
    table = [val.frame.assign(fold="val"), by_source.frame.assign(fold="test", **decisions)]
    fitted = pd.DataFrame([asdict(t) for t in rule.thresholds]).assign(domain=TARGET_THRESHOLDS)
    transferred = predictor.thresholds().assign(domain=SOURCE_THRESHOLDS)
    return Measured(
        scores=pd.concat(frames, ignore_index=True),
        predictions=pd.concat(table, ignore_index=True),
        thresholds=pd.concat([transferred, fitted], ignore_index=True),
        target=target_of(domain, macro),
    )


def common(inside: Predictions, outside: Predictions, macro: Iterable[str]) -> tuple[str, ...]:
    """Those of `macro` with enough patients of both classes in both test sets, by all labels.

    All of `macro` where there are none, so that the averages say themselves why they are undefined.
    """
    macro = tuple(macro)
    kept = [f for f in macro if all(_evaluable(side, f) for side in (inside, outside))]
    return tuple(kept) or macro


def target_of(domain: Domain, macro: Sequence[str]) -> Target:
    """What the record of a run says of another data set."""
    dataset, foreign = domain.foreign.placed.dataset, domain.foreign
    return Target(
        name=domain.name,
        variant=" ".join(variant_of(dataset)),
        terms=dataset.terms,
        data_digest=foreign.data_digest,
        split_digest=foreign.split_digest,
        val_patients=len(domain.val.patients),
        test_patients=len(domain.test.patients),
        test_images=len(domain.test),
        findings=list(macro),
        lacking=[f for f in domain.task.findings if f not in domain.shared],
        dropped=dict(foreign.dropped),
        notes=list(domain.notes),
    )


def _inside(inside: InDomain, macro: Sequence[str]) -> list[Score]:
    """Averages in domain over these findings; computed anew where they are other ones."""
    scores: Sequence[Score] = inside.scores
    if set(macro) != set(inside.macro):
        scores = evaluate(
            inside.test, macro_findings=macro, bootstrap=inside.bootstrap, val=[inside.val],
            intersections=inside.intersections,
        )  # fmt: skip
    return [s for s in scores if s.finding == MACRO and s.metric in INSIDE]


def _frame(
    scores: Sequence[Score],
    *,
    domain: str,
    thresholds: str,
    lacking: Sequence[str] = (),
    name: str = "",
) -> pd.DataFrame:
    """Scores as rows; of a finding that the data set lacks, with that as the reason."""
    table = to_frame(scores)
    blank = table["finding"].isin(lacking) & table["value"].isna()
    told = f"not recorded by {name}"
    return table.assign(
        note=table["note"].where(~blank, told), domain=domain, thresholds=thresholds
    )


def _evaluable(predictions: Predictions, finding: str) -> bool:
    place, patients = predictions.findings.index(finding), predictions.frame["patient"]
    kinds = (False, True) if predictions.has_truth else (False,)
    return all(
        patients[np.asarray(predictions.labels(true=true)[:, place] == label)].nunique()
        >= MINIMUM_PATIENTS
        for true in kinds
        for label in (0, 1)
    )
