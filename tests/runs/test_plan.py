"""From what is asked for to a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from runs.plan import resolve
from runs.request import Request


def test_another_preset_keeps_its_own_defaults() -> None:
    stored = Request(method="erm", dataset="phantom", data={"race_acquisition": 1.0})
    null = stored.changed(dataset="phantom-null")
    assert null.data == {}
    assert resolve(null).dataset.race_acquisition == 0.0  # type: ignore[attr-defined]


def test_fields_of_another_method_are_not_carried_over() -> None:
    stored = Request(method="group_thresholds", set={"attribute": "sex"}, dataset="phantom")
    assert stored.changed(method="erm").set == {}
    assert stored.changed(seed=3).set == {"attribute": "sex"}


def test_a_config_reads_back_to_the_same_plan(tmp_path: Path) -> None:
    import yaml

    plan = resolve(Request(method="upsample", set={"cells": "label"}, dataset="phantom", seed=4))
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(plan.config()))
    again = resolve(Request.from_config(file))
    assert again.config() == plan.config() and again.identity() == plan.identity()


@pytest.mark.parametrize(
    ("text", "told"),
    [("findings: 5", "findings"), ("seed: [1]", "--seed"), ("method: [a]", "'method'"),
     ("set: {1: 2}", "'set'"), ("experiment: 5", "'experiment'")],
)  # fmt: skip
def test_a_config_value_of_another_type_is_named(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        f"{text}\n" + ("" if "method" in text else "method: erm\n") + "dataset: phantom\n"
    )
    with pytest.raises(ValueError, match=told):
        resolve(Request.from_config(file))


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"--output .*file"):
        resolve(Request(method="erm", dataset="phantom", output=str(tmp_path / "file" / "out")))


def test_a_command_names_what_differs_from_the_defaults() -> None:
    request = Request(method="erm", set={"lr": "0.01"}, dataset="phantom", findings=("Edema",))
    command = resolve(request).command()
    assert command == (
        "python runner.py --method erm --dataset phantom --set lr=0.01 --seed 0 --findings Edema"
    )
