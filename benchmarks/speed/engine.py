"""The evaluation engine beside a loop over scikit-learn, and beside fairlearn's bootstrap."""

from __future__ import annotations

import resource
import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd

from benchmarks.speed.timing import seconds
from metrics.bootstrap import PatientBootstrap
from metrics.cells import Cells
from metrics.predictions import Predictions
from metrics.thresholds import Rule, Threshold

REPLICATES = 1000
GROUPS = {"sex": 2, "age_band": 4, "race": 4}
LOOPED = 3
"""Replicates that the loops over other libraries really make; the rest is extrapolated."""


def simulated(images: int, patients: int, findings: int, groups: dict[str, int]) -> Predictions:
    """Test predictions with decisions: prevalence 0.4 to 35 %, ties in every other finding."""
    rng = np.random.default_rng(0)
    code = np.r_[np.arange(patients), rng.integers(0, patients, images - patients)]
    frame: dict[str, object] = {
        "image": [f"i{i:07d}" for i in range(images)],
        "patient": np.char.add("p", np.char.zfill(code.astype(str), 6)),
        "part": 0,
    }
    names = {a: tuple(f"{a}{i}" for i in range(k)) for a, k in groups.items()}
    for attribute, own in names.items():
        frame[attribute] = np.array(own)[rng.integers(0, len(own), patients)][code]
    labels = tuple(f"finding{j:02d}" for j in range(findings))
    for j, (finding, share) in enumerate(
        zip(labels, np.geomspace(0.004, 0.35, findings), strict=True)
    ):
        sick = 0.8 * rng.normal(size=patients)[code] + 0.6 * rng.normal(size=images)
        label = sick > np.quantile(sick, 1 - share)
        logit = 1.4 * label + 0.9 * rng.normal(size=patients)[code] + 0.7 * rng.normal(size=images)
        frame["y:" + finding] = label.astype(np.float32)
        frame["logit:" + finding] = (logit.round(2) if j % 2 else logit).astype(np.float32)
    made = Predictions("test", pd.DataFrame(frame), labels, tuple(groups), names)
    return Rule(tuple(Threshold(f, 1.5, "youden") for f in labels)).apply(made)


def measure() -> Iterator[str]:
    """Lines of figures: seconds of one core, and ratios side by side."""
    from metrics.auroc import auc_estimates
    from metrics.evaluate import evaluate

    small = simulated(300, 150, 2, GROUPS)
    compiling = seconds(
        lambda: evaluate(small, macro_findings=small.findings, bootstrap=PatientBootstrap(150, 10))
    )
    made = simulated(20_000, 8_000, 14, GROUPS)
    yield (
        f"engine: 20,000 images of 8,000 patients, 14 findings, {1 + sum(GROUPS.values())} groups, "
        f"{REPLICATES} replicates; compiled or read from its cache in {compiling:.1f} s"
    )
    bootstrap = PatientBootstrap(8_000, REPLICATES)
    weights = seconds(lambda: bootstrap.blocks)
    cells = Cells(made, "recorded", np.ones(14, bool), bootstrap)
    _ = cells.columns, cells.positive, cells.negative
    ours = min(seconds(lambda: auc_estimates(cells)) for _ in range(3))
    whole = seconds(lambda: evaluate(made, macro_findings=made.findings, bootstrap=bootstrap))
    yield f"engine: weights {weights:.2f} s, AUC pass {ours:.2f} s, every metric {whole:.2f} s"
    loop = scikit_learn(made, cells)
    yield f"engine: loop over scikit-learn {loop:.0f} s, {loop / ours:.0f} times the AUC pass *"
    other = fairlearn(made)
    yield f"engine: fairlearn's bootstrap {other:.0f} s, {other / ours:.0f} times; of images only *"
    yield f"engine: * extrapolated from {LOOPED} of {REPLICATES} replicates"
    yield from large()


def large() -> Iterator[str]:
    """The AUC pass on as many images as MIMIC-CXR has, with 50 groups."""
    from metrics.auroc import auc_estimates

    groups = {"sex": 2, "age_band": 4, "race": 5, "insurance": 4, "view": 2, "joint": 32}
    made = simulated(377_000, 65_000, 14, groups)
    bootstrap = PatientBootstrap(65_000, REPLICATES)
    _ = bootstrap.blocks
    cells = Cells(made, "recorded", np.ones(14, bool), bootstrap)
    spent = seconds(lambda: auc_estimates(cells))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    yield (
        f"engine: 377,000 images, 14 findings, {len(cells.groups)} groups: AUC pass {spent:.1f} s, "
        f"peak memory {peak:.1f} GiB"
    )


def scikit_learn(made: Predictions, cells: Cells) -> float:
    """Seconds for all replicates of all cells with `roc_auc_score` under weights."""
    from sklearn.metrics import roc_auc_score

    logits, labels = made.logits(), made.labels()

    def loop() -> None:
        for b in range(LOOPED):
            weight = cells.bootstrap.weights[cells.patients, b]
            for g in range(len(cells.groups)):
                rows = np.flatnonzero(cells.members[:, g] & (weight > 0))
                for j in range(len(made.findings)):
                    if len(np.unique(labels[rows, j])) == 2:
                        roc_auc_score(labels[rows, j], logits[rows, j], sample_weight=weight[rows])

    return seconds(loop) / LOOPED * REPLICATES


def fairlearn(made: Predictions) -> float:
    """Seconds for all replicates of one finding with `MetricFrame`, times the findings."""
    from fairlearn.metrics import MetricFrame
    from sklearn.metrics import roc_auc_score

    finding = made.findings[9]
    columns = made.frame["y:" + finding], made.frame["logit:" + finding]

    def frames(drawn: int | None) -> None:
        for attribute in made.attributes:
            MetricFrame(
                metrics=roc_auc_score,
                y_true=columns[0],
                y_pred=columns[1],
                sensitive_features=made.frame[attribute],
                n_boot=drawn,
                ci_quantiles=[0.025, 0.975] if drawn else None,
                random_state=0,
            )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        once = seconds(lambda: frames(None))
        drawn = seconds(lambda: frames(LOOPED))
    return (drawn - once) / LOOPED * REPLICATES * len(made.findings)
