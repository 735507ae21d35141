"""Tables as a user of the audit would have them."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
from audit_frames import table, two_findings

Make = Callable[..., pd.DataFrame]


@pytest.fixture
def make_frame() -> Make:
    """`table`: one finding by convention."""
    return table


@pytest.fixture
def make_two() -> Make:
    """`two_findings`: label_X and score_X."""
    return two_findings
