"""What DP-SGD must show: the smaller the privacy loss, the lower the accuracy (slow)."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

ROOT = Path(__file__).resolve().parent.parent
SEEDS = (401, 402, 403)
"""Training seed and cohort together: other people, another initialisation; none used for tuning."""
TARGETS = ("inf", "8", "3")

pytestmark = pytest.mark.slow
Scores = dict[str, list[pd.DataFrame]]


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Scores:
    """The scores of each target, seed by seed, as a user would make them."""
    place = tmp_path_factory.mktemp("dpsgd")
    tables: Scores = {}
    for target in TARGETS:
        for seed in SEEDS:
            output = place / target / str(seed)
            command = [sys.executable, str(ROOT / "runner.py"), "--method", "dpsgd",
                       "--dataset", "phantom", "--set", "image_size=32", "--set",
                       f"epsilon={target}", "--seed", str(seed), "--data", f"cohort={seed}",
                       "--output", str(output),
                       "--tracking-uri", f"sqlite:///{place}/mlflow.db"]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, timeout=3600)
            assert done.returncode == 0, done.stdout + done.stderr
            (table,) = output.glob("phantom/*/*/scores.parquet")
            tables.setdefault(target, []).append(pd.read_parquet(table))
    return tables


def auc(table: pd.DataFrame) -> float:
    """Macro AUC of everybody against recorded labels."""
    where = (table["metric"] == "auc") & (table["finding"] == "macro") & (table["group"] == "all")
    return float(table[where & (table["labels"] == "recorded")]["value"].item())


@pytest.mark.parametrize(("looser", "tighter"), [("inf", "8"), ("8", "3")])
def test_accuracy_falls_with_the_privacy_loss(scores: Scores, looser: str, tighter: str) -> None:
    pairs = zip(scores[looser], scores[tighter], strict=True)
    falls = np.array([auc(a) - auc(b) for a, b in pairs])
    # Paired by seed; three seeds leave two degrees of freedom, so Student's t and not the normal.
    reach = t.ppf(0.975, len(falls) - 1) * falls.std(ddof=1) / math.sqrt(len(falls))
    mean = falls.mean()
    interval = f"{mean:.3f} [{mean - reach:.3f}, {mean + reach:.3f}]"
    told = f"AUC falls from epsilon {looser} to {tighter}: {falls.round(3)}, {interval}"
    assert mean - reach > 0, told


def test_the_target_was_spent_and_no_more(scores: Scores) -> None:
    for target in ("8", "3"):
        for table in scores[target]:
            spent, bound = (
                table[table["metric"] == m]["value"].item() for m in ("epsilon", "epsilon_rdp")
            )
            assert float(target) - 0.05 < spent <= float(target) and spent <= bound
    for table in scores["inf"]:
        row = table[table["metric"] == "epsilon"].iloc[0]
        assert math.isnan(row["value"]) and "infinite" in row["note"]
