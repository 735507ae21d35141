"""Scalars of group fairness by their names in the field, each with its formula.

Peers use one name for different formulas, so each is written out. A range over groups is biased up
by noise, more so with more and smaller groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from metrics.bootstrap import simultaneous_contrasts, simultaneous_interval
from metrics.cells import Cells, Estimates
from metrics.rates import (
    accuracy_estimates,
    balanced_accuracy_estimates,
    confusion,
    fpr_estimates,
    ppv_estimates,
    selection_estimates,
    tpr_estimates,
)
from metrics.rows import Family, over_groups, spread
from metrics.score import Score
from metrics.sums import ratio
from registry import METRICS


@METRICS.register("equal_opportunity", direction="lower", unit="rate difference", input="cells")
def equal_opportunity(cells: Cells) -> Iterator[Score]:
    """Equal opportunity difference: the range of TPR over groups, in [0,1]; equals `fnr_gap`.

    EOpp = max_g TPR_g - min_g TPR_g.

    Source: Hardt, Price & Srebro, NeurIPS 2016, definition 2.2.
    """
    yield from spread("equal_opportunity").scores(cells.once(tpr_estimates))


@METRICS.register("equalized_odds_max", direction="lower", unit="rate difference", input="cells")
def equalized_odds_max(cells: Cells) -> Iterator[Score]:
    """Equalised odds difference, the worse of both classes: the larger range of TPR and FPR.

    EOdd_max = max(max_g TPR_g - min_g TPR_g, max_g FPR_g - min_g FPR_g).

    Source: Hardt, Price & Srebro, NeurIPS 2016, definition 2.1; fairlearn's
    `equalized_odds_difference` with agg="worst_case".
    """
    yield from _odds("equalized_odds_max", np.maximum, cells)


@METRICS.register(
    "equalized_odds_average", direction="lower", unit="rate difference", input="cells"
)
def equalized_odds_average(cells: Cells) -> Iterator[Score]:
    """Equalised odds difference, averaged: half the sum of the ranges of TPR and FPR.

    EOdd_avg = ((max_g TPR_g - min_g TPR_g) + (max_g FPR_g - min_g FPR_g)) / 2. MEDFAIR and
    FairMedFM report 1 minus this.

    Source: Zong, Yang & Hospedales, MEDFAIR, ICLR 2023; fairlearn's `equalized_odds_difference`
    with agg="mean".
    """
    yield from _odds("equalized_odds_average", lambda a, b: (a + b) / 2, cells)


@METRICS.register("demographic_parity", direction="lower", unit="rate difference", input="cells")
def demographic_parity(cells: Cells) -> Iterator[Score]:
    """Demographic parity difference: the range of selection rates over groups, in [0,1].

    DPD = max_g SEL_g - min_g SEL_g. Where prevalence differs between groups a perfect model has it.

    Source: Barocas, Hardt & Narayanan, Fairness and Machine Learning, 2023, chapter 3.
    """
    yield from spread("demographic_parity").scores(cells.once(selection_estimates))


@METRICS.register("predictive_parity", direction="lower", unit="rate difference", input="cells")
def predictive_parity(cells: Cells) -> Iterator[Score]:
    """Predictive parity difference: the range of PPV over groups, in [0,1].

    max_g PPV_g - min_g PPV_g, over groups with at least 20 patients decided positive.

    Source: Chouldechova, Big Data 2017;5:153–163, definition 2.2.
    """
    yield from spread("predictive_parity").scores(cells.once(ppv_estimates))


@METRICS.register("accuracy_parity", direction="zero", unit="rate difference", input="cells")
def accuracy_parity(cells: Cells) -> Iterator[Score]:
    """Accuracy of a group minus that of everybody else; called "statistical parity" by DP-CXR.

    d_g = ACC_g - ACC_(not g). Accuracy follows prevalence, so that this differs from zero between
    groups of unlike prevalence; `balanced_accuracy_parity` does not.

    Source: Tayebi Arasteh et al., Commun. Med. 2024;4:46, and its code.
    """
    c = cells.once(confusion)
    right = c.true_positives + c.true_negatives
    total = right + c.false_positives + c.false_negatives
    yield from _against_others(
        "accuracy_parity", cells.once(accuracy_estimates), lambda of: ratio(of(right), of(total))
    )


@METRICS.register(
    "balanced_accuracy_parity", direction="zero", unit="rate difference", input="cells"
)
def balanced_accuracy_parity(cells: Cells) -> Iterator[Score]:
    """Balanced accuracy of a group minus that of everybody else.

    d_g = BA_g - BA_(not g).

    Source: as `accuracy_parity`, on balanced accuracy.
    """
    c = cells.once(confusion)
    ill, well = c.true_positives + c.false_negatives, c.true_negatives + c.false_positives
    yield from _against_others(
        "balanced_accuracy_parity",
        cells.once(balanced_accuracy_estimates),
        lambda of: (
            ratio(of(c.true_positives), of(ill)) + ratio(of(c.true_negatives), of(well))
        ) / 2,
    )  # fmt: skip


def _odds(metric: str, join: Callable[..., np.ndarray], cells: Cells) -> Iterator[Score]:
    """One number from the ranges of TPR and of FPR over the groups evaluable for both."""
    hits, alarms = cells.once(tpr_estimates), cells.once(fpr_estimates)
    evaluable = hits.evaluable & alarms.evaluable
    for attribute in cells.predictions.attributes:
        columns = cells.columns_of(attribute)
        value = np.full(len(hits.value), np.nan)
        deviations = np.full((len(value), cells.bootstrap.replicates), np.nan)
        for finding in range(len(value)):
            held = [c for c in columns if evaluable[finding, c]]
            if len(held) < 2:
                continue
            ranges, moved = [], []
            for rate in (hits, alarms):
                values = rate.value[finding, held]
                ranges.append(np.ptp(values))
                moved.append(np.ptp(rate.replicates[finding, held] - values[:, None], axis=0))
            value[finding], deviations[finding] = join(*ranges), join(*moved)
        yield from over_groups(
            hits, metric, attribute, value, deviations,
            interval=simultaneous_interval, bias="a gap is biased up", own=False,
        )  # fmt: skip


def _against_others(
    metric: str, own: Estimates, of_counts: Callable[[Callable[..., np.ndarray]], np.ndarray]
) -> Iterator[Score]:
    """A rate of every group minus the rate of all images outside it.

    `of_counts` makes the rate from counts that it asks a function for: every image is in one group
    of an attribute, so that the counts of the others are those of everybody minus those of a group.
    """
    cells = own.cells
    others = of_counts(lambda counts: counts[:, :1] - counts)
    value, replicates = own.value - others[..., 0], own.replicates - others[..., 1:]
    for attribute in cells.predictions.attributes:
        columns = cells.columns_of(attribute)
        held = own.evaluable[:, columns]
        # With one evaluable group there is nobody to compare it with.
        held &= held.sum(axis=1, keepdims=True) > 1
        yield from Family(
            own,
            metric,
            attribute,
            groups=[cells.groups[c][1] for c in columns],
            columns=[[c] for c in columns],
            value=np.where(held, value[:, columns], np.nan),
            replicates=replicates[:, columns],
            interval=simultaneous_contrasts,
        ).scores()
