"""Sub-sampling to published positive rates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trees import chexpert as tree

from datasets.chexpert import FAIRREAD, Chexpert
from datasets.curation import Curated, Curation, Group, curate

PLAIN = Curation("Edema", {"sex": (Group("M", 0.5, 0.2), Group("F", 0.5, 0.4))})
GROUPS = {name: [g.name for g in groups] for name, groups in FAIRREAD.attributes.items()}


def drawn(rows: int, seed: int = 0, *, dependent: bool = True) -> tuple[pd.DataFrame, pd.Series]:
    """Groups and labels that depend on each other, as those of real people do."""
    rng = np.random.default_rng(seed)
    male, white = rng.random(rows) < 0.59, rng.random(rows) < 0.56
    old = rng.random(rows) < np.where(white, 0.62, 0.45)
    tilt = 0.3 * old - 0.1 * male if dependent else 0.0
    label = rng.random(rows) < 0.13 * (1 + tilt)
    groups = pd.DataFrame({"sex": np.where(male, "Male", "Female"),
                           "race": np.where(white, "White", "Non-White"),
                           "age": np.where(old, "60 and over", "under 60")})  # fmt: skip
    return groups, pd.Series(label.astype(float))


def percent(labels: pd.Series, groups: pd.Series, name: str, found: Curated) -> float:
    """The positive rate of a group among the rows that were kept."""
    return 100 * float(labels[found.kept & (groups == name)].mean())


def test_all_six_published_rates_are_met_within_three_tenths_of_a_point() -> None:
    groups, labels = drawn(100_000)
    found = curate(groups, labels, FAIRREAD)
    published = {("sex", "Male"): 14.86, ("sex", "Female"): 30.12, ("race", "White"): 13.46,
                 ("race", "Non-White"): 28.05, ("age", "60 and over"): 24.31,
                 ("age", "under 60"): 10.21}  # fmt: skip
    for (attribute, name), rate in published.items():
        assert percent(labels, groups[attribute], name, found) == pytest.approx(rate, abs=0.3)
    shares = {"Male": 75.28, "White": 64.57, "60 and over": 59.73}
    for attribute, name in zip(("sex", "race", "age"), shares, strict=True):
        share = 100 * (groups[attribute][found.kept] == name).mean()
        assert share == pytest.approx(shares[name], abs=0.3)


def test_as_many_rows_are_kept_as_the_scarcest_cell_permits() -> None:
    # 100 of each cell; wanted are shares 0.4, 0.1, 0.3 and 0.2, so that 250 rows can be had.
    groups = pd.DataFrame({"sex": ["M"] * 200 + ["F"] * 200})
    labels = pd.Series([0.0, 1.0] * 200)
    found = curate(groups, labels, PLAIN)
    kept = pd.crosstab(groups["sex"][found.kept], labels[found.kept])
    assert kept.loc["M"].tolist() == [100, 25] and kept.loc["F"].tolist() == [75, 50]


def test_odds_ratios_within_groups_are_as_they_were() -> None:
    # Two attributes, whose association is not part of the target, keep their odds ratio.
    groups, labels = drawn(200_000, dependent=False)
    races = (Group("White", 0.5, 0.1), Group("Non-White", 0.5, 0.2))
    ages = (Group("60 and over", 0.5, 0.2), Group("under 60", 0.5, 0.1))
    target = Curation("x", {"race": races, "age": ages})
    found = curate(groups, labels, target)

    def odds(rows: np.ndarray) -> float:
        (a, b), (c, d) = pd.crosstab(groups["race"][rows], groups["age"][rows]).to_numpy()
        return float(a * d / (b * c))

    negative = (labels == 0).to_numpy()
    assert odds(found.kept & negative) == pytest.approx(odds(negative), rel=0.02)


def test_the_seed_chooses_the_rows_and_nothing_else_does() -> None:
    groups, labels = drawn(5_000)
    first, again, other = (curate(groups, labels, FAIRREAD, seed=s).kept for s in (0, 0, 1))
    assert (first == again).all() and (first != other).any() and first.sum() == other.sum()


def test_what_is_not_known_is_never_kept() -> None:
    groups, labels = drawn(5_000)
    groups.loc[:99, "race"] = "Unknown"
    labels[100:200] = np.nan
    found = curate(groups, labels, FAIRREAD)
    assert not found.known[:200].any() and not found.kept[:200].any() and found.known[200:].all()


def test_the_sentence_tells_counts_and_rates() -> None:
    groups = pd.DataFrame({"sex": ["M"] * 200 + ["F"] * 200})
    told = curate(groups, pd.Series([0.0, 1.0] * 200), PLAIN).told
    assert told == (
        "250 of 400 images with known groups were kept, so that Edema is present in "
        "sex: M 20.00% of 125 images, F 40.00% of 125 images"
    )


def test_a_group_without_positives_is_refused() -> None:
    groups = pd.DataFrame({"sex": ["M", "M", "F", "F"]})
    with pytest.raises(ValueError, match="no image of M is there with it"):
        curate(groups, pd.Series([0.0, 0.0, 1.0, 0.0]), PLAIN)


def test_groups_that_are_the_same_people_cannot_have_different_rates() -> None:
    both = Curation("x", {"a": (Group("1", 0.5, 0.1), Group("2", 0.5, 0.3)),
                          "b": (Group("1", 0.5, 0.3), Group("2", 0.5, 0.1))})  # fmt: skip
    same = np.repeat(["1", "2"], 50)
    groups = pd.DataFrame({"a": same, "b": same})
    with pytest.raises(ValueError, match="contradict each other"):
        curate(groups, pd.Series([0.0, 1.0] * 50), both)


def test_too_few_images_for_the_rates_are_refused() -> None:
    groups = pd.DataFrame({"sex": ["M", "M", "F", "F"]})
    with pytest.raises(ValueError, match="for want of images"):
        curate(groups, pd.Series([0.0, 1.0, 1.0, 0.0]), PLAIN)


def test_a_table_of_nobody_known_is_refused() -> None:
    with pytest.raises(ValueError, match="no image has a known label"):
        curate(pd.DataFrame({"sex": ["?"]}), pd.Series([1.0]), PLAIN)


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ({"a": (Group("1", 0.5, 0.1), Group("2", 0.4, 0.1))}, "must add up to 1, but got 0.9"),
        ({"a": (Group("1", 1.0, 0.1),), "b": (Group("1", 1.0, 0.2),)}, "one overall positive rate"),
    ],
)
def test_a_target_that_contradicts_itself_is_refused(
    groups: dict[str, tuple[Group, ...]], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        Curation("x", groups)


def made(root: Path, patients: int) -> list[str]:
    """A release of as many patients with an image each, and its workbook."""
    groups, labels = drawn(patients)
    rows = [
        tree.image(i, Sex=sex, Age=70 if age == "60 and over" else 40, Cardiomegaly=label)
        for i, (sex, age, label) in enumerate(
            zip(groups["sex"], groups["age"], labels, strict=True)
        )
    ]
    tree.table(root / "train.csv", rows)
    races = groups["race"].replace({"Non-White": "Black, Hispanic"})
    tree.workbook(root / tree.DEMO, [tree.person(i, race) for i, race in enumerate(races)])
    return list(races)


def test_chexpert_is_curated_by_what_is_recorded_and_not_by_its_groups(tmp_path: Path) -> None:
    races = made(tmp_path, 3_000)
    table = Chexpert(curation="fairread", findings=("Edema",)).table(tmp_path)
    whole = Chexpert(findings=("Cardiomegaly",)).table(tmp_path).frame.set_index("image_id")
    label = whole.loc[table.frame["image_id"], "Cardiomegaly"].to_numpy()
    white = np.array([races[int(p.removeprefix("patient"))] == "White"
                      for p in table.frame["patient_id"]])  # fmt: skip
    assert 100 * label[white].mean() == pytest.approx(13.46, abs=0.3)
    assert 100 * label[~white].mean() == pytest.approx(28.05, abs=0.3)
    assert table.dropped == {"curation fairread: sub-sampled": 3_000 - len(table)}
    assert any("White 13." in note for note in table.notes)


def test_chexpert_without_race_cannot_be_curated(tmp_path: Path) -> None:
    tree.table(tmp_path / "train.csv", [tree.image(1)])
    with pytest.raises(FileNotFoundError, match="curation=fairread needs race"):
        Chexpert(curation="fairread").table(tmp_path)


def test_people_whose_groups_are_not_known_are_counted_apart(tmp_path: Path) -> None:
    made(tmp_path, 3_000)
    listed = pd.read_csv(tmp_path / "train.csv", dtype=str, keep_default_na=False)
    listed.loc[:9, "Age"] = "0"
    listed.loc[10:14, "Cardiomegaly"] = "-1.0"
    listed.to_csv(tmp_path / "train.csv", index=False)
    table = Chexpert(curation="fairread").table(tmp_path)
    assert table.dropped["curation fairread: sex, race, age or label not known"] == 15
