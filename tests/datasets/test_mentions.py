"""What becomes of uncertain and blank labels: the policies, worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from datasets.mentions import Mentions
from registry import UnknownName

NAN = np.nan
MENTIONED = pd.DataFrame(
    {
        "No Finding": [1.0, NAN, NAN, 0.0],
        "Edema": [NAN, -1.0, 1.0, NAN],
        "Support Devices": [NAN, 1.0, -1.0, 0.0],
    }
)


def labels(**fields: object) -> dict[str, list[float]]:
    """Labels of `MENTIONED` by finding."""
    made = Mentions(**fields).labelled(MENTIONED)  # type: ignore[arg-type]
    return {name: list(made[name]) for name in made}


@pytest.mark.parametrize(
    ("fields", "edema", "devices"),
    [
        ({}, [0, NAN, 1, 0], [0, 1, NAN, 0]),
        ({"uncertain": ("zeros",)}, [0, 0, 1, 0], [0, 1, 0, 0]),
        ({"uncertain": ("ones",)}, [0, 1, 1, 0], [0, 1, 1, 0]),
        ({"uncertain": ("Edema=ones",)}, [0, 1, 1, 0], [0, 1, NAN, 0]),
        ({"uncertain": ("ones", "Edema=ignore")}, [0, NAN, 1, 0], [0, 1, 1, 0]),
        ({"uncertain": ()}, [0, NAN, 1, 0], [0, 1, NAN, 0]),
        ({"blank": "ignore"}, [NAN, NAN, 1, NAN], [NAN, 1, NAN, 0]),
        ({"blank": "ignore", "uncertain": ("zeros",)}, [NAN, 0, 1, NAN], [NAN, 1, 0, 0]),
        ({"blank": "zero-if-no-finding"}, [0, NAN, 1, NAN], [NAN, 1, NAN, 0]),
    ],
)
def test_policies(fields: dict[str, object], edema: list[float], devices: list[float]) -> None:
    made = labels(**fields)
    np.testing.assert_array_equal(made["Edema"], edema)
    np.testing.assert_array_equal(made["Support Devices"], devices)


def test_uncertain_and_blank_do_not_mix() -> None:
    # An uncertain label that is left out must not then count as one that was not mentioned.
    assert np.isnan(labels(uncertain=("ignore",), blank="zero")["Edema"][1])


def test_the_table_of_mentions_is_left_as_it_is() -> None:
    before = MENTIONED.copy()
    labels(uncertain=("ones",))
    pd.testing.assert_frame_equal(MENTIONED, before)


def test_the_index_stays() -> None:
    turned = MENTIONED.set_axis([9, 8, 7, 6])
    assert list(Mentions().labelled(turned).index) == [9, 8, 7, 6]


@pytest.mark.parametrize("blank", ["zeros", "one", ""])
def test_another_policy_of_blanks_is_answered_with_the_known_ones(blank: str) -> None:
    with pytest.raises(UnknownName, match="known: ignore, zero, zero-if-no-finding"):
        Mentions(blank=blank)


@pytest.mark.parametrize("text", ["one", "Edema=one", "Edema=", "u-ones"])
def test_another_policy_of_uncertain_labels_is_answered_with_the_known_ones(text: str) -> None:
    with pytest.raises(UnknownName, match="known: ignore, ones, zeros"):
        Mentions(uncertain=(text,))


def test_an_exception_for_another_finding_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'Edema'"):
        labels(uncertain=("Oedema=ones",))


def test_two_general_policies_are_refused() -> None:
    with pytest.raises(ValueError, match="one policy for all findings, but got ones, zeros"):
        Mentions(uncertain=("ones", "zeros"))


def test_two_exceptions_of_one_finding_are_refused() -> None:
    with pytest.raises(ValueError, match="names 'Edema' twice"):
        Mentions(uncertain=("Edema=ones", "Edema=zeros"))


def test_blanks_by_no_finding_need_its_column() -> None:
    with pytest.raises(ValueError, match="needs labels of 'No Finding'"):
        Mentions(blank="zero-if-no-finding").labelled(MENTIONED[["Edema"]])
