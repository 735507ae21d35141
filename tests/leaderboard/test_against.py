"""Methods against ERM: which ERM, which pairs of runs, and what the interval covers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic_store import PHANTOM, run_json, write_run

from leaderboard.against import Group, Measure, reference_of
from leaderboard.aggregate import Estimate
from leaderboard.board import Section, sections
from leaderboard.collect import read_store
from metrics.bootstrap import PatientBootstrap
from metrics.evaluate import evaluate
from metrics.predictions import Predictions
from metrics.score import Score

AUC = Measure("auc")
CONTRAST = Measure("fnr_contrast", "race", "B - A")
FINDINGS = ("Edema", "Mass", "Hernia")


def section(output: Path) -> Section:
    (found,) = sections(read_store(output))
    return found


def difference(output: Path, measure: Measure = AUC) -> Estimate:
    """The difference of the one method beside ERM, against recorded labels."""
    return section(output).entrants[1].differences[measure, "recorded"]


def auc(value: float, spread: float = 0.02, **score: Any) -> Score:
    """A macro AUC whose patient standard deviation is `spread`."""
    half = 1.959964 * spread
    return Score("auc", value, low=value - half, high=value + half, **score)


def group(method: str, variant: str = "", image_size: int = 64, **defaults: float) -> Group:
    from leaderboard.collect import _run

    chosen = {name: float(value) for name, value in (t.split("=") for t in variant.split())}
    fields = {"image_size": image_size, "lr": 0.002, "epochs": 8, **defaults, **chosen}
    return Group(method, variant, (_run(run_json(PHANTOM, method, method_fields=fields)),))


def test_the_reference_is_erm() -> None:
    groups = [group("erm"), group("upsample")]
    assert reference_of(groups[1], groups) is groups[0]
    assert reference_of(groups[0], groups) is None


def test_the_reference_shares_the_most_fields() -> None:
    plain, fast = group("erm"), group("erm", "lr=0.01")
    groups = [plain, fast, group("a"), group("b", "lr=0.01 ratio=2.0"), group("c", "lr=0.02")]
    found = [reference_of(one, groups) for one in groups]
    assert found == [None, plain, plain, fast, plain]


def test_a_method_that_trains_longer_is_compared_with_an_erm_trained_as_long() -> None:
    plain, longer = group("erm"), group("erm", "epochs=16")
    groups = [plain, longer, group("a", epochs=16), group("b", epochs=60)]
    assert [reference_of(one, groups) for one in groups[2:]] == [longer, plain]


def test_a_tuned_erm_is_the_reference_where_there_is_no_other() -> None:
    groups = [group("erm", "lr=0.01"), group("a")]
    assert reference_of(groups[1], groups) is groups[0]


def test_erm_on_images_of_another_size_is_no_reference() -> None:
    groups = [group("erm"), group("a", "image_size=32", image_size=32)]
    assert reference_of(groups[1], groups) is None


def test_one_pair_without_predictions_adds_the_patient_variances(tmp_path: Path) -> None:
    write_run(tmp_path, run_json(PHANTOM, "erm"), [auc(0.80, 0.03)])
    write_run(tmp_path, run_json(PHANTOM, "upsample"), [auc(0.84, 0.04)])
    found = difference(tmp_path)
    assert found.value == pytest.approx(0.04)
    assert found.high - found.value == pytest.approx(1.959964 * 0.05, rel=1e-5)  # 3-4-5
    assert found.of == "patients (unpaired)"


def test_differences_are_taken_seed_by_seed(tmp_path: Path) -> None:
    # ERM moves a lot from seed to seed, and the method with it: differences 0.01, 0.02, 0.03 have
    # variance 0.0001, over 3 pairs; patients 2 * 0.0004 on one test set. Sum 0.00083333, and
    # 2 * (0.00083333 / 0.00003333)^2 = 1250 degrees of freedom: Student's t is 1.9618691.
    for seed, value in enumerate((0.6, 0.7, 0.8)):
        write_run(tmp_path, run_json(PHANTOM, "erm", seed), [auc(value)])
        write_run(tmp_path, run_json(PHANTOM, "upsample", seed), [auc(value + 0.01 * (seed + 1))])
    found = difference(tmp_path)
    assert found.value == pytest.approx(0.02)
    half = 1.9618691 * math.sqrt(2 * 0.0004 + 0.0001 / 3)
    assert found.high - found.value == pytest.approx(half, rel=1e-4)
    assert (found.of, found.runs, found.undefined) == ("patients (unpaired) + seeds", 3, 0)


def test_runs_without_a_partner_are_counted_and_left_out(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path, run_json(PHANTOM, "erm", seed), [auc(0.8)])
    for seed in (1, 2):
        write_run(tmp_path, run_json(PHANTOM, "upsample", seed), [auc(0.8 + seed / 10)])
    found = difference(tmp_path)
    assert found.value == pytest.approx(0.1)
    assert (found.runs, found.undefined) == (2, 1)


def test_other_test_patients_are_no_partner(tmp_path: Path) -> None:
    write_run(tmp_path, run_json(PHANTOM, "erm"), [auc(0.8)])
    write_run(tmp_path, run_json(PHANTOM, "upsample", test_digest="other"), [auc(0.9)])
    assert section(tmp_path).entrants[1].differences == {}


def test_an_undefined_number_has_no_difference(tmp_path: Path) -> None:
    write_run(tmp_path, run_json(PHANTOM, "erm"), [auc(0.8)])
    write_run(tmp_path, run_json(PHANTOM, "upsample"), [Score("auc", math.nan, note="too few")])
    assert section(tmp_path).entrants[1].differences == {}


def test_means_over_other_findings_are_not_subtracted(tmp_path: Path) -> None:
    singles = [Score("auc", value, finding) for finding, value in (("Edema", 0.7), ("Mass", 0.9))]
    write_run(tmp_path, run_json(PHANTOM, "erm"), [auc(0.8), *singles])
    write_run(tmp_path, run_json(PHANTOM, "upsample"), [auc(0.9), *singles])
    assert section(tmp_path).entrants[1].differences == {}


def test_a_reversed_contrast_is_turned(tmp_path: Path) -> None:
    for method, pair, value in (("erm", "B - A", 0.1), ("upsample", "A - B", -0.3)):
        made = Score("fnr_contrast", value, attribute="race", group=pair, low=-0.4, high=0.4)
        write_run(tmp_path, run_json(PHANTOM, method), [auc(0.8), made])
    assert difference(tmp_path, CONTRAST).value == pytest.approx(0.2)


def cohort(noise: float, seed: int, patients: int = 500) -> Predictions:
    """Predictions of the same patients whatever `noise` and `seed`, which move logits alone."""
    rng = np.random.default_rng(7)
    patient = np.repeat(np.arange(patients), rng.integers(1, 3, patients))
    columns: dict[str, Any] = {
        "image": [f"i{i}" for i in range(len(patient))],
        "patient": [f"p{i:04d}" for i in patient],
        "part": 0,
        "race": np.array(["A", "B"])[rng.integers(0, 2, patients)[patient]],
    }
    own = np.random.default_rng([seed, round(100 * noise)])
    for finding in FINDINGS:
        y = (rng.random(patients)[patient] < 0.45).astype(np.float32)
        logit = y + rng.normal(0, 1, len(y)) + own.normal(0, noise, len(y))
        columns[f"y:{finding}"] = y
        columns[f"logit:{finding}"] = logit.astype(np.float32)
        columns[f"decision:{finding}"] = (logit > 0.5).astype(np.float32)
    return Predictions("test", pd.DataFrame(columns), FINDINGS, ("race",), {"race": ("A", "B")})


def stored(output: Path, method: str, noise: float, seed: int, *, predictions: bool = True) -> None:
    """A run as the pipeline stores it; one finding does not count towards the mean."""
    made = cohort(noise, seed)
    found = evaluate(made, macro_findings=FINDINGS[:2], bootstrap=PatientBootstrap(500, 200))
    directory = write_run(output, run_json(PHANTOM, method, seed), found)
    if predictions:
        made.frame.assign(fold="test").to_parquet(directory / "predictions.parquet")


def test_stored_predictions_pair_the_patients(tmp_path: Path) -> None:
    for name, kept in (("with", True), ("without", False)):
        for seed in range(3):
            stored(tmp_path / name, "erm", 0.2, seed, predictions=kept)
            stored(tmp_path / name, "upsample", 0.6, seed, predictions=kept)
    for measure in (AUC, CONTRAST):
        paired = difference(tmp_path / "with", measure)
        unpaired = difference(tmp_path / "without", measure)
        assert paired.of == "patients (paired) + seeds"
        assert unpaired.of == "patients (unpaired) + seeds"
        assert paired.value == pytest.approx(unpaired.value, abs=1e-6)
        assert paired.high - paired.low < 0.8 * (unpaired.high - unpaired.low)


def test_the_paired_interval_of_one_seed_is_that_of_the_bootstrap(tmp_path: Path) -> None:
    for method, noise in (("erm", 0.2), ("upsample", 0.8)):
        stored(tmp_path, method, noise, 0)
    found = difference(tmp_path)
    made = [cohort(noise, 0) for noise in (0.2, 0.8)]
    weights = PatientBootstrap(500, 2000).weights[made[0].patient_codes()[0]]
    from metrics.auroc import auroc

    drawn = [
        np.mean([auroc(m.logits()[:, j], m.labels()[:, j], weights) for j in (0, 1)], axis=0)
        for m in made
    ]
    low, high = np.quantile(drawn[1] - drawn[0], (0.025, 0.975))
    assert found.of == "patients (paired)"
    assert found.high - found.low == pytest.approx(high - low, rel=0.1)


def test_a_method_that_is_erm_differs_by_nothing(tmp_path: Path) -> None:
    for method in ("erm", "upsample"):
        stored(tmp_path, method, 0.2, 0)
    found = difference(tmp_path)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_predictions_that_do_not_give_the_stored_number_pair_nothing(tmp_path: Path) -> None:
    for method in ("erm", "upsample"):
        stored(tmp_path, method, 0.2, 0)
    (path,) = (tmp_path / "phantom" / "upsample").glob("*/predictions.parquet")
    frame = pd.read_parquet(path)
    frame["logit:Edema"] = frame["logit:Edema"].to_numpy()[::-1]
    frame.to_parquet(path)
    assert difference(tmp_path).of == "patients (unpaired)"


def test_predictions_of_patients_with_other_hashes_pair_nothing(tmp_path: Path) -> None:
    for method in ("erm", "upsample"):
        stored(tmp_path, method, 0.2, 0)
    (path,) = (tmp_path / "phantom" / "upsample").glob("*/predictions.parquet")
    frame = pd.read_parquet(path)
    frame.assign(patient="other " + frame["patient"]).to_parquet(path)
    assert difference(tmp_path).of == "patients (unpaired)"


def test_the_difference_says_what_it_is_taken_from(tmp_path: Path) -> None:
    for method in ("erm", "upsample"):
        write_run(tmp_path, run_json(PHANTOM, method, method_variant="lr=1.0"), [auc(0.8)])
    entrant = section(tmp_path).entrants[1]
    assert entrant.reference == "erm"
    assert entrant.differences[AUC, "recorded"].note == "minus erm lr=1.0, seed by seed"
