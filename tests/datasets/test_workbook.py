"""Reading workbooks: the right sheet, blank cells, and files that would harm."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from openpyxl import Workbook

from datasets import workbook

COLUMNS = {"patient": ("PATIENT",), "race": ("PRIMARY_RACE", "RACE")}


def made(path: Path, *sheets: list[list[object]]) -> Path:
    """A workbook with these sheets."""
    book = Workbook()
    book.remove(book.worksheets[0])
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"Sheet {number}")
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_the_sheet_is_found_by_its_columns(tmp_path: Path) -> None:
    path = made(tmp_path / "a.xlsx", [["note"], ["x"]], [["Primary_Race ", "PATIENT"], ["W", "p1"]])
    assert workbook.read(path, COLUMNS).to_dict("records") == [{"patient": "p1", "race": "W"}]


def test_blank_cells_and_short_rows_are_blank_texts(tmp_path: Path) -> None:
    rows: list[list[object]] = [["PATIENT", "RACE"], ["p1"], [None, None], [7, " W "]]
    read = workbook.read(made(tmp_path / "a.xlsx", rows), COLUMNS)
    assert read.to_dict("records") == [{"patient": "p1", "race": ""}, {"patient": "7", "race": "W"}]


def test_an_optional_column_may_be_missing(tmp_path: Path) -> None:
    path = made(tmp_path / "a.xlsx", [["PATIENT"], ["p1"]])
    assert list(workbook.read(path, COLUMNS, optional=("race",))) == ["patient"]


def test_a_sheet_without_rows_is_an_empty_table(tmp_path: Path) -> None:
    read = workbook.read(made(tmp_path / "a.xlsx", [["PATIENT", "RACE"]]), COLUMNS)
    assert read.empty and list(read) == ["patient", "race"]


def test_a_missing_column_is_answered_with_the_nearest(tmp_path: Path) -> None:
    path = made(tmp_path / "a.xlsx", [["PATIENT", "PRIMARY RACE"]])
    with pytest.raises(ValueError, match=r"'PRIMARY_RACE'.*nearest: 'PRIMARY RACE'"):
        workbook.read(path, COLUMNS)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    path.write_text("<html>please log in</html>")
    with pytest.raises(ValueError, match="must be an Excel workbook"):
        workbook.read(path, COLUMNS)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no workbook")
    with pytest.raises(ValueError, match="must be an Excel workbook"):
        workbook.read(path, COLUMNS)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_cut_workbook_is_refused(tmp_path: Path, share: float) -> None:
    path = made(tmp_path / "a.xlsx", [["PATIENT", "RACE"], *([f"p{i}", "W"] for i in range(99))])
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="must be an Excel workbook"):
        workbook.read(path, COLUMNS)


def test_a_damaged_part_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "a.xlsx", [["PATIENT", "RACE"], ["p1", "W"]])
    other = tmp_path / "b.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for part in old.infolist():
            content = old.read(part)
            sheet = part.filename.endswith("sheet1.xml")
            new.writestr(part.filename, content[: len(content) // 2] if sheet else content)
    with pytest.raises(ValueError, match="must be an Excel workbook"):
        workbook.read(other, COLUMNS)


def test_a_workbook_that_grows_beyond_measure_is_refused_before_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path / "a.xlsx", [["PATIENT", "RACE"]])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/zeros", bytes(4 * 2**20))
    assert path.stat().st_size < 2**16
    monkeypatch.setattr(workbook, "LARGEST", 2 * 2**20)
    with pytest.raises(ValueError, match=r"at most 2 MiB unpacked .* has 4 MiB"):
        workbook.read(path, COLUMNS)


def test_entities_that_multiply_are_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "a.xlsx", [["PATIENT", "RACE"], ["p1", "W"]])
    tens = [f'<!ENTITY e{i} "{10 * f"&e{i - 1};"}">' for i in range(1, 10)]
    header = f'<!DOCTYPE x [<!ENTITY e0 "ha">{"".join(tens)}]>'
    bomb = '<row r="9"><c r="A9" t="inlineStr"><is><t>&e9;</t></is></c></row></sheetData>'
    other = tmp_path / "b.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for part in old.infolist():
            text = old.read(part).decode()
            if part.filename.endswith("sheet1.xml"):
                text = text.replace("<worksheet", f"{header}<worksheet", 1)
                text = text.replace("</sheetData>", bomb)
            new.writestr(part.filename, text)
    with pytest.raises(ValueError, match="must be an Excel workbook"):
        workbook.read(other, COLUMNS)


def test_a_sheet_that_claims_all_cells_there_can_be_is_read_as_it_is(tmp_path: Path) -> None:
    path = made(tmp_path / "a.xlsx", [["PATIENT", "RACE"], ["p1", "W"]])
    other = tmp_path / "b.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for part in old.infolist():
            content = old.read(part)
            if part.filename.endswith("sheet1.xml"):
                assert b'ref="A1:B2"' in content
                content = content.replace(b'ref="A1:B2"', b'ref="A1:XFD1048576"')
            new.writestr(part.filename, content)
    assert workbook.read(other, COLUMNS).to_dict("records") == [{"patient": "p1", "race": "W"}]
