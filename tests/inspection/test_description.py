"""What a description says equals what pandas and hand calculation say."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from datasets.phantom import Phantom
from datasets.split import Split
from inspection.description.describing import Description, describe
from inspection.description.rates import rate
from inspection.description.tallies import entropy, simpson

SMALL = {"train_patients": 400, "val_patients": 150, "audit_patients": 150, "test_patients": 300}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return Phantom(**SMALL).table(tmp_path_factory.mktemp("phantom"))


@pytest.fixture(scope="module")
def made(table: Split) -> Description:
    fold = table.frame["fold"].to_numpy(str)
    return describe(table, fold=fold, intersections=Phantom.intersections)


def by_hand(rows: list[tuple[str, str, str, float]], findings: tuple[str, ...]) -> Split:
    """Images of (patient, sex, race, label of the one finding)."""
    frame = pd.DataFrame(rows, columns=["patient_id", "sex", "race", *findings])
    frame["image_id"] = frame["path"] = [f"{i}.png" for i in range(len(frame))]
    frame["origin"] = "real"
    return Split("hand", frame, Path(), findings, ("sex", "race"))


TOY = [
    ("p1", "F", "A", 1.0), ("p1", "F", "A", 1.0), ("p2", "F", "B", 0.0), ("p3", "M", "A", 0.0),
    ("p4", "M", "A", 1.0), ("p4", "M", "A", np.nan), ("p5", "M", "Unknown", 0.0),
]  # fmt: skip


def test_counts_equal_a_table_made_with_pandas(made: Description, table: Split) -> None:
    for attribute in [*table.attributes, "fold"]:
        groups = table.frame.groupby(table.frame[attribute].astype(str))
        mine = made.counts[made.counts["attribute"] == attribute].set_index("group")
        expected = groups.agg(images=("image_id", "size"), patients=("patient_id", "nunique"))
        assert mine["images"].to_dict() == expected["images"].to_dict()
        assert mine["patients"].to_dict() == expected["patients"].to_dict()


def test_counts_of_combinations_equal_a_table_made_with_pandas(
    made: Description, table: Split
) -> None:
    mine = made.counts[made.counts["attribute"] == "race & sex"].set_index("group")["patients"]
    frame = table.frame.astype({"race": str, "sex": str})
    hand = frame.groupby(["race", "sex"])["patient_id"].nunique()
    assert {tuple(k.split(" & ")): v for k, v in mine.items()} == hand.to_dict()


@pytest.mark.parametrize("labels", ["recorded", "true"])
def test_prevalence_equals_a_table_made_with_pandas(
    made: Description, table: Split, labels: str
) -> None:
    prefix = "true:" if labels == "true" else ""
    cells = made.prevalence[made.prevalence["labels"] == labels]
    for attribute in table.attributes:
        groups = table.frame.groupby(table.frame[attribute].astype(str))
        for finding in table.findings:
            mine = cells[(cells["attribute"] == attribute) & (cells["finding"] == finding)]
            hand = groups[prefix + finding].mean()
            assert mine.set_index("group")["value"].to_dict() == pytest.approx(hand.to_dict())
            people = table.frame[table.frame[prefix + finding] == 1].groupby(
                table.frame[attribute].astype(str)
            )["patient_id"]
            positive = mine.set_index("group")["positives"]
            assert positive[positive > 0].to_dict() == people.nunique().to_dict()


def test_missing_labels_count_neither_for_nor_against() -> None:
    cells = describe(by_hand(TOY, ("Mass",))).prevalence
    row = cells[cells["group"] == "M"].iloc[0]
    assert (row["value"], row["images"], row["patients"]) == (pytest.approx(1 / 3), 3, 3)
    assert (row["positives"], row["negatives"]) == (1, 2)


def test_missing_labels_and_attributes_are_told_by_group() -> None:
    missing = describe(by_hand(TOY, ("Mass",))).missing.set_index(["what", "group"])["value"]
    assert missing["Mass", "all"] == pytest.approx(1 / 7)
    assert missing["Mass", "M"] == pytest.approx(1 / 4)
    assert missing["race", "all"] == pytest.approx(1 / 7)
    assert missing["race", "F"] == 0


def test_imbalance_of_two_groups_by_hand() -> None:
    found = describe(by_hand(TOY, ("Mass",))).imbalance
    row = found[(found["attribute"] == "sex") & (found["unit"] == "patients")].iloc[0]
    # 2 women and 3 men.
    h = -(0.4 * math.log(0.4) + 0.6 * math.log(0.6)) / math.log(2)
    assert row["entropy"] == pytest.approx(h)
    assert row["simpson"] == pytest.approx(1 - 0.16 - 0.36)
    assert row["largest_to_smallest"] == pytest.approx(1.5)


def test_one_group_has_no_entropy() -> None:
    assert math.isnan(entropy([5])) and simpson([5]) == 0


def test_an_empty_group_is_told_and_does_not_count() -> None:
    split = by_hand(TOY, ("Mass",))
    column = pd.Categorical(split.frame["race"], categories=["A", "B", "C", "Unknown"])
    made = describe(split.with_frame(split.frame.assign(race=column)))
    row = made.imbalance[(made.imbalance["attribute"] == "race")].iloc[0]
    assert (row["groups"], row["empty_groups"]) == (3, 1)
    cell = made.prevalence[made.prevalence["group"] == "C"].iloc[0]
    assert math.isnan(cell["value"]) and cell["note"] == "no image counts" and cell["patients"] == 0


def test_cooccurrence_by_hand() -> None:
    rows = pd.DataFrame({"Mass": [1, 1, 0, 1.0], "Nodule": [1, 0, 1, np.nan]})
    rows["patient_id"] = ["a", "b", "c", "d"]
    rows["image_id"] = rows["path"] = list("wxyz")
    rows["origin"] = "real"
    found = describe(Split("hand", rows, Path(), ("Mass", "Nodule"), ())).cooccurrence
    first = found[found["finding"] == "Mass"].iloc[0]
    assert (first["images_with_first"], first["images_with_both"], first["share"]) == (2, 1, 0.5)


def test_the_interval_of_independent_images_is_the_logit_interval() -> None:
    has = np.zeros(400, bool)
    has[:100] = True
    found = rate(has, np.ones(400, bool), np.arange(400), 400)
    error = math.sqrt(0.25 * 0.75 / 399) / (0.25 * 0.75)
    degrees = found.degrees
    reach = stats.t.ppf(0.975, degrees) * error
    assert found.low == pytest.approx(1 / (1 + math.exp(-(math.log(1 / 3) - reach))))
    assert degrees > 300


def test_copies_of_every_image_change_no_interval() -> None:
    rng = np.random.default_rng(0)
    has = rng.random(200) < 0.3
    once = rate(has, np.ones(200, bool), np.arange(200), 200)
    patients = np.repeat(np.arange(200), 5)
    five = rate(np.repeat(has, 5), np.ones(1000, bool), patients, 200)
    assert (five.value, five.low, five.high) == pytest.approx((once.value, once.low, once.high))


def test_no_image_with_a_finding_is_bounded_by_the_number_of_patients() -> None:
    found = rate(np.zeros(30, bool), np.ones(30, bool), np.arange(30), 30)
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(stats.beta.ppf(0.975, 1, 30))


def test_degrees_of_freedom_are_fewer_than_patients() -> None:
    found = rate(np.array([True, True, False, False]), np.ones(4, bool), np.arange(4), 4)
    assert found.degrees == 3
    reach = stats.t.ppf(0.975, 3) * math.sqrt(0.25 / 3) / 0.25
    assert found.high == pytest.approx(1 / (1 + math.exp(-reach)))


def test_one_patient_has_no_interval() -> None:
    found = rate(np.array([True, False]), np.ones(2, bool), np.zeros(2, int), 1)
    assert found.value == 0.5 and math.isnan(found.low) and "one patient" in found.note


def test_cramers_v_equals_that_of_scipy(made: Description, table: Split) -> None:
    frame = table.frame
    crossed = pd.crosstab(frame["race"].astype(str), frame["Pneumothorax"])
    tests = made.associations
    row = tests[(tests["finding"] == "Pneumothorax") & (tests["attribute"] == "race")].iloc[0]
    expected = stats.contingency.association(crossed.to_numpy(), method="cramer")
    assert row["cramers_v"] == pytest.approx(expected)
    assert row["v_beyond_chance"] < row["cramers_v"]


def test_the_log_odds_ratio_equals_the_one_by_hand(made: Description, table: Split) -> None:
    crossed = pd.crosstab(table.frame["race"].astype(str), table.frame["Consolidation"])
    hand = math.log(crossed.loc["B", 1] * crossed.loc["A", 0]) - math.log(
        crossed.loc["B", 0] * crossed.loc["A", 1]
    )
    ratios = made.odds_ratios
    row = ratios[(ratios["finding"] == "Consolidation") & (ratios["group"] == "B")].iloc[0]
    assert row["log_odds_ratio"] == pytest.approx(hand)
    assert row["reference"] == "A" and row["odds_ratio"] == pytest.approx(math.exp(hand))


def test_the_reference_is_the_one_that_is_named(table: Split) -> None:
    ratios = describe(table, references={"race": "C"}).odds_ratios
    assert set(ratios[ratios["attribute"] == "race"]["reference"]) == {"C"}


def test_holm_is_over_the_findings_of_one_attribute(made: Description) -> None:
    tests = made.associations
    family = tests[(tests["labels"] == "recorded") & (tests["attribute"] == "race")]
    smallest = family["p"].idxmin()
    expected = min(1, family["p"][smallest] * family["p"].notna().sum())
    assert family["p_holm"][smallest] == pytest.approx(expected)


def test_restricted_data_tell_no_cell_of_one_to_nine_patients(table: Split) -> None:
    made = describe(table, restricted=True)
    for name, frame in made.tables().items():
        for column in ("patients", "positives", "negatives", "patients_with_both", "smallest"):
            if column in frame:
                shown = frame[column].dropna()
                assert not shown.between(1, 9).any(), (name, column)
    assert "oldest" not in made.ages and "most" not in made.images_per_patient


def test_a_withheld_cell_cannot_be_computed_from_the_others(table: Split) -> None:
    rare = table.frame["patient_id"].isin(table.patients[:4])
    race = table.frame["race"].astype(str).mask(rare, "D")
    made = describe(table.with_frame(table.frame.assign(race=race)), restricted=True)
    for attribute in ("race", "race & sex"):
        part = made.counts[made.counts["attribute"] == attribute]
        withheld = part["patients"].isna()
        assert withheld.any()
        keys = [part["group"].str.split(" & ").str[i] for i in range(attribute.count("&") + 1)]
        for key in keys if len(keys) > 1 else [pd.Series("", part.index)]:
            assert (withheld.groupby(key).sum() != 1).all()


def test_open_data_withhold_nothing(made: Description) -> None:
    assert made.counts["patients"].notna().all()


def test_the_shift_of_one_cohort_lies_within_its_interval(tmp_path: Path) -> None:
    made = describe(Phantom(cohort=1).table(tmp_path))
    for finding, shift in SHIFTS.items():
        low, high = shift_of(made, finding)
        assert low <= shift <= high, finding


SHIFTS = {"Pneumothorax": -0.5, "Consolidation": 0.3, "Lung Lesion": 0.0}
"""Log odds that the default phantom adds for race B; no other knob acts on these findings."""


def shift_of(made: Description, finding: str) -> tuple[float, float]:
    found = made.odds_ratios
    row = found[
        (found["labels"] == "true") & (found["finding"] == finding) & (found["group"] == "B")
    ].iloc[0]
    return row["low"], row["high"]


@pytest.mark.slow
def test_intervals_hold_the_shifts_of_the_knobs_in_19_of_20_cohorts(tmp_path: Path) -> None:
    """95 % intervals over 200 cohorts: coverage within what 200 draws leave open."""
    cohorts, held = 200, dict.fromkeys(SHIFTS, 0)
    for cohort in range(cohorts):
        made = describe(Phantom(cohort=cohort, **SMALL).table(tmp_path))
        for finding, shift in SHIFTS.items():
            low, high = shift_of(made, finding)
            held[finding] += low <= shift <= high
    least, most = stats.binom.ppf((0.001, 0.999), cohorts, 0.95)
    assert all(least <= n <= most for n in held.values()), held


@pytest.mark.slow
def test_the_test_of_association_keeps_its_level_where_nothing_is_associated(
    tmp_path: Path,
) -> None:
    """5 % of tests reject over 200 cohorts of the null phantom."""
    from datasets.phantom import PhantomNull

    cohorts = 200
    p = [
        describe(PhantomNull(cohort=cohort, **SMALL).table(tmp_path)).associations.query(
            "labels == 'recorded' and finding == 'Consolidation' and attribute == 'race'"
        )["p"].iloc[0]
        for cohort in range(cohorts)
    ]  # fmt: skip
    rejected = int((np.array(p) < 0.05).sum())
    least, most = stats.binom.ppf((0.001, 0.999), cohorts, 0.05)
    assert least <= rejected <= most, rejected
