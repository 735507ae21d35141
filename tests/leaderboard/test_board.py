"""What is compared with what."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from synthetic_store import COVID, FINDINGS, PHANTOM, run_json, write_run

from leaderboard.board import Contrast, Section, sections
from leaderboard.collect import Store, read_store
from metrics.score import Score


def section(store: Store, dataset: str) -> Section:
    return next(found for found in sections(store) if found.dataset == dataset)


def test_no_section_holds_two_kinds(store: Store) -> None:
    for found in sections(store):
        assert {run.kind for entrant in found.entrants for run in entrant.runs} == {found.kind}


def test_equal_names_of_different_kinds_are_two_sections(tmp_path: Path) -> None:
    for kind in ("real", "simulated"):
        content = run_json(COVID, "erm", key=kind[0] * 16, kind=kind)
        write_run(tmp_path, content, [Score("auc", 0.8)])
    assert len(sections(read_store(tmp_path))) == 2


def test_the_reference_stands_first_and_others_follow_by_name(store: Store) -> None:
    names = [entrant.name for entrant in section(store, "phantom").entrants]
    assert names == ["erm", "erm lr=0.01 epochs=3", "anonymized", "group_thresholds", "upsample"]


def test_race_is_the_first_contrast_where_it_is_recorded(store: Store) -> None:
    assert section(store, "phantom").contrasts == (
        Contrast("race", "B - A"),
        Contrast("sex", "Female - Male"),
    )


def test_true_labels_are_the_headline_where_they_exist(store: Store) -> None:
    assert section(store, "phantom").labels == ("true", "recorded")
    assert section(store, "covid-chestxray").labels == ("recorded",)


def test_findings_keep_the_order_of_the_data_set(store: Store) -> None:
    assert section(store, "phantom").findings == FINDINGS


def test_a_reversed_pair_is_the_negative(tmp_path: Path) -> None:
    stored = Score("fnr_contrast", 0.1, attribute="race", group="A - B", low=0.05, high=0.2)
    write_run(tmp_path, run_json(PHANTOM, "erm"), [Score("auc", 0.8), stored])
    (found,) = sections(read_store(tmp_path))
    estimate = found.entrants[0].contrast("fnr_contrast", "recorded", Contrast("race", "B - A"))
    assert estimate is not None
    assert (estimate.value, estimate.low, estimate.high) == (-0.1, -0.2, -0.05)


def test_different_pairs_of_one_attribute_are_two_columns(tmp_path: Path) -> None:
    for seed, pair in enumerate(("B - A", "C - A")):
        content = run_json(PHANTOM, "erm", seed, primary_contrasts={"race": pair})
        write_run(tmp_path, content, [Score("auc", 0.8)])
    (found,) = sections(read_store(tmp_path))
    assert found.contrasts == (Contrast("race", "B - A"), Contrast("race", "C - A"))


def test_runs_with_different_fields_are_remarked_on(tmp_path: Path) -> None:
    for seed, epochs in enumerate((6, 8)):
        content = run_json(PHANTOM, "erm", seed, method_fields={"seed": seed, "epochs": epochs})
        write_run(tmp_path, content, [Score("auc", 0.8)])
    (found,) = sections(read_store(tmp_path))
    assert found.entrants[0].remarks == ("runs with different epochs are averaged: 6, 8",)


def test_runs_of_different_code_are_remarked_on(tmp_path: Path) -> None:
    for seed in range(2):
        content = run_json(PHANTOM, "erm", seed, source_digest=f"digest {seed}")
        write_run(tmp_path, content, [Score("auc", 0.8)])
    (found,) = sections(read_store(tmp_path))
    assert found.entrants[0].remarks == ("runs of 2 versions of the code are averaged",)


def test_training_time_is_the_mean_over_runs(store: Store) -> None:
    assert section(store, "phantom").entrants[0].train_seconds == pytest.approx(62.2)


def test_a_run_without_scores_still_stands_on_the_page(tmp_path: Path) -> None:
    write_run(tmp_path, run_json(PHANTOM, "erm"), [])
    (found,) = sections(read_store(tmp_path))
    assert found.entrants[0].scores == {}
    assert math.isnan(found.patients) is False


def variants(output: Path, *named: tuple[str, str]) -> Section:
    for method, variant in named:
        write_run(output, run_json(PHANTOM, method, method_variant=variant), [Score("auc", 0.8)])
    (found,) = sections(read_store(output))
    return found


def test_a_field_that_all_share_is_said_once(tmp_path: Path) -> None:
    found = variants(tmp_path, ("erm", "image_size=32"), ("dpsgd", "epsilon=3.0 image_size=32"))
    assert found.shared == ("image_size=32",)
    assert [entrant.name for entrant in found.entrants] == ["erm", "dpsgd epsilon=3.0"]
    assert found.heading == "phantom, image_size=32"


def test_a_field_that_differs_or_is_missing_somewhere_stays_in_the_rows(tmp_path: Path) -> None:
    found = variants(tmp_path, ("erm", ""), ("a", "image_size=32"), ("b", "image_size=64 lr=1.0"))
    assert found.shared == ()
    assert [entrant.name for entrant in found.entrants] == [
        "erm", "a image_size=32", "b image_size=64 lr=1.0",
    ]  # fmt: skip


def test_a_single_entrant_keeps_its_fields(tmp_path: Path) -> None:
    found = variants(tmp_path, ("erm", "image_size=32"))
    assert found.entrants[0].name == "erm image_size=32"


def test_a_value_with_blanks_stays_one_field(tmp_path: Path) -> None:
    found = variants(tmp_path, ("erm", "pool=my file.csv lr=1.0"), ("a", "pool=my file.csv"))
    assert found.shared == ("pool=my file.csv",)
    assert found.entrants[0].shown == "lr=1.0"


def test_fields_are_ordered_by_number_with_the_defaults_first(tmp_path: Path) -> None:
    found = variants(
        tmp_path,
        *(("dpsgd", f"epsilon={e} image_size=32") for e in ("10.0", "3.0")),
        ("dpsgd", "image_size=32"),
        ("erm", "image_size=32"),
    )
    assert [entrant.name for entrant in found.entrants] == [
        "erm", "dpsgd", "dpsgd epsilon=3.0", "dpsgd epsilon=10.0",
    ]  # fmt: skip


def test_a_default_is_written_out_where_other_entrants_differ_in_it(tmp_path: Path) -> None:
    for method, variant in (("erm", ""), ("erm", "epsilon=1.0"), ("dpsgd", "epsilon=3.0")):
        write_run(tmp_path, run_json(PHANTOM, method, method_variant=variant), [Score("auc", 0.8)])
    fields = {"epsilon": 8.0, "clip": 1.0}
    content = run_json(PHANTOM, "dpsgd", method_fields=fields)
    write_run(tmp_path, content, [Score("auc", 0.8)])
    (found,) = sections(read_store(tmp_path))
    assert [entrant.name for entrant in found.entrants] == [
        "erm", "erm epsilon=1.0", "dpsgd epsilon=3.0", "dpsgd epsilon=8.0",
    ]  # fmt: skip
