"""Every registered method on another data set and on a union: nothing is asked of a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from methods.base import Context
from methods.compose import method_class
from methods.fit import fit, quiet_logger
from metrics.bootstrap import PatientBootstrap
from registry import METHODS, ROOT
from runs.foreign import Domain
from runs.out_of_domain import InDomain, Measured, measure
from runs.plan import resolve
from runs.preparation import Prepared, prepare_run
from runs.request import Request

OURS = [name for name, entry in METHODS.entries().items() if entry.file.is_relative_to(ROOT)]
SIZES = {"train_patients": 24, "val_patients": 16, "audit_patients": 4, "test_patients": 16}


def prepared(method: str, tmp_path: Path, **changes: Any) -> Prepared:
    """A prepared run of seconds with phantom-ood beside phantom."""
    fields = {"image_size": 32, "epochs": 1} | dict(method_class(method).smallest)
    given: dict[str, Any] = {
        "dataset": "phantom",
        "test_datasets": ("phantom-ood",),
        "data": {f"{d}.{k}": v for d in ("phantom", "phantom-ood") for k, v in SIZES.items()},
        "output": str(tmp_path / "output"),
        "device": "cpu",
    }
    return prepare_run(resolve(Request(method=method, set=fields, **given | changes)))


def fitted(run: Prepared, tmp_path: Path) -> tuple[Any, InDomain]:
    """The model of a run with its in-domain predictions, as the pipeline makes them."""
    (folds,) = run.folds
    (tmp_path / "work").mkdir()
    ctx = Context(
        seed=0, device="cpu", workdir=tmp_path / "work", shared=tmp_path / "shared",
        pictures=tmp_path / "pictures", log=quiet_logger(), task=run.task, train=folds.train,
    )  # fmt: skip
    predictor, _ = fit(run.plan.method, folds, ctx)
    test = predictor(folds.test)
    bootstrap = PatientBootstrap(test.patient_codes()[1], 20)
    return predictor, InDomain(test, predictor.on_validation(folds), bootstrap, (), ())


def measured(run: Prepared, tmp_path: Path) -> tuple[Measured, Domain]:
    (domain,) = run.domains
    return measure(*_swapped(fitted(run, tmp_path), domain)), domain


def _swapped(pair: tuple[Any, InDomain], domain: Domain) -> tuple[Any, Domain, InDomain]:
    return pair[0], domain, pair[1]


@pytest.mark.parametrize("name", OURS)
def test_a_method_is_tested_on_phantom_ood(name: str, tmp_path: Path) -> None:
    found, domain = measured(prepared(name, tmp_path), tmp_path)
    test = found.predictions[found.predictions["fold"] == "test"]
    assert test["image"].tolist() == domain.test.frame["image_id"].tolist()
    assert test["patient"].str.startswith("phantom-ood/").all()
    for finding in domain.shared:
        assert np.isfinite(test[f"logit:{finding}"]).all()
        assert set(test[f"decision:{finding}"].dropna()) <= {0, 1}
        assert set(test[f"target:{finding}"].dropna()) <= {0, 1}
    assert set(found.thresholds["domain"]) == {"source", "target"}
    assert {"auc", "fnr", "fpr_contrast"} <= set(found.scores["metric"])


@pytest.mark.parametrize("name", OURS)
def test_a_method_trains_on_a_union(name: str, tmp_path: Path) -> None:
    run = prepared(name, tmp_path, dataset="phantom+phantom-ood", test_datasets=())
    predictor, inside = fitted(run, tmp_path)
    assert set(inside.test.frame["source"]) == {"phantom", "phantom-ood"}
    assert np.isfinite(predictor.embed(run.folds[0].test)).all()
