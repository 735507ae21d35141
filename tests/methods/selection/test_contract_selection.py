"""What every registered strategy must hold; a new strategy needs no test of its own for this."""

from __future__ import annotations

import math
import typing
from dataclasses import replace

import numpy as np
import pytest
from candidates import LABEL, MALE, NOISE, PATIENTS, candidate, taken

from methods.selection.base import Candidate, Strategy, Value
from methods.selection.order import Measured
from registry import ROOT, SELECTION, UnknownName

OURS = [name for name, e in SELECTION.entries().items() if e.file.is_relative_to(ROOT)]
BLIND_TO_LABELS = {"minimum_encoding"}


@pytest.fixture(params=OURS)
def strategy(request: pytest.FixtureRequest) -> Strategy:
    """Each registered strategy in turn."""
    return Strategy.named(str(request.param))


def value(strategy: Strategy, one: Candidate) -> float:
    return strategy.measure(one)[0].value


def good() -> Candidate:
    """Serves everybody alike; its features tell nothing of sex."""
    return candidate(4.0)


def bad() -> Candidate:
    """Serves males less well and misses more of their findings; its features tell the sex."""
    features = NOISE + 3 * MALE[:, None]
    return candidate(np.where(MALE, 1.0, 4.0), shift=-1.0 * MALE, features=features)


def test_the_better_of_two_is_preferred(strategy: Strategy) -> None:
    kept = [strategy.measure(c)[0] for c in (bad(), good())]
    assert strategy.order.chosen(kept) == 1
    # By the value itself, not by the floor alone.
    better, worse = kept[1].value, kept[0].value
    assert better > worse if strategy.order.direction == "higher" else better < worse


def test_the_order_of_rows_changes_nothing(strategy: Strategy) -> None:
    order = np.random.default_rng(3).permutation(PATIENTS)
    # The loss is a sum of float32, whose last digit depends on the order.
    assert value(strategy, taken(bad(), order)) == pytest.approx(value(strategy, bad()), rel=1e-6)
    if strategy.name != "loss":
        assert value(strategy, taken(bad(), order)) == value(strategy, bad())


def test_measuring_twice_gives_the_same(strategy: Strategy) -> None:
    assert strategy.measure(bad()) == strategy.measure(bad())


def test_rows_without_labels_count_like_rows_that_are_not_there(strategy: Strategy) -> None:
    if strategy.name in BLIND_TO_LABELS:
        pytest.skip("it reads no labels")
    kept = np.arange(PATIENTS) < 220
    partly = candidate(np.where(MALE, 1.0, 4.0), labels=np.where(kept, LABEL, math.nan))
    frame = partly.val.frame.copy()
    for finding in partly.val.findings:
        frame.loc[~kept, f"true:{finding}"] = math.nan
    partly = replace(partly, val=replace(partly.val, frame=frame))
    assert value(strategy, partly) == value(strategy, taken(partly, np.flatnonzero(kept)))


def test_without_any_label_the_value_is_undefined_and_says_why(strategy: Strategy) -> None:
    blank = candidate(labels=np.full(PATIENTS, math.nan))
    frame = blank.val.frame.copy()
    for finding in blank.val.findings:
        frame[f"true:{finding}"] = math.nan
    measured, reason = strategy.measure(replace(blank, val=replace(blank.val, frame=frame)))
    assert math.isnan(measured.value) and math.isnan(measured.auc)
    assert len(reason.split()) > 3


def test_one_patient_is_too_few_and_no_crash(strategy: Strategy) -> None:
    measured, reason = strategy.measure(taken(good(), [0]))
    assert math.isnan(measured.value) == bool(reason)


def test_a_defined_value_has_no_reason(strategy: Strategy) -> None:
    measured, reason = strategy.measure(good())
    assert math.isfinite(measured.value) and reason == ""


def test_without_attributes_it_has_a_value_or_says_why(strategy: Strategy) -> None:
    bare = replace(good(), val=replace(good().val, attributes=(), groups={}))
    measured, reason = strategy.measure(bare)
    assert math.isnan(measured.value) == bool(reason)


def test_only_an_oracle_sees_simulated_truth(strategy: Strategy) -> None:
    seen: list[bool] = []

    def look(one: Candidate) -> Value:
        seen.append(one.val.has_truth)
        return Value(0.0)

    replace(strategy, function=look).measure(good())
    assert seen == [strategy.oracle]


def test_true_labels_move_an_oracle_alone(strategy: Strategy) -> None:
    one = bad()
    turned = one.val.frame.assign(**{f"true:{f}": 1.0 - LABEL for f in one.val.findings})
    other = replace(one, val=replace(one.val, frame=turned))
    assert (value(strategy, one) == value(strategy, other)) is not strategy.oracle


def test_the_docstring_holds_formula_and_source(strategy: Strategy) -> None:
    text = strategy.function.__doc__ or ""
    assert "V = " in text and "Source:" in text
    facts = SELECTION.entries()[strategy.name].facts
    assert facts["direction"] in ("higher", "lower") and facts["unit"]
    if "floor" in facts:
        assert f"at most {facts['floor']} below the best macro AUC" in text


def test_it_takes_a_candidate_and_nothing_else(strategy: Strategy) -> None:
    hints = typing.get_type_hints(strategy.function)
    assert hints == {"candidate": Candidate, "return": Value}


def test_the_file_is_named_as_the_strategy(strategy: Strategy) -> None:
    assert SELECTION.entries()[strategy.name].file.stem == strategy.name


def test_an_unknown_strategy_answers_with_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match=r"did you mean 'worst_group'\? known: distance_to"):
        Strategy.named("worst_grop")


@pytest.mark.parametrize("wrong", [(math.nan, ""), (math.inf, "why")])
def test_a_value_is_a_number_or_says_why(wrong: tuple[float, str]) -> None:
    with pytest.raises(ValueError, match="finite, or NaN with the reason"):
        Value(*wrong)


def test_the_values_of_a_strategy_are_kept_with_the_auc() -> None:
    kept, _ = Strategy.named("worst_class").measure(good())
    assert kept == Measured(kept.value, good().macro_auc())
