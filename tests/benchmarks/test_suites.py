"""Suites as data: what a file may say, how fields are merged, and in which order runs start."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.__main__ import main
from benchmarks.expand import Choice, Planned, expand, look
from benchmarks.suites.base import Arm, Budget, Data, Suite, load, read
from methods.compose import method_class
from registry import METHODS, ROOT, SUITES

TINY = {"train_patients": 12, "val_patients": 12, "audit_patients": 8, "test_patients": 12}
PLAIN: dict[str, Any] = {
    "datasets": [{"name": "phantom", "set": TINY}],
    "arms": [{"method": "erm"}],
    "budgets": {"quick": {"set": {"image_size": 32}}},
}


def suite(**changes: Any) -> Suite:
    """A suite of one arm on the phantom at 32 px."""
    given: dict[str, Any] = {
        "name": "mine", "description": "for a test", "datasets": (Data("phantom", TINY),),
        "arms": (Arm("erm"),), "budgets": {"quick": Budget(set={"image_size": 32})},
    } | changes  # fmt: skip
    return Suite(**given)


def written(path: Path, content: Any) -> Path:
    """A suite file of `content`, which is YAML text or is written as YAML."""
    file = path / "mine.yaml"
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    file.write_text(text)
    return file


def changed(**changes: Any) -> dict[str, Any]:
    return PLAIN | changes


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("- erm\n", "a suite must be a mapping, but got ['erm']"),
        ("arms: [", "must be YAML"),
        ({}, "must have the key 'datasets'"),
        (changed(arm=[]), "unknown key of a suite 'arm'; did you mean 'arms'?"),
        (changed(arms={}), "arms must be a list, but got {}"),
        (changed(arms=[]), "arms must not be empty"),
        (changed(arms=["erm"]), "arms[0] must be a mapping, but got 'erm'"),
        (changed(arms=[{"set": {}}]), "arms[0] must have the key 'method'"),
        (changed(arms=[{"method": "erm", "fields": {}}]), "unknown key of arms[0] 'fields'"),
        (changed(arms=[{"method": 3}]), "arms[0].method must be a text, but got 3"),
        (changed(arms=[{"method": "erm", "set": ["lr"]}]), "arms[0].set must be a mapping"),
        (changed(arms=[{"method": "erm", "cost": "high"}]), "arms[0].cost must be a number"),
        (changed(arms=[{"method": "erm", "cost": 0}]), "cost must be above 0"),
        (changed(arms=[{"method": "erm"}] * 2), "each label of an arm must stand once, but 'erm'"),
        (changed(arms=[{"method": "upsampel"}]), "did you mean 'upsample'?"),
        (changed(arms=[{"method": "upsample+erm2"}]), "unknown method 'erm2'"),
        (changed(arms=[{"method": "upsample+downsample"}]), "both override 'data'"),
        (changed(arms=[{"method": "erm", "set": {"lrr": 1}}]), "did you mean 'lr'?"),
        (changed(arms=[{"method": "erm", "set": {"epochs": 2.5}}]), "must be a whole number"),
        (changed(arms=[{"method": "erm"}, {"method": "erm", "label": "same"}]), "the same fields"),
        (changed(datasets=[{"name": "fantom"}]), "did you mean 'phantom'?"),
        (changed(datasets=[{"name": "phantom", "set": {"people": 3}}]), "unknown field of phantom"),
        (changed(datasets=[{"name": "covid-chestxray"}]), "--data-root must name the directory"),
        (changed(seeds=[0, "1"]), "seeds[1] must be a whole number, but got '1'"),
        (changed(seeds=[True]), "seeds[0] must be a whole number, but got True"),
        (changed(seeds=[1, 1]), "each seed must stand once, but 1"),
        (changed(seeds=[-1]), "--seed must lie between 0"),
        (changed(budgets={}), "budgets must not be empty"),
        (changed(budgets={"quick": {"seed": 1}}), "did you mean 'seeds'?"),
        (changed(budgets={"quick": {"seeds": 2}}), "must lie between 0 and the 1 seeds"),
        (changed(budgets={"quick": {"methods": {"upsample": {}}}}), "unknown method of budget"),
        (changed(budgets={"quick": {"data": {"fantom": {}}}}), "did you mean 'phantom'?"),
        (changed(name="My suite"), "name must be small letters, digits and hyphens"),
        (changed(plugins=["nowhere.py"]), "'nowhere.py' is not a file"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_sentence_and_nothing_starts(
    content: Any, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "output"
    code = main(["run", str(written(tmp_path, content)), "--output", str(output)])
    said = capsys.readouterr()
    assert code == 2
    assert said.err.startswith("error: ") and said.err.count("\n") == 1
    assert told in said.err
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "COMMAND"),
        (["go"], "invalid choice"),
        (["run"], "SUITE"),
        (["run", "crad"], "did you mean 'card'?"),
        (["run", "nowhere.yaml"], "does not exist"),
        (["show", "smoke", "--budget", "quik"], "did you mean 'quick'?"),
        (["show", "smoke", "--only", "fairest"], "unknown arm of suite smoke 'fairest'"),
        (["show", "smoke", "--seeds", "0,x"], "--seeds must be different whole numbers"),
        (["show", "smoke", "--seeds", "0,0"], "--seeds must be different whole numbers"),
        (["run", "smoke", "--workers", "0"], "--workers must be a whole number from 1"),
        (["show", "smoke", "--data-root", "fantom=."], "did you mean 'phantom'?"),
        (["show", "smoke", "--data-root", ".", "--data-root", "."], "once per data set"),
        (["list", "--plugin", "nowhere.py"], "'nowhere.py' is not a file"),
    ],
)
def test_wrong_usage_is_one_sentence(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    assert told in said


def test_what_is_said_of_fewer_arms_wins() -> None:
    made = suite(
        arms=(Arm("upsample", {"epochs": 5}), Arm("upsample+group_thresholds"), Arm("erm")),
        datasets=(Data("phantom", {"test_patients": 13}),),
        budgets={
            "quick": Budget(
                set={"image_size": 32, "epochs": 3, "patience": 3},
                methods={"upsample": {"epochs": 4, "patience": 2}},
                data={"phantom": {"test_patients": 12, "train_patients": 11}},
            )
        },
    )
    runs = {run.arm.method: run.plan for run in expand(made, Choice())}
    fields = {m: (p.method.epochs, p.method.patience) for m, p in runs.items()}
    assert fields == {"upsample": (5, 2), "upsample+group_thresholds": (4, 2), "erm": (3, 3)}
    people: Any = runs["erm"].dataset
    assert (people.train_patients, people.test_patients) == (11, 13)


def test_a_file_says_the_same_as_a_suite_in_python(tmp_path: Path) -> None:
    for name in SUITES.names():
        made = load(name)
        assert read(written(tmp_path, yaml.safe_dump(plain(made)))) == made


def plain(thing: Any) -> Any:
    """Dataclasses, tuples and mappings as YAML holds them."""
    if dataclasses.is_dataclass(thing):
        return {f.name: plain(getattr(thing, f.name)) for f in dataclasses.fields(thing)}
    if isinstance(thing, Mapping):
        return {key: plain(value) for key, value in thing.items()}
    return [plain(item) for item in thing] if isinstance(thing, tuple) else thing


def order(runs: list[Planned]) -> list[tuple[str, int]]:
    return [(run.arm.name, run.plan.seed) for run in runs]


def test_first_seeds_start_before_second_ones_and_long_runs_before_short_ones() -> None:
    made = suite(
        arms=(Arm("erm"), Arm("upsample", cost=1, shared_cost=3), Arm("downsample", cost=2)),
        seeds=(3, 1),
    )
    assert order(expand(made, Choice())) == [
        ("upsample", 3), ("downsample", 3), ("erm", 3),
        # The second seed of upsample finds what the first one fitted, and is short.
        ("downsample", 1), ("erm", 1), ("upsample", 1),
    ]  # fmt: skip


def test_only_and_seeds_choose_runs() -> None:
    made = suite(arms=(Arm("erm"), Arm("upsample", label="more of B"), Arm("downsample")))
    assert order(expand(made, Choice(only="*sample"))) == [("more of B", 0), ("downsample", 0)]
    assert order(expand(made, Choice(only="more*", seeds=(4, 7)))) == [
        ("more of B", 4), ("more of B", 7),
    ]  # fmt: skip


def test_a_method_that_cannot_run_is_skipped_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = suite(arms=(Arm("erm"), Arm("upsample", {"attribute": "planet"})))
    by_method = {
        k.planned.arm.method: k for k in look(expand(made, Choice(output=str(tmp_path))))
    }  # fmt: skip
    assert "'planet'" in by_method["upsample"].skipped
    assert not by_method["erm"].skipped and not by_method["erm"].done
    file = written(tmp_path, changed(arms=[{"method": "upsample", "set": {"attribute": "planet"}}]))
    assert main(["run", str(file), "--output", str(tmp_path / "output")]) == 0
    assert "skipped: upsample" in capsys.readouterr().out


def test_a_password_of_the_tracking_store_is_in_no_command() -> None:
    run = expand(suite(), Choice(tracking_uri="https://me:secret@host/store"))[0]
    assert "secret" not in " ".join(run.command() + run.executed())
    assert "https://host/store" in run.command()
    assert "--tracking-uri" not in run.executed()


def test_show_lists_every_run_as_a_command_that_says_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shlex

    import runner
    from runs.plan import resolve

    file = written(tmp_path, changed(seeds=[0, 2], arms=[{"method": "erm", "set": {"lr": 0.004}}]))
    assert main(["show", str(file), "--output", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "2 runs: 1 arms on phantom, seeds 0, 2" in said
    commands = [line.split("to do", 1)[1] for line in said.splitlines() if "  to do " in line]
    runs = expand(read(file), Choice(output=str(tmp_path)))
    for command, run in zip(commands, runs, strict=True):
        words = shlex.split(command)
        assert words[:2] == ["python", "runner.py"]
        plan = resolve(runner.requested(runner.parser().parse_args(words[2:])))
        assert plan.identity() == run.plan.identity()
        assert (plan.output, plan.experiment) == (tmp_path, "mine")


def test_every_suite_resolves_under_every_budget(capsys: pytest.CaptureFixture[str]) -> None:
    for name in SUITES.names():
        made = load(name)
        for budget in made.budgets:
            runs = expand(made, Choice(budget=budget))
            seeds = made.seeds_of(made.budget(budget))
            assert len(runs) == len(made.arms) * len(made.datasets) * len(seeds)
    assert main(["list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == SUITES.names()


def test_smoke_holds_every_method_with_its_smallest_fields() -> None:
    runs = {run.arm.method: run.plan.method for run in expand(load("smoke"), Choice())}
    assert set(runs) >= set(METHODS.names())
    for name in METHODS.names():
        own = dict(method_class(name).smallest) | {"image_size": 32, "epochs": 2}
        assert {field: getattr(runs[name], field) for field in own} == own


def test_a_plugin_brings_a_suite(tmp_path: Path) -> None:
    plugin = tmp_path / "brought.py"
    plugin.write_text(
        "from benchmarks.suites.base import Arm, Data, Suite\n"
        "from registry import SUITES\n"
        "@SUITES.register('brought')\n"
        "def brought():\n"
        "    '''One run.'''\n"
        "    return Suite('brought', 'one run', (Data('phantom'),), (Arm('erm'),))\n"
    )
    code = f"from benchmarks.__main__ import main; main(['list', '--plugin', {str(plugin)!r}])"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "brought" in [line.split()[0] for line in said.splitlines()]


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["list"]])
def test_help_and_list_answer_without_torch(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from benchmarks.__main__ import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit:\n"
        "    pass\n"
        "print('heavy:', sorted({'torch', 'pandas', 'mlflow'} & set(sys.modules)))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert said.endswith("heavy: []\n")


def test_a_suite_names_other_data_sets_to_test_on(tmp_path: Path) -> None:
    fields = TINY | {f"phantom-ood.{name}": value for name, value in TINY.items()}
    data = Data("phantom", fields, test_datasets=("phantom-ood",))
    (planned,) = expand(suite(datasets=(data,)), Choice(output=str(tmp_path)))
    (target,) = planned.plan.tests
    assert target.name == "phantom-ood" and target.dataset.test_patients == 12  # type: ignore[attr-defined]
    assert "--test-dataset phantom-ood" in " ".join(planned.command())


def test_a_suite_may_train_on_a_union(tmp_path: Path) -> None:
    data = Data("phantom+phantom-ood", {f"phantom.{name}": value for name, value in TINY.items()})
    (planned,) = expand(suite(datasets=(data,)), Choice(output=str(tmp_path)))
    assert planned.plan.dataset.registered_name == "phantom+phantom-ood"
