"""Embeddings from stacks, files and archives: read as they are, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trees import tfrecords

from datasets import overlap, vector_files
from datasets.base import EMBEDDINGS
from datasets.folds import assign
from datasets.split import IMAGE_ROOT, Split
from datasets.vectors import open_vectors, prepare, width_of


def table(root: Path, *paths: str, **columns: object) -> Split:
    n = len(paths)
    frame = pd.DataFrame(
        {"image_id": [f"i{i}" for i in range(n)], "patient_id": [f"p{i}" for i in range(n)],
         "path": paths, "origin": "real", "Edema": 1.0, **columns}
    )  # fmt: skip
    return Split("set", frame, root, ("Edema",), ())


def stack(rows: int = 5, width: int = 4) -> np.ndarray:
    return np.random.default_rng(rows).normal(size=(rows, width)).astype(np.float32)


def test_rows_of_a_stack_come_in_the_order_of_the_table(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", stack())
    vectors = open_vectors(table(tmp_path, "e.npy#3", "e.npy#0", "e.npy#3"))
    assert vectors.width == 4
    assert np.array_equal(vectors.take(), stack()[[3, 0, 3]])
    assert np.array_equal(vectors.take(np.array([1])), stack()[[0]])
    assert isinstance(vectors.stacks[0], np.memmap)


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", stack().astype(np.float16))
    taken = open_vectors(table(tmp_path, "e.npy#1")).take()
    assert taken.dtype == np.float32
    assert np.array_equal(taken[0], stack().astype(np.float16)[1].astype(np.float32))


def test_files_archives_and_records_are_gathered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stack(4)
    np.save(tmp_path / "a.npy", made[0])
    np.save(tmp_path / "b.npy", made[1][None])
    (tmp_path / "c.tfrecord").write_bytes(tfrecords.embedding(made[2].tolist()))
    np.savez(tmp_path / "d.npz", **{"some-id": made[3], "other": made[0]})
    split = table(tmp_path, "a.npy", "b.npy", "c.tfrecord", "d.npz#some-id")
    told: list[tuple[int, int]] = []
    assert len(prepare(split, progress=lambda done, total: told.append((done, total)))) == 4
    assert told[-1] == (4, 4)
    monkeypatch.setattr(vector_files, "read_file", lambda file: pytest.fail("read again"))
    monkeypatch.setattr(vector_files, "Archive", lambda file: pytest.fail("read again"))
    assert np.array_equal(open_vectors(split).take(), made)


def test_a_part_of_a_gathered_table_reads_nothing_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i, vector in enumerate(stack(3)):
        np.save(tmp_path / f"{i}.npy", vector)
    split = table(tmp_path, "0.npy", "1.npy", "2.npy")
    prepare(split)
    monkeypatch.setattr(vector_files, "read_file", lambda file: pytest.fail("read again"))
    assert np.array_equal(open_vectors(split.where(np.array([0, 0, 1], bool))).take(), stack(3)[2:])


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", stack(2)[0])
    before = open_vectors(table(tmp_path, "a.npy"))
    np.save(tmp_path / "a.npy", stack(2, 6)[1])
    after = open_vectors(table(tmp_path, "a.npy"))
    assert after.width == 6 and after.digest() != before.digest()


def test_rows_below_a_root_of_their_own_are_found(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "e.npy", stack(len(name)) + len(name + "x"))
    other = str(tmp_path / "two")
    np.save(tmp_path / "two" / "e.npy", stack(3) + 9)
    split = table(tmp_path / "one", "e.npy#0", "e.npy#0", **{IMAGE_ROOT: ["", other]})
    taken = open_vectors(split).take()
    assert np.array_equal(taken[1], stack(3)[0] + 9)
    assert not np.array_equal(taken[0], taken[1])


def test_the_digest_follows_content_and_order(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", stack())
    digests = {
        open_vectors(table(tmp_path, *paths)).digest()
        for paths in (("e.npy#0", "e.npy#1"), ("e.npy#1", "e.npy#0"), ("e.npy#0",))
    }
    assert len(digests) == 3


def save(root: Path, array: np.ndarray) -> str:
    np.save(root / "e.npy", array)
    return "e.npy#0"


def nan_row(root: Path) -> str:
    made = stack()
    made[2, 1] = np.nan
    np.save(root / "e.npy", made)
    return "e.npy#2"


def cut_record(root: Path) -> str:
    (root / "x.tfrecord").write_bytes(tfrecords.embedding([1.0, 2.0])[:-6])
    return "x.tfrecord"


def other_feature(root: Path) -> str:
    payload = tfrecords.example(vector=tfrecords.floats([1.0, 2.0]))
    (root / "x.tfrecord").write_bytes(tfrecords.record(payload))
    return "x.tfrecord"


def two_records(root: Path) -> str:
    (root / "x.tfrecord").write_bytes(2 * tfrecords.embedding([1.0, 2.0]))
    return "x.tfrecord"


def pickled(root: Path) -> str:
    np.save(root / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return "x.npy"


def absurd(root: Path) -> str:
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"
    text = head.ljust(117).encode() + b"\n"
    (root / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    return "x.npy"


def bomb(root: Path) -> str:
    np.savez_compressed(root / "x.npz", a=np.zeros(50_000_000, np.float32))
    return "x.npz#a"


def packed(root: Path) -> Path:
    np.savez_compressed(root / "x.npz", a=np.arange(4000, dtype=np.float32))
    return root / "x.npz"


def damaged_archive(root: Path) -> str:
    data = bytearray(packed(root).read_bytes())
    data[60:400] = bytes(340)
    (root / "x.npz").write_bytes(data)
    return "x.npz#a"


def encrypted(root: Path) -> str:
    data = bytearray(packed(root).read_bytes())
    # The flag of the entry, here and in the list at the end.
    data[6] |= 1
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    (root / "x.npz").write_bytes(data)
    return "x.npz#a"


def sparse(root: Path) -> str:
    with (root / "x.npy").open("wb") as file:
        file.truncate(2**40)
    return "x.npy"


def single(root: Path, array: np.ndarray) -> str:
    np.save(root / "x.npy", array)
    return "x.npy"


def outside(root: Path) -> str:
    (root.parent / "elsewhere").mkdir(exist_ok=True)
    np.save(root.parent / "elsewhere" / "e.npy", stack())
    (root / "e.npy").symlink_to(root.parent / "elsewhere" / "e.npy")
    return "e.npy#0"


FAULTS = {
    "missing file": (lambda root: "nowhere.npy#0", "embedding file missing"),
    "missing row": (lambda root: save(root, stack()) and "e.npy#5", "rows 0 to 4"),
    "row that is no number": (lambda root: save(root, stack()) and "e.npy#x", "rows 0 to 4"),
    "missing name": (lambda root: np.savez(root / "x.npz", a=stack()[0]) or "x.npz#b",
                     "nothing called 'b'"),
    "row with NaN": (nan_row, r"embedding not finite \(row 2"),
    "file with infinity": (lambda root: single(root, np.array([1.0, np.inf])), "not finite"),
    "too large for float32": (lambda root: single(root, np.array([1.0, 1e300])), "not finite"),
    "zeros for a lost file": (lambda root: single(root, np.zeros(8)), "embedding constant"),
    "zero row": (lambda root: save(root, np.zeros((2, 4), np.float32)), "embedding constant"),
    "map of ELIXR": (lambda root: single(root, np.ones((8, 8, 1376), np.float32)), "ELIXR-C v2"),
    "stack of maps": (lambda root: save(root, np.ones((2, 8, 8, 16), np.float32)), "ELIXR-C v2"),
    "whole numbers": (lambda root: save(root, np.ones((2, 4), np.int64)), "int64 2 x 4"),
    "stack of one dimension": (lambda root: save(root, np.ones(4, np.float32)), r"\(n, width\)"),
    "one number": (lambda root: single(root, np.ones(1)), "2 to 65536 numbers"),
    "stack without its row": (lambda root: save(root, stack()).partition("#")[0], "float32 5 x 4"),
    "cut record": (cut_record, "the file ends after"),
    "other feature": (other_feature, "no list of numbers is called 'embedding'"),
    "two records": (two_records, "holds 2"),
    "pickle": (pickled, "embedding unreadable"),
    "absurd size": (absurd, "claims the shape"),
    "archive that unpacks to far more": (bomb, "claims the shape"),
    "damaged archive": (damaged_archive, "embedding unreadable"),
    "encrypted archive": (encrypted, "password required"),
    "file of a terabyte": (sparse, "at most 67108864 bytes"),
    "other kind of file": (lambda root: (root / "x.jpg").write_bytes(b"x") and "x.jpg",
                           "must be one of"),
    "link out of the root": (outside, "leads outside"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_or_dropped_and_counted(fault: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    np.save(root / "good.npy", stack(7))
    make, told = FAULTS[fault]
    split = table(root, "good.npy#0", str(make(root)))
    with pytest.raises(ValueError, match=told):
        prepare(split)
    with pytest.raises(ValueError, match="1 of 2 rows"):
        open_vectors(split)
    kept = prepare(split, on_bad="drop")
    assert kept.frame["path"].tolist() == ["good.npy#0"]
    assert list(kept.dropped.values()) == [1]
    assert next(iter(kept.dropped)).startswith("embedding ")


def test_a_table_of_faults_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 of 2 rows"):
        prepare(table(tmp_path, "a.npy", "b.npy"), on_bad="drop")


def test_two_widths_are_refused_with_an_example_of_each(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", stack(2, 4))
    np.save(tmp_path / "b.npy", stack(2)[0])
    np.save(tmp_path / "c.npy", stack(2, 6)[0])
    split = table(tmp_path, "a.npy#0", "b.npy", "c.npy")
    with pytest.raises(ValueError, match=r"one width, but they have 4 \(a.npy#0, …\), 6 \(c.npy"):
        prepare(split)


def test_the_width_is_that_of_the_first_that_can_be_read(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", stack(2, 6)[0])
    assert width_of(table(tmp_path, "a.npy", "b.npy")) == 6
    with pytest.raises(ValueError, match="embedding file missing"):
        width_of(table(tmp_path, "a.npy"))


def test_equal_embeddings_in_two_folds_are_copies(tmp_path: Path) -> None:
    made = stack(40, 8)
    made[[30, 31]] = made[[2, 31]]
    np.save(tmp_path / "e.npy", made.astype(np.float64))
    np.save(tmp_path / "single.npy", made[2])
    paths = [f"e.npy#{i}" for i in range(39)] + ["single.npy"]
    fold = ["train"] * 20 + ["val"] * 6 + ["audit"] * 4 + ["test"] * 10
    split = table(tmp_path, *paths, fold=fold)
    found = overlap.copies(split, size=32, holds=EMBEDDINGS)
    leaks = overlap.between_folds([assign(split)], split, found).leaks
    assert {(leak.image_a, leak.image_b) for leak in leaks} == {("i2", "i30"), ("i2", "i39")}
    assert {leak.kind for leak in leaks} == {"same image"}
