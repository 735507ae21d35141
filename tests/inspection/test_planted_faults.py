"""Every planted fault is found, and nothing in a clean tree."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from planted import TEST, TRAIN, VAL, Listed, edit, make_clean

from inspection.checking.checker import Checked, check
from inspection.checking.problems import ERROR, NOTE, WARNING

FIRST_TEST = TRAIN + VAL
ALL = TRAIN + VAL + TEST


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clean") / "tree"
    make_clean(root)
    return root


@pytest.fixture
def tree(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "tree"))


def checked(root: Path) -> Checked:
    return check(Listed(), root, size=32)


def picture(root: Path, i: int) -> Path:
    return root / "pictures" / f"{i:03d}.png"


def empty_folder(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


def one_level_deeper(root: Path) -> None:
    (root / "release-1.0").mkdir()
    for name in ("list.csv", "pictures"):
        (root / name).rename(root / "release-1.0" / name)


def damaged_table(root: Path) -> None:
    text = (root / "list.csv").read_text()
    (root / "list.csv").write_text(text + '"never closed,' * 3)


def missing_column(root: Path) -> None:
    text = (root / "list.csv").read_text()
    (root / "list.csv").write_text(text.replace("sex", "gender_of_patient", 1))


def twice(root: Path) -> None:
    lines = (root / "list.csv").read_text().splitlines()
    (root / "list.csv").write_text("\n".join([*lines, lines[1]]) + "\n")


def bomb(root: Path) -> None:
    """A picture of 60,000 x 60,000 pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    picture(root, 3).write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def link_outside(root: Path) -> None:
    outside = root.parent / "elsewhere.png"
    shutil.copy(picture(root, 3), outside)
    picture(root, 3).unlink()
    picture(root, 3).symlink_to(outside)


def no_file(root: Path) -> None:
    for path in (root / "pictures").iterdir():
        path.unlink()


def folder_for_a_file(root: Path) -> None:
    picture(root, 3).unlink()
    picture(root, 3).mkdir()


def shaped(height: int, width: int) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        noise = np.random.default_rng(1).integers(0, 255, (height, width), dtype=np.uint8)
        Image.fromarray(noise).save(picture(root, 3))

    return plant


def written(data: bytes) -> Callable[[Path], None]:
    return lambda root: void(picture(root, 3).write_bytes(data))


def edited(column: str, rows: list[int], values: list[object]) -> Callable[[Path], None]:
    return lambda root: edit(root, column, rows, values)


def copied(source: int, target: int) -> Callable[[Path], None]:
    return lambda root: void(shutil.copy(picture(root, source), picture(root, target)))


def brighter(root: Path) -> None:
    pixels = np.asarray(Image.open(picture(root, 3)))
    Image.fromarray((pixels + 40).astype(np.uint8)).save(picture(root, FIRST_TEST))


def persons(text: str) -> Callable[[Path], None]:
    return lambda root: void((root / "same_person.csv").write_text(text))


def void(_: object) -> None:
    """Drop a result."""


def rows_of(first: int, last: int) -> list[int]:
    return list(range(first, last))


TESTED = rows_of(FIRST_TEST, ALL)
MEN = [i for i in TESTED if i % 2 == 0]
PAIR = "patientid_a,patientid_b\n"
FAULTS: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "nothing in the folder": (empty_folder, {"empty folder", "no table"}),
    "no table": (lambda r: (r / "list.csv").unlink(), {"missing table", "no table"}),
    "all one level deeper": (
        one_level_deeper, {"missing table", "missing folder", "no table"}),
    "no folder of pictures": (
        lambda r: shutil.rmtree(r / "pictures"), {"missing folder", "no image there"}),
    "table without bytes": (
        lambda r: void((r / "list.csv").write_text("")), {"empty table", "no table"}),
    "table without rows": (
        lambda r: void((r / "list.csv").write_text("file,patient,sex,age,fold,Effusion,Mass\n")),
        {"empty table", "no table"}),
    "table cut in a quote": (damaged_table, {"damaged table", "no table"}),
    "column renamed": (missing_column, {"missing column", "no table"}),
    "sex not known": (edited("sex", [1, 2], ["Q", "Q"]), {"unknown value"}),
    "sex blank on all rows": (edited("sex", rows_of(0, ALL), [""] * ALL), {"attribute blank"}),
    "label in words": (edited("Mass", [1], ["yes"]), {"not a number", "no table"}),
    "label of 2": (edited("Mass", [1], ["2"]), {"no table"}),
    "age of 414": (edited("age", [1], [414]), {"absurd age"}),
    "patient blank": (edited("patient", [1], [""]), {"blank name", "no table"}),
    "file blank": (edited("file", [1], [""]), {"blank name", "no table"}),
    "image on two rows": (twice, {"image listed twice"}),
    "image of two patients": (
        edited("file", [1], ["000.png"]), {"image of two patients", "image listed twice",
                                           "picture of two patients"}),
    "path that leads out": (edited("file", [1], ["../../000.png"]), {"no table"}),
    "file missing": (lambda r: picture(r, 3).unlink(), {"missing image"}),
    "all files missing": (
        no_file, {"no image there"}),
    "file without bytes": (written(b""), {"empty image"}),
    "file cut short": (
        lambda r: void(picture(r, 3).write_bytes(picture(r, 3).read_bytes()[:600])),
        {"cut image"}),
    "web page for a picture": (
        written(b"<!DOCTYPE html><html><body>Sign in</body></html>"), {"not an image"}),
    "pointer for a picture": (
        written(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        {"not an image"}),
    "no picture at all": (written(b"\x01\x02" * 400), {"unreadable image"}),
    "icon": (shaped(8, 8), {"absurd size"}),
    "decompression bomb": (bomb, {"absurd size"}),
    "link out of the root": (link_outside, {"link out of the root"}),
    "folder for a file": (
        folder_for_a_file, {"not a usable file"}),
    "smaller than the run": (shaped(24, 24), {"smaller than the run"}),
    "strip": (shaped(40, 200), {"odd shape"}),
    "blank picture": (
        lambda r: Image.fromarray(np.zeros((40, 40), np.uint8)).save(picture(r, 3)),
        {"blank picture"}),
    "same picture in two folds": (copied(3, FIRST_TEST), {"same image"}),
    "nearly the same picture in two folds": (brighter, {"near-duplicate image"}),
    "same picture in one fold": (copied(3, 4), {"picture of two patients"}),
    "patient in two folds": (
        edited("patient", [3], [f"p{FIRST_TEST}"]), {"patient in two folds"}),
    "person under two ids": (
        persons(f"{PAIR}p3,p{FIRST_TEST}\n"), {"same person under two ids"}),
    "list of persons without its columns": (persons("a,b\np3,p4\n"), {"list of persons"}),
    "list of other persons": (persons(f"{PAIR}x1,x2\n"), {"list of persons"}),
    "unknown fold": (edited("fold", [3], ["dev"]), {"no folds"}),
    "no test fold": (edited("fold", TESTED, ["train"] * TEST), {"no folds"}),
    "label constant": (
        edited("Mass", rows_of(0, ALL), [0] * ALL), {"label constant", "finding too rare"}),
    "label blank": (
        edited("Mass", rows_of(0, ALL), [""] * ALL), {"label blank", "finding too rare"}),
    "finding rare in the test fold": (edited("Mass", TESTED, [0] * TEST), {"finding too rare"}),
    "finding rare in one group": (
        edited("Mass", MEN, [int(i < FIRST_TEST + 50) for i in MEN]), {"group too small"}),
    "one id for everybody": (
        edited("patient", rows_of(0, ALL), ["p0"] * ALL),
        {"one patient", "patient in two folds"}),
    "one id for many": (
        edited("patient", rows_of(0, 45), ["p0"] * 45), {"one patient has many images"}),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_no_other(name: str, tree: Path) -> None:
    plant, rules = FAULTS[name]
    plant(tree)
    found = checked(tree).problems
    assert {p.rule for p in found if p.severity != NOTE} == rules


def test_rare_findings_are_one_warning_with_the_rarest_first(tree: Path) -> None:
    edited("Mass", TESTED, [0] * TEST)(tree)
    edited("Effusion", TESTED, [1, *[0] * (TEST - 1)])(tree)
    (found,) = checked(tree).problems
    assert found.text.startswith("Of 2 findings of 2 the test fold holds fewer than 30 patients")
    assert found.examples == ("Mass: 0 with, 136 without", "Effusion: 1 with, 135 without")


def test_an_audit_fold_that_is_the_training_fold_is_not_counted_twice(tree: Path) -> None:
    from inspection.checking.page import facts

    made = checked(tree)
    assert [name for name, *_ in made.folds] == ["train", "val", "test"]
    assert sum(images for _, images, _ in made.folds) == ALL
    assert "attackers learn from train" in dict(facts(made))["folds"]


def test_nothing_is_found_in_a_clean_tree(tree: Path) -> None:
    made = checked(tree)
    assert made.problems == () and made.clean
    assert (made.images, made.patients, made.looked) == (ALL, ALL, ALL)


def test_faults_do_not_hide_each_other(tree: Path) -> None:
    edit(tree, "age", [1], [414])
    edit(tree, "sex", [2], ["Q"])
    picture(tree, 3).unlink()
    picture(tree, 4).write_bytes(b"")
    shutil.copy(picture(tree, 5), picture(tree, FIRST_TEST))
    rules = [(p.severity, p.rule) for p in checked(tree).problems]
    assert rules == [
        (ERROR, "missing image"), (ERROR, "empty image"), (ERROR, "same image"),
        (WARNING, "unknown value"), (WARNING, "absurd age"),
    ]  # fmt: skip


def test_a_loader_that_stops_hides_no_fault_of_the_tables(tree: Path) -> None:
    edit(tree, "Mass", [1], ["yes"])
    edit(tree, "age", [2], [414])
    edit(tree, "file", [3], ["004.png"])
    rules = {p.rule for p in checked(tree).problems}
    assert {"no table", "not a number", "absurd age", "image of two patients"} <= rules


def test_occurrences_are_counted_and_the_first_five_told(tree: Path) -> None:
    for i in range(7):
        picture(tree, i).unlink()
    (found,) = checked(tree).problems
    assert found.count == 7
    assert found.examples == tuple(f"pictures/{i:03d}.png" for i in range(5))


def test_a_tree_that_lies_deeper_is_pointed_at(tree: Path) -> None:
    one_level_deeper(tree)
    told = [p.remedy for p in checked(tree).problems if p.rule.startswith("missing")]
    assert told == [f"it is in {tree / 'release-1.0'}; name that folder as --data-root"] * 2


def test_unknown_values_are_listed_with_their_counts(tree: Path) -> None:
    edit(tree, "sex", [0, 1, 2], ["Q", "Q", "X"])
    (found,) = checked(tree).problems
    assert found.examples == ("'Q' (2 rows)", "'X' (1 rows)")


def test_another_format_than_the_name_says_is_a_note(tree: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (40, 40), dtype=np.uint8)
    Image.fromarray(noise).save(picture(tree, 3), format="JPEG")
    assert [(p.severity, p.rule) for p in checked(tree).problems] == [(NOTE, "other format")]


def test_a_full_disk_is_an_error_before_anything_is_prepared(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inspection.checking import resources

    free = SimpleNamespace(free=10.0)
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: free)
    needed = resources.Needs(5, disk=11.0, free=10.0, seconds=1, memory=1, cores=1)
    assert [p.rule for p in resources.check_needs(needed)] == ["disk full"]
    table = Listed().table(tree)
    assert resources.needs(table, 48, rate=100.0, largest=1600).free == 10.0


def test_little_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    from inspection.checking import resources

    monkeypatch.setattr(resources, "available_memory", lambda: 1e6)
    needed = resources.Needs(5, disk=1.0, free=10.0, seconds=1, memory=1e9, cores=2)
    assert [(p.severity, p.rule) for p in resources.check_needs(needed)] == [
        (WARNING, "little memory")
    ]


def test_needs_are_those_of_what_is_not_prepared_yet(tree: Path) -> None:
    from inspection.checking.resources import needs

    table = Listed().table(tree)
    before = needs(table, 48, rate=10.0, largest=1600)
    assert before.images == ALL
    assert before.disk == pytest.approx(ALL * (48 * 48 + 64) + 2 * 128)
    assert before.seconds == pytest.approx(ALL / (10 * before.cores))
    check(Listed(), tree, size=48)
    assert needs(table, 48, rate=float("nan"), largest=1600).images == 0


def test_a_sample_is_the_same_for_the_same_seed(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inspection.checking import files

    monkeypatch.setattr(files, "SAMPLE", 20)
    table = Listed().table(tree)
    once, again = (files.sample_of(table, everything=False) for _ in range(2))
    assert len(once) == 20 and list(once.frame["path"]) == list(again.frame["path"])
    assert len(files.sample_of(table, everything=True)) == ALL


def test_missing_files_are_found_beyond_the_sample(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inspection.checking import files

    monkeypatch.setattr(files, "SAMPLE", 20)
    for i in range(0, ALL, 2):
        picture(tree, i).unlink()
    made = checked(tree)
    assert made.looked == 20
    assert [(p.rule, p.count) for p in made.problems] == [("missing image", ALL // 2)]


@pytest.mark.skipif(os.name != "posix", reason="links need a POSIX file system")
def test_a_link_within_the_root_is_no_fault(tree: Path) -> None:
    picture(tree, 3).rename(tree / "moved.png")
    picture(tree, 3).symlink_to(tree / "moved.png")
    assert checked(tree).problems == ()


def test_most_rows_left_out_is_a_warning(tree: Path) -> None:
    from dataclasses import replace

    from inspection.checking.contents import check_table

    table = replace(Listed().table(tree), dropped={"lateral view": 10 * ALL})
    (found,) = check_table(table, real=True)
    assert found.rule == "rows left out" and found.examples == ("lateral view: 2,000",)


def test_the_cells_of_the_test_fold_count_patients(tree: Path) -> None:
    cells = checked(tree).cells
    held = cells[(cells["finding"] == "Mass") & (cells["group"] == "Male")]
    frame = pd.read_csv(tree / "list.csv")
    mine = frame[(frame["fold"] == "test") & (frame["sex"] == "M")]
    assert held[["positives", "negatives"]].to_numpy().tolist() == [
        [int(mine["Mass"].sum()), int((1 - mine["Mass"]).sum())]
    ]
