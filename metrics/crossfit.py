"""The worst group without the pull of choosing it: chosen on half the patients, judged on the rest.

The lowest of several noisy numbers is lower than the number of the group it comes from. Patients
that took no part in choosing a group have no such pull.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from metrics.auroc import auc_estimates
from metrics.cells import Cells
from metrics.delong import linear_replicates
from metrics.rows import over_groups
from metrics.score import Score
from metrics.slopes import Moved, Ranked, rank_images
from registry import METRICS

SPLITS = 4
"""Ways to halve the patients that are averaged over: one alone leaves its luck in the number."""


@METRICS.register("worst_group_auc_crossfit", direction="higher", unit="probability", input="cells")
def worst_group_auc_crossfit(cells: Cells) -> Iterator[Score]:
    """AUC of the group that is lowest on the other half of the patients, over both halves.

    (AUC_{g1}(H2) + AUC_{g2}(H1)) / 2, with g1 the group of lowest AUC on the random half H1 of the
    patients and g2 that on H2, averaged over 4 fixed ways to halve them. Choosing has no part in
    the noise of what it chose, so the downward bias of worst_group_auc is gone; but half the
    patients may choose a group that is not the worst, so it errs upward where groups are nearly
    alike. The interval is conditional on the groups chosen, from replicates that are linear in the
    slopes of patients.

    Source: Chernozhukov et al., The Econometrics Journal 2018;21:C1-C68 (cross-fitting).
    """
    estimates = cells.once(auc_estimates)
    for attribute in cells.predictions.attributes:
        columns = cells.columns_of(attribute)
        moved = [Moved(math.nan, np.full(cells.bootstrap.patients, math.nan))] * len(
            estimates.value
        )
        notes = [""] * len(moved)
        for finding, halves in enumerate(cells.once(_halves)):
            held = [c for c in columns if estimates.evaluable[finding, c]]
            if len(held) > 1:
                moved[finding], notes[finding] = _chosen(cells, halves, held)
        value = np.array([m.value for m in moved])
        replicates = linear_replicates(value, np.stack([m.slopes for m in moved]), cells.bootstrap)
        yield from over_groups(
            estimates,
            "worst_group_auc_crossfit",
            attribute,
            value,
            np.clip(replicates, 0, 1),
            notes=notes,
        )


def _halves(cells: Cells) -> list[list[tuple[_Half, _Half]]]:
    """Every finding's images, for each way to halve the patients."""
    patients = cells.bootstrap.patients
    rng = np.random.default_rng(0)
    firsts = [rng.permutation(patients) < patients // 2 for _ in range(SPLITS)]
    logits, part = cells.predictions.logits(), cells.predictions.frame["part"].to_numpy(np.int64)
    found = []
    for f in range(logits.shape[1]):
        known = np.isfinite(cells.truth[:, f])
        codes = cells.patients[known]
        ranked = rank_images(logits[known, f], cells.truth[known, f], codes, patients, part[known])
        members = cells.members[known]
        found.append(
            [
                (_Half(ranked, members, first[codes]), _Half(ranked, members, ~first[codes]))
                for first in firsts
            ]
        )
    return found


@dataclass(frozen=True)
class _Half:
    """Ranked images of one finding, the groups they are in, and whether they are in this half."""

    ranked: Ranked
    members: np.ndarray
    inside: np.ndarray

    def auc(self, column: int) -> Moved:
        return self.ranked.auc(self.members[:, column] & self.inside)


def _chosen(
    cells: Cells, halves: list[tuple[_Half, _Half]], columns: list[int]
) -> tuple[Moved, str]:
    """The AUC of the groups chosen on one half on the other, and which were chosen how often."""
    judged: list[Moved] = []
    names: Counter[str] = Counter()
    for pair in halves:
        found = [{c: half.auc(c) for c in columns} for half in pair]
        for choosing, judging in (found, found[::-1]):
            worst = min(columns, key=lambda c: choosing[c].value)
            judged.append(judging[worst])
            names[cells.groups[worst][1]] += 1
    told = ", ".join(f"{name} ({times})" for name, times in names.most_common())
    value = float(np.mean([m.value for m in judged]))
    slopes = np.mean([m.slopes for m in judged], axis=0)
    return Moved(value, slopes), f"chosen on halves: {told}"
