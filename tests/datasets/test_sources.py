"""A row is found as a file, a row of a stack or a row of a recipe, and only below the root."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from datasets import sources
from datasets.images import open_images, prepare
from datasets.split import Split

SIZE = 32


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRILEMMA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def split(root: Path, paths: Sequence[str]) -> Split:
    frame = pd.DataFrame({"path": list(paths), "origin": "real"})
    frame["image_id"] = frame["patient_id"] = [f"i{k}" for k in range(len(paths))]
    return Split("all", frame, root, (), ())


def paint(path: Path, value: int) -> None:
    Image.new("L", (40, 40), value).save(path)


# Links


def test_link_out_of_the_root_is_refused(root: Path, tmp_path: Path) -> None:
    paint(tmp_path / "secret.png", 5)
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ValueError, match=r"link\.png: .* leads outside"):
        prepare(split(root, ["link.png"]), SIZE)


def test_linked_folder_out_of_the_root_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "data-elsewhere").mkdir()
    paint(tmp_path / "data-elsewhere" / "a.png", 5)
    (root / "folder").symlink_to(tmp_path / "data-elsewhere")
    with pytest.raises(ValueError, match="leads outside"):
        prepare(split(root, ["folder/a.png"]), SIZE)


def test_linked_folder_above_others_out_of_the_root_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "data-elsewhere" / "b" / "c").mkdir(parents=True)
    paint(tmp_path / "data-elsewhere" / "b" / "c" / "a.png", 5)
    (root / "folder").symlink_to(tmp_path / "data-elsewhere")
    with pytest.raises(ValueError, match="leads outside"):
        prepare(split(root, ["folder/b/c/a.png"]), SIZE)


@pytest.mark.parametrize("path", ["../secret.png", "a/../../secret.png", "../data/../secret.png"])
def test_way_out_of_the_root_is_refused(root: Path, tmp_path: Path, path: str) -> None:
    (root / "a").mkdir()
    paint(tmp_path / "secret.png", 5)
    found, faults = sources.find_sources(root, [path], tmp_path)
    assert not found and "leads outside" in faults[0].detail


def test_linked_folder_within_the_root_is_followed(root: Path) -> None:
    (root / "real" / "deep").mkdir(parents=True)
    paint(root / "real" / "deep" / "a.png", 10)
    (root / "alias").symlink_to("real")
    (root / "real" / "back").symlink_to(root / "real" / "deep")
    paths = ["alias/deep/a.png", "alias/back/a.png", "./alias/./back/a.png", "real//deep/a.png"]
    assert (open_images(split(root, paths), SIZE).take() == 10).all()


@pytest.mark.parametrize("path", ["a\0.png", "a\0/b.png"])
def test_path_with_a_zero_byte_is_unreadable(root: Path, path: str) -> None:
    found, faults = sources.find_sources(root, [path, "."], root)
    assert not found and "null byte" in faults[0].detail


def test_path_of_very_many_levels_is_missing(root: Path) -> None:
    _, faults = sources.find_sources(root, ["a/" * 1900 + "a.png"], root)
    assert len(faults) == 1


def test_link_within_the_root_is_followed(root: Path) -> None:
    paint(root / "real.png", 10)
    (root / "link.png").symlink_to(root / "real.png")
    assert open_images(split(root, ["link.png"]), SIZE).take()[0, 0, 0] == 10


def test_linked_root_is_followed(root: Path, tmp_path: Path) -> None:
    paint(root / "a.png", 10)
    (tmp_path / "alias").symlink_to(root)
    assert open_images(split(tmp_path / "alias", ["a.png"]), SIZE).take()[0, 0, 0] == 10


def test_folder_in_place_of_a_file_is_unreadable(root: Path) -> None:
    (root / "a.png").mkdir()
    with pytest.raises(ValueError, match="not a file"):
        prepare(split(root, ["a.png"]), SIZE)


# Stacks and recipes


def stack(root: Path, shape: tuple[int, ...] = (4, SIZE, SIZE)) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    np.save(root / "s.npy", pixels)
    return pixels


def test_stack_of_the_right_size_is_mapped_and_not_copied(root: Path, cache: Path) -> None:
    pixels = stack(root)
    images = open_images(split(root, ["s.npy#3", "s.npy#0"]), SIZE)
    assert np.array_equal(images.take(), pixels[[3, 0]])
    assert isinstance(images.stacks[0], np.memmap) and not (cache / "images").exists()


def test_stack_of_another_size_is_resized(root: Path) -> None:
    np.save(root / "s.npy", np.full((2, 64, 128), 50, dtype=np.uint8))
    picture = open_images(split(root, ["s.npy#1"]), SIZE).take()[0]
    assert (picture[8:24] == 50).all() and (picture[:8] == 0).all() and (picture[24:] == 0).all()


def test_files_and_stacks_stand_in_one_table(root: Path) -> None:
    pixels = stack(root)
    paint(root / "a.png", 10)
    images = open_images(split(root, ["s.npy#1", "a.png", "s.npy#2"]), SIZE).take()
    assert np.array_equal(images[[0, 2]], pixels[1:3]) and (images[1] == 10).all()


def test_row_beyond_the_stack_is_refused(root: Path) -> None:
    stack(root)
    with pytest.raises(ValueError, match=r"s\.npy#4: .*row 4 is asked of a stack of 4"):
        open_images(split(root, ["s.npy#4"]), SIZE)


@pytest.mark.parametrize(
    "array", [np.zeros((2, 32, 32)), np.zeros((32, 32), np.uint8), np.zeros((2, 8, 8), np.uint8)]
)
def test_other_arrays_are_no_stack(root: Path, array: np.ndarray) -> None:
    np.save(root / "s.npy", array)
    with pytest.raises(ValueError, match="a stack must be uint8"):
        open_images(split(root, ["s.npy#0"]), SIZE)


def test_pickled_array_is_not_loaded(root: Path) -> None:
    np.save(root / "s.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="not a stack"):
        open_images(split(root, ["s.npy#0"]), SIZE)


def test_stack_written_anew_within_a_tick_is_read_anew(root: Path) -> None:
    stack(root)
    stamp = (root / "s.npy").stat().st_mtime_ns
    table = split(root, ["s.npy#0"])
    before = open_images(table, SIZE).digest()
    np.save(root / "s.npy", np.zeros((4, SIZE, SIZE), np.uint8))
    os.utime(root / "s.npy", ns=(stamp, stamp))
    assert open_images(table, SIZE).digest() != before


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Stands for the renderer: row r of a recipe is of grey value r. Lists rows asked for."""
    asked: list[tuple[int, ...]] = []

    def render_rows(recipe: Path, rows: np.ndarray, size: int, threads: int = 1) -> np.ndarray:
        asked.append(tuple(int(r) for r in rows))
        return np.repeat(rows.astype(np.uint8), size * size).reshape(-1, size, size)

    module = ModuleType("datasets.phantom_render")
    module.render_rows = render_rows  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets.phantom_render", module)
    return asked


def test_recipe_rows_are_rendered_once(root: Path, rendered: list[tuple[int, ...]]) -> None:
    (root / "p.phantom").write_text("{}")
    table = split(root, ["p.phantom#7", "p.phantom#2", "p.phantom#7"])
    for _ in range(2):
        assert open_images(table, SIZE).take()[:, 0, 0].tolist() == [7, 2, 7]
    assert rendered == [(7, 2)]


def test_equal_recipes_elsewhere_share_pixels(
    root: Path, tmp_path: Path, rendered: list[tuple[int, ...]]
) -> None:
    (root / "p.phantom").write_text("{}")
    (tmp_path / "q.phantom").write_text("{}")
    open_images(split(root, ["p.phantom#7"]), SIZE)
    open_images(split(tmp_path, ["q.phantom#7"]), SIZE)
    assert len(rendered) == 1


def test_other_recipe_is_rendered_anew(root: Path, rendered: list[tuple[int, ...]]) -> None:
    for text in ("{}", "[]"):
        (root / "p.phantom").write_text(text)
        open_images(split(root, ["p.phantom#7"]), SIZE)
    assert len(rendered) == 2


def test_two_readers_at_once_both_keep_the_digest_of_a_file(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = root / "stack.npy"
    np.save(file, np.zeros((2, SIZE, SIZE), np.uint8))
    os.utime(file, (1, 1))  # long since settled
    together, put = threading.Barrier(2, timeout=20), Path.replace

    def both_have_written(draft: Path, target: Path) -> Path:
        together.wait()
        return put(draft, target)

    monkeypatch.setattr(Path, "replace", both_have_written)
    with ThreadPoolExecutor(2) as pool:
        read = [
            pool.submit(sources.content_digest, str(file), file.stat(), cache) for _ in range(2)
        ]
        digests = {found.result() for found in read}
    assert len(digests) == 1
    (kept,) = (cache / "digests").iterdir()
    assert {kept.read_text()} == digests
