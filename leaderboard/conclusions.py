"""What can be concluded of each method: against ERM, by group, by place, on the front."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from leaderboard.against import Apart, Comparison, Group, Measure
from leaderboard.aggregate import Estimate
from leaderboard.collect import REFERENCE, Run
from metrics.comparison.answer import answer
from metrics.comparison.holm import holm
from metrics.comparison.joint import posterior
from metrics.comparison.linear import normal_errors
from metrics.comparison.paired import Endpoint, Replicates
from metrics.comparison.pareto import front
from metrics.comparison.ranks import RankSet, rank_sets
from metrics.comparison.spread import Z
from metrics.comparison.verdict import MARGIN, Verdict, verdict

AUC = Measure("auc")
HIGHER = Endpoint("auc", "higher")
UNPAIRED = "no stored predictions that pair its patients with ERM's"


@dataclass(frozen=True)
class Conclusion:
    """What can be said of one method beside its numbers.

    `adjusted` are p-values against ERM after Holm's correction over the primary endpoints of all
    methods, `answers` one word each; `verdicts` are by attribute. `place` is where the method may
    stand by macro AUC. `on_front` is the chance that no method is as good in accuracy, contrast and
    re-identification and better in one; NaN where an aim is not measured. `reasons` say why
    something is not there: "places", "front", or an attribute.
    """

    adjusted: Mapping[Measure, float] = field(default_factory=dict)
    answers: Mapping[Measure, str] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    place: RankSet | None = None
    on_front: float = math.nan
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """A method with the ERM it is compared with, its differences to it, and what it gives away."""

    group: Group
    reference: Group | None
    differences: Mapping[Measure, Apart]
    privacy: Estimate | None


def conclude(
    candidates: Sequence[Candidate],
    comparison: Comparison,
    *,
    labels: str,
    attributes: Mapping[str, Sequence[str]],
    contrast: Measure | None,
) -> list[Conclusion]:
    """A conclusion per candidate, against one label set.

    `attributes` maps an attribute to its groups. The front needs the pre-registered `contrast`.
    Everything but Holm's correction needs stored predictions: methods are compared on the same
    patients, or not at all.
    """
    measures = [AUC, *([contrast] if contrast else [])]
    measures += [Measure("auc", a, g) for a, groups in attributes.items() for g in groups]
    drawn = Drawn(comparison, [c.group for c in candidates], measures, labels)
    adjusted = _adjusted(candidates)
    places = _places(candidates, drawn)
    chances = _chances(candidates, drawn, contrast) if contrast else {}
    family = len(attributes) * sum(one.reference is not None for one in candidates)
    found = []
    for number, one in enumerate(candidates):
        verdicts, reasons = _verdicts(one, drawn, attributes, family)
        answers = {m: _word(d, adjusted[number][m]) for m, d in one.differences.items()}
        place = places.get(number)
        if place is None:
            reasons["places"] = "not the seeds and stored predictions of ERM"
        if number not in chances:
            reasons["front"] = "not all three aims measured on the patients of ERM"
        chance = chances.get(number, math.nan)
        found.append(Conclusion(adjusted[number], answers, verdicts, place, chance, reasons))
    return found


class Drawn:
    """Numbers of the runs of a section, with joint errors over the test patients they share."""

    def __init__(
        self,
        comparison: Comparison,
        groups: Sequence[Group],
        measures: Sequence[Measure],
        labels: str,
    ) -> None:
        self._comparison, self._labels = comparison, labels
        self._values: dict[tuple[str, Measure], float] = {}
        self._errors: dict[tuple[str, Measure], np.ndarray] = {}
        runs = [run for group in groups for run in group.runs]
        tests = list(dict.fromkeys(run.test_digest for run in runs))
        self._places = {
            place: number
            for number, place in enumerate(sorted({(r.seed, r.test_digest) for r in runs}))
        }
        for number, test in enumerate(tests):
            self._draw([run for run in runs if run.test_digest == test], measures, number)

    def _draw(self, runs: Sequence[Run], measures: Sequence[Measure], seed: int) -> None:
        """Errors of all numbers of the runs on one set of test patients, from the same draws."""
        rows, slopes = [], []
        first: Run | None = None
        for run in runs:
            if first is not None and not self._comparison.same_patients(run, first):
                continue
            for measure in measures:
                moved = self._comparison.moved(run, measure, self._labels)
                if moved is not None and math.isfinite(moved.value):
                    first = first or run
                    rows.append((run.key, measure))
                    slopes.append(moved.slopes)
                    self._values[rows[-1]] = moved.value
        if rows:
            errors = normal_errors(np.stack(slopes), seed=seed)
            self._errors.update(zip(rows, errors, strict=True))

    def replicates(self, group: Group, measures: Sequence[Measure]) -> Replicates | None:
        """Numbers `(runs, measures)` of a method, NaN where undefined; None where all are."""
        runs = [r for r in group.runs if any((r.key, m) in self._values for m in measures)]
        if not runs:
            return None
        keys = [[(run.key, measure) for measure in measures] for run in runs]
        values = np.array([[self._values.get(key, math.nan) for key in row] for row in keys])
        undefined = np.full(len(next(iter(self._errors.values()))), math.nan)
        errors = np.array([[self._errors.get(key, undefined) for key in row] for row in keys])
        places = tuple(self._places[run.seed, run.test_digest] for run in runs)
        return Replicates(group.name, places, values, values[..., None] + errors)

    def findings(self, group: Group, measure: Measure) -> set[tuple[str, ...] | None]:
        """The findings that the number of each run is a mean over."""
        return {self._comparison.findings(run, measure, self._labels) for run in group.runs}


def _adjusted(candidates: Sequence[Candidate]) -> list[dict[Measure, float]]:
    """Holm's p-values of all differences of all methods, one family."""
    tests = [(n, m) for n, c in enumerate(candidates) for m in c.differences]
    found: list[dict[Measure, float]] = [{} for _ in candidates]
    p = holm(np.array([candidates[n].differences[m].p for n, m in tests]))
    for (number, measure), value in zip(tests, p, strict=True):
        found[number][measure] = float(value)
    return found


def _word(apart: Apart, adjusted: float) -> str:
    return answer(
        apart.low, apart.high, adjusted=adjusted, detectable=apart.detectable, margin=MARGIN
    )


def _verdicts(
    one: Candidate, drawn: Drawn, attributes: Mapping[str, Sequence[str]], family: int
) -> tuple[dict[str, Verdict], dict[str, str]]:
    """Verdicts by attribute, and why there is none."""
    verdicts: dict[str, Verdict] = {}
    reasons: dict[str, str] = {}
    if one.reference is None:
        return verdicts, reasons
    for attribute, groups in attributes.items():
        measures = [
            measure
            for measure in (Measure("auc", attribute, group) for group in groups)
            if len(drawn.findings(one.group, measure) | drawn.findings(one.reference, measure)) == 1
        ]
        sides = [drawn.replicates(group, measures) for group in (one.group, one.reference)]
        if sides[0] is None or sides[1] is None:
            reasons[attribute] = UNPAIRED
            continue
        try:
            verdicts[attribute] = verdict(
                sides[0],
                sides[1],
                endpoint=HIGHER,
                groups=[m.group for m in measures],
                family=family,
            )
        except ValueError as error:  # too few groups, or no seed in common
            reasons[attribute] = str(error).partition(";")[0]
    return verdicts, reasons


def _comparable(
    candidates: Sequence[Candidate], drawn: Drawn, measures: Sequence[Measure]
) -> dict[int, Replicates]:
    """The methods that hold the seeds and patients of the first ERM, with the same findings."""
    base = next((c.group for c in candidates if c.group.method == REFERENCE), None)
    own = None if base is None else drawn.replicates(base, measures)
    if base is None or own is None or not np.isfinite(own.values).all():
        return {}
    found = {}
    for number, one in enumerate(candidates):
        made = drawn.replicates(one.group, measures)
        same = all(drawn.findings(one.group, m) == drawn.findings(base, m) for m in measures)
        if made is not None and same and set(own.seeds) <= set(made.seeds):
            made = made.only(own.seeds)
            if np.isfinite(made.values).all():
                found[number] = made
    return found


def _places(candidates: Sequence[Candidate], drawn: Drawn) -> dict[int, RankSet]:
    """Where each comparable method may stand by macro AUC."""
    held = _comparable(candidates, drawn, [AUC])
    if len(held) < 2:
        return {}
    single = [
        Replicates(made.method, made.seeds, made.values[:, 0], made.replicates[:, 0])
        for made in held.values()
    ]
    return dict(zip(held, rank_sets(single, HIGHER), strict=True))


def _chances(candidates: Sequence[Candidate], drawn: Drawn, contrast: Measure) -> dict[int, float]:
    """The chance of each method to be on the front of AUC, size of the contrast and privacy."""
    given = {
        number: one.privacy
        for number, one in enumerate(candidates)
        if one.privacy is not None and math.isfinite(one.privacy.value)
    }
    held = _comparable(candidates, drawn, [AUC, contrast])
    held = {number: made for number, made in held.items() if number in given}
    if len(held) < 2:
        return {}
    together = Replicates(
        "all",
        next(iter(held.values())).seeds,
        np.concatenate([made.values for made in held.values()], axis=1),
        np.concatenate([made.replicates for made in held.values()], axis=1),
    )
    draws = posterior(together).reshape(len(held), 2, -1)
    draws[:, 1] = -np.abs(draws[:, 1])
    privacy = _attacked([given[number] for number in held], draws.shape[-1])
    found = front(np.concatenate([draws, -privacy[:, None]], axis=1))
    return dict(zip(held, map(float, found.member), strict=True))


def _attacked(estimates: Sequence[Estimate], draws: int) -> np.ndarray:
    """Draws `(methods, draws)` of re-identification AUC from its stored intervals.

    Equal numbers are one attack on the same images, so they move together; others move alone.
    """
    rng = np.random.default_rng(0x4E1D)
    kept: dict[tuple[float, float, float], np.ndarray] = {}
    rows = []
    for estimate in estimates:
        named = (estimate.value, estimate.low, estimate.high)
        if named not in kept:
            error = (estimate.high - estimate.low) / (2 * Z)
            error = error if math.isfinite(error) else 0.0
            kept[named] = estimate.value + error * rng.standard_normal(draws)
        rows.append(kept[named])
    return np.clip(np.stack(rows), 0, 1)
