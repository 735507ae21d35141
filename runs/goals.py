"""What a study searches for: metrics of cells on validation patients, one number each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from datasets.split import Split
from methods.base import Task
from methods.predictor import as_predictions
from metrics.bootstrap import PatientBootstrap
from metrics.evaluate import evaluate
from metrics.score import ALL, MACRO, Score
from metrics.thresholds import fit_rule
from metrics.validation import ValidationPredictions
from registry import METRICS, unknown


@dataclass(frozen=True)
class Goal:
    """One objective: the macro value of a metric, of an attribute if it is given.

    `group` is "all", or the pre-registered pair of a contrast. `direction` is that of the metric:
    "higher", "lower", or "zero" (the absolute value is to be small).
    """

    metric: str
    attribute: str
    group: str
    direction: str

    @property
    def name(self) -> str:
        """As the command line spells it: `metric` or `metric:attribute`."""
        return f"{self.metric}:{self.attribute}" if self.attribute else self.metric

    @property
    def words(self) -> str:
        """For people to read: the name, and which groups a contrast is of."""
        return self.name if self.group == ALL else f"{self.name} ({self.group})"

    def score(self, scores: Iterable[Score], labels: str = "recorded") -> Score | None:
        """The score that is meant among `scores`, or None."""
        wanted = (self.metric, MACRO, self.attribute, self.group, labels)
        for s in scores:
            if (s.metric, s.finding, s.attribute, s.group, s.labels) == wanted:
                return s
        return None

    def cost(self, value: float) -> float:
        """The measured value so that lower is better."""
        aims = {"higher": -value, "lower": value, "zero": abs(value), "one": abs(value - 1)}
        return aims[self.direction]


def available(scores: Iterable[Score], contrasts: Mapping[str, str]) -> dict[str, Goal]:
    """The objectives that these scores hold, by name: those that are one number.

    `contrasts` maps an attribute to its pre-registered pair "B - A".
    """
    found = {}
    for s in scores:
        one = s.group == (contrasts.get(s.attribute) if s.metric.endswith("_contrast") else ALL)
        if s.finding == MACRO and s.labels == "recorded" and one:
            direction = str(METRICS.entries()[s.metric].facts["direction"])
            # What has no direction describes, and a p-value is no size: neither can be searched.
            if direction != "none" and METRICS.entries()[s.metric].facts["unit"] != "p-value":
                goal = Goal(s.metric, s.attribute, s.group, direction)
                found[goal.name] = goal
    return found


def in_short(names: Iterable[str]) -> list[str]:
    """The names with "ATTRIBUTE" for each attribute, and last which attributes there are."""
    attributes = sorted({name.partition(":")[2] for name in names} - {""})
    metrics = {name.partition(":")[0] + ":ATTRIBUTE" * (":" in name) for name in names}
    return [*sorted(metrics), f"where ATTRIBUTE is one of {'|'.join(attributes)}"]


def read_goals(
    names: Sequence[str],
    val: Split,
    task: Task,
    contrasts: Mapping[str, str],
    operating_point: str,
) -> tuple[Goal, ...]:
    """The objectives of these names, checked against the validation patients.

    Whether a cell holds enough patients depends on labels alone, so logits drawn at random tell
    before anything is trained which objectives there are and which are undefined.

    Raises:
        UnknownName: with the nearest match and the full list.
        ValueError: no name, one twice, or an objective that no model can have a value of here.
    """
    if not names:
        raise ValueError("--objectives must name at least one metric, such as auc,fnr_contrast:sex")
    if len(set(names)) < len(names):
        raise ValueError(f"--objectives must name each once, but got {','.join(names)}")
    logits = np.random.default_rng(0).normal(size=(len(val), len(task.findings)))
    drawn = ValidationPredictions.of(as_predictions(val, task, logits.astype(np.float32)))
    decided = fit_rule(drawn, operating_point).apply(drawn)
    few = PatientBootstrap(len(val.patients), replicates=2)
    scores = evaluate(decided, macro_findings=task.macro_findings, bootstrap=few)
    known = available(scores, contrasts)
    goals = []
    for name in names:
        if name not in known:
            raise unknown("objective", name, known, listed=in_short(known))
        score = known[name].score(scores)
        if score is None or math.isnan(score.value):
            reason = score.note if score else "no score"
            raise ValueError(
                f"an objective must have a value on the {len(val.patients)} validation patients, "
                f"but {name} has none ({reason}); choose another or use more validation patients"
            )
        goals.append(known[name])
    return tuple(goals)
