"""A run that is tested on another data set: what is stored, refused, repeated and kept apart."""

from __future__ import annotations

import functools
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from datasets.phantom import Phantom, PhantomOod
from datasets.split import Split
from methods.fit import quiet_logger
from metrics.bootstrap import PatientBootstrap
from runs.data_sets import Placed
from runs.pipeline import execute
from runs.plan import Plan, resolve
from runs.preparation import prepare_run
from runs.request import Request
from runs.summary import summary
from tracking.rundir import RunDirectory
from tracking.store import Store

SIZES = {"train_patients": 12, "val_patients": 40, "audit_patients": 8, "test_patients": 150}


FINDINGS = ("Cardiomegaly", "Edema", "Fracture", "No Finding")
FEW = functools.partial(PatientBootstrap, replicates=20)


class Here(Phantom):
    """The phantom without audits, which take longest."""

    reidentification_allowed: ClassVar[bool] = False


class There(PhantomOod):
    """Another site; its table may be changed by a test."""

    terms: ClassVar[str] = "restricted"
    change: ClassVar[Any] = None

    def table(self, root: Path) -> Split:
        made = super().table(root)
        kind = type(self)
        return made if kind.change is None else kind.change(made)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store made once."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    Store(f"sqlite:///{path}", "default")
    return path


def plan_in(place: Path, method: str = "erm", **changes: Any) -> Plan:
    request = Request(
        method=method, dataset="phantom", test_datasets=("phantom-ood",), device="cpu",
        set={"image_size": 32, "epochs": 1}, output=str(place / "output"), findings=FINDINGS,
        tracking_uri=f"sqlite:///{place}/mlflow.db",
    )  # fmt: skip
    made = resolve(replace(request, **changes))
    there = [Placed(There(**SIZES, cohort=1), None)] if made.tests else []
    return replace(made, dataset=Here(**SIZES), tests=tuple(there))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, empty_store: Path, session_cache: Path) -> Plan:
    """The plan of one finished run, which tests read and leave as it is."""
    place = tmp_path_factory.mktemp("run")
    for file in empty_store.parent.glob("mlflow.db*"):
        shutil.copy(file, place / file.name)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TRILEMMA_CACHE", str(session_cache))
        patched.setattr("runs.pipeline.PatientBootstrap", FEW)
        made = plan_in(place)
        execute(prepare_run(made), quiet_logger())
    return made


@pytest.fixture(autouse=True)
def _few_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.pipeline.PatientBootstrap", FEW)


@pytest.fixture
def directory(run: Plan) -> RunDirectory:
    return prepare_run(run).directory


@pytest.fixture
def place(tmp_path: Path, empty_store: Path) -> Path:
    for file in empty_store.parent.glob("mlflow.db*"):
        shutil.copy(file, tmp_path / file.name)
    return tmp_path


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that says how the table of the other data set is changed."""
    return lambda change: monkeypatch.setattr(There, "change", staticmethod(change))


def test_the_record_describes_the_other_data_set(directory: RunDirectory) -> None:
    (target,) = directory.record().targets
    assert (target.name, target.test_patients, target.val_patients) == ("phantom-ood", 150, 40)
    assert "site" not in target.variant and "cohort" not in target.variant
    assert directory.record().terms == "restricted"  # since the other one is


def test_decisions_follow_the_thresholds_of_either_side(directory: RunDirectory) -> None:
    folder = directory.ood("phantom-ood").path
    table = pd.read_parquet(folder / "predictions.parquet").query("fold == 'test'")
    limits = pd.read_csv(folder / "thresholds.csv")
    for domain, prefix in (("source", "decision:"), ("target", "target:")):
        found = limits[limits["domain"] == domain].set_index("finding")["value"]
        expected = table["logit:Edema"].astype(float) >= found["Edema"]
        assert np.array_equal(table[f"{prefix}Edema"] == 1, expected)
    own = pd.read_csv(directory.path / "thresholds.csv").set_index("finding")["value"]
    transferred = limits[limits["domain"] == "source"].set_index("finding")["value"]
    assert np.allclose(own[transferred.index], transferred)


def test_the_realised_false_positive_rate_is_that_of_the_stored_decisions(
    directory: RunDirectory,
) -> None:
    folder = directory.ood("phantom-ood").path
    table = pd.read_parquet(folder / "predictions.parquet").query("fold == 'test'")
    scores = pd.read_parquet(folder / "scores.parquet")
    for thresholds, prefix in (("source", "decision:"), ("target", "target:")):
        (score,) = scores[
            (scores["domain"] == "out") & (scores["thresholds"] == thresholds)
            & (scores["metric"] == "fpr") & (scores["finding"] == "No Finding")
            & (scores["group"] == "all") & (scores["labels"] == "true")
        ].to_dict("records")  # fmt: skip
        negative = table[table["true:No Finding"] == 0]
        assert score["value"] == pytest.approx((negative[f"{prefix}No Finding"] == 1).mean())
        assert score["negatives"] == negative["patient"].nunique()


def test_both_sides_average_over_the_same_findings(directory: RunDirectory) -> None:
    scores = pd.read_parquet(directory.ood("phantom-ood").path / "scores.parquet")
    own = {s.finding: s.value for s in directory.scores() if s.metric == "auc"
           and s.group == "all" and s.labels == "true"}  # fmt: skip
    (target,) = directory.record().targets
    (macro,) = scores[
        (scores["domain"] == "in") & (scores["metric"] == "auc") & (scores["group"] == "all")
        & (scores["labels"] == "true")
    ]["value"]  # fmt: skip
    assert 0 < len(target.findings) < len(own) - 1
    assert macro == pytest.approx(np.mean([own[f] for f in target.findings]))


def test_a_test_elsewhere_leaves_the_numbers_at_home_alone(run: Plan, place: Path) -> None:
    alone = plan_in(place, test_datasets=())
    prepared = prepare_run(alone)
    assert prepared.key != prepare_run(run).key
    execute(prepared, quiet_logger())
    tables = [
        pd.read_parquet(prepare_run(p).directory.path / "predictions.parquet").filter(
            regex="^(logit|decision)"
        )
        for p in (alone, run)
    ]
    assert tables[0].equals(tables[1])


def test_stored_weights_are_tested_elsewhere_without_training(place: Path) -> None:
    alone = plan_in(place, test_datasets=())
    first = prepare_run(alone)
    execute(first, quiet_logger())
    scored = replace(plan_in(place), from_run=first.directory)
    prepared = prepare_run(scored)
    record = execute(prepared, quiet_logger())
    assert record.targets and record.from_run == first.key and "train" not in record.seconds
    both = [
        pd.read_parquet(d.path / "predictions.parquet")["logit:Edema"]
        for d in (first.directory, prepared.directory)
    ]
    assert both[0].equals(both[1])


def test_fields_of_the_target_go_beside_those_of_the_stored_run(place: Path) -> None:
    alone = plan_in(place, test_datasets=())
    first = prepare_run(alone)
    execute(first, quiet_logger())
    made = resolve(
        Request(from_run=first.key, output=str(place / "output"), test_datasets=("phantom-ood",),
                data={"phantom-ood.test_patients": 5})
    )  # fmt: skip
    assert made.dataset.train_patients == 12 and made.tests[0].dataset.test_patients == 5  # type: ignore[attr-defined]


def test_an_interrupted_run_is_finished_by_the_same_command(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan_in(place)

    def stop(*_: object, **__: object) -> None:
        raise ValueError("stopped")

    with monkeypatch.context() as broken:
        broken.setattr("runs.pipeline.measure", stop)
        with pytest.raises(ValueError, match="stopped"):
            execute(prepare_run(made), quiet_logger())
    assert prepare_run(made).directory.record().status == "FAILED"
    assert execute(prepare_run(made), quiet_logger()).targets


def test_no_id_of_the_other_data_set_is_stored(run: Plan) -> None:
    raw = re.compile(rb"p0000\d\d(?!\d)")
    for file in (f for f in run.output.parent.rglob("*") if f.is_file()):
        assert not raw.search(file.read_bytes()), file


def test_headline_numbers_reach_the_tracking_store(run: Plan, directory: RunDirectory) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(run.tracking_uri)
    metrics = client.get_run(directory.record().mlflow_run_id).data.metrics
    assert {"ood/phantom-ood/auc/macro", "ood/phantom-ood/auc/macro/true/low",
            "ood/phantom-ood/target_thresholds/fpr/macro", "auc/macro"} <= set(metrics)  # fmt: skip
    assert len(metrics) <= 200


def test_the_summary_tells_in_domain_from_out_of_domain(directory: RunDirectory) -> None:
    said = summary(directory)
    assert "out of domain: phantom-ood, 150 test patients" in said
    assert re.search(r"macro AUC +\d\.\d+ \[.*\] +\d\.\d+ \[", said)
    assert re.search(r"difference +[+-]0\.\d+ \[", said)


def test_a_picture_that_was_trained_on_is_not_tested(place: Path, changed: Any) -> None:
    def copied(table: Split) -> Split:
        here = Here(**SIZES).table(table.root).frame
        frame = table.frame.copy()
        frame.loc[frame.index[frame["fold"] == "test"][0], "path"] = here["path"].iloc[0]
        return table.with_frame(frame)

    changed(copied)
    made = plan_in(place)
    with pytest.raises(ValueError, match=r"of phantom and phantom-ood .*1 pair \(same image\)"):
        prepare_run(made)
    allowed = prepare_run(replace(made, allow_leakage="a planted copy"))
    assert allowed.leakage == {"same image, phantom-ood": 1}


def test_a_finding_that_is_lacking_is_undefined_and_says_so(place: Path, changed: Any) -> None:
    changed(
        lambda t: replace(
            t,
            frame=t.frame.drop(columns=["Edema", "true:Edema"]),
            findings=tuple(f for f in t.findings if f != "Edema"),
            notes=("sides are not known",),
        )
    )
    prepared = prepare_run(plan_in(place))
    assert "phantom-ood: sides are not known" in prepared.notes
    assert "phantom-ood does not record Edema" in prepared.notes
    record = execute(prepared, quiet_logger())
    (target,) = record.targets
    assert target.lacking == ["Edema"] and "Edema" not in target.findings
    scores = pd.read_parquet(prepared.directory.ood("phantom-ood").path / "scores.parquet")
    blank = scores[(scores["finding"] == "Edema") & (scores["metric"] == "auc")]
    assert blank["value"].isna().all()
    assert set(blank["note"]) == {"not recorded by phantom-ood"}


def test_data_without_a_common_finding_is_refused(place: Path, changed: Any) -> None:
    changed(
        lambda t: replace(
            t,
            frame=t.frame.rename(columns={f: f.upper() for f in t.findings}),
            findings=tuple(map(str.upper, t.findings)),
        )
    )
    with pytest.raises(ValueError, match="must record a finding of the task, but it has CARDIO"):
        prepare_run(plan_in(place))
    renamed = plan_in(place, rename_findings=("EDEMA=Edema",))
    assert prepare_run(renamed).domains[0].shared == ("Edema",)


def without_race(table: Split) -> Split:
    """The table of a hospital that records no race."""
    attributes = tuple(a for a in table.attributes if a != "race")
    return replace(table, frame=table.frame.drop(columns="race"), attributes=attributes)


@pytest.mark.parametrize("method", ["group_thresholds", "fairread"])
def test_a_group_that_was_never_met_is_refused_by_who_must_know_it(
    method: str, place: Path, changed: Any
) -> None:
    changed(without_race)
    with pytest.raises(ValueError, match=rf"{method} must know the race .* has 'Unknown'; choose"):
        prepare_run(plan_in(place, method))
    prepare_run(plan_in(place, method, attributes=("sex",)))


def test_new_groups_stand_behind_the_frozen_ones(place: Path, changed: Any) -> None:
    changed(without_race)
    prepared = prepare_run(plan_in(place))
    assert prepared.task.groups["race"] == ("A", "B", "C")
    assert prepared.domains[0].task.groups["race"] == ("A", "B", "C", "Unknown")


def test_another_data_set_validates_in_place_of_the_own_patients(place: Path) -> None:
    made = plan_in(place, test_datasets=())
    made = replace(made, val=Placed(There(**SIZES, cohort=1), None))
    prepared = prepare_run(made)
    (folds,) = prepared.folds
    assert {p.split("/")[0] for p in folds.val.patients} == {"phantom-ood"}
    assert folds.train.frame["patient_id"].str.startswith("p0").all()
    record = execute(prepared, quiet_logger())
    assert "val_dataset=phantom-ood" in record.data_variant
    limits = pd.read_csv(prepared.directory.path / "thresholds.csv")
    table = pd.read_parquet(prepared.directory.path / "predictions.parquet").query("fold == 'val'")
    assert limits["positives"].max() <= table["patient"].nunique() == 40


def test_the_same_data_set_validates_and_tests_with_patients_of_its_own(place: Path) -> None:
    made = replace(plan_in(place), val=Placed(There(**SIZES, cohort=1), None))
    (domain,) = (prepared := prepare_run(made)).domains
    assert not set(domain.test.patients) & set(prepared.folds[0].val.patients)


def test_rows_of_restricted_data_stay_at_home(
    run: Plan, directory: RunDirectory, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    def logged(plan: Plan, run_id: str) -> set[str]:
        listed = MlflowClient(plan.tracking_uri).list_artifacts(run_id, "ood/phantom-ood")
        return {a.path.rpartition("/")[2] for a in listed}

    aggregates = {"scores.parquet", "thresholds.csv"}
    here = directory.record().mlflow_run_id
    assert logged(run, here) == aggregates | {"predictions.parquet"}
    monkeypatch.setattr(Store, "remote", True)
    away = plan_in(place)
    assert logged(away, execute(prepare_run(away), quiet_logger()).mlflow_run_id) == aggregates


def test_a_union_is_brought_to_equal_parts_and_counts_who_is_left_out(place: Path) -> None:
    sizes = {"phantom.train_patients": 30, "phantom-ood.train_patients": 10}
    small = {f"{d}.{n}": 4 for d in ("phantom", "phantom-ood")
             for n in ("val_patients", "audit_patients", "test_patients")}  # fmt: skip
    request = Request(
        method="erm", dataset="phantom+phantom-ood", device="cpu", output=str(place / "output"),
        set={"image_size": 32}, data=sizes | small | {"downsample": "phantom"},
    )  # fmt: skip
    prepared = prepare_run(resolve(request))
    images = prepared.folds[0].train.frame["source"].value_counts()
    assert 0 < images["phantom"] <= images["phantom-ood"]
    assert prepared.dropped["down-sampled"] > 0
    assert prepared.notes[-1] == (
        f"training images: phantom {images['phantom']}, phantom-ood {images['phantom-ood']}"
    )
    with pytest.raises(ValueError, match="must have more training images than the others"):
        prepare_run(resolve(request.changed(data={**request.data, "downsample": "phantom-ood"})))
