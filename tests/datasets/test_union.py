"""Unions: findings and attributes by name, people apart, each part with its own folds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import registry
from datasets.align import merged_order
from datasets.base import ChestXrayDataset
from datasets.folds import assign
from datasets.images import find_faults, open_images, prepare
from datasets.overlap import between_folds, copies
from datasets.people import as_persons, pairs_of
from datasets.split import Split
from datasets.union import dataset_class, downsampled
from registry import DATASETS, UnknownName


def split(root: Path, name: str, **columns: Any) -> Split:
    """A table of pictures written below `root`, one row per value of `patient`."""
    patients = columns.pop("patient")
    findings = tuple(columns.pop("findings"))
    fold = columns.pop("fold", None)
    attributes = tuple(c for c in columns if c not in findings and c != "shade")
    shade = columns.pop("shade", range(60, 60 + len(patients)))
    frame = pd.DataFrame({"patient_id": patients, **columns})
    frame["image_id"] = frame["path"] = [f"{i}.png" for i in range(len(frame))]
    frame["origin"] = "real"
    if fold is not None:
        frame["fold"] = fold
    root.mkdir(parents=True, exist_ok=True)
    for i, level in enumerate(shade):
        pixels = np.random.default_rng(int(level)).integers(0, 256, (40, 40), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{i}.png")
    return Split(name, frame, root, findings, attributes)


@dataclass(frozen=True)
class Here(ChestXrayDataset):
    """Two patients with folds of their own. License: none. Access: none."""

    default_split: ClassVar[str] = "official"
    primary_contrasts: ClassVar[dict[str, tuple[str, str]]] = {"sex": ("Female", "Male")}

    level: int = 1
    edges: tuple[int, ...] = field(default=(20, 40))

    def table(self, root: Path) -> Split:
        return split(
            root, "here", patient=["p1", "p1", "p2", "p3", "p4"], findings=("Edema", "Fracture"),
            Edema=[0.0, 1.0, 1.0, 0.0, 1.0], Fracture=[1.0, np.nan, 0.0, 0.0, 0.0],
            sex=pd.Categorical(["Male", "Male", "Female", "Male", "Female"], ["Male", "Female"]),
            fold=["train", "train", "train", "val", "test"], shade=[1, 2, 3, 4, 5],
        )  # fmt: skip


@dataclass(frozen=True)
class There(ChestXrayDataset):
    """Ten patients under the same ids and without folds. License: none. Access: none."""

    terms: ClassVar[str] = "restricted"
    reidentification_allowed: ClassVar[bool] = False

    def unlearnable(self, image_size: int) -> tuple[str, ...]:
        return ("Effusion",)

    def table(self, root: Path) -> Split:
        rows = split(
            root, "there", patient=[f"p{i}" for i in range(10)], findings=("Effusion", "Edema"),
            Effusion=[1.0, 0.0] * 5, Edema=[0.0, 1.0] * 5,
            race=["A"] * 5 + ["B"] * 5, shade=range(11, 21),
        )  # fmt: skip
        return replace(rows, dropped={"lateral view": 3}, notes=("ages are rounded",))


@dataclass(frozen=True)
class Drawn(ChestXrayDataset):
    """Simulated. License: none. Access: none."""

    kind: ClassVar[str] = "simulated"


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    datasets = registry.DATASETS
    monkeypatch.setattr(datasets, "_entries", dict(datasets.entries()))
    monkeypatch.setattr(datasets, "_loaded", dict(datasets._loaded))
    for name, kind in (("here", Here), ("there", There), ("drawn", Drawn)):
        monkeypatch.setattr(kind, "registered_name", name)
        datasets._loaded[name] = kind
        datasets._entries[name] = registry.Entry(name, "", Path(__file__), 1, __name__)
    dataset_class.cache_clear()
    yield
    dataset_class.cache_clear()


def union(tmp_path: Path, **own: Any) -> Any:
    kind: Any = dataset_class("here+there")
    roots = (("here", tmp_path / "a"), ("there", tmp_path / "b"))
    return kind(parts=(Here(), There()), roots=roots, **own)


def table(tmp_path: Path) -> Split:
    made: Split = union(tmp_path).table(tmp_path)
    return made


def test_a_finding_that_a_part_lacks_is_blank(tmp_path: Path) -> None:
    joined = table(tmp_path)
    assert joined.findings == ("Edema", "Fracture", "Effusion")
    by_source = joined.frame.groupby("source", observed=True)
    assert by_source["Effusion"].count().to_dict() == {"here": 0, "there": 10}
    assert by_source["Fracture"].count().to_dict() == {"here": 4, "there": 0}
    assert by_source["Edema"].sum().to_dict() == {"here": 3.0, "there": 5.0}


def test_an_attribute_that_a_part_lacks_is_unknown_and_source_stands_last(tmp_path: Path) -> None:
    joined = table(tmp_path)
    assert joined.attributes == ("sex", "race", "source")
    assert joined.groups_of("sex") == ("Male", "Female", "Unknown")
    assert joined.groups_of("source") == ("here", "there")
    there = joined.frame[joined.frame["source"] == "there"]
    assert set(there["sex"]) == {"Unknown"} and set(there["race"]) == {"A", "B"}


def test_equal_ids_of_two_parts_are_different_people(tmp_path: Path) -> None:
    joined = table(tmp_path)
    assert len(joined.patients) == 4 + 10
    assert {"here/p1", "there/p1"} <= set(joined.patients)
    assert joined.frame["image_id"].is_unique
    assert joined.dropped == {"there: lateral view": 3}
    assert joined.notes == ("there: ages are rounded",)


def test_each_part_keeps_the_folds_that_it_has_alone(tmp_path: Path) -> None:
    folds = assign(table(tmp_path))
    alone = assign(There().table(tmp_path / "b"))
    for fold, expected in zip(folds.all(), alone.all(), strict=True):
        there = {p.removeprefix("there/") for p in fold.patients if p.startswith("there/")}
        assert there == set(expected.patients), fold.name
    assert {p for p in folds.test.patients if p.startswith("here/")} == {"here/p4"}


def test_pixels_come_from_the_folder_of_each_part(tmp_path: Path) -> None:
    joined = table(tmp_path)
    assert not find_faults(joined, 32)
    a, b = Here().table(tmp_path / "a"), There().table(tmp_path / "b")
    expected = np.concatenate([open_images(t, 32).take() for t in (a, b)])
    assert np.array_equal(open_images(joined, 32).take(), expected)
    shuffled = joined.with_frame(joined.frame.iloc[::-1])
    assert np.array_equal(open_images(shuffled, 32).take(), expected[::-1])


def test_a_fault_in_one_part_is_told_with_its_folder_and_drops_that_row_alone(
    tmp_path: Path,
) -> None:
    joined = table(tmp_path)
    (tmp_path / "b" / "1.png").write_bytes(b"not a picture")
    (fault,) = find_faults(joined, 32)
    assert fault.path == f"{tmp_path / 'b'}/1.png"
    kept = prepare(joined, 32, on_bad="drop")
    assert len(kept) == len(joined) - 1 and "there/1.png" not in set(kept.frame["image_id"])
    assert "here/1.png" in set(kept.frame["image_id"])
    with pytest.raises(ValueError, match=r"b/1\.png"):
        prepare(joined, 32)


def test_a_link_out_of_the_folder_of_a_part_is_refused(tmp_path: Path) -> None:
    joined = table(tmp_path)
    secret = tmp_path / "secret.png"
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(secret)
    (tmp_path / "b" / "2.png").unlink()
    (tmp_path / "b" / "2.png").symlink_to(secret)
    (fault,) = find_faults(joined, 32)
    assert "outside" in fault.detail


def test_one_picture_in_two_parts_is_found(tmp_path: Path) -> None:
    joined = table(tmp_path)
    folds = assign(joined)
    tested = folds.test.frame["image_id"]
    place = int(tested[tested.str.startswith("there/")].iloc[0].split("/")[1].split(".")[0])
    (tmp_path / "b" / f"{place}.png").write_bytes((tmp_path / "a" / "0.png").read_bytes())
    found = between_folds([folds], joined, copies(joined, size=32))
    assert found.counts == {"same image": 1}


def test_people_are_listed_below_the_folder_of_each_part(tmp_path: Path) -> None:
    joined = table(tmp_path)
    (tmp_path / "b" / "same_person.csv").write_text("patientid_a,patientid_b\np1,p2\n")
    assert pairs_of(joined) == [("there/p1", "there/p2")]
    united = as_persons(joined, pairs_of(joined))
    assert {"here/p1", "here/p2", "there/p1"} <= set(united.patients)
    assert "there/p2" not in united.patients


def test_terms_and_audits_are_those_of_the_strictest_part(tmp_path: Path) -> None:
    made = union(tmp_path)
    assert made.terms == "restricted" and not made.reidentification_allowed
    assert made.default_split == "official" and made.needs_root and made.kind == "real"
    assert made.unlearnable(64) == ("Effusion",)
    assert made.primary_contrasts == {"sex": ("Female", "Male"), "source": ("there", "here")}


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [("here+drawn", ValueError, "real and simulated data must not be mixed"),
     ("here+here", ValueError, "each data set once"), ("here+ther", UnknownName, "there")],
)  # fmt: skip
def test_what_cannot_be_joined_is_refused(name: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        dataset_class(name)


def test_down_sampling_brings_a_part_to_the_images_of_the_other(tmp_path: Path) -> None:
    made = union(tmp_path, downsample="there")
    folds = assign(made.table(tmp_path))
    before = folds.train.frame["source"].value_counts()
    assert before["there"] > before["here"] == 3
    fewer = downsampled(folds, made.downsample)
    assert fewer.train.frame["source"].value_counts().to_dict() == {"there": 3, "here": 3}
    assert fewer.audit_reuses_train and len(fewer.test) == len(folds.test)
    again = downsampled(folds, "largest")
    assert again.train.frame.equals(fewer.train.frame)


def test_the_smaller_part_cannot_be_down_sampled(tmp_path: Path) -> None:
    folds = assign(table(tmp_path))
    with pytest.raises(ValueError, match="'here' has 3 and the largest other part"):
        downsampled(folds, "here")
    with pytest.raises(UnknownName, match="did you mean 'there'"):
        union(tmp_path, downsample="thre")


def test_a_part_that_claims_the_name_source_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = There().table(tmp_path / "b")
    claimed = replace(
        own, frame=own.frame.assign(source="x"), attributes=(*own.attributes, "source")
    )
    monkeypatch.setattr(There, "table", lambda self, root: claimed)
    with pytest.raises(ValueError, match="'source' must be free"):
        table(tmp_path)


def test_groups_of_several_orders_stand_where_their_own_order_puts_them() -> None:
    assert merged_order(("20-39", "40-59", "Unknown"), ("0-19", "20-39", "60+")) == (
        "0-19", "20-39", "40-59", "60+", "Unknown",
    )  # fmt: skip


def test_simulated_truth_is_kept_where_all_parts_have_it(tmp_path: Path) -> None:
    sizes = {"train_patients": 4, "val_patients": 2, "audit_patients": 2, "test_patients": 2}
    kind: Any = dataset_class("phantom+phantom-ood")
    parts = tuple(DATASETS.get(n)(**sizes) for n in ("phantom", "phantom-ood"))
    joined = kind(parts=parts).table(tmp_path)
    assert joined.has_truth and kind.kind == "simulated" and kind.default_split == "official"


def test_where_the_parts_lie_does_not_change_the_digest_of_a_run(tmp_path: Path) -> None:
    from runs.foreign import content

    first, second = (table(tmp_path / place) for place in ("one", "two"))
    assert content(first, "images", 32) == content(second, "images", 32)
    blank = first.with_frame(first.frame.assign(Edema=np.nan))
    assert content(blank, "images", 32) != content(first, "images", 32)
