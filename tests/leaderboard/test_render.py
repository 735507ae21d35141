"""The files of the leaderboard."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from synthetic_store import PHANTOM, SMALL, run_json, scores, write_run

from leaderboard.collect import Store, read_store
from leaderboard.render import escape_markdown, render, write

VOID = {"meta", "img", "br", "link", "input", "hr", "wbr"}


class Outline(HTMLParser):
    """Checks that tags are balanced, and collects ids, links, sources and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            target = {"id": self.ids, "href": self.links, "src": self.sources}.get(name)
            if target is not None:
                target.append(value or "")
            assert not name.startswith("on"), f"{tag} has a script in {name}"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def outline(page: str) -> Outline:
    parsed = Outline()
    parsed.feed(page)
    parsed.close()
    assert parsed.open == []
    return parsed


def test_the_page_is_balanced_and_its_anchors_are_unique(page: str) -> None:
    parsed = outline(page)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {link.removeprefix("#") for link in parsed.links} <= set(parsed.ids)


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    parsed = outline(page)
    assert not parsed.tags & {"script", "link", "iframe", "object", "embed"}
    assert parsed.sources
    assert all(source.startswith("data:image/svg+xml;base64,") for source in parsed.sources)
    assert all(link.startswith("#") for link in parsed.links)
    assert not re.search(r"url\(|@import", page)


def test_simulated_and_real_data_are_apart(page: str) -> None:
    start, real = page.index("<h2>Simulated data"), page.index("<h2>Real data")
    end = page.index('<section id="not-compared"')
    assert start < real < end
    assert 'class="banner"' in page[start:real]
    assert "Nothing about real groups follows" in page[start:real]
    assert "covid-chestxray" not in page[start:real]
    assert "phantom" not in page[real:end]
    assert "SIMULATED" not in page[real:end]


def test_simulated_and_real_data_are_apart_in_markdown(rendered: Path) -> None:
    text = (rendered / "leaderboard.md").read_text(encoding="utf-8")
    simulated, real = text.split("## Real data")
    assert "covid-chestxray" not in simulated
    assert "phantom" not in real.split("## Runs not compared")[0]
    assert "**SIMULATED.**" in simulated


def test_without_simulated_data_nothing_says_simulated(tmp_path: Path) -> None:
    from synthetic_store import COVID

    write_run(tmp_path, run_json(COVID, "erm"), scores(COVID, "erm", 0))
    render(read_store(tmp_path), tmp_path / "out")
    assert "SIMULATED" not in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_undefined_cells_give_their_reason(page: str) -> None:
    assert f"n/a</span> <small>({SMALL})</small>" in page
    assert ">nan<" not in page.lower()


def test_failed_runs_are_listed_and_not_compared(page: str) -> None:
    compared, rest = page.split('<section id="not-compared"')
    assert "dpsgd" not in compared
    assert "epsilon must be &gt; 0" in rest
    assert "broken_json" in rest


def test_what_a_method_needs_at_test_time_and_notes_are_shown(page: str) -> None:
    assert "needed at test time" in page
    assert "audit reuses train" in page


def test_no_method_is_called_best_or_ranked(page: str) -> None:
    text = " ".join(outline(page).text).lower()
    assert "winner" not in text
    assert not re.search(r"\bbest\b", text)
    assert '<th scope="col">rank' not in page


def test_rendering_twice_gives_equal_bytes(store: Store, rendered: Path, tmp_path: Path) -> None:
    render(store, tmp_path)
    first = {p.relative_to(rendered): p.read_bytes() for p in rendered.rglob("*") if p.is_file()}
    second = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert first == second
    assert len(first) > 10


def test_the_table_holds_every_estimate_unrounded(rendered: Path) -> None:
    table = pd.read_csv(rendered / "leaderboard.csv", keep_default_na=False, na_values=["nan", ""])
    assert {"kind", "dataset", "method", "metric", "value", "low", "high", "note"} <= set(table)
    assert set(table["kind"]) == {"simulated", "real"}
    assert (table["value"].dropna().round(3) != table["value"].dropna()).mean() > 0.9


def test_the_table_holds_the_differences_to_erm(rendered: Path) -> None:
    table = pd.read_csv(rendered / "leaderboard.csv", keep_default_na=False, na_values=["nan", ""])
    found = table[table["metric"] == "auc_minus_erm"]
    assert set(found["method"]) == {
        "erm",
        "upsample",
        "anonymized",
        "group_thresholds",
        "downsample",
    }
    assert set(found.loc[found["method"] == "erm", "method_variant"]) == {"lr=0.01 epochs=3"}
    assert found["low"].le(found["value"]).all()


def test_pictures_of_the_markdown_exist(rendered: Path) -> None:
    text = (rendered / "leaderboard.md").read_text(encoding="utf-8")
    named = re.findall(r"\]\((figures/[^)]+)\)", text)
    assert named
    assert all((rendered / name).is_file() for name in named)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", 'a|b" onload="x', "`a` [b](c)"])
def test_hostile_names_are_harmless(tmp_path: Path, name: str) -> None:
    content = run_json(PHANTOM, name, dataset=f"data {name}", data_variant=name, notes=[name])
    made = scores(PHANTOM, name, 0)
    write_run(tmp_path, content | {"command": name, "released": name}, made)
    failed = run_json(PHANTOM, "erm", status="FAILED", error=name, command=name)
    write_run(tmp_path, failed)
    render(read_store(tmp_path), tmp_path / "out")
    parsed = outline((tmp_path / "out" / "index.html").read_text(encoding="utf-8"))
    assert "script" not in parsed.tags
    assert any(name in text for text in parsed.text)
    text = (tmp_path / "out" / "leaderboard.md").read_text(encoding="utf-8")
    assert "<script" not in text
    for line in text.splitlines():
        if line.startswith("|"):
            cells = len(re.findall(r"(?<!\\)\|", line)) - 1
            assert cells in (4, 5, 6, 10)


def test_markdown_is_escaped() -> None:
    assert escape_markdown("a|b <i> *c* `d` [e](f) \\ &\ng") == (
        r"a\|b &lt;i&gt; \*c\* \`d\` \[e\](f) \\ &amp; g"
    )


def test_names_that_differ_only_in_odd_characters_have_their_own_pictures(tmp_path: Path) -> None:
    for method in ("a|b", "a/b"):
        content = run_json(PHANTOM, method)
        write_run(tmp_path / method[1].encode().hex(), content, scores(PHANTOM, method, 0))
    merged = tmp_path / "merged"
    for method in ("a|b", "a/b"):
        source = tmp_path / method[1].encode().hex() / "phantom" / "a_b"
        for run in source.iterdir():
            target = merged / "phantom" / "a_b" / run.name
            target.parent.mkdir(parents=True, exist_ok=True)
            run.rename(target)
    written = render(read_store(merged), tmp_path / "out")
    assert len(set(written.figures)) == len(written.figures) == 4


def test_an_empty_store_renders_a_friendly_page(tmp_path: Path) -> None:
    render(read_store(tmp_path), tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    outline(page)
    assert "No finished runs yet" in page
    assert "python runner.py --method erm --dataset phantom" in page


def test_a_store_of_failures_only_lists_them(tmp_path: Path) -> None:
    write_run(tmp_path, run_json(PHANTOM, "erm", status="FAILED", error="no memory"))
    render(read_store(tmp_path), tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "No finished runs yet" in page
    assert "no memory" in page


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "index.html"
    write(path, b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [left.name for left in tmp_path.iterdir()] == ["index.html"]
