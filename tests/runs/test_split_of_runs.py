"""`--split` and `--limit-patients` name a run, repeat it, and keep it apart from others."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import pytest
import yaml

import runner
from datasets.folds import manifest, split_digest
from runs.plan import Plan, resolve
from runs.preparation import load_table, prepare_run, same_data, split
from runs.provenance import first_record, params
from runs.request import Request

SIZES = {"train_patients": 60, "val_patients": 20, "audit_patients": 20, "test_patients": 20}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRILEMMA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TRILEMMA_OUTPUT", str(tmp_path / "output"))
    return tmp_path


def asked(**changes: object) -> Request:
    made = Request(method="erm", dataset="phantom", data=SIZES, set={"image_size": 32})
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def written(place: Path, name: str = "m.csv", *, swapped: bool = False) -> str:
    """A manifest of all patients of the phantom, some of them in another fold if `swapped`."""
    plan = resolve(asked())
    (folds,) = split(plan, load_table(plan)).folds
    rows = manifest(folds)[["patient_id", "fold"]].drop_duplicates("patient_id")
    if swapped:
        rows["fold"] = rows["fold"].replace({"val": "test", "test": "val"})
    rows.to_csv(place / name, index=False)
    return str(place / name)


def identity(plan: Plan) -> str:
    return json.dumps(plan.identity(), sort_keys=True)


def test_a_data_set_says_how_it_is_split() -> None:
    assert str(resolve(asked()).split) == "official"


@pytest.mark.parametrize(
    "changes", [{"split": "patient"}, {"split": "fold:2/5"}, {"limit_patients": 50}]
)
def test_command_and_config_ask_for_the_same_again(changes: dict[str, object], place: Path) -> None:
    plan = resolve(asked(**changes))
    words = shlex.split(plan.command())[2:]
    again = resolve(runner.requested(runner.parser().parse_args(words)))
    (place / "config.yaml").write_text(yaml.safe_dump(plan.config()))
    repeated = resolve(Request.from_config(place / "config.yaml"))
    assert identity(plan) == identity(again) == identity(repeated) != identity(resolve(asked()))


def test_a_manifest_is_pinned_in_command_and_config(place: Path) -> None:
    plan = resolve(asked(split=written(place)))
    (place / "config.yaml").write_text(yaml.safe_dump(plan.config()))
    assert "#sha256:" in plan.command()
    assert identity(resolve(Request.from_config(place / "config.yaml"))) == identity(plan)
    written(place, swapped=True)
    with pytest.raises(ValueError, match="must have the content that #sha256:"):
        resolve(Request.from_config(place / "config.yaml"))


def test_a_manifest_counts_by_its_content(place: Path) -> None:
    plans = [resolve(asked(split=written(place, name))) for name in ("a.csv", "b.csv")]
    other = resolve(asked(split=written(place, "c.csv", swapped=True)))
    assert identity(plans[0]) == identity(plans[1]) != identity(other)
    assert plans[0].split.manifest and plans[0].split.manifest.digest in identity(plans[0])


def test_k_folds_and_another_split_exclude_each_other() -> None:
    with pytest.raises(ValueError, match=r"--folds tests each of k parts.*but got 'official'"):
        resolve(asked(folds=3, split="official"))
    plan = resolve(asked(folds=3))
    assert str(plan.split) == "patient" and "--split" not in plan.command()


def test_the_split_of_another_data_set_is_not_carried_over() -> None:
    request = asked(split="official", limit_patients=9)
    assert request.changed(dataset="covid-chestxray").split == ""
    assert request.changed(dataset="covid-chestxray", split="fold:1/2").split == "fold:1/2"
    assert request.changed(seed=1).split == "official"


def test_plans_of_other_splits_do_not_share_data() -> None:
    plans = [resolve(asked(**c)) for c in ({}, {"split": "patient"}, {"limit_patients": 40})]
    assert len({same_data(plan) for plan in plans}) == 3


def test_only_k_folds_depend_on_the_seed() -> None:
    def tested(**changes: object) -> list[str]:
        plan = resolve(asked(**changes))
        return split(plan, load_table(plan)).folds[0].test.patients.tolist()

    for by in ({"split": "patient"}, {"split": "fold:1/3"}, {"limit_patients": 60}):
        assert tested(**by) == tested(**by, seed=1)
    assert tested(folds=3) != tested(folds=3, seed=1)
    assert tested(folds=3) == tested(split="fold:1/3")


def test_a_choice_of_findings_and_attributes_moves_nobody_to_another_fold() -> None:
    digests = set()
    for chosen in ({}, {"findings": ("Edema",)}, {"attributes": ("sex",)}):
        plan = resolve(asked(split="patient", **chosen))
        divided = split(plan, load_table(plan))
        digests.add(split_digest(divided.folds))
        assert divided.folds[0].test.findings == (plan.findings or divided.table.all_findings)
    assert len(digests) == 1


def test_the_record_tells_split_and_limit_and_the_leaderboard_keeps_them_apart(
    place: Path,
) -> None:
    plan = resolve(asked(split=written(place), limit_patients=60))
    prepared = prepare_run(plan)
    record = first_record(prepared)
    assert plan.split.manifest is not None
    short = f"manifest:{plan.split.manifest.digest[:16]}"
    assert (record.split, record.limit_patients) == (short, 60)
    assert record.data_variant.endswith(f"split={short} limit_patients=60")
    assert record.dropped["beyond --limit-patients"] > 0
    assert "a trial on 60 of 120 patients (--limit-patients)" in record.notes
    assert params(plan)["split"] == short and params(plan)["limit_patients"] == 60


def test_images_beyond_a_limit_are_not_decoded(place: Path) -> None:
    seen = []
    prepare_run(resolve(asked(limit_patients=30)), lambda done, total: seen.append(total))
    plan = resolve(asked())
    assert seen and max(seen) < len(load_table(plan)) / 2


def test_a_dry_run_tells_of_the_trial(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.run(asked(limit_patients=60), dry=True) == runner.DONE
    assert "note: a trial on 60 of 120 patients" in capsys.readouterr().out


def test_a_suite_sets_split_and_limit(place: Path) -> None:
    from benchmarks.expand import Choice, expand
    from benchmarks.suites.base import load

    (place / "mine.yaml").write_text(
        yaml.safe_dump(
            {
                "datasets": [{"name": "phantom", "split": "fold:1/4", "limit_patients": 50}],
                "arms": [{"method": "erm"}],
            }
        )
    )
    (planned,) = expand(load(str(place / "mine.yaml")), Choice(output=str(place)))
    assert str(planned.plan.split) == "fold:1/4" and planned.plan.limit_patients == 50


def test_a_study_takes_split_and_limit_and_repeats_them() -> None:
    import argparse

    from benchmarks.study import add_arguments, requested

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = ["--method", "erm", "--dataset", "phantom", "--objectives", "auc",
             "--split", "fold:1/3", "--limit-patients", "50"]  # fmt: skip
    study = requested(parser.parse_args(words))
    assert (study.request.split, int(study.request.limit_patients)) == ("fold:1/3", 50)
    repeated = requested(parser.parse_args(shlex.split(study.command())[4:]))
    assert repeated == study
