"""Manifests: folds from a csv file, its content pinned, its faults told in one sentence."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cohorts import cohort

from datasets.division import NOT_LISTED, Division, divide
from datasets.folds import split_digest
from datasets.split import Folds, Split

TABLE = cohort(40)
FOLDS = ("train", "train", "val", "test")


def listed(column: str = "patient_id") -> pd.DataFrame:
    """Every patient, or every image, with a fold that hangs on the patient."""
    patients = TABLE.patients
    of = {p: FOLDS[i % len(FOLDS)] for i, p in enumerate(patients)}
    rows = TABLE.frame.drop_duplicates(column)
    return pd.DataFrame({column: rows[column], "fold": rows["patient_id"].map(of)})


def written(tmp_path: Path, rows: pd.DataFrame | str, name: str = "m.csv") -> str:
    text = rows if isinstance(rows, str) else rows.to_csv(index=False)
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


def folds(name: str, table: Split = TABLE) -> Folds:
    (result,) = divide(table, Division.named(name)).folds
    return result


@pytest.mark.parametrize("column", ["patient_id", "image_id"])
def test_patients_or_images_are_listed(tmp_path: Path, column: str) -> None:
    made = folds(written(tmp_path, listed(column)))
    assert made.test.patients.tolist() == TABLE.patients[3::4].tolist()
    assert made.val.patients.tolist() == TABLE.patients[2::4].tolist()


def test_a_compressed_manifest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.csv.gz"
    path.write_bytes(gzip.compress(listed().to_csv(index=False).encode()))
    assert split_digest([folds(str(path))]) == split_digest([folds(written(tmp_path, listed()))])


def test_ids_keep_their_zeros(tmp_path: Path) -> None:
    frame = TABLE.frame.assign(patient_id=TABLE.frame["patient_id"].str[1:])
    numbered = TABLE.with_frame(frame)
    rows = listed().assign(patient_id=listed()["patient_id"].str[1:])
    assert "00003" in folds(written(tmp_path, rows), numbered).test.patients


def test_patients_that_are_not_listed_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = listed()[lambda r: r["patient_id"] != "p00003"]
    divided = divide(TABLE, Division.named(written(tmp_path, rows)))
    images = int((TABLE.frame["patient_id"] == "p00003").sum())
    assert divided.table.dropped == {NOT_LISTED: images} and images > 0
    assert "p00003" not in divided.table.patients


def test_images_that_are_not_listed_do_not_follow_their_patient(tmp_path: Path) -> None:
    rows = listed("image_id").iloc[1:]
    divided = divide(TABLE, Division.named(written(tmp_path, rows)))
    assert divided.table.dropped == {NOT_LISTED: 1}
    assert "i00000" not in set(divided.table.frame["image_id"])


def test_ids_that_the_table_does_not_have_are_noted_by_number(tmp_path: Path) -> None:
    more = pd.DataFrame({"patient_id": ["x1", "x2"], "fold": "test"})
    divided = divide(TABLE, Division.named(written(tmp_path, pd.concat([listed(), more]))))
    assert divided.notes == ("2 of 42 ids of the manifest are not in the table",)


def test_a_manifest_of_train_and_test_gets_its_other_folds_from_train(tmp_path: Path) -> None:
    rows = listed().replace({"fold": {"val": "train"}})
    made = folds(written(tmp_path, rows))
    assert made.test.patients.tolist() == TABLE.patients[3::4].tolist()
    assert len(made.val.patients) == 5  # 15 of 85 parts of 30


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("patient_id,fold\nq1,train\n", r"none of the 1 in .*m\.csv is one \(first: 'q1'; the"),
        ("patient_id,fold\np00001,holdout\n", r"row 1 \(line 2\) holds 'holdout' \(1 such rows\)"),
        ("patient_id,fold\np00001,\n", "one of train, val, audit, test, but row 1"),
        ("patient_id,fold\n,train\n", r"must hold an id, but row 1 \(line 2\) holds ''"),
        ("patient_id,fold\np1,test\np1,train\n", "lists 1 in two: p1; list each once"),
        ("patientid,fold\np00001,test\n", "must have the column 'patient_id'.*nearest: 'patientid"),
        ("patient_id,folds\np00001,test\n", "must have the column 'fold'.*nearest: 'folds'"),
        ("", "is empty"),
        ("patient_id,fold\n", "none of the 0"),
        ("image_id,fold\ni00000,train\ni00001,test\n", r"in two: p00000 \('test' and 'train'\)"),
    ],
)
def test_a_faulty_manifest_is_refused_in_one_sentence(tmp_path: Path, rows: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        folds(written(tmp_path, rows))


def test_the_same_row_may_stand_twice(tmp_path: Path) -> None:
    twice = pd.concat([listed(), listed()])
    assert split_digest([folds(written(tmp_path, twice))]) == split_digest(
        [folds(written(tmp_path, listed(), "once.csv"))]
    )


def test_a_pinned_manifest_is_used_while_it_is_what_it_was(tmp_path: Path) -> None:
    name = written(tmp_path, listed())
    digest = hashlib.sha256(Path(name).read_bytes()).hexdigest()
    for pin in (digest, digest[:8], digest[:9].upper()):
        assert Division.named(f"{name}#sha256:{pin}") == Division.named(name)
    written(tmp_path, listed().iloc[::-1])
    with pytest.raises(ValueError, match=rf"#sha256:{digest[:8]} names, but .*m\.csv has"):
        Division.named(f"{name}#sha256:{digest[:8]}")


@pytest.mark.parametrize("pin", ["", "1234567", "xyzxyzxyz", "0" * 65])
def test_a_pin_that_is_none_is_refused(tmp_path: Path, pin: str) -> None:
    with pytest.raises(ValueError, match="8 to 64 hexadecimal digits"):
        Division.named(f"{written(tmp_path, listed())}#sha256:{pin}")


def test_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"fold:i/k or a csv file, but '.*none\.csv'"):
        Division.named(str(tmp_path / "none.csv"))


def test_a_manifest_counts_by_its_content_wherever_it_lies(tmp_path: Path) -> None:
    here, there = (Division.named(written(tmp_path, listed(), n)) for n in ("a.csv", "b.csv"))
    assert here.identity == there.identity and str(here) != str(there)
    other = Division.named(written(tmp_path, listed().iloc[1:], "c.csv"))
    assert other.identity != here.identity and other.short != here.short
    assert len(other.short) < 40


def test_what_a_manifest_is_written_as_pins_it(tmp_path: Path) -> None:
    name = str(Division.named(written(tmp_path, listed())))
    assert name.startswith(str(tmp_path)) and "#sha256:" in name
    assert Division.named(name).manifest is not None
    assert np.array_equal(folds(name).test.patients, TABLE.patients[3::4])
