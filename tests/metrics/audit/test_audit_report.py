"""The page, the text and the words of an audit."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from audit_frames import table, two_findings
from sklearn.metrics import auc as area

from metrics.audit import Audit, audit
from metrics.audit.curves import reliability, roc
from metrics.audit.figures import undrawn
from metrics.cells import Cells
from metrics.score import Score
from registry import METRICS, ROOT, Entry

Make = Callable[..., pd.DataFrame]
EMPTY = {"meta", "img", "br"}


class Outline(HTMLParser):
    """Checks that tags are balanced, and collects ids, links and sources."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: dict[str, list[str]] = {"id": [], "href": [], "src": []}
        self.tags: set[str] = set()
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, text in attrs:
            self.found.get(name, []).append(text or "")
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def strange() -> Audit:
    """Two findings and a group whose names try to break out of a page."""
    frame = two_findings().rename(
        columns={"label_Mass": "label_<b>|x", "score_Mass": "score_<b>|x"}
    )
    frame["sex"] = frame["sex"].replace({"M": "M & <script>alert(1)</script> $x$"})
    return audit(frame, thresholds=0.0, replicates=30)


def test_the_page_is_balanced_and_holds_all_it_shows(strange: Audit, tmp_path: Path) -> None:
    page = strange.write(tmp_path / "out").page.read_text()
    outline = Outline(page)
    ids, sources = outline.found["id"], outline.found["src"]
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in outline.found["href"]} <= set(ids)
    assert sources
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert "script" not in outline.tags
    assert "<b>|x" not in page


def test_the_pictures_of_the_text_lie_beside_it(strange: Audit, tmp_path: Path) -> None:
    written = strange.write(tmp_path / "out")
    text = written.markdown.read_text()
    named = re.findall(r"\]\((figures/[^)]+)\)", text)
    assert sorted(named) == sorted(str(p.relative_to(tmp_path / "out")) for p in written.figures)
    assert "<script>" not in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") - line.count("\\|") for line in lines if "Edema" in line}) <= 3


def test_equal_audits_write_equal_bytes(make_frame: Make, tmp_path: Path) -> None:
    for name in ("one", "other"):
        audit(make_frame(), thresholds=0.5, replicates=20).write(tmp_path / name)
    for path in sorted((tmp_path / "one").rglob("*.*")):
        assert (
            path.read_bytes()
            == (tmp_path / "other" / path.relative_to(tmp_path / "one")).read_bytes()
        )


def test_the_table_of_numbers_is_the_scores(make_frame: Make, tmp_path: Path) -> None:
    made = audit(make_frame(), replicates=20)
    read = pd.read_csv(made.write(tmp_path / "out").scores, keep_default_na=False, na_values=[""])
    assert len(read) == len(made.scores)
    assert read["value"].to_numpy() == pytest.approx(made.scores["value"].to_numpy(), nan_ok=True)


def test_no_patient_is_named_in_what_is_written(make_frame: Make, tmp_path: Path) -> None:
    frame = make_frame()
    frame["patient"] = "secret" + frame["patient"]
    written = audit(frame, replicates=20, thresholds=0.5).write(tmp_path / "out")
    for path in (written.page, written.markdown, written.scores, *written.figures):
        assert "secret" not in path.read_text()


@pytest.fixture
def registered() -> Iterator[str]:
    """A metric that nobody has thought of, for the time of a test."""
    entries = METRICS.entries()
    facts = {"direction": "lower", "unit": "furlongs", "input": "cells"}
    METRICS._entries["oddity"] = Entry(
        "oddity", "How odd it is.", ROOT / "x.py", 1, "x", facts=facts
    )

    def oddity(cells: Cells) -> Iterator[Score]:
        yield Score("oddity", 0.125, finding="finding", n=300, positives=100, negatives=200)
        for group, v in (("F", 0.25), ("M", 0.375)):
            yield Score("oddity", v, finding="finding", attribute="sex", group=group, n=150)

    METRICS._loaded["oddity"] = oddity
    yield "oddity"
    del METRICS._entries["oddity"], METRICS._loaded["oddity"]
    assert "oddity" not in entries


def test_a_new_metric_appears_by_being_registered(
    registered: str, make_frame: Make, tmp_path: Path
) -> None:
    written = audit(make_frame(), replicates=20).write(tmp_path / "out")
    for path in (written.page, written.markdown):
        text = path.read_text()
        for part in (registered, "0.125", "0.375", "furlongs", "How odd it is."):
            assert part in text


def test_a_planted_difference_is_concluded(make_frame: Make) -> None:
    text = audit(make_frame(600, shift=1.5), thresholds=0.5, replicates=200).conclusion
    found = re.search(r"FNR is 0\.(\d+) higher in sex M than in F", text)
    assert found
    assert 200 < int(found[1]) < 600
    assert "p < 0.001" in text


def test_no_difference_is_inconclusive_and_not_equality(make_frame: Make) -> None:
    text = audit(make_frame(), thresholds=0.5, replicates=200).conclusion
    assert "none are away from zero" in text
    assert "neither a difference nor its absence is shown" in text
    assert "would have shown with 80 % chance" in text


@pytest.mark.slow
def test_where_no_group_differs_few_audits_say_so() -> None:
    said = 0
    for seed in range(300):
        made = audit(table(300, seed=seed), thresholds=0.5, replicates=200, seed=seed)
        said += bool((made.contrasts["verdict"] == "differs").any())
    assert said / 300 <= 0.075  # 5 %, and twice the error of 300 runs


def test_small_cells_are_named_with_their_counts(make_frame: Make) -> None:
    frame = make_frame().assign(sex="F")
    frame.loc[frame["patient"].isin(frame["patient"].unique()[:20]), "sex"] = "M"
    made = audit(frame, replicates=20)
    row = made.scores.query("metric == 'auc' and group == 'M' and finding == 'finding'").iloc[0]
    expected = f"sex M for finding ({row['positives']} positive, {row['negatives']} negative)"
    assert expected in made.conclusion
    assert undrawn(made, "sex") == ["M for finding"]


def test_without_attributes_nothing_is_said_of_groups(make_frame: Make, tmp_path: Path) -> None:
    made = audit(make_frame(), attributes=[], thresholds=0.5, replicates=20)
    assert "nothing about groups" in made.conclusion
    assert [p.name for p in made.write(tmp_path / "out").figures] == [
        "everybody-roc.svg", "everybody-calibration.svg",
    ]  # fmt: skip


def test_simulated_data_are_called_so(make_frame: Make) -> None:
    frame = make_frame()
    logit = np.log(frame["score"] / (1 - frame["score"]))
    run = pd.DataFrame({"patient": frame["patient"], "image": range(600), "y:A": frame["label"]})
    run = run.assign(**{"true:A": frame["label"], "logit:A": logit})
    assert "The data are simulated" in audit(run, replicates=20).conclusion


def test_a_thinned_roc_keeps_its_area() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(20000) < 0.3).astype(float)
    logits = labels + rng.normal(size=20000)
    drawn = roc(logits, labels, np.full(20000, np.nan))
    exact = np.mean(rng.choice(logits[labels == 1], 10**6) > rng.choice(logits[labels == 0], 10**6))
    assert len(drawn.fpr) < 200
    assert area(drawn.fpr, drawn.tpr) == pytest.approx(exact, abs=0.003)
    assert (drawn.fpr[0], drawn.tpr[0], drawn.fpr[-1], drawn.tpr[-1]) == (0, 0, 1, 1)


def test_ties_are_one_step_of_the_roc() -> None:
    drawn = roc(np.array([0.0, 0, 0, 0]), np.array([0.0, 1, 0, 1]), np.array([1.0, 1, 0, 0]))
    assert drawn.fpr.tolist() == [0, 1]
    assert drawn.tpr.tolist() == [0, 1]
    assert drawn.point == (0.5, 0.5)


def test_reliability_by_hand() -> None:
    labels = np.array([0.0] * 45 + [1] * 15)
    one = reliability(np.full(60, -1.0), labels, np.repeat(np.arange(20), 3))
    assert one.observed.tolist() == [0.25]
    assert one.predicted == pytest.approx([1 / (1 + np.e)])
    alone = reliability(np.full(60, -1.0), labels, np.arange(60))
    assert len(alone.observed) == 2  # 60 patients are enough for two bins
    assert one.high[0] - one.low[0] > 0.25  # patients, not images, make the interval


def test_help_answers_without_what_computes() -> None:
    code = (
        "import sys, metrics.__main__ as m; text = m.parser().format_help();"
        "assert 'to_csv' in text; assert not {'pandas', 'numpy', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
