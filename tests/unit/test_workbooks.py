"""Excel workbooks: what cells are, which sheet is meant, what is no workbook, and what `init` makes of one."""

from __future__ import annotations

import datetime
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from adaptershare_cli.data import workbooks
from adaptershare_cli.data.definition import parse_definition
from adaptershare_cli.data.reading import ReadTask, read_task
from adaptershare_cli.data.sources import Source
from adaptershare_cli.data.workbooks import CellError, cell_text, filled_sheets, sheet_rows
from adaptershare_cli.errors import UserError
from tests.cli.conftest import good, refused

ROWS = [["text", "label"], *([f"a longer text {n}", "yes" if n % 2 else "no"] for n in range(40))]


def book(file: Path, **sheets: list[list[Any]]) -> Path:
    made = Workbook()
    made.remove(made.active)
    for name, rows in sheets.items():
        sheet = made.create_sheet(name)
        for row in rows:
            sheet.append(row)
    made.save(file)
    return file


def read(folder: Path, **files: Any) -> ReadTask:
    splits = files.pop("splits", {"train": "book.xlsx", "dev": "50%"})
    task = {"kind": "classification", "labels": ["yes", "no"], "metrics": ["accuracy"], "report_on": ["dev"]}
    (folder / "mine.yaml").write_text(json.dumps({**task, "files": {"reader": "xlsx", "splits": splits, **files}}))
    return read_task(parse_definition(folder / "mine.yaml"), Source("folder", folder))


def texts(done: ReadTask) -> set[str]:
    return {text for table in done.splits.values() for text in table["text"].to_pylist()}


# ---- cells ----


def test_cells_are_what_a_csv_file_would_hold(tmp_path: Path) -> None:
    day, moment = datetime.date(2024, 3, 31), datetime.datetime(2024, 3, 31, 14, 5)
    shown = [3, 3.0, 4.5, True, day, moment, datetime.time(9, 30), "a_x000D_\nb", None, "#N/A"]
    ((number, cells),) = sheet_rows(book(tmp_path / "b.xlsx", one=[[], [], shown]))
    written = ["3", "3", "4.5", "TRUE", "2024-03-31", "2024-03-31 14:05:00", "09:30:00", "a\r\nb", None, "#N/A"]
    assert (number, [cell_text(cell) for cell in cells]) == (3, written)
    assert cells[-1] == CellError("#N/A") and cell_text(4.5, ",") == "4,5"


def test_stored_values_of_formulas(tmp_path: Path) -> None:
    file = book(tmp_path / "b.xlsx", one=[["=1+1", "x"]])
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    assert b"<v></v>" in parts[sheet] or b"<v />" in parts[sheet] or b"<v/>" in parts[sheet]
    for empty in (b"<v></v>", b"<v />", b"<v/>"):
        parts[sheet] = parts[sheet].replace(empty, b"<v>2</v>", 1)
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    assert list(sheet_rows(file)) == [(1, [2, "x"])]


# ---- by a definition ----


def test_a_title_a_sheet_and_empty_rows(tmp_path: Path) -> None:
    table = [["Report of March"], [], *ROWS[:20], [], *ROWS[20:], ["note", "", "beside the table"]]
    book(tmp_path / "book.xlsx", cover=[["hello"]], data=table[:-1])
    done = read(tmp_path, sheet="data", skip_rows=2)
    assert texts(done) == {row[0] for row in ROWS[1:]} and done.left_out == {"train": {"empty rows": 1}}
    assert texts(read(tmp_path, sheet=2, skip_rows=2)) == texts(done)
    with pytest.raises(UserError, match="2 sheets that hold something: cover, data"):
        read(tmp_path)
    with pytest.raises(UserError, match="no sheet `dta`") as caught:
        read(tmp_path, sheet="dta")
    assert "`data`" in caught.value.fix
    with pytest.raises(UserError, match="the sheet holds no rows"):
        read(tmp_path, sheet="cover", skip_rows=5)


def test_sheets_are_splits(tmp_path: Path) -> None:
    book(tmp_path / "book.xlsx", fit=ROWS, check=[ROWS[0], ["another", "no"]])
    splits = {name: {"path": "book.xlsx", "sheet": sheet} for name, sheet in (("train", "fit"), ("dev", "check"))}
    assert read(tmp_path, splits=splits).splits["dev"]["text"].to_pylist() == ["another"]


def test_rows_at_fault_are_named_as_excel_numbers_them(tmp_path: Path) -> None:
    book(tmp_path / "book.xlsx", data=[["title"], [], ["text", "label"], ["a", "yes"], ["b", "#REF!"], [None, "no"]])
    with pytest.raises(UserError) as caught:
        read(tmp_path, skip_rows=2)
    assert "row 5, column label: '#REF!' is a formula without a value" in caught.value.where
    assert "row 6, column text: '' is missing" in caught.value.where


def test_without_a_header(tmp_path: Path) -> None:
    book(tmp_path / "book.xlsx", data=ROWS[1:])
    assert len(texts(read(tmp_path, header=False, columns={"text": 0, "label": 1}))) == 40
    with pytest.raises(UserError, match="column 2 .label. is missing"):
        read(tmp_path, header=False, columns={"text": 0, "label": 2})


# ---- what is no workbook ----


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (OLD, "old Excel file (.xls)"),
        (OLD + "EncryptedPackage".encode("utf-16-le"), "protected by a password"),
        (b"text,label\na,yes\n", "no Excel workbook"),
        (zipped(**{"word/document.xml": b"<>", "[Content_Types].xml": b"<>"}), "no Excel workbook"),
        (zipped(**{"xl/workbook.xml": b"<", "[Content_Types].xml": b"<"}), "cannot be read as an Excel workbook"),
    ],
)
def test_what_is_no_workbook(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "book.xlsx").write_bytes(data)
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    assert told in caught.value.what and caught.value.fix


def test_one_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbooks, "LARGEST", 1000)
    with pytest.raises(UserError, match="too much to be read"):
        filled_sheets(book(tmp_path / "b.xlsx", one=ROWS))


# ---- init ----


def test_init_finds_the_header_and_the_only_sheet(tmp_path: Path) -> None:
    file = book(tmp_path / "sales.xlsx", empty=[], data=[["Report of March"], [], *ROWS])
    printed = good("init", str(file)).stdout
    assert "the first 2 lines are no part of the table" in printed and "train 32, dev 8" in printed
    assert "skip_rows: 2" in (tmp_path / "sales.yaml").read_text()


def test_init_never_chooses_between_sheets(tmp_path: Path) -> None:
    file = book(tmp_path / "sales.xlsx", first=ROWS, second=ROWS)
    refused("init", str(file), "--yes", says=("2 sheets that hold something: first, second", "--sheet"))
    assert not list(tmp_path.glob("*.yaml"))
    good("init", str(file), "--sheet", "second")
    assert 'sheet: "second"' in (tmp_path / "sales.yaml").read_text()


def test_init_takes_sheets_for_splits(tmp_path: Path) -> None:
    file = book(tmp_path / "sales.xlsx", Train=ROWS, Test=ROWS[:9], validation=ROWS[:5])
    assert "train 40, dev 4, test 8 rows" in good("init", str(file)).stdout
