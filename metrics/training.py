"""What training itself measured or spent, as scores: read off the last epoch of the history."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pandas as pd

from metrics.score import Score
from registry import METRICS

LastEpoch = Mapping[str, float]
"""Columns of the history at the last epoch of one part."""

MECHANISM = {
    "sampling_rate": "Poisson rate",
    "steps": "steps",
    "noise_multiplier": "noise multiplier",
}
"""Columns that say how the loss came about, and their words in the note."""


@METRICS.register("epsilon", direction="lower", unit="epsilon", input="training")
def epsilon(last: LastEpoch) -> Score | None:
    """The privacy loss of training: neighbouring sets of patients differ by at most e^epsilon.

    For all sets S of trained models: P[M(D) in S] <= e^epsilon P[M(D') in S] + delta, where D' is D
    without, or with, one training patient and all images of that patient. Validation and test
    patients are not covered. Of all planned epochs, whichever was chosen.

    Source: Abadi et al., Deep Learning with Differential Privacy, CCS 2016, section 2.1; the PRV
    accountant of Gopi et al., Numerical Composition of Differential Privacy, NeurIPS 2021.
    """
    return _spent("epsilon", "PRV", last)


@METRICS.register("epsilon_rdp", direction="lower", unit="epsilon", input="training")
def epsilon_rdp(last: LastEpoch) -> Score | None:
    """The same privacy loss by the looser Rényi accountant: a check, not below `epsilon`.

    Source: Mironov, Talwar & Zhang, Rényi Differential Privacy of the Sampled Gaussian Mechanism,
    2019 (arXiv 1908.10530).
    """
    return _spent("epsilon_rdp", "Rényi", last)


def training_scores(history: pd.DataFrame) -> list[Score]:
    """Scores of the registered metrics of training that the history has columns for.

    With several parts the largest value counts. It is the loss of publishing one of the models:
    parts share training patients, and to publish all of them costs more.
    """
    if "epoch" not in history:
        return []
    scores: list[Score] = []
    for name, entry in METRICS.entries().items():
        if entry.facts.get("input") != "training" or name not in history:
            continue
        measure: Callable[[LastEpoch], Score | None] = METRICS.get(name)
        lasts = [
            {str(k): v for k, v in part.iloc[-1].items()} for _, part in history.groupby("part")
        ]
        found = [s for last in lasts if (s := measure(last)) is not None]
        undefined = [s for s in found if math.isnan(s.value)]
        scores += undefined[:1] or sorted(found, key=lambda s: -s.value)[:1]
    return scores


def _spent(name: str, accountant: str, last: LastEpoch) -> Score | None:
    value = float(last[name])
    if math.isnan(value):
        return None
    if math.isinf(value):
        return Score(metric=name, value=math.nan, note="no noise, so no guarantee (infinite)")
    how = [f"delta {last['delta']:.2g}", "unit: patient", f"{accountant} accountant"]
    for column, words in MECHANISM.items():
        if not math.isnan(held := last.get(column, math.nan)):
            how.append(f"{words} {held:.4g}")
    return Score(metric=name, value=value, note=", ".join(how))
