"""Stored results that no model produced, in the layout of the runner."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metrics.score import MACRO, Score, to_frame

PHANTOM_GROUPS = {"sex": ("Male", "Female"), "race": ("A", "B", "C")}
ATTACKERS = ("static", "retrained", "cross")
REAL_GROUPS = {"sex": ("Male", "Female")}
FINDINGS = ("Cardiomegaly", "Pleural Effusion", "Fracture")
SMALL = "fewer than 30 positive patients"
NOBODY = "the released images are not those of the test patients, image by image"
RELEASED = {"anonymized": "images changed", "synthetic": "synthetic images released"}


@dataclass(frozen=True)
class World:
    """A data set of the synthetic store."""

    dataset: str
    kind: str
    groups: Mapping[str, tuple[str, ...]]
    labels: tuple[str, ...]
    contrasts: Mapping[str, str]


PHANTOM = World(
    "phantom",
    "simulated",
    PHANTOM_GROUPS,
    ("recorded", "true"),
    {"sex": "Female - Male", "race": "B - A"},
)
COVID = World("covid-chestxray", "real", REAL_GROUPS, ("recorded",), {"sex": "Female - Male"})


def run_json(world: World, method: str, seed: int = 0, **changes: Any) -> dict[str, Any]:
    """The content of a run.json; `changes` replace keys."""
    told = f"{world.dataset} {method} {seed} {changes.get('method_variant', '')}"
    content = {
        "key": hashlib.sha256(told.encode()).hexdigest()[:16],
        "status": "FINISHED",
        "error": "",
        "experiment": "default",
        "method": method,
        "method_variant": "",
        "method_fields": {"lr": 0.002, "epochs": 6},
        "dataset": world.dataset,
        "data_variant": "",
        "data_fields": {},
        "kind": world.kind,
        "terms": "open",
        "seed": seed,
        "folds": 0,
        "test_digest": f"{world.dataset}-test",
        "primary_contrasts": dict(world.contrasts),
        "attributes_at_test": ["race"] if method == "group_thresholds" else [],
        "released": RELEASED.get(method, "originals released"),
        "operating_point": "specificity:0.80",
        "seconds": {"train": 61.2 + seed, "total": 130.0},
        "parameters": 161000,
        "notes": [],
        "warnings": [],
        "started": "2026-01-01T00:00:00",
        "finished": f"2026-01-01T00:0{seed}:00",
        "mlflow_run_id": "",
        "tracking_uri": "",
        "command": f"python runner.py --method {method} --dataset {world.dataset} --seed {seed}",
    }
    return content | changes


def write_run(output: Path, content: Mapping[str, Any], scores: list[Score] | None = None) -> Path:
    """Write one run directory; without `scores` there is no scores.parquet."""
    directory = output / "".join(c if c.isalnum() else "_" for c in content["dataset"])
    directory = directory / "".join(c if c.isalnum() else "_" for c in content["method"])
    directory = directory / content["key"]
    directory.mkdir(parents=True)
    (directory / "run.json").write_text(json.dumps(content), encoding="utf-8")
    if scores is not None:
        to_frame(scores).to_parquet(directory / "scores.parquet")
    return directory


def scores(world: World, method: str, seed: int) -> list[Score]:
    """Plausible scores; Fracture has too few patients, so its cells are undefined."""
    told = hashlib.sha256(f"{world.dataset} {method}".encode()).digest()
    rng = np.random.default_rng([*told[:4], seed])
    level = 0.76 + told[5] / 255 * 0.1
    bias = told[6] / 255 * 0.25
    made = [s for labels in world.labels for s in _scores(world, labels, level, bias, rng)]
    changed = method == "anonymized"
    for prefix, base in (
        ("image", 0.72 if changed else 0.985),
        ("embedding", 0.80 + told[7] / 2550),
    ):
        made.append(_score(f"{prefix}_reid_auc", base, 0.01, rng, n=1400))
        made.append(_score(f"{prefix}_reid_eer", 1 - base, 0.01, rng, n=1400))
    return made


def privacy_scores(
    world: World,
    method: str,
    seed: int,
    *,
    attackers: tuple[float, float, float] | None = None,
    epsilon: float | None = None,
    memorisation: float | None = None,
    readable: float = 0.8,
) -> list[Score]:
    """What the audits of one run store beside `scores`; `attackers` are static, retrained, cross.

    An epsilon of infinity is what a run without noise stores.
    """
    rng = np.random.default_rng([seed, len(method)])
    made = [
        _score("attribute_auc", readable - 0.05 * i, 0.01, rng, n=1400, attribute=attribute)
        for i, attribute in enumerate(world.groups)
    ]
    if attackers is not None:
        for name, value in zip(ATTACKERS, attackers, strict=True):
            made.append(_score(f"{name}_reid_auc", value, 0.01, rng, n=1400))
    if epsilon is not None and math.isinf(epsilon):
        told = "no noise, so no guarantee (infinite)"
        made += [Score(name, math.nan, note=told) for name in ("epsilon", "epsilon_rdp")]
    elif epsilon is not None:
        told = "delta 7.1e-05, unit: patient"
        made.append(Score("epsilon", epsilon, note=told))
        made.append(Score("epsilon_rdp", 1.05 * epsilon, note=told))
    if memorisation is not None:
        made.append(_score("release_memorisation_auc", memorisation, 0.02, rng, n=1400))
    return made


def audited(made: list[Score], attackers: tuple[float, float, float]) -> list[Score]:
    """`made` with the worst of three attackers in the place of the one on released images."""
    worst = max(zip(attackers, ATTACKERS, strict=True))
    told = f"{worst[1]} attacker, the worst of {', '.join(ATTACKERS)}"
    low, high = worst[0] - 0.02, worst[0] + 0.02
    kept = [score for score in made if score.metric != "image_reid_auc"]
    return [*kept, Score("image_reid_auc", worst[0], low=low, high=high, n=1400, note=told)]


CARD: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("erm", "", {}),
    ("upsample", "", {}),
    ("downsample", "", {}),
    ("group_thresholds", "", {}),
    ("upsample+group_thresholds", "", {}),
    ("fairread", "", {"readable": 0.62}),
    ("fairread", "adversary_weight=0.5", {"readable": 0.7}),
    ("dpsgd", "epsilon=3.0", {"epsilon": 2.98, "readable": 0.7}),
    ("dpsgd", "epsilon=10.0", {"epsilon": 9.97}),
    ("dpsgd", "", {"epsilon": 7.99}),
    ("dpsgd", "epsilon=none", {"epsilon": math.inf}),
    ("synthetic", "", {"memorisation": 0.53}),
    ("synthetic", "ratio=2.0", {"memorisation": 0.54}),
    ("anonymized", "anonymiser=identity", {}),
    ("anonymized", "anonymiser=blur", {"attackers": (0.61, 0.93, 0.9)}),
    ("anonymized", "anonymiser=pixelate", {"attackers": (0.58, 0.88, 0.91)}),
    ("anonymized", "anonymiser=random_warp", {"attackers": (0.7, 0.79, 0.77)}),
    ("anonymized", "", {"attackers": (0.52, 0.66, 0.69)}),
)
"""Method, fields and privacy of every entrant of a full comparison."""
DEFAULTS: dict[str, dict[str, Any]] = {
    "dpsgd": {"epsilon": 8.0},
    "anonymized": {"anonymiser": "inpaint"},
    "fairread": {"adversary_weight": 1.0},
    "synthetic": {"ratio": 1.0},
}


def write_card(output: Path, *, seeds: int = 3) -> None:
    """All methods of the suite on one data set, with every column of the leaderboard filled."""
    for method, fields, facts in CARD:
        variant = f"{fields} image_size=32".strip()
        for seed in range(seeds):
            content = run_json(PHANTOM, method, seed, method_variant=variant)
            content["method_fields"] |= DEFAULTS.get(method, {}) | {"image_size": 32}
            made = scores(PHANTOM, f"{method} {fields}", seed)
            if "attackers" in facts:
                content["released"] = f"images changed by {fields.partition('=')[2] or 'inpaint'}"
                made = audited(made, facts["attackers"])
            elif method == "synthetic":
                made = [score for score in made if score.metric != "image_reid_auc"]
                made.append(Score("image_reid_auc", math.nan, note=NOBODY))
            write_run(output, content, made + privacy_scores(PHANTOM, method, seed, **facts))
    skipped = run_json(PHANTOM, "dpsgd", 9, status="FAILED", method_variant="backbone=resnet18")
    write_run(output, skipped | {"error": "dpsgd cannot run here: BatchNorm mixes patients"})


def _scores(
    world: World, labels: str, level: float, bias: float, rng: np.random.Generator
) -> Iterator[Score]:
    level, bias = (level, bias) if labels == "true" else (level - 0.03, bias / 2)
    for finding in (*FINDINGS, MACRO):
        kept: dict[str, Any] = {"finding": finding, "labels": labels}
        thin = finding == "Fracture"
        yield _score("auc", level, 0.012, rng, thin, n=1400, positives=260, negatives=1140, **kept)
        for attribute, groups in world.groups.items():
            kept["attribute"] = attribute
            for i, group in enumerate(groups):
                size = {"n": 700 - 250 * i, "positives": 12 if thin else 130 - 40 * i}
                here = {**kept, "group": group, **size, "negatives": 500 - 200 * i}
                yield _score("auc", level - 0.02 * i, 0.02, rng, thin, **here)
                yield _score("fnr", 0.35 + bias * (i == 1), 0.03, rng, thin, **here)
                yield _score("fpr", 0.2 - bias / 2 * (i == 1), 0.02, rng, thin, **here)
            yield _score(
                "worst_group_auc",
                level - 0.04,
                0.02,
                rng,
                thin,
                said=f"worst: {groups[-1]}",
                **kept,
            )
            for i, earlier in enumerate(groups):
                for later in groups[i + 1 :]:
                    here = {**kept, "group": f"{later} - {earlier}"}
                    gap = bias * ((later == groups[1]) - (earlier == groups[1]))
                    gap = gap if attribute != "sex" else gap / 3
                    yield _score("fnr_contrast", gap, 0.03, rng, thin, **here)
                    yield _score("fpr_contrast", -gap / 2, 0.02, rng, thin, **here)


def _score(
    metric: str,
    value: float,
    noise: float,
    rng: np.random.Generator,
    undefined: bool = False,
    said: str = "",
    **where: Any,
) -> Score:
    if undefined:
        return Score(metric, math.nan, note=SMALL, **where)
    value += rng.normal(0, noise / 3)
    low, high = value - 1.96 * noise, min(value + 1.96 * noise, 1.0)
    return Score(metric, value, low=low, high=high, note=said, **where)


def write_store(output: Path) -> None:
    """Two data sets, several methods and seeds; one run failed, one runs, three are malformed."""
    for method in ("erm", "upsample", "anonymized", "group_thresholds"):
        for seed in range(3):
            notes = ["audit reuses train"] if method == "upsample" else []
            content = run_json(PHANTOM, method, seed, notes=notes)
            write_run(output, content, scores(PHANTOM, method, seed))
    content = run_json(PHANTOM, "erm", method_variant="lr=0.01 epochs=3")
    write_run(output, content, scores(PHANTOM, "erm fast", 0))
    for method in ("erm", "downsample"):
        write_run(output, run_json(COVID, method), scores(COVID, method, 0))
    failed = run_json(PHANTOM, "dpsgd", status="FAILED", error="ValueError: epsilon must be > 0")
    write_run(output, failed)
    write_run(output, run_json(PHANTOM, "fairread", status="RUNNING"))
    write_run(output, run_json(PHANTOM, "lost_scores"))
    broken = write_run(output, run_json(PHANTOM, "broken_json"))
    (broken / "run.json").write_text('{"key": "abc", ', encoding="utf-8")
    lacking = run_json(PHANTOM, "lacking_keys")
    del lacking["test_digest"]
    write_run(output, lacking)
