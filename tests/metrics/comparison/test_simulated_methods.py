"""Verdicts, places and fronts of simulated methods whose truth is known, at their stated rates.

`pytest -m slow -s` prints the figures.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from metrics.comparison.holm import holm
from metrics.comparison.joint import posterior
from metrics.comparison.linear import normal_errors
from metrics.comparison.paired import Endpoint, Replicates, difference
from metrics.comparison.pareto import dominance, front
from metrics.comparison.ranks import rank_sets
from metrics.comparison.verdict import (
    INCONCLUSIVE,
    LEVEL_DOWN,
    MARGIN,
    NEUTRAL,
    PARETO_UP,
    TRADE,
    WORSE,
    verdict,
)

pytestmark = pytest.mark.slow

REPETITIONS = 200
PATIENTS, PREVALENCE, SEEDS, DRAWS = 3000, 0.4, 5, 500
GROUPS, SHARES = ("A", "B", "C"), (0.45, 0.35, 0.2)
AUC = Endpoint("auc", "higher")
ERM = (0.86, 0.84, 0.80)
"""True AUC of ERM by group."""
TRUTH = {
    "erm": ERM,
    "other seeds": ERM,
    "renamed": ERM,
    "up in all": (0.90, 0.88, 0.84),
    "up in the lowest": (0.86, 0.84, 0.86),
    "levelling down": (0.80, 0.80, 0.80),
    "trading": (0.81, 0.84, 0.87),
    "down in all": (0.82, 0.80, 0.76),
    "a little up": (0.865, 0.845, 0.805),
}
"""True AUC of each method by group."""
RIGHT = {
    "other seeds": {NEUTRAL, INCONCLUSIVE},
    "renamed": {NEUTRAL, INCONCLUSIVE},
    "up in all": {PARETO_UP},
    "up in the lowest": {PARETO_UP, INCONCLUSIVE},
    "levelling down": {LEVEL_DOWN, WORSE},
    "trading": {TRADE},
    "down in all": {WORSE},
    "a little up": {NEUTRAL, INCONCLUSIVE, PARETO_UP},
}
"""Verdicts that are no error; the first is the one with enough patients."""
ATTACK = dict(zip(TRUTH, (0.9, 0.9, 0.9, 0.95, 0.9, 0.8, 0.85, 0.6, 0.9), strict=True))
"""True re-identification AUC; measured with a standard error of 0.01."""
OWN, SEED = 0.3, 0.01
"""Standard deviations in units of the score: what one trained model makes of an image beside how
hard the image is for every model, and how far a seed moves the positive images."""


@dataclass(frozen=True)
class Study:
    """One repetition: AUC of every method by group `(seeds, 3)` and of everybody `(seeds,)`."""

    groups: dict[str, Replicates]
    overall: dict[str, Replicates]
    attack: np.ndarray


def auc_and_slopes(scores: np.ndarray, positive: np.ndarray, member: np.ndarray) -> np.ndarray:
    """AUC among the members, then its slope by each patient `(1 + patients,)`."""
    places = np.flatnonzero(member)
    y = positive[places]
    ranks, ones, zeros = rankdata(scores[places]), y.sum(), (~y).sum()
    within = np.empty(len(places))
    within[y], within[~y] = rankdata(scores[places][y]), rankdata(scores[places][~y])
    wins = np.where(y, ranks - within, ones - (ranks - within))  # over the other class
    auc = wins[y].sum() / (ones * zeros)
    slopes = np.zeros(len(scores))
    slopes[places] = np.where(y, (wins / zeros - auc) / ones, (wins / ones - auc) / zeros)
    return np.concatenate([[auc], slopes])


def study(rng: np.random.Generator, truth: dict[str, tuple[float, ...]]) -> Study:
    """Predictions of every method and seed for the same patients, and what comes of them."""
    group = rng.choice(len(GROUPS), PATIENTS, p=SHARES)
    positive = rng.random(PATIENTS) < PREVALENCE
    hard = rng.normal(0, (1 - OWN**2) ** 0.5, PATIENTS)
    members = [group == g for g in range(len(GROUPS))] + [group >= 0]
    rows = []
    for levels in truth.values():
        apart = 2**0.5 * norm.ppf(levels)  # two normal laws of variance 1 this far apart
        for moved in rng.normal(0, SEED, SEEDS):
            scores = (apart[group] + moved) * positive + hard + rng.normal(0, OWN, PATIENTS)
            rows += [auc_and_slopes(scores, positive, member) for member in members]
    found = np.array(rows)
    errors = normal_errors(found[:, 1:], draws=DRAWS, seed=int(rng.integers(2**31)))
    values = found[:, 0].reshape(len(truth), SEEDS, len(members))
    drawn = values[..., None] + errors.reshape(*values.shape, DRAWS)
    seeds = tuple(range(SEEDS))
    return Study(
        {n: Replicates(n, seeds, values[i, :, :3], drawn[i, :, :3]) for i, n in enumerate(truth)},
        {n: Replicates(n, seeds, values[i, :, 3], drawn[i, :, 3]) for i, n in enumerate(truth)},
        rng.normal([ATTACK.get(n, 0.9) for n in truth], 0.01),
    )


@pytest.fixture(scope="module")
def studies() -> list[Study]:
    """All repetitions, made once."""
    return [study(np.random.default_rng([4, i]), TRUTH) for i in range(REPETITIONS)]


def least(rate: float, of: int = REPETITIONS) -> float:
    """A rate less three Monte-Carlo standard errors."""
    return rate - 3 * (rate * (1 - rate) / of) ** 0.5


def true_gains(method: str) -> np.ndarray:
    return np.subtract(TRUTH[method], ERM)


def test_verdicts_are_right_at_their_stated_rate(studies: list[Study]) -> None:
    for method, right in RIGHT.items():
        answers: Counter[str] = Counter()
        covered = 0
        for one in studies:
            found = verdict(one.groups[method], one.groups["erm"], endpoint=AUC, groups=GROUPS)
            answers[found.answer] += 1
            gains = true_gains(method)
            covered += bool(((found.low <= gains) & (gains <= found.high)).all())
        print(f"{method}: {dict(answers)}; intervals cover {covered / REPETITIONS:.3f}")
        assert sum(answers[a] for a in right) / REPETITIONS >= least(0.95), method
        assert covered / REPETITIONS >= least(0.95), method


def test_a_large_effect_gets_its_own_verdict(studies: list[Study]) -> None:
    for method, own in (("up in all", PARETO_UP), ("levelling down", LEVEL_DOWN),
                        ("trading", TRADE), ("down in all", WORSE)):  # fmt: skip
        found = [
            verdict(one.groups[method], one.groups["erm"], endpoint=AUC, groups=GROUPS).answer
            for one in studies
        ]
        assert np.mean([answer == own for answer in found]) >= 0.8, method


def test_a_harm_of_the_margin_is_never_called_neutral_or_an_improvement() -> None:
    harmed = {"erm": ERM, "harm": (ERM[0] + 0.03, ERM[1], ERM[2] - 1.05 * MARGIN)}
    called: Counter[str] = Counter()
    for number in range(REPETITIONS):
        one = study(np.random.default_rng([5, number]), harmed)
        found = verdict(one.groups["harm"], one.groups["erm"], endpoint=AUC, groups=GROUPS)
        called[found.answer] += 1
    print(f"a group loses {1.05 * MARGIN}: {dict(called)}")
    assert (called[PARETO_UP] + called[NEUTRAL]) / REPETITIONS <= 0.05


def test_sets_of_places_hold_all_true_places(studies: list[Study]) -> None:
    overall = np.array([np.dot(SHARES, levels) for levels in TRUTH.values()])
    ahead = np.array([(overall > value + 1e-9).sum() for value in overall])
    behind = np.array([(overall < value - 1e-9).sum() for value in overall])
    held, sizes = 0, []
    for one in studies:
        found = rank_sets(list(one.overall.values()), AUC)
        first = np.array([place.first for place in found])
        last = np.array([place.last for place in found])
        # Methods that tie in truth may share any of their places.
        held += bool(((first <= 1 + ahead) & (last >= len(TRUTH) - behind)).all())
        sizes.append((last - first + 1).mean())
    print(
        f"places: all true in {held / REPETITIONS:.3f}; {np.mean(sizes):.1f} of {len(TRUTH)} wide"
    )
    assert held / REPETITIONS >= least(0.95)
    assert np.mean(sizes) < 0.6 * len(TRUTH)


def test_membership_of_the_front_is_right_where_it_is_claimed(studies: list[Study]) -> None:
    aims = np.array([(np.dot(SHARES, v), v[2], -ATTACK[n]) for n, v in TRUTH.items()])
    on_front = ~dominance(aims).any(axis=0)
    right, claims = 0, 0
    for number, one in enumerate(studies):
        rng = np.random.default_rng([6, number])
        whole = [one.overall[n] for n in TRUTH]
        lowest = [one.groups[n] for n in TRUTH]
        draws = posterior(
            Replicates(
                "all",
                whole[0].seeds,
                np.stack([m.values for m in whole] + [m.values[:, 2] for m in lowest], axis=1),
                np.stack(
                    [m.replicates for m in whole] + [m.replicates[:, 2] for m in lowest], axis=1
                ),
            )
        ).reshape(2, len(TRUTH), -1)
        attacked = one.attack[:, None] + rng.normal(0, 0.01, (len(TRUTH), draws.shape[-1]))
        chance = front(np.stack([*draws, -attacked], axis=1)).member
        claimed = (chance > 0.95) | (chance < 0.05)
        claims += int(claimed.sum())
        right += int((claimed & ((chance > 0.5) == on_front)).sum())
    total = len(TRUTH) * REPETITIONS
    print(f"front: {right / claims:.3f} of {claims} claims right, {claims / total:.2f} claimed")
    assert right / claims >= 0.95
    assert claims >= 0.2 * total


def test_erm_with_other_seeds_is_not_declared_different() -> None:
    pairs, repetitions = 20, 20
    names = {f"{side}{i}": ERM for i in range(pairs) for side in ("a", "b")}
    alone, corrected = [], []
    for number in range(repetitions):
        one = study(np.random.default_rng([7, number]), names)
        p = np.array(
            [difference(one.overall[f"a{i}"], one.overall[f"b{i}"]).p for i in range(pairs)]
        )
        alone.append(int((p < 0.05).sum()))
        corrected.append(int((holm(p) < 0.05).sum()))
    print(
        f"ERM against ERM, {pairs} comparisons: {np.mean(alone):.2f} differ alone "
        f"(at most {max(alone)}), {np.mean(corrected):.3f} after Holm; first study {alone[0]}"
    )
    assert alone[0] <= 2
    assert np.mean(alone) <= 1.5
    assert np.mean(np.array(corrected) > 0) <= 0.15
