"""Rows of a table of scores, one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

Row = Mapping[str, Any]
"""A row by column, as the fields of `metrics.score.Score`."""


def records(frame: pd.DataFrame) -> list[Row]:
    """The rows of a table, in order."""
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
