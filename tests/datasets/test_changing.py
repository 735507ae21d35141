"""One value per patient from several records, worked by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from datasets.changing import ChangingAttributes, settled
from registry import UnknownName

RECORDS = [
    ("a", "Other"), ("b", "Unknown"), ("a", "White"), ("c", "Unknown"), ("a", "White"),
    ("b", "Asian"), ("d", "Black"), ("d", "White"), ("e", "White"), ("e", "White"),
]  # fmt: skip
"""a changes; b is known once; c never; d is known once each way; e is constant."""


def settle(policy: str, records: list[tuple[str, str]] = RECORDS) -> dict[str, str]:
    """The value of each patient."""
    patient, value = zip(*records, strict=True) if records else ((), ())
    found = settled(pd.Series(patient, dtype=object), pd.Series(value, dtype=object), policy)
    return {str(name): str(one) for name, one in found.items()}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("most_frequent", "White Asian Unknown Black White"),
        ("first", "Other Unknown Unknown Black White"),
        ("drop", "- Asian Unknown - White"),
    ],
)
def test_policies(policy: str, expected: str) -> None:
    values = [value.replace("-", "") for value in expected.split()]
    assert settle(policy) == dict(zip("abcde", values, strict=True))


def test_at_a_tie_the_earlier_value_counts() -> None:
    records = [("a", "Z"), ("a", "A"), ("a", "A"), ("a", "Z")]
    assert settle("most_frequent", records) == {"a": "Z"}


def test_many_unknowns_do_not_outvote_one_known_value() -> None:
    assert settle("most_frequent", [("a", "Unknown")] * 5 + [("a", "White")]) == {"a": "White"}


@pytest.mark.parametrize("policy", ["most_frequent", "first", "drop"])
def test_patients_stand_in_order_of_first_appearance(policy: str) -> None:
    assert [*settle(policy, [("z", "Unknown"), ("b", "W"), ("a", "W"), ("z", "W")])] == [
        "z",
        "b",
        "a",
    ]


@pytest.mark.parametrize("policy", ["most_frequent", "first", "drop"])
def test_no_records_are_no_patients(policy: str) -> None:
    assert settle(policy, []) == {}


@pytest.mark.parametrize("policy", ["most_frequent", "first", "drop"])
def test_records_that_nobody_knows_are_unknown(policy: str) -> None:
    assert settle(policy, [("a", "Unknown"), ("a", "Unknown")]) == {"a": "Unknown"}


def test_the_index_of_the_records_does_not_matter() -> None:
    patient = pd.Series(["a", "a"], index=[5, 5])
    assert settled(patient, pd.Series(["X", "X"], index=[1, 0]), "drop").to_dict() == {"a": "X"}


def test_another_policy_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'most_frequent'"):
        ChangingAttributes(changing="most frequent")
