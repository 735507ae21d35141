"""From text to dataclass fields."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

import options
from registry import UnknownName


@dataclass(frozen=True)
class Sample:
    lr: float = 1e-3
    epochs: int = 6
    name: str = "x"
    on: bool = False
    shares: tuple[float, ...] = (0.5, 0.5)
    pair: tuple[str, int] = ("a", 1)
    limit: int | None = None


def built(**given: object) -> Sample:
    return options.build(Sample, given, flag="--set", owner="sample")


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("lr", "3e-4", 3e-4),
        ("lr", "1", 1.0),
        ("epochs", "12", 12),
        ("epochs", 3.0, 3),
        ("name", "densenet121", "densenet121"),
        ("on", "true", True),
        ("on", "no", False),
        ("shares", "0.2, 0.8", (0.2, 0.8)),
        ("shares", [0.2, 0.8], (0.2, 0.8)),
        ("pair", "b,2", ("b", 2)),
        ("limit", "none", None),
        ("limit", "5", 5),
    ],
)
def test_a_text_is_read_by_the_type_of_its_field(field: str, text: object, value: object) -> None:
    assert getattr(built(**{field: text}), field) == value


@pytest.mark.parametrize(
    ("field", "text"),
    [("lr", "fast"), ("epochs", "2.5"), ("epochs", True), ("on", "maybe"), ("pair", "b"),
     ("shares", "a,b"), ("epochs", ""), ("lr", [1])],
)  # fmt: skip
def test_a_value_of_another_type_names_field_and_value(field: str, text: object) -> None:
    with pytest.raises(ValueError, match=f"--set {field}"):
        built(**{field: text})


def test_an_unknown_field_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(UnknownName, match=r"did you mean 'epochs'.*epochs, limit, lr"):
        built(epoch="3")


@pytest.mark.parametrize("text", ["lr", "=3", ""])
def test_an_assignment_needs_field_and_value(text: str) -> None:
    with pytest.raises(ValueError, match="field=value"):
        options.assignments([text], "--set")


def test_a_field_set_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'lr' is set twice"):
        options.assignments(["lr=1", "lr=2"], "--set")


def test_non_defaults_read_back_to_the_same_fields() -> None:
    sample = built(lr="0.5", shares="0.1,0.9")
    texts = options.non_defaults(sample)
    assert texts == ["lr=0.5", "shares=0.1,0.9"]
    assert built(**options.assignments(texts, "--set")) == sample


def test_an_infinity_is_stored_as_text_that_reads_back() -> None:
    sample = built(lr="inf", shares="0.5,inf")
    stored = json.loads(json.dumps(options.plain(sample), allow_nan=False))
    assert stored["lr"] == "inf" and stored["shares"] == [0.5, "inf"]
    assert built(**stored) == sample
