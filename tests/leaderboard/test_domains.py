"""The table of methods in domain and out of domain, from stored results."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic_store import PHANTOM, run_json, scores, write_run

from leaderboard.board import sections
from leaderboard.collect import read_store
from leaderboard.domains import domain_tables, elsewhere
from leaderboard.render import render
from metrics.comparison.domains import apart
from metrics.score import Score, to_frame

TARGET = {
    "name": "phantom-ood", "variant": "", "data_digest": "d", "split_digest": "s",
    "findings": ["Cardiomegaly", "Pleural Effusion"],
}  # fmt: skip


def score(metric: str, value: float, **where: Any) -> Score:
    note = "" if value == value else "too few"
    return Score(metric, value, low=value - 0.0196, high=value + 0.0196, se=0.01, n=70,
                 negatives=60, note=note, **where)  # fmt: skip


def side(auc: float, fpr: float, contrast: float, pair: str = "B - A") -> list[Score]:
    """The averages of one side, against both sets of labels."""
    return [
        made
        for labels in ("true", "recorded")
        for made in (
            score("auc", auc, labels=labels), score("fpr", fpr, labels=labels),
            score("fnr_contrast", contrast, attribute="race", group=pair, labels=labels),
        )
    ]  # fmt: skip


def store_run(
    output: Path, method: str, seed: int = 0, *, inside: float = 0.80, outside: float = 0.70,
    target: dict[str, Any] = TARGET, pair: str = "B - A", **changes: Any,
) -> None:  # fmt: skip
    content = run_json(PHANTOM, method, seed, targets=[target], **changes)
    directory = write_run(output, content, scores(PHANTOM, method, seed))
    frames = [
        to_frame(side(*values, pair)).assign(domain=domain, thresholds=thresholds)
        for domain, thresholds, values in (
            ("in", "source", (inside, 0.20, 0.10)), ("out", "source", (outside, 0.31, 0.15)),
            ("out", "target", (outside, 0.19, 0.12)),
        )
    ]  # fmt: skip
    folder = directory / "ood" / target["name"]
    folder.mkdir(parents=True)
    pd.concat(frames).to_parquet(folder / "scores.parquet")


def tables(output: Path) -> list[dict[str, Any]]:
    """Each table with its rows by method and labels."""
    store = read_store(output)
    found = elsewhere(store)
    made = []
    for section in sections(store):
        for table in domain_tables(section, found):
            columns = [f"{c.group}: {c.title}".strip(": ") for c in table.columns]
            rows: dict[tuple[str, str], dict[str, Any]] = {}
            name = ""
            for row in table.rows:
                name = row.cells[0].text if row.cells[0] is not None else name
                texts = dict(zip(columns, row.cells, strict=True))
                rows[name, texts["labels"].text] = texts
            made.append({"caption": table.caption, "rows": rows})
    return made


def test_each_method_has_both_sides_and_their_difference(tmp_path: Path) -> None:
    store_run(tmp_path, "erm")
    store_run(tmp_path, "upsample", outside=0.75)
    (table,) = tables(tmp_path)
    assert table["caption"].startswith(
        "In-domain and out-of-domain: trained on phantom, tested on phantom-ood; mean over the 2 "
    )
    erm = table["rows"]["erm", "true"]
    assert erm["Macro AUC: in domain"].text == "0.800"
    assert erm["Macro AUC: out of domain"].text == "0.700"
    shift = erm["Macro AUC, difference: out − in"]
    # Two independent sets: sqrt(0.01^2 + 0.01^2) = 0.01414, times 1.96 is 0.0277.
    assert (shift.text, shift.small[0]) == ("−0.100", "−0.128 to −0.072")
    assert table["rows"]["upsample", "recorded"]["Macro AUC, difference: out − in"].text == "−0.050"


def test_thresholds_of_both_sides_stand_beside_each_other(tmp_path: Path) -> None:
    store_run(tmp_path, "erm")
    (table,) = tables(tmp_path)
    erm = table["rows"]["erm", "true"]
    rates = [erm[f"False positive rate: {t}"] for t in
             ("in domain", "out of domain", "out, its own thresholds")]  # fmt: skip
    assert [r.text for r in rates] == ["0.200", "0.310", "0.190"]
    assert rates[1].small[-1] == "of 60"
    contrast = "FNR contrast, race: B − A"
    assert erm[f"{contrast}: out of domain"].text == "+0.150"
    assert erm[f"{contrast}: out, its own thresholds"].text == "+0.120"
    assert erm["Test patients: in / out"].text == "70 / 70"


def test_a_reversed_pair_is_turned_round(tmp_path: Path) -> None:
    store_run(tmp_path, "erm", pair="A - B")
    (table,) = tables(tmp_path)
    assert table["rows"]["erm", "true"]["FNR contrast, race: B − A: out of domain"].text == "−0.150"


def test_seeds_share_the_patients_of_both_sets(tmp_path: Path) -> None:
    for seed, outside in enumerate((0.70, 0.72)):
        store_run(tmp_path, "erm", seed, outside=outside)
    found = elsewhere(read_store(tmp_path)).table
    (shift,) = found[
        (found["metric"] == "ood/phantom-ood/auc_shift") & (found["labels"] == "true")
    ].to_dict("records")
    assert shift["value"] == pytest.approx(-0.09)
    assert (shift["runs"], shift["tests"], shift["of"]) == (2, 1, "patients + seeds")
    # Two seeds are a guess at their variance: the interval is wider than patients alone make it.
    assert shift["high"] - shift["value"] > 1.96 * math.sqrt(2) * 0.01


def test_data_sets_with_other_fields_are_not_averaged(tmp_path: Path) -> None:
    store_run(tmp_path, "erm")
    store_run(tmp_path, "upsample", target=TARGET | {"variant": "site=0"})
    captions = [table["caption"] for table in tables(tmp_path)]
    assert len(captions) == 2 and "tested on phantom-ood site=0;" in captions[1]


def test_a_run_that_a_later_one_replaces_still_counts_where_it_was_tested(tmp_path: Path) -> None:
    store_run(tmp_path, "erm", key="a" * 16, finished="2026-01-01T00:00:00")
    later = run_json(PHANTOM, "erm", key="b" * 16, finished="2026-01-02T00:00:00")
    write_run(tmp_path, later, scores(PHANTOM, "erm", 0))
    (table,) = tables(tmp_path)
    assert table["rows"]["erm", "true"]["Macro AUC: out of domain"].text == "0.700"


def test_results_that_are_lost_are_told_and_do_not_stop_the_page(tmp_path: Path) -> None:
    store_run(tmp_path, "erm")
    for file in tmp_path.rglob("ood/*/scores.parquet"):
        file.unlink()
    store = read_store(tmp_path)
    assert not store.tested and "phantom-ood" in store.left_out[0]


def test_page_markdown_and_csv_hold_the_table(tmp_path: Path) -> None:
    store_run(tmp_path / "output", "erm")
    written = render(read_store(tmp_path / "output"), tmp_path / "out")
    for file in (written.page, written.markdown):
        assert "In-domain and out-of-domain: trained on phantom" in file.read_text()
    csv = pd.read_csv(written.table)
    assert {"ood/phantom-ood/in/auc", "ood/phantom-ood/out/auc", "ood/phantom-ood/auc_shift",
            "ood/phantom-ood/out_target_thresholds/fpr"} <= set(csv["metric"])  # fmt: skip


def test_a_page_without_such_runs_says_nothing_of_them(tmp_path: Path) -> None:
    write_run(tmp_path / "output", run_json(PHANTOM, "erm"), scores(PHANTOM, "erm", 0))
    written = render(read_store(tmp_path / "output"), tmp_path / "out")
    assert "In-domain and out-of-domain" not in written.page.read_text()
    assert "ood/" not in written.table.read_text()


def test_variances_of_independent_sets_add() -> None:
    # 3-4-5: sqrt(0.03^2 + 0.04^2) = 0.05
    assert apart(0.8, 0.03, 0.7, 0.04) == pytest.approx(
        (-0.1, -0.1 - 0.098, -0.1 + 0.098), abs=1e-5
    )
