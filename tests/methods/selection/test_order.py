"""Which candidate is chosen: values, the floor below the best AUC, and what is kept meanwhile."""

from __future__ import annotations

import math

import numpy as np
import pytest
from torch import nn

from methods.selection.order import Measured, Order
from methods.train import History

NAN = math.nan
FLOOR = Order("lower", 0.01)


def measured(*pairs: tuple[float, float]) -> list[Measured]:
    return [Measured(value, auc) for value, auc in pairs]


def test_the_direction_says_which_value_is_better() -> None:
    candidates = measured((0.2, 0.5), (0.7, 0.5), (0.4, 0.5))
    assert Order("higher").chosen(candidates) == 1
    assert Order("lower").chosen(candidates) == 0


def test_of_equal_values_the_first_is_chosen() -> None:
    assert Order("higher").chosen(measured((0.7, 0.5), (0.7, 0.9))) == 0


def test_what_lies_below_the_floor_is_out_of_the_question() -> None:
    # The best AUC is 0.90, so 0.885 is out and 0.895 is not.
    assert FLOOR.chosen(measured((0.05, 0.885), (0.20, 0.895), (0.30, 0.90))) == 1


def test_with_a_floor_equal_values_are_told_apart_by_accuracy() -> None:
    assert FLOOR.chosen(measured((0.1, 0.896), (0.1, 0.899), (0.1, 0.899))) == 1


def test_a_rising_floor_brings_an_earlier_candidate_back() -> None:
    candidates = measured((0.10, 0.800), (0.20, 0.805), (0.30, 0.812))
    assert [FLOOR.chosen(candidates[:n]) for n in (1, 2, 3)] == [0, 0, 1]


def test_without_a_value_the_auc_chooses_and_without_an_auc_the_loss() -> None:
    assert Order("lower").chosen(measured((NAN, 0.6), (NAN, 0.8))) == 1
    assert Order("higher").chosen([Measured(NAN, NAN, 0.7), Measured(NAN, NAN, 0.4)]) == 1


def test_a_candidate_with_a_value_goes_before_those_without() -> None:
    candidates = [Measured(NAN, NAN, 0.1), Measured(NAN, 0.9, 0.2), Measured(0.2, 0.5, 0.3)]
    assert Order("higher").chosen(candidates) == 2
    assert Order("higher").chosen(candidates[:2]) == 1


def earlier_rule(aucs: list[float], losses: list[float]) -> int:
    """The rule before there were strategies: any AUC is above any negated loss; the first best."""
    best, quality = -1, -math.inf
    for epoch, (auc, loss) in enumerate(zip(aucs, losses, strict=True)):
        now = -loss if math.isnan(auc) else auc
        if now > quality:
            best, quality = epoch, now
    return best


def test_the_default_chooses_as_it_did_before_there_were_strategies() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        aucs = np.round(rng.random(8), 1)
        aucs[rng.random(8) < 0.2] = NAN
        losses = rng.random(8).round(1)
        kept = [Measured(a, a, v) for a, v in zip(aucs, losses, strict=True)]
        assert Order().chosen(kept) == earlier_rule(list(aucs), list(losses))


@pytest.mark.parametrize("order", [Order(), Order("lower"), FLOOR, Order("higher", 0.05)])
def test_whoever_is_chosen_later_was_a_contender_all_along(order: Order) -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        candidates = measured(*((rng.random().__round__(2), v) for v in rng.normal(0.8, 0.01, 8)))
        for n in range(1, 9):
            kept = order.contenders(candidates[:n])
            assert order.chosen(candidates[:n]) in kept
            chosen_later = {order.chosen(candidates[:m]) for m in range(n, 9)}
            assert {c for c in chosen_later if c < n} <= set(kept)


def test_without_a_floor_the_chosen_one_is_the_only_contender() -> None:
    assert Order("lower").contenders(measured((0.3, 0.9), (0.1, 0.7), (0.2, 0.8))) == [1]


@pytest.mark.parametrize("wrong", [("zero", 0.01), ("higher", -0.1), ("higher", NAN)])
def test_an_order_without_a_meaning_is_refused(wrong: tuple[str, float]) -> None:
    with pytest.raises(ValueError, match=r"direction must be|floor must be"):
        Order(*wrong)


def lived(order: Order, *pairs: tuple[float, float]) -> History:
    """A history of epochs with these values and AUCs; the weight of each is its number."""
    net, history = nn.Linear(1, 1), History(order)
    for epoch, (value, auc) in enumerate(pairs):
        nn.init.constant_(net.weight, epoch)
        history.add({"epoch": epoch, "val_auc": auc, "val_loss": 1.0, "selection": value}, net)
    return history


def test_the_weights_of_an_epoch_that_comes_back_are_still_there() -> None:
    history = lived(FLOOR, (0.10, 0.800), (0.20, 0.805), (0.30, 0.812))
    assert history.best_epoch == 1
    assert history.states[1]["weight"].item() == 1
    assert set(history.states) == {1, 2}


def test_patience_counts_from_the_last_epoch_that_may_be_chosen() -> None:
    history = lived(FLOOR, (0.10, 0.800), (0.20, 0.805), (0.30, 0.812), (0.40, 0.80))
    assert history.best_epoch == 1
    assert history.exhausted(1) and not history.exhausted(2)
