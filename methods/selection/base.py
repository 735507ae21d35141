"""The contract of selection strategies: a function from a candidate to one number.

    @SELECTION.register("loss", direction="lower", unit="nats per label")
    def loss(candidate: Candidate) -> Value: ...

`direction` says which values are better. `floor`, where it is given, is how far the macro AUC may
lie below the best one of all candidates. `oracle=True` marks a strategy that reads what nobody has
who chooses a model: only such a one is shown simulated true labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from methods.selection.order import Measured, Order
from metrics.auroc import auroc
from metrics.bootstrap import PatientBootstrap
from metrics.cells import MINIMUM_PATIENTS, Cells
from metrics.predictions import TRUE
from metrics.score import MACRO, Score
from metrics.thresholds import Rule
from metrics.validation import ValidationPredictions
from registry import METRICS, SELECTION


@dataclass(frozen=True)
class Value:
    """What a strategy makes of a candidate.

    Raises:
        ValueError: it is NaN without a reason, or infinite.
    """

    value: float
    reason: str = ""

    def __post_init__(self) -> None:
        if math.isinf(self.value) or (math.isnan(self.value) and not self.reason):
            raise ValueError(
                "a value of selection must be finite, or NaN with the reason, but got "
                f"{self.value} without one"
            )


@dataclass(frozen=True)
class Candidate:
    """A model that may be chosen, as its validation patients see it, and no other patients.

    `macro_findings` are those that averages run over. `decide` fits the method's thresholds to the
    predictions, and `features` gives the frozen features `(n, width)` of their rows; both are
    called by strategies that need them alone.

    Raises:
        TypeError: the predictions are not known to be of validation patients.
    """

    val: ValidationPredictions
    macro_findings: tuple[str, ...]
    decide: Callable[[ValidationPredictions], Rule]
    features: Callable[[], np.ndarray]

    def __post_init__(self) -> None:
        if not isinstance(self.val, ValidationPredictions):
            raise TypeError(
                "a candidate must be judged by ValidationPredictions, but got "
                f"{type(self.val).__name__}; make them with ValidationPredictions.of"
            )

    def macro_auc(self, *, true: bool = False) -> float:
        """Mean AUC over the macro findings that have images of both classes; NaN where none has.

        Against recorded labels unless `true`. No finding is left out for having few patients.
        """
        logits, labels = self.val.logits(), self.val.labels(true=true)
        return macro_auc(logits, labels, self.val.findings, self.macro_findings)

    def scores(self, metric: str, *, decided: bool = False) -> list[Score]:
        """The scores of a registered metric of cells, against recorded labels.

        With `decided` at the method's own thresholds, which other metrics do not need. Cells with
        fewer than 30 positive or 30 negative patients are undefined, as everywhere. With fewer
        than 30 patients at all there is no score.
        """
        patients = self.val.patient_codes()[1]
        if patients < MINIMUM_PATIENTS:
            return []
        val = self.decide(self.val).apply(self.val) if decided else self.val
        macro = np.isin(val.findings, list(self.macro_findings))
        # No interval is read, so two replicates are enough.
        few = PatientBootstrap(patients, replicates=2)
        return list(METRICS.get(metric)(Cells(val, "recorded", macro, few)))

    def macro_scores(self, metric: str, *, decided: bool = False) -> list[Score]:
        """Those of `scores` that are averages over findings and are defined."""
        found = self.scores(metric, decided=decided)
        return [s for s in found if s.finding == MACRO and not math.isnan(s.value)]


def macro_auc(
    logits: np.ndarray, labels: np.ndarray, findings: Sequence[str], macro: Sequence[str]
) -> float:
    """Mean AUC of the `macro` ones among `findings`, of logits and labels `(n, findings)`.

    NaN where no finding has images of both classes.
    """
    once = np.ones((len(logits), 1), np.uint8)
    aucs = [
        auroc(logits[:, j], labels[:, j], once)[0] for j, f in enumerate(findings) if f in macro
    ]
    defined = [a for a in aucs if not np.isnan(a)]
    return float(np.mean(defined)) if defined else math.nan


@dataclass(frozen=True)
class Strategy:
    """A registered strategy with what its registration says of it."""

    name: str
    order: Order
    oracle: bool
    function: Callable[[Candidate], Value]

    @classmethod
    def named(cls, name: str) -> Strategy:
        """The strategy of this name.

        Raises:
            UnknownName: with the nearest match and the full list.
            ValueError: its registration gives no direction.
        """
        function = SELECTION.get(name)
        facts = SELECTION.entries()[name].facts
        order = Order(str(facts.get("direction", "")), float(facts.get("floor", math.inf)))
        return cls(name, order, bool(facts.get("oracle")), function)

    def measure(self, candidate: Candidate) -> tuple[Measured, str]:
        """What is kept of the candidate, and why it has no value if it has none.

        Simulated true labels are taken away first, unless the strategy is an oracle.
        """
        auc = candidate.macro_auc()
        if not math.isinf(self.order.floor) and math.isnan(auc):
            return Measured(math.nan, auc), NO_AUC
        seen = candidate if self.oracle else replace(candidate, val=recorded(candidate.val))
        found = self.function(seen)
        return Measured(found.value, auc), found.reason if math.isnan(found.value) else ""


NO_AUC = "no finding has validation images of both classes, so there is no macro AUC"
UNEVALUABLE = (
    f"with {MINIMUM_PATIENTS} positive and {MINIMUM_PATIENTS} negative validation patients"
)
"""What a cell needs, for reasons."""


def recorded(val: ValidationPredictions) -> ValidationPredictions:
    """The predictions without simulated true labels: nobody who tunes on real data has them."""
    columns = [c for c in val.frame if not str(c).startswith(TRUE)]
    return replace(val, frame=val.frame[columns])


def oracle_note(name: str) -> str:
    """What a run says whose epoch a strategy of this name chose: empty unless it is an oracle."""
    entry = SELECTION.entries()[name]
    return f"epoch chosen by an oracle ({name})" if entry.facts.get("oracle") else ""
