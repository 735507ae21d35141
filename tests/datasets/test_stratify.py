"""Dealing by strata: exact shares, the same for a seed, and closer to them than a shuffle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cohorts import cohort

from datasets.split import TRUE, Split
from datasets.stratify import SEVERAL, Strata, apportioned, dealt, strata_of

SHARES = (0.6, 0.15, 0.1, 0.15)


def small(**columns: list[object]) -> Split:
    """Four patients with one image each, but the last, who has two."""
    frame = pd.DataFrame({"patient_id": ["a", "b", "c", "d", "d"], "origin": "real", **columns})
    frame["image_id"] = frame["path"] = [f"{i}.png" for i in range(5)]
    return Split("small", frame, Path("/data"), ("Edema",), ("sex",))


def named(strata: Strata) -> dict[str, list[str]]:
    """The patients of each stratum."""
    return {
        name: strata.patients[strata.members[strata.members[:, 1] == i, 0]].tolist()
        for i, name in enumerate(strata.names)
    }


def test_strata_are_groups_findings_and_both_on_one_image() -> None:
    table = small(sex=["F", "F", "M", "M", "F"], Edema=[1.0, 0.0, 0.0, 1.0, 0.0])
    assert named(strata_of(table)) == {
        "sex=F": ["a", "b", "d"], "sex=M": ["c", "d"],
        "Edema=1": ["a", "d"], "Edema=1 & sex=F": ["a"], "Edema=1 & sex=M": ["d"],
        SEVERAL: ["d"],
    }  # fmt: skip


def test_strata_begin_with_the_rarest() -> None:
    strata = strata_of(cohort(200))
    assert (np.diff(strata.counts) >= 0).all() and strata.counts.min() > 0


def test_known_absence_is_a_stratum_where_a_finding_is_not_known_for_all() -> None:
    table = small(sex=["F"] * 5, Edema=[1.0, 0.0, np.nan, np.nan, np.nan])
    assert named(strata_of(table)) == {
        "Edema=1": ["a"], "Edema=0": ["b"], SEVERAL: ["d"],
    }  # fmt: skip


def test_simulated_truth_does_not_decide_who_is_tested() -> None:
    table = small(sex=["F"] * 5, Edema=[1.0, 0.0, 0.0, 0.0, 0.0])
    told = replace(table, frame=table.frame.assign(**{TRUE + "Edema": [0.0, 1.0, 1.0, 1.0, 1.0]}))
    assert named(strata_of(told)) == named(strata_of(table))


def test_two_of_each_kind_are_dealt_one_to_each_half() -> None:
    table = small(sex=["F", "F", "M", "M", "M"], Edema=[0.0] * 5)
    part = dealt(strata_of(table), (0.5, 0.5), seed=3)
    assert sorted(part[:2]) == sorted(part[2:]) == [0, 1]


@pytest.mark.parametrize("patients", [7, 12, 100, 999])
def test_parts_have_exactly_their_shares(patients: int) -> None:
    part = dealt(strata_of(cohort(patients)), SHARES, seed=1)
    assert np.bincount(part, minlength=4).tolist() == apportioned(patients, SHARES)


@pytest.mark.parametrize(
    ("n", "expected"), [(12, [7, 2, 1, 2]), (20, [12, 3, 2, 3]), (1, [1, 0, 0, 0])]
)
def test_whole_things_are_shared_by_largest_remainder(n: int, expected: list[int]) -> None:
    assert apportioned(n, SHARES) == expected


def test_shares_that_are_whole_in_words_are_whole_in_numbers() -> None:
    # 0.1 + 0.2 and the like fall short of their sum by a rounding error.
    assert apportioned(30, [0.1 + 0.2, 1 - 0.1 - 0.2]) == [9, 21]
    assert apportioned(49, [1 / 49] * 49) == [1] * 49


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    table = cohort(300)
    mixed = table.with_frame(table.frame.sample(frac=1, random_state=0))
    first, again, other = (
        dealt(strata_of(t), SHARES, seed=s) for t, s in ((table, 0), (mixed, 0), (table, 1))
    )
    assert first.tolist() == again.tolist() != other.tolist()


def deviation(strata: Strata, part: np.ndarray) -> float:
    """Root mean square over strata and parts of the deviation from the share, in the standard
    deviations of a shuffle."""
    counts, shares = strata.counts[:, None], np.array(SHARES)
    off = strata.shared(part, 4) - counts * shares
    return float(np.sqrt((off**2 / (counts * shares * (1 - shares))).mean()))


def test_groups_and_findings_are_spread_more_evenly_than_by_a_shuffle() -> None:
    strata = strata_of(cohort(1000))
    part = dealt(strata, SHARES, seed=0)
    rng = np.random.default_rng(0)
    shuffled = [deviation(strata, rng.permutation(part)) for _ in range(50)]
    assert deviation(strata, part) < 0.5 * min(shuffled)
    # In patients: rounding alone makes up to one, and strata overlap.
    assert np.abs(strata.shared(part, 4) - strata.counts[:, None] * SHARES).max() < 4


@pytest.mark.parametrize("seed", range(5))
def test_a_tiny_stratum_is_spread_over_all_parts(seed: int) -> None:
    table = cohort(400)
    tiny = table.frame["patient_id"].isin(table.patients[:400:40])
    assert tiny.groupby(table.frame["patient_id"]).any().sum() == 10
    held = table.with_frame(table.frame.assign(race=table.frame["race"].where(~tiny, "D")))
    strata = strata_of(held)
    (row,) = np.flatnonzero(np.array(strata.names) == "race=D")
    there = strata.shared(dealt(strata, SHARES, seed=seed), 4)[row]
    # Of ten: 6, 1.5, 1 and 1.5.
    assert (np.abs(there - 10 * np.array(SHARES)) < 1).all()
