"""Small cells of data sets with restricted terms: left out before anything is written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

FEWEST = 10
"""Patients; smaller counts of restricted data are not told. Source: the rule of the United States'
Centers for Medicare & Medicaid Services for published tables (no cell of 1 to 10)."""
TOLD = f"withheld: fewer than {FEWEST} patients"
TOLD_TOO = "withheld: it would tell a smaller group by subtraction"
NOTE = "note"


def withhold(
    frame: pd.DataFrame,
    *,
    patients: Sequence[str],
    names: Sequence[str],
    families: Sequence[Sequence[object]] = (),
) -> pd.DataFrame:
    """The table without the numbers of rows that tell of 1 to 9 patients.

    `patients` are the columns that count them, `names` the columns that stay. In a family, an array
    of one key per row, a single withheld row could be computed from the total, so the next smallest
    is withheld as well.
    """
    counted = frame[list(patients)].to_numpy(dtype=float)
    small = ((counted > 0) & (counted < FEWEST)).any(axis=1)
    keys = [pd.factorize(pd.Series(list(family)))[0] for family in families]
    least = np.nanmin(np.where(counted > 0, counted, np.inf), axis=1) if len(frame) else counted
    hidden = _closed(np.asarray(small), least, keys)
    result = frame.copy()
    if NOTE not in result:
        result[NOTE] = ""
    for column in result.columns.difference([*names, NOTE]):
        result[column] = result[column].astype(float).mask(hidden)
    result.loc[hidden, NOTE] = TOLD_TOO
    result.loc[small, NOTE] = TOLD
    return result


def _closed(small: np.ndarray, least: np.ndarray, keys: Sequence[np.ndarray]) -> np.ndarray:
    """Rows to hide, so that no family has exactly one of them."""
    hidden = small.copy()
    changed = True
    while changed:
        changed = False
        for key in keys:
            held = np.bincount(key[hidden], minlength=key.max(initial=-1) + 1)
            for family in np.flatnonzero(held == 1):
                others = np.flatnonzero((key == family) & ~hidden)
                if len(others):
                    hidden[others[np.argmin(least[others])]] = True
                    changed = True
    return hidden
