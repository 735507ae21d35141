"""Tables as they are downloaded: headers, blanks, compression, and damage."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pandas as pd
import pytest

from datasets.tabular import header, locate, missing_column, numbers, read

COLUMNS = {"patient": ("Patient ID", "patientid"), "sex": ("Sex",)}


def made(path: Path, text: str) -> Path:
    """A file with this text, compressed if its name says so."""
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize(
    "text",
    [
        "Patient ID,Sex\n1,M\n2,\n",
        "Sex,x,Patient ID\nM,9,1\n,9,2\n",
        "\ufeffPatient ID,Sex\n1,M\n2,\n",
        " patient id , SEX \n 1 , M \n2, \n",
        "patientid,Sex\n1,M\n2,\n",
        "Patient ID,Sex,\n1,M,\n2,,\n",
        "Patient ID,Sex\n1,M,\n2,,\n",
        "Patient ID,Sex\n1,M\n2\n",
        "Patient ID,Sex\r\n1,M\r\n2,\r\n",
        '"Patient ID","Sex"\n"1","M"\n"2",""\n',
        "\nPatient ID,Sex\n1,M\n2,\n",
        ",Patient ID,Sex\n0,1,M\n1,2,\n",
        'Patient ID,report,Sex\n1,"a\nb, ""c""",M\n2,d,\n',
        "Patient ID,Sex,Sex\n1,M,F\n2,,F\n",
    ],
    ids=["plain", "order", "byte-order mark", "spaces and letters", "other spelling",
         "trailing commas", "trailing commas in rows", "short row", "windows", "quoted",
         "blank line first", "index column", "line breaks in a field", "a name twice"],
)  # fmt: skip
def test_columns_are_found_by_name(tmp_path: Path, name: str, text: str) -> None:
    frame = read(made(tmp_path / name, text), COLUMNS)
    assert frame.to_dict("list") == {"patient": ["1", "2"], "sex": ["M", ""]}


@pytest.mark.parametrize("text", ["NA", "null", "NaN", "None", "007", "1e5", "N/A"])
def test_texts_stay_texts(tmp_path: Path, text: str) -> None:
    frame = read(made(tmp_path / "a.csv", f"Patient ID,Sex\n{text},M\n"), COLUMNS)
    assert frame["patient"].tolist() == [text]


def test_a_table_without_rows_is_empty(tmp_path: Path) -> None:
    for text in ("Patient ID,Sex\n", "Patient ID,Sex"):
        frame = read(made(tmp_path / "a.csv", text), COLUMNS)
        assert list(frame) == ["patient", "sex"] and frame.empty


def test_an_optional_column_may_be_missing(tmp_path: Path) -> None:
    path = made(tmp_path / "a.csv", "Patient ID\n1\n")
    assert list(read(path, COLUMNS, optional=("sex",))) == ["patient"]


def test_two_names_may_mean_one_column(tmp_path: Path) -> None:
    path = made(tmp_path / "a.csv", "Patient ID\n1\n")
    frame = read(path, {"patient": ("Patient ID",), "person": ("Patient ID",)})
    assert frame.iloc[0].tolist() == ["1", "1"]


def test_letters_of_another_encoding_do_not_stop_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"Patient ID,note,Sex\n1,Andr\xe9,M\n")
    assert read(path, COLUMNS)["sex"].tolist() == ["M"]


def test_a_missing_column_is_answered_with_the_nearest_and_the_list(tmp_path: Path) -> None:
    path = made(tmp_path / "a.csv", "Patient Id,Patient Sex,View\n1,M,PA\n")
    with pytest.raises(ValueError, match=r"'Sex', .*nearest: 'Patient Sex'.*Patient Id, Patient"):
        read(path, COLUMNS)


def test_a_column_like_no_other_says_so(tmp_path: Path) -> None:
    error = missing_column(tmp_path / "a.csv", ("Race", "ethnicity"), ["xyz"])
    assert "also accepted: 'ethnicity'" in str(error) and "none is similar" in str(error)


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_file_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"a\.csv must be a csv file, but it is empty"):
        header(made(tmp_path / "a.csv", text))


def test_a_quote_that_is_never_closed_is_damage(tmp_path: Path) -> None:
    path = made(tmp_path / "a.csv", 'Patient ID,Sex\n1,"M\n' + "2,F\n" * 10)
    with pytest.raises(ValueError, match=r"could not be read .*restore it"):
        read(path, COLUMNS)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_a_cut_compressed_table_is_damage(tmp_path: Path, share: float) -> None:
    text = "Patient ID,Sex\n" + "".join(f"{i * 7919 % 10007},M\n" for i in range(5_000))
    content = gzip.compress(text.encode())
    path = tmp_path / "a.csv.gz"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"a\.csv\.gz must be a csv file"):
        read(path, COLUMNS)


def test_a_changed_byte_of_a_compressed_table_is_damage(tmp_path: Path) -> None:
    text = "Patient ID,Sex\n" + "".join(f"{i * 7919 % 10007},M\n" for i in range(5_000))
    content = bytearray(gzip.compress(text.encode()))
    content[len(content) // 2] ^= 0xFF
    path = tmp_path / "a.csv.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="must be a csv file"):
        read(path, COLUMNS)


def test_a_plain_table_with_the_name_of_a_compressed_one_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_text("Patient ID,Sex\n1,M\n")
    with pytest.raises(ValueError, match="must be a csv file, but could not be read"):
        read(path, COLUMNS)


def test_a_login_page_in_place_of_a_table_is_answered_with_its_columns(tmp_path: Path) -> None:
    path = made(tmp_path / "a.csv", "<!DOCTYPE html>\n<html><body>Please log in</body></html>\n")
    with pytest.raises(ValueError, match=r"must have the column 'Patient ID'"):
        read(path, COLUMNS)


def test_the_plain_file_is_taken_before_the_compressed_one(tmp_path: Path) -> None:
    made(tmp_path / "b.csv.gz", "x")
    assert locate(tmp_path, "a.csv", "b.csv", of="X", how_to_get="get it").name == "b.csv.gz"
    made(tmp_path / "b.csv", "x")
    assert locate(tmp_path, "a.csv", "b.csv", of="X", how_to_get="get it").name == "b.csv"


def test_a_file_that_is_not_there_is_named_with_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a folder of X must hold a.csv or b.csv .*get it"):
        locate(tmp_path / "nowhere", "a.csv", "b.csv", of="X", how_to_get="get it")


@pytest.mark.parametrize("folder", ["tree/deeper", "tree", "."])
def test_a_file_that_lies_one_folder_away_is_pointed_at(folder: str, tmp_path: Path) -> None:
    (tmp_path / "tree" / "deeper" / "images").mkdir(parents=True)
    made(tmp_path / folder / "a.csv", "x")
    asked = {"tree/deeper": "tree", "tree": "tree/deeper", ".": "tree"}[folder]
    told = rf"{(tmp_path / folder).resolve()} does: name it as --data-root"
    with pytest.raises(FileNotFoundError, match=told):
        locate(tmp_path / asked, "a.csv", of="X", how_to_get="get it")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"PK\x03\x04\x00\x00", "is a spreadsheet or an archive; save it as csv"),
        (b"\xd0\xcf\x11\xe0\x00", "is a spreadsheet; save it as csv"),
        ("Patient ID,Sex\n1,M\n".encode("utf-16"), "is text in UTF-16; save it as csv in UTF-8"),
    ],
)
def test_what_is_often_taken_for_csv_is_called_by_its_name(
    content: bytes, told: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=told):
        read(tmp_path / "a.csv", COLUMNS)


def test_numbers_are_read_and_blanks_are_not_known() -> None:
    read_ = numbers(Path("a.csv"), pd.Series(["1", "-1.0", "", "2.5e1"], name="x"))
    assert read_[[0, 1, 3]].tolist() == [1, -1, 25] and math.isnan(read_[2])
    assert read_.dtype == float
    assert numbers(Path("a.csv"), pd.Series([], dtype=str, name="x")).dtype == float


@pytest.mark.parametrize("text", ["x", "nan", "inf", "-inf", "1e999", "1,5", "True", "1 2"])
def test_what_is_no_number_is_named_with_its_row(text: str) -> None:
    with pytest.raises(ValueError, match=r"'x' of a\.csv .* row 2 \(line 3\) .*\(2 such rows\)"):
        numbers(Path("a.csv"), pd.Series(["1", text, text], name="x"))


def test_a_number_that_is_not_allowed_is_named_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"must hold 1, 0, -1 or blanks, but row 1 .*holds '2'"):
        numbers(Path("a.csv"), pd.Series(["2"], name="x"), allowed=(1, 0, -1))
