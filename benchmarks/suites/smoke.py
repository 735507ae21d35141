"""Smoke: every method once, on few simulated people, in minutes."""

from __future__ import annotations

from benchmarks.suites.base import Arm, Budget, Data, Suite
from registry import METHODS, SUITES

PEOPLE = {"train_patients": 60, "val_patients": 60, "audit_patients": 110, "test_patients": 80}
"""Enough of each that every audit is carried out; far too few for a reading."""


@SUITES.register("smoke")
def smoke() -> Suite:
    """Every method once on few simulated people: does everything run? Says nothing of methods."""
    return Suite(
        name="smoke",
        description="every method once, tiny: does everything run? Its numbers mean nothing",
        datasets=(Data("phantom", set=PEOPLE),),
        arms=(*map(Arm, METHODS.names()), Arm("upsample+group_thresholds")),
        budgets={"quick": Budget(set={"image_size": 32, "epochs": 2}, smallest=True)},
    )
