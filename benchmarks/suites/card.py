"""The card: what each of the six methods gains and pays, over seeds, on the phantom."""

from __future__ import annotations

import math

from benchmarks.suites.base import Arm, Budget, Data, Suite
from registry import SUITES

RACE = {"attribute": "race"}
CELLS = {"cells": "group", **RACE}


@SUITES.register("card")
def card() -> Suite:
    """Six methods, with what each is compared to, under one budget and the same seeds."""
    return Suite(
        name="card",
        description="six methods and what each is compared to, over seeds, on the phantom",
        datasets=(Data("phantom"),),
        arms=(
            Arm("erm"),
            # Trained as long as FairREAD, so that a gain of FairREAD is not that of more epochs.
            Arm("erm", {"epochs": 16}, cost=1.5),
            Arm("upsample", CELLS),
            Arm("downsample", CELLS),
            Arm("group_thresholds", RACE),
            Arm("upsample+group_thresholds", CELLS),
            Arm("synthetic", shared_cost=12),
            Arm("fairread", {"adversary": "reversal"}, cost=1.5),
            # The published sign of the adversary's loss: what it was meant to remove stays.
            Arm("fairread", {"adversary": "published"}, cost=1.5),
            # Infinite epsilon clips and adds no noise: what the noise costs beyond the clipping.
            Arm("dpsgd", {"epsilon": math.inf}, cost=12),
            Arm("dpsgd", {"epsilon": 8}, cost=12),
            Arm("dpsgd", {"epsilon": 3}, cost=12),
            # Identity must equal ERM: it checks the audit, not the anonymiser.
            Arm("anonymized", {"anonymiser": "identity"}),
            Arm("anonymized", {"anonymiser": "blur"}, shared_cost=1),
            Arm("anonymized", {"anonymiser": "pixelate"}, shared_cost=1),
            Arm("anonymized", {"anonymiser": "random_warp"}, shared_cost=1),
            Arm("anonymized", {"anonymiser": "inpaint"}, shared_cost=14),
        ),
        seeds=(0, 1, 2, 3, 4),
        budgets={
            "quick": Budget(seeds=3, set={"image_size": 32}),
            "full": Budget(set={"image_size": 64}),
        },
    )
