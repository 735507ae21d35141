"""Which data sets a request names, their fields and folders, and how a run is named by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import runner
from datasets.phantom import Phantom
from registry import UnknownName
from runs.data_sets import variant_of
from runs.plan import Plan, resolve
from runs.provenance import params
from runs.request import Request


def plan(**changes: Any) -> Plan:
    given: dict[str, Any] = {"method": "erm", "dataset": "phantom", "device": "cpu"}
    return resolve(Request(**given | changes))


def phantom(dataset: Any) -> Phantom:
    assert isinstance(dataset, Phantom)
    return dataset


def test_fields_belong_to_the_data_set_that_they_name() -> None:
    made = plan(
        test_datasets=("phantom-ood",),
        data={"train_patients": 7, "phantom-ood.test_patients": 9, "phantom.val_patients": 5},
    )
    source, target = phantom(made.dataset), phantom(made.tests[0].dataset)
    assert (source.train_patients, source.val_patients) == (7, 5)
    assert (target.train_patients, target.test_patients) == (1900, 9)


def test_simulated_people_of_two_data_sets_are_different() -> None:
    made = plan(test_datasets=("phantom-ood",), val_dataset="phantom-null")
    cohorts = [phantom(d).cohort for d in (made.dataset, made.val.dataset, made.tests[0].dataset)]  # type: ignore[union-attr]
    assert len(set(cohorts)) == 3 and cohorts[0] == 0


def test_asking_for_the_same_people_is_refused() -> None:
    with pytest.raises(ValueError, match="draws those of another one with cohort=0; leave"):
        plan(test_datasets=("phantom-ood",), data={"phantom-ood.cohort": 0})


def test_a_union_takes_fields_by_name_and_its_own() -> None:
    made = plan(dataset="phantom+phantom-ood", data={"downsample": "largest", "phantom.site": 1})
    assert made.dataset.registered_name == "phantom+phantom-ood"
    assert made.config()["data"]["downsample"] == "largest"
    assert made.config()["data"]["phantom.site"] == 1
    with pytest.raises(ValueError, match=r"--data of a union must read NAME\.FIELD=VALUE"):
        plan(dataset="phantom+phantom-ood", data={"site": 1})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data": {"phantm.site": 1}}, "did you mean 'phantom'"),
        ({"test_datasets": ("phantom-od",)}, "did you mean 'phantom-ood'"),
        ({"data_roots": {"nobody": "."}}, "data set of --data-root 'nobody'"),
        ({"data": {"phantom.sit": 1}}, "field of phantom 'sit'"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UnknownName, match=told):
        plan(**changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"test_datasets": ("phantom",)}, "--test-dataset must name other data than --dataset"),
        ({"dataset": "phantom+phantom-ood", "val_dataset": "phantom-ood"}, "--val-dataset must"),
        ({"test_datasets": ("covid-chestxray",)}, "real and simulated data must not be mixed"),
        ({"test_datasets": ("phantom-ood",), "folds": 5}, "leave out --folds"),
        ({"test_datasets": ("phantom-ood", "phantom-ood")}, "must name each once"),
        ({"dataset": "covid-chestxray"}, "--data-root must name the directory"),
        ({"rename_findings": ("Edema",)}, "must read OLD=NEW"),
    ],
)
def test_what_cannot_be_is_one_sentence(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        plan(**changes)


def test_a_config_reads_back_to_the_same_plan(tmp_path: Path) -> None:
    made = plan(
        dataset="phantom+phantom-null", test_datasets=("phantom-ood",),
        val_dataset="phantom-anatomy",
        data={"phantom.site": 1, "phantom-ood.test_patients": 3, "downsample": "phantom"},
        rename_findings=("Edema=Oedema",),
    )  # fmt: skip
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(made.config()))
    again = resolve(Request.from_config(file))
    assert again.config() == made.config() and again.identity() == made.identity()


def test_a_command_names_every_data_set() -> None:
    made = plan(test_datasets=("phantom-ood",), data={"phantom-ood.test_patients": 3})
    assert made.command() == (
        "python runner.py --method erm --dataset phantom --data phantom-ood.cohort=1 "
        "--data phantom-ood.test_patients=3 --test-dataset phantom-ood --seed 0"
    )
    given = runner.parser().parse_args(made.command().split()[2:])
    assert resolve(runner.requested(given)).identity() == made.identity()


def test_other_data_is_part_of_what_names_a_run() -> None:
    alone, tested = plan(), plan(test_datasets=("phantom-ood",))
    other = plan(test_datasets=("phantom-ood",), data={"phantom-ood.test_patients": 3})
    keys = [repr(p.identity()) for p in (alone, tested, other)]
    assert len(set(keys)) == 3


def test_terms_are_those_of_the_strictest_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(test_datasets=("phantom-ood",))
    assert made.terms == "open"
    monkeypatch.setattr(type(made.tests[0].dataset), "terms", "restricted")
    assert made.terms == "restricted"


def test_folders_are_named(tmp_path: Path) -> None:
    given = runner.parser().parse_args(
        ["--method", "erm", "--dataset", "covid-chestxray", "--data-root",
         f"covid-chestxray={tmp_path}"]
    )  # fmt: skip
    made = resolve(runner.requested(given))
    assert made.data_root == tmp_path


def test_fields_of_another_data_set_outlive_a_change_of_the_source() -> None:
    stored = Request(method="erm", dataset="phantom", data={"site": 1, "phantom-ood.cohort": 3})
    assert stored.changed(dataset="phantom-null").data == {"phantom-ood.cohort": 3}


def test_fields_of_a_data_set_that_is_no_longer_named_go() -> None:
    stored = Request(
        method="erm", dataset="phantom", test_datasets=("phantom-ood",), data_roots={"x": "/x"},
        data={"site": 1, "phantom-ood.cohort": 3},
    )  # fmt: skip
    other = stored.changed(test_datasets=("phantom-null",))
    assert other.data == {"site": 1} and other.data_roots == {"x": "/x"}
    assert stored.changed(seed=2).data == stored.data


def test_what_others_see_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file,who,Edema\na.png,1,0\n")
    mapping = tmp_path / "own.yml"
    mapping.write_text("columns: {path: file, patient: who}\n")
    made = plan(dataset="csv", data_root=str(tmp_path), data={"mapping": str(mapping)})
    told = [*map(str, params(made).values()), *variant_of(made.dataset)]
    assert not [text for text in told if str(tmp_path) in text]
    assert [text for text in told if text.startswith("mapping=own.yml@")]
    assert str(mapping) in made.command()
    other = plan(dataset="csv", data_root=str(tmp_path), data={"mapping": str(tmp_path / "b.yml")})
    assert variant_of(other.dataset) != variant_of(made.dataset)
