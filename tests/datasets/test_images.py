"""Images are decoded once, in full or not at all, and found again by content."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from PIL import Image

from datasets import shards
from datasets.decode import decode
from datasets.images import cache_dir, open_images, prepare
from datasets.sources import find_sources
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


def split(root: Path, paths: Sequence[str], name: str = "all") -> Split:
    frame = pd.DataFrame({"path": list(paths)})
    frame["image_id"] = [f"i{k}" for k in range(len(paths))]
    frame["patient_id"] = frame["image_id"]
    frame["origin"] = "real"
    return Split(name, frame, root, (), (), {"lateral view": 3})


def paint(root: Path, values: Sequence[int], start: int = 0) -> list[str]:
    """Files of one constant grey value each."""
    paths = [f"{start + k}.png" for k in range(len(values))]
    for path, value in zip(paths, values, strict=True):
        Image.new("L", (40, 40), value).save(root / path)
    return paths


def shard_files(cache: Path) -> list[Path]:
    return sorted(p for p in (cache / "images").rglob("*.npy") if "index" not in p.name)


def count_decoded(monkeypatch: pytest.MonkeyPatch, stop_after: int = 10**9) -> list[int]:
    """A list that grows by one per decoded image; decoding stops with an interrupt after some."""
    done: list[int] = []

    def counting(data: bytes, size: int) -> np.ndarray:
        if len(done) >= stop_after:
            raise KeyboardInterrupt
        done.append(1)
        return decode(data, size)

    monkeypatch.setattr(shards, "decode", counting)
    return done


# Reading


def test_images_stand_in_the_order_of_the_table(root: Path) -> None:
    paths = paint(root, [10, 20, 30])
    images = open_images(split(root, [paths[2], paths[0], paths[1]]), SIZE)
    assert images.take()[:, 16, 16].tolist() == [30, 10, 20]
    assert images.take().shape == (3, SIZE, SIZE) and len(images) == 3


def test_repeated_rows_repeat_the_image(root: Path) -> None:
    a, b = paint(root, [10, 20])
    images = open_images(split(root, [a, b, a, a]), SIZE)
    assert images.take()[:, 0, 0].tolist() == [10, 20, 10, 10]


@pytest.mark.parametrize("rows", [np.array([2, 0]), np.array([True, False, True])])
def test_take_reads_the_asked_rows(root: Path, rows: np.ndarray) -> None:
    values = np.array([10, 20, 30])
    images = open_images(split(root, paint(root, values.tolist())), SIZE)
    assert np.array_equal(images.take(rows)[:, 5, 5], values[rows])


def test_fold_reads_what_was_prepared_for_the_whole_table(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_IMAGES", 2)
    paths = paint(root, [10, 20, 30, 40, 50])
    prepare(split(root, paths), SIZE)
    decoded = count_decoded(monkeypatch)
    images = open_images(split(root, [paths[4], paths[1]], "val"), SIZE)
    assert images.take()[:, 0, 0].tolist() == [50, 20] and not decoded


def test_empty_split_opens(root: Path) -> None:
    assert open_images(split(root, []), SIZE).take().shape == (0, SIZE, SIZE)


def test_other_size_is_decoded_apart(root: Path) -> None:
    table = split(root, paint(root, [10]))
    assert open_images(table, 32).take().shape == (1, 32, 32)
    assert open_images(table, 48).take().shape == (1, 48, 48)


def test_cache_lies_in_the_checkout_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRILEMMA_CACHE")
    assert cache_dir() == Path(shards.__file__).parent.parent / "cache"


# Preparing


def test_second_preparation_decodes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = split(root, paint(root, [10, 20]))
    prepare(table, SIZE)
    decoded = count_decoded(monkeypatch)
    prepare(table, SIZE)
    assert not decoded


def test_changed_file_is_decoded_again(root: Path) -> None:
    paths = paint(root, [10, 20])
    table = split(root, paths)
    before = open_images(table, SIZE)
    stamp = (root / paths[1]).stat().st_mtime_ns
    Image.new("L", (40, 40), 99).save(root / paths[1])
    os.utime(root / paths[1], ns=(stamp + 10**9, stamp + 10**9))
    after = open_images(table, SIZE)
    assert after.take()[:, 0, 0].tolist() == [10, 99]
    assert before.digest() != after.digest()


def test_progress_ends_at_the_number_of_images(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_IMAGES", 2)
    seen: list[tuple[int, int]] = []
    table = split(root, paint(root, [10, 20, 30]))
    prepare(table, SIZE, workers=0, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (2, 3), (3, 3)]


def test_several_processes_give_the_same_pixels(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_IMAGES", 2)
    monkeypatch.setattr(shards, "FEW", 0)
    paths = paint(root, [10, 20, 30, 40])
    (root / "bad.png").write_bytes(b"no image")
    left = prepare(split(root, [*paths, "bad.png"]), SIZE, workers=2, on_bad="drop")
    assert open_images(left, SIZE).take()[:, 0, 0].tolist() == [10, 20, 30, 40]
    assert left.dropped["image unreadable"] == 1
    assert len(shard_files(cache)) == 2


def job_with_a_fault(root: Path, cache: Path) -> shards.Job:
    """One shard of two sound files and a bad one."""
    paths = [*paint(root, [10, 20]), "bad.png"]
    (root / "bad.png").write_bytes(b"no image")
    sources, _ = find_sources(root, paths, cache)
    (job,) = shards.jobs(sources, {s.key for s in sources}, cache, SIZE)
    return job


def test_two_processes_making_one_shard_both_succeed(root: Path, cache: Path) -> None:
    job = job_with_a_fault(root, cache)
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=shards.make, args=(job,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    left = prepare(split(root, [s.path for s in job.sources]), SIZE, on_bad="drop")
    assert open_images(left, SIZE).take()[:, 0, 0].tolist() == [10, 20]


def test_late_process_hears_of_the_same_faults(root: Path, cache: Path) -> None:
    job = job_with_a_fault(root, cache)
    assert [f.path for f in shards.make(job)] == ["bad.png"]
    assert [f.path for f in shards.make(job)] == ["bad.png"]


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "no locks"), NotImplementedError()])
def test_file_system_without_locks_is_prepared_on(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(FileLock, "acquire", refuse)
    table = split(root, paint(root, [10, 20]))
    assert open_images(prepare(table, SIZE), SIZE).take()[:, 0, 0].tolist() == [10, 20]
    assert not list(cache.rglob("*.part"))


# Stopped half-way


def test_interrupted_preparation_goes_on_where_it_stopped(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_IMAGES", 2)
    values = [10, 20, 30, 40, 50, 60]
    table = split(root, paint(root, values))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        count_decoded(patch, stop_after=5)
        prepare(table, SIZE, workers=0)
    decoded = count_decoded(monkeypatch)
    prepare(table, SIZE, workers=0)
    assert len(decoded) == 2  # two shards of two were kept
    assert open_images(table, SIZE).take()[:, 0, 0].tolist() == values


def prepare_until_killed(root: Path, paths: list[str]) -> None:
    """Prepare shards of two; the third does not end."""
    shards.SHARD_IMAGES = 2

    def stuck(data: bytes, size: int) -> np.ndarray:
        if len(list(cache_dir().rglob("*.index.npy"))) == 2:
            time.sleep(600)
        return decode(data, size)

    shards.decode = stuck
    prepare(split(root, paths), SIZE, workers=0)


def test_killed_preparation_goes_on_where_it_stopped(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [10, 20, 30, 40, 50, 60]
    paths = paint(root, values)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=prepare_until_killed, args=(root, paths))
    process.start()
    while len(list(cache.rglob("*.index.npy"))) < 2 and process.is_alive():
        time.sleep(0.02)
    process.kill()
    process.join()
    monkeypatch.setattr(shards, "SHARD_IMAGES", 2)
    decoded = count_decoded(monkeypatch)
    table = split(root, paths)
    prepare(table, SIZE, workers=0)
    assert len(decoded) == 2
    assert open_images(table, SIZE).take()[:, 0, 0].tolist() == values


@pytest.mark.parametrize("files_written", [0, 1])
def test_shard_cut_while_writing_is_not_seen(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, files_written: int
) -> None:
    table = split(root, paint(root, [10, 20]))
    real_save, calls = np.save, []

    def cut(file: BinaryIO, array: np.ndarray) -> None:
        calls.append(1)
        if len(calls) <= files_written:
            real_save(file, array)
            return
        file.write(b"\x93NUMPY half")
        raise OSError("disk full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr(np, "save", cut)
        prepare(table, SIZE, workers=0)
    assert not list(cache.rglob("*.index.npy"))
    assert open_images(table, SIZE).take()[:, 0, 0].tolist() == [10, 20]


# Bad images


def spoil(root: Path) -> list[str]:
    """Names of a sound, a missing and a cut file."""
    (good,) = paint(root, [10])
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(root / "cut.jpg")
    data = (root / "cut.jpg").read_bytes()
    (root / "cut.jpg").write_bytes(data[: len(data) // 2])
    return [good, "absent.png", "cut.jpg"]


def test_error_names_bad_files_with_reason_count_and_remedy(root: Path) -> None:
    with pytest.raises(ValueError) as caught:
        prepare(split(root, spoil(root)), SIZE)
    text = str(caught.value)
    assert "2 of 3 rows" in text and "--on-bad-image drop" in text
    assert "absent.png: image file missing" in text and "cut.jpg: image unreadable" in text
    assert "truncated" in text


def test_error_names_only_the_first_five(root: Path) -> None:
    with pytest.raises(ValueError) as caught:
        prepare(split(root, [f"gone{k}.png" for k in range(7)]), SIZE)
    assert "gone4.png" in str(caught.value) and "gone5.png" not in str(caught.value)
    assert "7 of 7" in str(caught.value)


def test_drop_leaves_out_bad_rows_and_counts_them_by_reason(root: Path) -> None:
    good, absent, cut = spoil(root)
    left = prepare(split(root, [good, absent, cut, absent]), SIZE, on_bad="drop")
    assert left.frame["path"].tolist() == [good]
    assert left.dropped == {"lateral view": 3, "image file missing": 2, "image unreadable": 1}


def test_drop_is_the_same_from_the_cache(root: Path) -> None:
    table = split(root, spoil(root))
    assert prepare(table, SIZE, on_bad="drop").dropped == (
        prepare(table, SIZE, on_bad="drop").dropped
    )


def test_nothing_left_is_an_error_even_when_dropping(root: Path) -> None:
    with pytest.raises(ValueError, match="1 of 1"):
        prepare(split(root, ["absent.png"]), SIZE, on_bad="drop")


def test_mended_file_is_used(root: Path) -> None:
    table = split(root, spoil(root))
    prepare(table, SIZE, on_bad="drop")
    Image.new("L", (40, 40), 77).save(root / "absent.png")
    Image.new("L", (40, 40), 88).save(root / "cut.jpg")
    assert open_images(table, SIZE).take()[:, 0, 0].tolist() == [10, 77, 88]


@pytest.mark.parametrize("size", [31, 1025])
def test_size_out_of_range_is_refused(root: Path, size: int) -> None:
    with pytest.raises(ValueError, match="between 32 and 1024"):
        open_images(split(root, paint(root, [10])), size)


def test_unknown_policy_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="'skip'"):
        prepare(split(root, paint(root, [10])), SIZE, on_bad="skip")


# Digests


def test_digest_is_of_content_and_not_of_place(root: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    here = open_images(split(root, paint(root, [10, 20])), SIZE)
    there = open_images(split(tmp_path / "copy", paint(tmp_path / "copy", [10, 20], 5)), SIZE)
    assert here.digest() == there.digest() and len(here.digest()) == 16


def test_digest_tells_order_size_and_repetition(root: Path) -> None:
    a, b = paint(root, [10, 20])
    digests = {
        open_images(split(root, paths), size).digest()
        for paths, size in [([a, b], 32), ([b, a], 32), ([a, b], 48), ([a, b, b], 32)]
    }
    assert len(digests) == 4


# Several roots.


def test_rows_may_lie_below_a_root_of_their_own(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    own, added = paint(root, (10, 20)), paint(other, (200, 210, 220))
    np.save(other / "stack.npy", np.full((2, SIZE, SIZE), 99, np.uint8))
    mixed = split(root, [own[0], added[2], "stack.npy#1", own[1], added[0]])
    frame = mixed.frame.assign(image_root=["", str(other), str(other), "", str(other)])
    pixels = open_images(mixed.with_frame(frame), SIZE).take()
    assert [int(np.median(p)) for p in pixels] == [10, 220, 99, 20, 200]


def test_rows_below_another_root_must_not_lead_outside_it(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (secret,) = paint(root, (10,))
    (other / "link.png").symlink_to(root / secret)
    mixed = split(root, [secret, "link.png"])
    mixed = mixed.with_frame(mixed.frame.assign(image_root=["", str(other)]))
    with pytest.raises(ValueError, match="a link leads outside"):
        open_images(mixed, SIZE)


def test_absurdly_long_file_is_refused_without_reading_it(root: Path) -> None:
    (path,) = paint(root, [10])
    os.truncate(root / path, 50_000_000_000)
    with pytest.raises(ValueError, match="at most 1000 MB, but holds 50000"):
        prepare(split(root, [path]), SIZE)
