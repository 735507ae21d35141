"""The levelling-down verdict: each answer, and what is counted on the way."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrics.comparison.paired import Endpoint, Replicates
from metrics.comparison.verdict import Verdict, verdict

AUC, FNR = Endpoint("auc", "higher"), Endpoint("fnr", "lower")
ERM = (0.9, 0.85, 0.8)


def numbers(name: str, values: tuple[float, ...], error: float, seed: int) -> Replicates:
    """One seed with independent errors of all groups."""
    moved = np.random.default_rng(seed).normal(0, error, (1, len(values), 4000))
    made = np.array([values])
    return Replicates(name, (0,), made, made[..., None] + moved)


def judged(
    values: tuple[float, ...], *, error: float = 0.003, endpoint: Endpoint = AUC,
    reference: tuple[float, ...] = ERM, family: int = 1,
) -> Verdict:  # fmt: skip
    """The verdict of a method; `error` is the standard error of each number."""
    return verdict(
        numbers("method", values, error, 1),
        numbers("erm", reference, error, 2),
        endpoint=endpoint,
        groups=("A", "B", "C")[: len(values)],
        family=family,
    )


def test_gain_without_loss_is_pareto_up() -> None:
    found = judged((0.9, 0.85, 0.85))
    assert (found.answer, found.benefited, found.harmed) == ("PARETO-UP", ("C",), ())


def test_gain_and_loss_is_a_trade() -> None:
    found = judged((0.86, 0.85, 0.84))
    assert (found.answer, found.benefited, found.harmed) == ("TRADE", ("C",), ("A",))


def test_a_gap_closed_by_loss_alone_is_levelling_down() -> None:
    found = judged((0.82, 0.81, 0.8))
    assert (found.answer, found.harmed) == ("LEVEL-DOWN", ("A", "B"))
    assert found.fall_shown
    assert found.gap_fall == pytest.approx(0.08)
    assert found.levelled_up == pytest.approx(0)


def test_loss_everywhere_is_worse_and_no_levelling() -> None:
    found = judged((0.85, 0.8, 0.75))
    assert (found.answer, found.fall_shown) == ("WORSE", False)
    assert math.isnan(found.levelled_up)


def test_no_difference_measured_well_is_neutral() -> None:
    assert judged(ERM, error=0.002).answer == "NEUTRAL"


def test_a_wide_interval_is_not_neutral() -> None:
    found = judged(ERM, error=0.02)
    assert found.answer == "INCONCLUSIVE"
    assert (found.detectable > found.margin).all()


def test_a_gain_beside_a_possible_loss_is_inconclusive() -> None:
    # C gains clearly; A may have lost more than the margin of 0.02.
    found = judged((0.89, 0.85, 0.9), error=0.005)
    assert found.benefited == ("C",)
    assert found.low[0] < -0.02 < 0 < found.high[0]
    assert found.answer == "INCONCLUSIVE"


def test_levelling_up_is_the_share_that_the_lowest_group_gained() -> None:
    # The gap falls from 0.10 to 0.04: 0.03 of it by C rising, 0.03 by A falling.
    found = judged((0.87, 0.85, 0.83))
    assert found.gap_fall == pytest.approx(0.06)
    assert found.levelled_up == pytest.approx(0.5)


def test_a_lower_rate_is_a_gain_where_lower_is_better() -> None:
    found = judged((0.2, 0.2), reference=(0.2, 0.3), endpoint=FNR)
    assert (found.answer, found.benefited) == ("PARETO-UP", ("B",))
    assert found.gain == pytest.approx([0, 0.1])
    assert found.levelled_up == pytest.approx(1)


def test_a_larger_gap_without_harm_is_no_harm() -> None:
    found = judged((0.95, 0.85, 0.8))
    assert (found.answer, found.gap_fall) == ("PARETO-UP", pytest.approx(-0.05))


def test_non_inferiority_is_said_by_group() -> None:
    found = judged((0.9, 0.85, 0.79), error=0.001)
    assert found.noninferior == ("A", "B")


def test_many_verdicts_together_need_more() -> None:
    assert judged((0.9, 0.85, 0.812)).answer == "PARETO-UP"
    assert judged((0.9, 0.85, 0.812), family=1000).answer != "PARETO-UP"


def test_a_group_without_a_number_is_named_and_left_out() -> None:
    found = judged((0.9, 0.85, math.nan))
    assert (found.groups, found.left_out) == (("A", "B"), ("C",))


def test_one_group_is_no_comparison() -> None:
    with pytest.raises(ValueError, match="at least 2 groups"):
        judged((0.9, math.nan), reference=(0.9, 0.8))


def test_cells_that_are_not_the_groups_are_refused() -> None:
    made = numbers("a", ERM, 0.01, 0)
    with pytest.raises(ValueError, match="cells must be the groups"):
        verdict(made, made, endpoint=AUC, groups=("A", "B"))
