"""Names of groups and their order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from datasets.attributes import ordered, sexes


def test_groups_that_occur_stand_in_the_given_order() -> None:
    groups = ordered(["b", "a", "b"], ("a", "b", "c"))
    assert list(groups) == ["b", "a", "b"] and list(groups.categories) == ["a", "b"]


def test_empty_groups_are_kept_where_they_are_asked_for() -> None:
    assert list(ordered(["b"], ("a", "b", "Unknown"), empty=True).categories) == ["a", "b"]


@pytest.mark.parametrize("order", [("Unknown", "a"), ("a", "Unknown")])
def test_unknown_stands_last_wherever_it_is_named(order: tuple[str, ...]) -> None:
    assert list(ordered(["Unknown", "z", "a"], order).categories) == ["a", "z", "Unknown"]


def test_a_group_that_nobody_named_is_not_lost() -> None:
    groups = ordered(["z", "y", "a"], ("a",))
    assert list(groups) == ["z", "y", "a"] and list(groups.categories) == ["a", "y", "z"]


@pytest.mark.parametrize(
    "values",
    [["b", "a"], ("b", "a"), iter(["b", "a"]), np.array(["b", "a"]), pd.Series(["b", "a"]),
     pd.Series(["b", "a"], index=[5, 5]), pd.Series(pd.Categorical(["b", "a"])),
     pd.Categorical(["b", "a"])],
)  # fmt: skip
def test_values_may_come_in_any_form(values: object) -> None:
    assert list(ordered(values, ("a", "b"))) == ["b", "a"]  # type: ignore[arg-type]


def test_nobody_is_in_no_group() -> None:
    assert len(ordered([], ("a",))) == 0 and len(sexes([])) == 0
    assert list(ordered([], ("a",)).categories) == []


def test_missing_values_are_a_text_and_never_lost() -> None:
    assert list(ordered(pd.Series(["a", np.nan]), ("a",))) == ["a", "nan"]


@pytest.mark.parametrize(
    ("text", "group"),
    [("M", "Male"), ("F", "Female"), ("Male", "Male"), ("female", "Female"), (" m ", "Male"),
     ("O", "Unknown"), ("", "Unknown"), ("Unknown", "Unknown"), ("nan", "Unknown"),
     ("U", "Unknown")],
)  # fmt: skip
def test_sex_is_spelt_one_way(text: str, group: str) -> None:
    assert list(sexes([text])) == [group]


def test_sexes_stand_in_one_order() -> None:
    assert list(sexes(["O", "F", "M"]).categories) == ["Male", "Female", "Unknown"]
    assert list(sexes(["F"]).categories) == ["Female"]
