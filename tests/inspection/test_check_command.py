"""`python -m datasets check`: exit codes, the page, and what restricted data keep."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from planted import edit, make_clean

from datasets.__main__ import main
from registry import ROOT

sys.path.insert(0, str(ROOT / "tests" / "datasets"))

from trees import mimic_cxr, nih_cxr14


def checked(root: Path, plugin: str, *more: str) -> int:
    out = str(root.parent / "out")
    return main(["check", "--dataset", "listed", "--plugin", plugin, "--data-root", str(root),
                 "--image-size", "32", "--out", out, *more])  # fmt: skip


def test_a_clean_tree_gives_0_and_names_the_next_command(
    tmp_path: Path, plugin: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_clean(tmp_path / "tree")
    assert checked(tmp_path / "tree", plugin) == 0
    told = capsys.readouterr().out
    assert told.startswith("listed: Nothing was found.")
    assert "next: python -m datasets prepare --dataset listed" in told
    assert "Nothing was found." in (tmp_path / "out" / "check.html").read_text()


def test_the_next_command_on_the_terminal_can_be_given_as_it_is_and_the_page_names_no_folder(
    tmp_path: Path, plugin: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "a tree"
    make_clean(root)
    assert checked(root, plugin) == 0
    assert capsys.readouterr().out.rstrip().endswith(f"--data-root '{root}'")
    page = (tmp_path / "out" / "check.html").read_text()
    assert "--data-root DIR" in page and str(root) not in page


def test_a_warning_alone_gives_0(tmp_path: Path, plugin: str) -> None:
    make_clean(tmp_path / "tree")
    edit(tmp_path / "tree", "age", [1], [414])
    assert checked(tmp_path / "tree", plugin) == 0


def test_an_error_gives_1_and_the_page_names_it(
    tmp_path: Path, plugin: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_clean(tmp_path / "tree")
    (tmp_path / "tree" / "pictures" / "003.png").unlink()
    assert checked(tmp_path / "tree", plugin) == 1
    assert "error: 1 of 200 image files are not there." in capsys.readouterr().out
    assert "pictures/003.png" in (tmp_path / "out" / "check.html").read_text()


def test_all_images_leaves_them_prepared(
    tmp_path: Path, plugin: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from inspection.checking import files

    monkeypatch.setattr(files, "SAMPLE", 20)
    make_clean(tmp_path / "tree")
    assert checked(tmp_path / "tree", plugin) == 0
    assert "to prepare   180 images" in capsys.readouterr().out
    assert checked(tmp_path / "tree", plugin, "--all-images") == 0
    assert "nothing: all images are in the cache" in capsys.readouterr().out


def test_names_in_the_page_are_escaped(tmp_path: Path, plugin: str) -> None:
    make_clean(tmp_path / "tree")
    edit(tmp_path / "tree", "sex", [1], ["<script>alert(1)</script>"])
    checked(tmp_path / "tree", plugin)
    page = (tmp_path / "out" / "check.html").read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_the_page_of_restricted_data_names_no_person_or_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "tree", tmp_path / "out"
    root.mkdir()
    mimic_cxr.make(root)
    from datasets.mimic_cxr import MimicCxr

    frame = MimicCxr().table(root).frame
    names = {*frame["patient_id"].astype(str), *frame["image_id"].astype(str)}
    (root / str(frame["path"].iloc[0])).unlink(missing_ok=True)
    main(["check", "--dataset", "mimic-cxr", "--data-root", str(root), "--out", str(out),
          "--image-size", "32"])  # fmt: skip
    assert not [name for name in names if name in (out / "check.html").read_text()]


def test_an_unknown_value_of_a_list_in_one_column_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    nih_cxr14.make(root)
    (listed,) = root.glob("Data_Entry*")
    text = listed.read_text()
    assert "No Finding" in text
    listed.write_text(text.replace("No Finding", "No Finding|Dragon", 1))
    main(["check", "--dataset", "nih-cxr14", "--data-root", str(root), "--image-size", "32",
          "--out", str(tmp_path / "out")])  # fmt: skip
    assert "'Dragon' (1 rows)" in capsys.readouterr().out


@pytest.mark.parametrize("size", ["8", "big"])
def test_a_wrong_size_is_wrong_usage(
    size: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--dataset", "phantom", "--image-size", size]) == 2
    assert capsys.readouterr().err.startswith("error: --image-size must")
