"""`python -m datasets prepare`: what it makes, what it tells, and that it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted import make_clean

from datasets.__main__ import main


@pytest.fixture
def tree(tmp_path: Path, plugin: str) -> Path:
    make_clean(tmp_path / "tree")
    return tmp_path / "tree"


def prepared(tree: Path, *more: str) -> int:
    given = ["--dataset", "listed", "--plugin", str(tree.parent / "mine.py")]
    given += ["--data-root", str(tree), "--image-size", "32", "--workers", "1"]
    return main(["prepare", *given, *more])


def test_the_summary_tells_images_shards_bytes_and_the_next_command(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepared(tree) == 0
    told = capsys.readouterr().out
    assert "listed: 200 images of 200 patients" in told
    # 200 pictures of 32 x 32 bytes and 64 bytes of list each, in one shard with two headers.
    assert f"1 shards, {(200 * (1024 + 64) + 2 * 128) / 1e3:.0f} kB" in told
    assert "bad images   none" in told
    assert "next: python runner.py --method erm --dataset listed" in told


def test_a_second_call_finds_everything_there(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(tree)
    capsys.readouterr()
    assert prepared(tree) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "preparing images: 200 of 200"


def test_a_bad_image_gives_1_and_the_others_are_prepared(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "pictures" / "003.png").unlink()
    assert prepared(tree) == 1
    told = capsys.readouterr().out
    assert "prepared     199 images" in told
    assert "bad images   1 image file missing" in told and "pictures/003.png: no such file" in told


def test_bad_images_that_are_dropped_give_0(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "pictures" / "003.png").unlink()
    assert prepared(tree, "--on-bad-image", "drop") == 0
    assert "--on-bad-image drop" in capsys.readouterr().out.splitlines()[-1]


def test_without_any_image_drop_is_a_failure_too(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (tree / "pictures").iterdir():
        path.unlink()
    assert prepared(tree, "--on-bad-image", "drop") == 1


@pytest.mark.parametrize(
    "more", [["--workers", "0"], ["--image-size", "8"], ["--on-bad-image", "ignore"]]
)
def test_wrong_usage_is_one_sentence(
    more: list[str], tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepared(tree, *more) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1
