"""The phantom's tables, presets and recipe file."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import chdtrc

from datasets.folds import assign, digest
from datasets.phantom import Phantom, PhantomAnatomy, PhantomNull, PhantomOod
from datasets.phantom_cohort import LESIONS, make_cohort
from datasets.phantom_population import Population, read_recipe, write_recipe
from datasets.split import TRUE, Split
from registry import DATASETS

SMALL: dict[str, Any] = {
    "train_patients": 40,
    "val_patients": 20,
    "audit_patients": 10,
    "test_patients": 30,
}


def table(phantom: Phantom, root: Path) -> Split:
    return phantom.table(root)


def rate(frame: pd.DataFrame, column: str, race: str) -> float:
    return float(frame.loc[frame["race"] == race, column].mean())


@pytest.mark.parametrize("name", ["phantom", "phantom-null", "phantom-anatomy", "phantom-ood"])
def test_preset_is_registered_and_makes_a_table(name: str, tmp_path: Path) -> None:
    split = DATASETS.get(name)(**SMALL).table(tmp_path)
    assert split.has_truth
    assert set(split.frame["origin"]) == {"simulated"}


def test_folds_hold_the_declared_numbers_of_patients(tmp_path: Path) -> None:
    split = table(Phantom(**SMALL), tmp_path)
    counts = split.frame.groupby("fold")["patient_id"].nunique()
    assert counts.to_dict() == {"train": 40, "val": 20, "audit": 10, "test": 30}


def test_table_is_fit_for_folds_with_disjoint_patients(tmp_path: Path) -> None:
    folds = assign(table(Phantom(**{**SMALL, "audit_patients": 100}), tmp_path))
    assert not folds.audit_reuses_train


def test_rows_name_patient_visit_and_recipe_row(tmp_path: Path) -> None:
    frame = table(Phantom(**SMALL), tmp_path).frame
    recipe = next(tmp_path.glob("*.phantom")).name
    assert frame["image_id"].iloc[0] == "p000000-v1"
    assert list(frame["path"]) == [f"{recipe}#{row}" for row in range(len(frame))]


def test_groups_keep_their_frozen_order(tmp_path: Path) -> None:
    split = table(Phantom(**SMALL, race_shares=(0.0, 0.0, 1.0)), tmp_path)
    assert split.groups_of("race") == ("A", "B", "C")
    assert split.groups_of("age_band") == ("20-39", "40-59", "60-79", "80+")


def test_age_band_holds_the_age(tmp_path: Path) -> None:
    frame = table(Phantom(), tmp_path).frame
    bands = pd.cut(frame["age"], [19, 39, 59, 79, 90], labels=["20-39", "40-59", "60-79", "80+"])
    assert (bands.astype(str) == frame["age_band"].astype(str)).all()


def test_growing_the_test_fold_leaves_earlier_rows_as_they_are(tmp_path: Path) -> None:
    for preset in (Phantom, PhantomNull):
        small = table(preset(**SMALL), tmp_path).frame.drop(columns="path")
        grown = table(preset(**{**SMALL, "test_patients": 60}), tmp_path).frame
        pd.testing.assert_frame_equal(small, grown.drop(columns="path").iloc[: len(small)])


def test_cohorts_are_different_people() -> None:
    first, second = (make_cohort(Population(cohort=cohort)) for cohort in (0, 1))
    assert not np.array_equal(first.attributes.age[:50], second.attributes.age[:50])


def test_metadata_of_cohort_0_is_unchanged(tmp_path: Path) -> None:
    frame = table(Phantom(), tmp_path).frame.drop(columns="path")
    assert digest(frame) == "e983eac48803a2d1"


def test_derived_findings_follow_from_the_drawn_ones(tmp_path: Path) -> None:
    frame = table(Phantom(), tmp_path).frame
    for prefix in ("", TRUE):
        drawn = frame[[prefix + name for name in LESIONS]]
        kinds = drawn[[prefix + n for n in ("Consolidation", "Lung Lesion", "Edema")]]
        assert (frame[prefix + "Lung Opacity"] == kinds.max(axis=1)).all()
        assert (frame[prefix + "No Finding"] == 1 - drawn.max(axis=1)).all()


def test_underdiagnosis_only_removes_and_does_so_at_the_declared_rate(tmp_path: Path) -> None:
    frame = table(Phantom(underdiagnosis_medicaid=0.0), tmp_path).frame
    missed: dict[str, list[float]] = {"A": [], "B": []}
    for name in LESIONS:
        assert (frame[name] <= frame[TRUE + name]).all()
        for race, kept in missed.items():
            present = frame[(frame["race"] == race) & (frame[TRUE + name] == 1)]
            kept.extend(1 - present[name])
    # Some 2,300 true findings in B: the standard error of the rate is 0.01.
    assert np.mean(missed["A"]) == 0
    assert np.mean(missed["B"]) == pytest.approx(0.40, abs=0.04)


def test_underdiagnosis_of_race_and_insurance_combine(tmp_path: Path) -> None:
    phantom = Phantom(underdiagnosis_b=0.5, underdiagnosis_medicaid=0.5)
    frame = table(phantom, tmp_path).frame
    both = frame[(frame["race"] == "B") & (frame["insurance"] == "Medicaid")]
    truth = both[[TRUE + name for name in LESIONS]].to_numpy()
    recorded = both[list(LESIONS)].to_numpy()
    assert recorded.sum() / truth.sum() == pytest.approx(0.25, abs=0.05)


def test_underdiagnosis_changes_no_true_label(tmp_path: Path) -> None:
    with_knob, without = (make_cohort(Population(underdiagnosis_b=q)) for q in (0.4, 0.0))
    assert np.array_equal(with_knob.truth, without.truth)


def test_shares_of_groups_follow_their_knobs(tmp_path: Path) -> None:
    phantom = Phantom(race_shares=(0.2, 0.5, 0.3), female_share=0.7)
    people = table(phantom, tmp_path).frame.drop_duplicates("patient_id")
    shares = people["race"].value_counts(normalize=True)
    assert [shares[r] for r in "ABC"] == pytest.approx([0.2, 0.5, 0.3], abs=0.03)
    assert (people["sex"] == "Female").mean() == pytest.approx(0.7, abs=0.03)


def test_prevalence_follows_its_knob() -> None:
    rare, common = (
        make_cohort(Population(prevalence_edema=p)).truth[:, 7].mean() for p in (0.05, 0.30)
    )
    assert (rare, common) == pytest.approx((0.05, 0.30), abs=0.03)


def test_prevalence_shift_acts_on_race_b_alone(tmp_path: Path) -> None:
    base = table(PhantomAnatomy(), tmp_path).frame
    shifted = table(PhantomAnatomy(prevalence_shift_pneumothorax_b=1.0), tmp_path).frame
    column = TRUE + "Pneumothorax"
    assert rate(shifted, column, "A") == rate(base, column, "A")
    # Log-odds of 0.12 plus 1.0 are those of 0.27.
    assert rate(shifted, column, "B") == pytest.approx(0.27, abs=0.04)


def test_device_shares_of_race_a_depend_on_pneumothorax(tmp_path: Path) -> None:
    frame = table(Phantom(), tmp_path).frame
    share = frame.groupby(["race", TRUE + "Pneumothorax"], observed=True)["Support Devices"].mean()
    assert share["A", 1.0] == pytest.approx(0.75, abs=0.05)
    assert share["A", 0.0] == pytest.approx(0.10, abs=0.02)
    assert share["B", 0.0] == pytest.approx(0.15, abs=0.03)


def test_a_patients_cardiomegaly_persists_over_visits(tmp_path: Path) -> None:
    frame = table(Phantom(), tmp_path).frame.set_index(["patient_id", "visit"])
    first, second = (frame.xs(v, level="visit")[TRUE + "Cardiomegaly"] for v in (1, 2))
    agreement = np.corrcoef(*first.align(second, join="inner"))[0, 1]
    assert agreement > 0.6


def test_other_site_sees_another_prevalence(tmp_path: Path) -> None:
    home, away = (table(preset(), tmp_path).frame for preset in (Phantom, PhantomOod))
    assert away[TRUE + "Cardiomegaly"].mean() > home[TRUE + "Cardiomegaly"].mean() + 0.04
    assert away[TRUE + "Pneumothorax"].mean() < home[TRUE + "Pneumothorax"].mean() - 0.02


def chance(table: np.ndarray) -> float:
    """The p value of Pearson's chi-squared test of independence."""
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    return float(chdtrc(freedom, ((table - expected) ** 2 / expected).sum()))


def chances_of_independence(frame: pd.DataFrame, attributes: tuple[str, ...]) -> np.ndarray:
    columns = [TRUE + name for name in LESIONS] + ["Support Devices"]
    first = frame.drop_duplicates("patient_id")
    pairs = [pd.crosstab(first[a], first[c]).to_numpy() for a in attributes for c in columns]
    return np.array([chance(pair) for pair in pairs])


def test_null_attributes_tell_nothing_about_findings(tmp_path: Path) -> None:
    frame = table(PhantomNull(), tmp_path).frame
    chances = chances_of_independence(frame, ("sex", "age_band", "race", "insurance"))
    assert chances.min() > 0.001 / len(chances)
    assert 0.2 < chances.mean() < 0.8


def test_age_tells_about_findings_where_attributes_are_not_permuted(tmp_path: Path) -> None:
    frame = table(PhantomAnatomy(), tmp_path).frame
    assert chances_of_independence(frame, ("age_band",)).min() < 1e-6


def test_null_attributes_are_unrelated_to_those_behind_the_image() -> None:
    shown = make_cohort(PhantomNull().bare()).attributes
    behind = make_cohort(PhantomNull(permute_attributes=False).bare()).attributes
    for name in ("sex", "age", "race"):
        assert abs(np.corrcoef(getattr(shown, name), getattr(behind, name))[0, 1]) < 0.05


def test_null_keeps_the_attributes_of_a_person_together() -> None:
    people = make_cohort(PhantomNull().bare()).attributes
    medicare = people.insurance == 1
    assert medicare[people.age > 65].mean() == pytest.approx(0.75, abs=0.05)
    assert medicare[people.age <= 65].mean() == pytest.approx(0.08, abs=0.03)


def test_without_knobs_race_changes_no_parameter_of_the_image() -> None:
    plain = PhantomAnatomy().bare()
    first = make_cohort(plain)
    other = make_cohort(replace(plain, race_shares=(0.0, 1.0, 0.0)))
    assert not np.array_equal(first.attributes.race, other.attributes.race)
    assert np.array_equal(first.truth, other.truth)
    assert np.array_equal(first.scene.acquisition.gamma, other.scene.acquisition.gamma)
    assert np.array_equal(first.scene.nodule.contrast, other.scene.nodule.contrast)


def test_recipe_bytes_are_stable(tmp_path: Path) -> None:
    path = write_recipe(Population(), tmp_path)
    text = path.read_bytes()
    assert path.name == f"phantom-{hashlib.sha256(text).hexdigest()[:16]}.phantom"
    assert path.name == "phantom-aa1ecf18e5c78442.phantom"


def test_recipe_round_trip_keeps_every_field(tmp_path: Path) -> None:
    population = Population(cohort=3, race_shares=(0.2, 0.3, 0.5), permute_attributes=True)
    assert read_recipe(write_recipe(population, tmp_path)) == population


def test_whole_numbers_and_fractions_share_a_recipe(tmp_path: Path) -> None:
    first = write_recipe(Population(lesion_strength=1), tmp_path)
    assert first == write_recipe(Population(lesion_strength=1.0), tmp_path)


def test_recipe_of_another_generator_is_refused(tmp_path: Path) -> None:
    path = write_recipe(Population(), tmp_path)
    path.write_text(path.read_text().replace('"generator": "1"', '"generator": "0"'))
    with pytest.raises(ValueError, match="generator version '1'"):
        read_recipe(path)


def test_missing_and_broken_recipes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not there"):
        read_recipe(tmp_path / "absent.phantom")
    broken = tmp_path / "broken.phantom"
    broken.write_text("{")
    with pytest.raises(ValueError, match="must be the JSON"):
        read_recipe(broken)


@pytest.mark.parametrize("cohort", [9000, 9003, 9099])
def test_reserved_cohorts_are_refused(cohort: int) -> None:
    with pytest.raises(ValueError, match="reserved for calibrating"):
        Phantom(cohort=cohort)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cohort", -1, r"cohort must be a whole number in \[0, .*got -1"),
        ("train_patients", 1.5, "train_patients must be a whole number"),
        ("female_share", 1.2, r"female_share must be a number in \[0, 1\], but got 1.2"),
        ("underdiagnosis_b", float("nan"), "underdiagnosis_b must be a number"),
        ("lesion_strength", "strong", "lesion_strength must be a number"),
        ("site", True, "site must be a whole number"),
        ("race_shares", (0.5, 0.2, 0.2), "race_shares must be three shares that sum to 1"),
    ],
)
def test_bad_field_is_refused_by_name(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Phantom(**{field: value})


def test_preset_defaults_keep_the_limits_of_the_field() -> None:
    with pytest.raises(ValueError, match="underdiagnosis_b"):
        PhantomNull(underdiagnosis_b=2.0)


def test_fracture_is_unlearnable_at_small_sizes() -> None:
    assert Phantom().unlearnable(64) == ("Fracture",)
    assert Phantom().unlearnable(128) == ()
