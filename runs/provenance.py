"""What is kept of a run beside its scores: its record, tags, parameters and environment."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version

import pandas as pd
import torch

import options
from datasets.base import ChestXrayDataset
from datasets.split import Folds
from methods.base import Task
from methods.selection.base import oracle_note
from runs.data_sets import options_of, shown, variant_of
from runs.plan import Plan
from runs.preparation import Prepared
from tracking.rundir import RunRecord
from tracking.store import without_password


def first_record(prepared: Prepared) -> RunRecord:
    """The record of a run that begins now."""
    plan = prepared.plan
    method, dataset = plan.method, plan.dataset
    variant = options.non_defaults(method)
    if plan.from_run:
        # Kept apart from trained runs: it cost no training, and may have seen other data.
        variant.append(f"from_run={plan.from_run.path.name}")
    data_variant = variant_of(dataset)
    if not plan.own_split:
        data_variant.append(f"split={plan.split.short}")
    if plan.limit_patients:
        data_variant.append(f"limit_patients={plan.limit_patients}")
    data_variant += dataset.variant
    # Where thresholds come from, and what a finding means, are part of what is compared.
    data_variant += [f"val_dataset={plan.val.name}"] if plan.val else []
    data_variant += [f"rename={old}={new}" for old, new in plan.renames.items()]
    if prepared.leakage:
        # Numbers on leaking folds are comparable with nothing but each other.
        data_variant.append("leakage=allowed")
    return RunRecord(
        key=prepared.key,
        status="RUNNING",
        experiment=plan.experiment,
        method=method.registered_name,
        method_variant=" ".join(variant),
        method_fields=options.plain(method),
        dataset=dataset.registered_name,
        data_variant=" ".join(data_variant),
        data_fields=options.plain(dataset),
        kind=dataset.kind,
        terms=plan.terms,
        seed=plan.seed,
        folds=plan.folds,
        split=plan.split.short,
        limit_patients=plan.limit_patients,
        data_digest=prepared.data_digest,
        split_digest=prepared.split_digest,
        test_digest=prepared.test_digest,
        source_digest=prepared.source_digest,
        primary_contrasts=primary_contrasts(dataset, prepared.task, prepared.folds),
        attributes_at_test=list(method.attributes_at_test(prepared.task)),
        released=released(prepared),
        operating_point=method.operating_point,
        oracle=oracle_note(method.selection),
        command=plan.command(),
        tracking_uri=without_password(plan.tracking_uri),
        from_run=plan.from_run.path.name if plan.from_run else "",
        started=now(),
        notes=list(prepared.notes),
        dropped=prepared.dropped,
        leakage=prepared.leakage,
        allowed_leakage=plan.allow_leakage if prepared.leakage else "",
        environment=environment(plan.device),
    )


def released(prepared: Prepared) -> str:
    """What the method publishes of this data set, in words for the leaderboard."""
    method = prepared.plan.method
    if prepared.task.width and method.releases_originals:
        return "embeddings released"
    return method.released


def tags(prepared: Prepared) -> dict[str, str]:
    """What MLflow shows and filters by."""
    plan = prepared.plan
    oracle = oracle_note(plan.method.selection)
    leaking = {"allowed_leakage": plan.allow_leakage} if prepared.leakage else {}
    return leaking | {
        "mlflow.source.name": "runner.py",
        "mlflow.source.type": "LOCAL",
        "key": prepared.key,
        "kind": plan.dataset.kind,
        "terms": plan.terms,
        "data_digest": prepared.data_digest,
        "split_digest": prepared.split_digest,
        "source_digest": prepared.source_digest,
        "data_version": plan.dataset.version,
        "status": "RUNNING",
        "directory": str(prepared.directory.path.relative_to(plan.output)),
        **({"oracle": oracle} if oracle else {}),
    }


def params(plan: Plan) -> dict[str, object]:
    """Every field of method and data set, as MLflow parameters."""
    fields: dict[str, object] = {
        "method": plan.method.registered_name,
        "dataset": plan.dataset.registered_name,
        "seed": plan.seed,
        "split": plan.split.short,
        "folds": plan.folds,
        "limit_patients": plan.limit_patients,
    }
    fields |= {f"method.{k}": v for k, v in options.plain(plan.method).items()}
    fields |= {f"data.{k}": shown(v) for k, v in options_of(plan.named).items()}
    named = {"val_dataset": plan.val.name if plan.val else ""}
    named["test_datasets"] = ", ".join(test.name for test in plan.tests)
    return fields | {name: value for name, value in named.items() if value}


def environment(device: str) -> dict[str, str]:
    """Versions and device, as printed before the first step and kept on the run."""
    packages = ("torch", "torchvision", "numpy", "pandas", "mlflow")
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return {
        "python": platform.python_version(),
        "device": name,
        "threads": str(torch.get_num_threads()),
        **{p: version(p) for p in packages},
    }


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def primary_contrasts(
    dataset: ChestXrayDataset, task: Task, folds: Sequence[Folds]
) -> dict[str, str]:
    """The one contrast per attribute that stands on the leaderboard, chosen before any result."""
    chosen = {}
    val = pd.concat([f.val.frame for f in folds])
    for attribute in task.attributes:
        pair = dataset.primary_contrasts.get(attribute)
        if pair is None:
            patients = val.drop_duplicates("patient_id")[attribute].astype(str).value_counts()
            by_size = sorted(patients.index, key=lambda g: (-patients[g], g))
            known = [g for g in by_size if g != "Unknown"]
            if len(known) < 2:
                continue
            # In the frozen order of groups, as contrasts are written.
            order = task.groups[attribute].index
            reference, group = sorted(known[:2], key=order)
            pair = (group, reference)
        chosen[attribute] = f"{pair[0]} - {pair[1]}"
    return chosen
