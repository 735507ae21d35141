"""The worst group without the pull of choosing it: chosen on half the patients, judged on the rest.

The lowest of several noisy numbers is lower than the number of the group it comes from. Patients
that took no part in choosing a group have no such pull.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from metrics.auroc import auc_estimates
from metrics.cells import Cells
from metrics.delong import linear_replicates
from metrics.rows import Row
from metrics.score import ALL, Score
from metrics.slopes import Moved, Ranked, rank_images
from registry import METRICS

SPLITS = 4
"""Ways to halve the patients that are averaged over: one alone leaves its own luck in the number."""


@METRICS.register("worst_group_auc_crossfit", direction="higher", unit="probability", input="cells")
def worst_group_auc_crossfit(cells: Cells) -> Iterator[Score]:
    """AUC of the group that is lowest on the other half of the patients, over both halves.

    (AUC_{g1}(H2) + AUC_{g2}(H1)) / 2 with g1 the group of lowest AUC on the random half H1 and g2
    that on H2, averaged over 4 fixed ways to halve the patients. Without the downward bias of
    worst_group_auc, but half the patients sometimes choose a group that is not the worst, so it
    errs upward where groups are nearly alike. The interval is conditional on the groups chosen, and
    its replicates are linear in the patients' slopes.

    Source: van der Laan, Bryan & Pollard, cross-validated choice of a parameter, as in Lum, Zhang &
    Bower, FAccT 2022 (bias of such measures).
    """
    estimates = cells.once(auc_estimates)
    found = cells.once(_crossfit)
    for a, attribute in enumerate(cells.predictions.attributes):
        moved = found[a]
        value = np.array([m.value for m, _ in moved])
        slopes = np.stack([m.slopes for m, _ in moved])
        yield from Row(
            estimates,
            "worst_group_auc_crossfit",
            attribute,
            ALL,
            cells.columns_of(attribute),
            value,
            linear_replicates(value, slopes, cells.bootstrap),
            notes=[note for _, note in moved],
        ).scores()
