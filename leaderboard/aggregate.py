"""From scores of single runs to one estimate per method, with an interval and of what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from leaderboard.collect import SCORE_KEY
from metrics.comparison.spread import half_width

SETTING = ("kind", "dataset", "data_variant", "folds", "operating_point")
"""Columns that must be equal for two numbers to be comparable."""
METHOD = ("method", "method_variant")
SHARES = ("auc", "fpr", "fnr", "eer", "rank1", "_gap")
"""Endings of metrics that lie in [0, 1]; a difference of two shares ends in `_contrast`."""


@dataclass(frozen=True)
class Estimate:
    """One aggregated number: the mean over runs, with its 95 % interval `low` to `high`.

    `of` says what the interval covers: "patients", "patients + seeds", "seeds", or "" without
    one. `runs` counts the runs that hold the score, `undefined` those of them where it is NaN.
    `n`, `positives` and `negatives` are patients, averaged over test sets.
    """

    value: float
    low: float
    high: float
    of: str
    runs: int
    undefined: int
    tests: int
    n: float
    positives: float
    negatives: float
    note: str


def aggregate(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per setting, method and score: columns of `Estimate` behind those that name it.

    Over S runs on T distinct sets of test patients the variance of the mean is
    mean(patient variance) / T + seed variance / S: more seeds on the same patients do not make the
    patients more. A run's patient variance is the square of the score's standard error. The
    interval is wider than a normal one as far as its variance rests on few seeds
    (`metrics.comparison.spread`). Where every run draws its own patients, the variance between runs
    holds the patients a second time, so it is then too wide rather than too narrow. With one run
    the bootstrap interval itself is kept. An undefined value is never averaged in: the mean is over
    the defined runs, `undefined` counts the others, and `note` says why.

    `scores` is the table of `collect`.
    """
    names = [*SETTING, *METHOD, *SCORE_KEY]
    scores = scores.drop_duplicates(["key", *SCORE_KEY])
    defined = scores["value"].notna()
    scores = scores.assign(
        patient_variance=(scores["se"] ** 2).where(defined),
        test_digest=scores["test_digest"].where(defined),
    )
    table = scores.groupby(names, sort=False, dropna=False).agg(
        value=("value", "mean"),
        low=("low", "first"),
        high=("high", "first"),
        runs=("key", "size"),
        defined=("value", "count"),
        tests=("test_digest", "nunique"),
        seed_variance=("value", "var"),
        patient_variance=("patient_variance", "mean"),
        n=("n", "mean"),
        positives=("positives", "mean"),
        negatives=("negatives", "mean"),
    )
    table["undefined"] = table["runs"] - table["defined"]
    table["note"] = _said(scores[defined], scores[~defined], names, table)
    columns = ["value", "low", "high", "of", "runs", "undefined", "tests"]
    columns += ["n", "positives", "negatives", "note"]
    return _with_interval(table)[columns].reset_index()


def estimates(table: pd.DataFrame) -> Mapping[tuple[str, ...], Estimate]:
    """Estimates of one method by (metric, finding, attribute, group, labels)."""
    columns = list(Estimate.__dataclass_fields__)
    keys = table[list(SCORE_KEY)].itertuples(index=False, name=None)
    values = table[columns].itertuples(index=False, name=None)
    return {tuple(key): Estimate(*row) for key, row in zip(keys, values, strict=True)}


def _with_interval(table: pd.DataFrame) -> pd.DataFrame:
    several = table["defined"] > 1
    patients = table["patient_variance"].notna()
    half = half_width(
        (table["patient_variance"].fillna(0.0) / table["tests"].clip(lower=1)).to_numpy(float),
        (table["seed_variance"].fillna(0.0) / table["defined"].clip(lower=1)).to_numpy(float),
        table["defined"].to_numpy(float),
    )
    least, most = _bounds(table.index.get_level_values("metric"))
    of = np.select(
        [several & patients, several, (table["defined"] == 1) & table["low"].notna()],
        ["patients + seeds", "seeds", "patients"],
        default="",
    )
    return table.assign(
        low=np.where(several, np.maximum(table["value"] - half, least), table["low"]),
        high=np.where(several, np.minimum(table["value"] + half, most), table["high"]),
        of=of,
    )


def _bounds(metrics: pd.Index) -> tuple[np.ndarray, np.ndarray]:
    """Ends that a symmetric interval must not cross, `(rows,)` each; infinite where not known."""
    contrast = metrics.str.endswith("_contrast")
    share = metrics.str.endswith(SHARES)
    least = np.select([contrast, share], [-1.0, 0.0], default=-np.inf)
    return least, np.where(contrast | share, 1.0, np.inf)


def _said(
    defined: pd.DataFrame, undefined: pd.DataFrame, names: list[str], table: pd.DataFrame
) -> pd.Series:
    """What the runs note: where only some are undefined, how many and why stands first."""
    reasons = _notes(undefined, names).reindex(table.index).fillna("")
    notes = _notes(defined, names).reindex(table.index).fillna("")
    some = (table["undefined"] > 0) & (table["defined"] > 0)
    counted = table["undefined"].astype(str) + " of " + table["runs"].astype(str)
    reasons = reasons.where(~some, counted + " runs undefined: " + reasons)
    both = (reasons != "") & (notes != "")
    return reasons + np.where(both, "; ", "") + notes


def _notes(scores: pd.DataFrame, names: list[str]) -> pd.Series:
    said = scores.loc[scores["note"] != "", [*names, "note"]].drop_duplicates()
    said = said.sort_values("note", kind="stable")
    return said.groupby(names, sort=False, dropna=False)["note"].agg("; ".join)
