"""How patients move a number: by hand, against the patient bootstrap, and against real weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leaderboard import influence
from leaderboard.influence import StoredPredictions
from metrics import predictions
from metrics.auroc import auroc
from metrics.bootstrap import PatientBootstrap


def table(patients: int, seed: int = 0, parts: int = 1) -> pd.DataFrame:
    """Stored predictions of some patients with one to three images each."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
    ill = rng.random(patients)[patient] < 0.4
    y = np.where(rng.random(len(patient)) < 0.05, ~ill, ill).astype(float)
    logit = (y + rng.normal(0, 1, len(y)) + rng.normal(0, 0.7, patients)[patient]).round(1)
    return pd.DataFrame(
        {
            "patient": [f"p{i:04d}" for i in patient],
            "part": (patient % parts).astype(int),
            "race": np.where(rng.random(patients) < 0.5, "A", "B")[patient],
            "y:Edema": y,
            "logit:Edema": logit,
            "decision:Edema": (logit > 0.8).astype(float),
        }
    )


def test_rates_by_hand() -> None:
    # Group A: patient p has two positive images, one missed; q has one, missed. FNR 2/3.
    # dFNR/dw_p = (1 - 2/3 * 2) / 3 = -1/9 and dFNR/dw_q = (1 - 2/3) / 3 = 1/9.
    # Group B: r has one positive image, found. FNR 0, and nothing moves it.
    frame = pd.DataFrame(
        {
            "patient": ["p", "p", "q", "r", "r"],
            "part": 0,
            "race": ["A", "A", "A", "B", "B"],
            "y:Edema": [1.0, 1.0, 1.0, 1.0, 0.0],
            "decision:Edema": [1.0, 0.0, 0.0, 1.0, 1.0],
        }
    )
    found = StoredPredictions(frame).contrast(
        "fnr_contrast", ["Edema"], "race", "B - A", "recorded"
    )
    assert found.value == pytest.approx(-2 / 3)
    assert found.slopes == pytest.approx([1 / 9, -1 / 9, 0])


def test_auc_by_hand() -> None:
    # Positives 2.0 (p) and 1.0 (q), negatives 1.0 (r) and 0.0 (r): wins 2 and 1.5 of 4, AUC 7/8.
    # dAUC/dw_p = (2 - 7/8 * 2) / 4 = 1/16, of q (1.5 - 7/4) / 4 = -1/16; r: (3.5 - 3.5) / 4 = 0.
    frame = pd.DataFrame(
        {
            "patient": ["p", "q", "r", "r"],
            "part": 0,
            "y:Edema": [1.0, 1.0, 0.0, 0.0],
            "logit:Edema": [2.0, 1.0, 1.0, 0.0],
        }
    )
    found = StoredPredictions(frame).auc(["Edema"], "recorded")
    assert found.value == pytest.approx(7 / 8)
    assert found.slopes == pytest.approx([1 / 16, -1 / 16, 0])


@pytest.mark.parametrize("parts", [1, 3])
def test_slopes_are_what_counting_a_patient_twice_changes(parts: int) -> None:
    frame = table(60, parts=parts)
    found = StoredPredictions(frame).auc(["Edema"], "recorded")
    names = np.unique(frame["patient"])
    step = 1000  # weights must be whole: 1001 of one patient, 1000 of all others
    weights = np.full((len(frame), len(names)), step, np.int64)
    for i, name in enumerate(names):
        weights[frame["patient"] == name, i] += 1
    moved = auroc(
        frame["logit:Edema"].to_numpy(),
        frame["y:Edema"].to_numpy(np.float32),
        weights,
        frame["part"].to_numpy(),
    )
    assert (moved - found.value) * step == pytest.approx(found.slopes, abs=2e-5)


def test_the_spread_of_an_auc_is_that_of_the_patient_bootstrap() -> None:
    frame = table(400)
    found = StoredPredictions(frame).auc(["Edema"], "recorded")
    codes = StoredPredictions(frame).patients[1]
    weights = PatientBootstrap(400).weights[codes]
    replicates = auroc(
        frame["logit:Edema"].to_numpy(), frame["y:Edema"].to_numpy(np.float32), weights
    )
    assert np.sqrt(np.square(found.slopes).sum()) == pytest.approx(replicates.std(), rel=0.08)


def test_the_spread_of_a_difference_is_that_of_the_paired_bootstrap() -> None:
    first, second = table(400), table(400)
    rng = np.random.default_rng(9)
    second["logit:Edema"] += rng.normal(0, 0.5, len(second))
    weights = PatientBootstrap(400).weights[StoredPredictions(first).patients[1]]
    replicates = [
        auroc(f["logit:Edema"].to_numpy(), f["y:Edema"].to_numpy(np.float32), weights)
        for f in (first, second)
    ]
    found = [StoredPredictions(f).auc(["Edema"], "recorded") for f in (first, second)]
    spread = np.sqrt(np.square(found[0].slopes - found[1].slopes).sum())
    assert spread == pytest.approx((replicates[0] - replicates[1]).std(), rel=0.08)
    alone = np.sqrt(sum(np.square(one.slopes).sum() for one in found))
    assert spread < 0.7 * alone  # what pairing gains here


def test_a_mean_over_findings_has_the_mean_of_the_slopes() -> None:
    frame = table(50).assign(**{"y:Mass": 0.0, "logit:Mass": 0.0})
    frame.loc[::3, "y:Mass"] = 1.0
    tested = StoredPredictions(frame)
    both = tested.auc(["Edema", "Mass"], "recorded")
    single = [tested.auc([finding], "recorded") for finding in ("Edema", "Mass")]
    assert both.value == pytest.approx(np.mean([one.value for one in single]))
    assert both.slopes == pytest.approx(np.mean([one.slopes for one in single], axis=0))


def test_only_test_rows_are_read(tmp_path: Path) -> None:
    frame = table(20)
    frame = pd.concat([frame.assign(fold="val"), frame.assign(fold="test")])
    frame.to_parquet(tmp_path / "predictions.parquet")
    found = influence.read(tmp_path)
    assert found is not None
    assert len(found.frame) == len(frame) / 2


def test_unreadable_predictions_are_none(tmp_path: Path) -> None:
    assert influence.read(tmp_path) is None
    (tmp_path / "predictions.parquet").write_bytes(b"PAR1 cut off")
    assert influence.read(tmp_path) is None


def test_the_columns_are_those_that_runs_store() -> None:
    assert influence.LABELS == {"recorded": predictions.LABEL, "true": predictions.TRUE}
    assert (influence.LOGIT, influence.DECISION) == (predictions.LOGIT, predictions.DECISION)
