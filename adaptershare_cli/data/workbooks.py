"""Excel workbooks (.xlsx, .xlsm): their sheets, and the cells of one, row by row."""

from __future__ import annotations

import datetime
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from adaptershare_cli.data.names import first_line, near_names
from adaptershare_cli.errors import UserError

LARGEST = 2 * 2**30  # bytes that a workbook may unpack to
_LARGEST_TEXTS = 512 * 2**20  # bytes of its table of texts, which is held at once
_LAST_ROW = 2**20  # of a sheet
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")  # how a workbook writes signs that XML cannot hold, such as _x000D_
_SIGNATURE = b"PK\x03\x04"
_INSIDE = "xl/workbook.xml"


class CellError(NamedTuple):
    """A cell whose formula has no value; `text` is what Excel shows there, such as #N/A."""

    text: str


SheetRow = tuple[int, list[Any]]  # its number from 1, and its cells: texts, numbers, None, or CellError


def is_workbook(path: Path) -> bool:
    """Whether a file is a workbook of Excel in today's format."""
    try:
        with path.open("rb") as stream:
            if stream.read(4) != _SIGNATURE:
                return False
        with zipfile.ZipFile(path) as archive:
            return _INSIDE in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def filled_sheets(path: Path) -> list[str]:
    """The names of the visible sheets that hold anything. Raises UserError for what is no workbook."""
    with _opened(path) as book:
        sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        return [sheet.title for sheet in sheets if next(_rows_of(sheet), None)]


def sheet_rows(path: Path, sheet: str = "") -> Iterator[SheetRow]:
    """The rows of a sheet that hold anything; formulas give the values that were stored with them.

    `sheet` is its name, or its number from 1; "" the only one that holds anything. Numbers come without their format,
    dates as 2024-03-31. Raises UserError, also while it is read, for what is no
    workbook, for a sheet that is not there, and where which one is meant is not said.
    """
    name = sheet or _only_sheet(path)
    with _opened(path) as book:
        names = [one.title for one in book.worksheets]
        if name not in names and name.isdecimal() and 0 < int(name) <= len(names):
            name = names[int(name) - 1]
        if name not in names:
            fix = f"{near_names(name, names)}Sheets there: {', '.join(names)}."
            raise UserError(f"the workbook has no sheet `{name}`", str(path), fix)
        yield from _rows_of(book.worksheets[names.index(name)])


def cell_text(cell: Any, decimal: str = "") -> str | None:
    """A cell as a CSV file would hold it, numbers with this decimal mark; None for an empty one."""
    if isinstance(cell, CellError):
        return cell.text
    if isinstance(cell, float):
        whole = cell.is_integer() and abs(cell) < 2**53
        return str(int(cell)) if whole else repr(cell).replace(".", decimal or ".")
    return cell if cell is None else str(cell)


def _only_sheet(path: Path) -> str:
    filled = filled_sheets(path)
    if not filled:
        raise UserError("the workbook holds no rows", str(path), "Give one with at least one row.")
    if len(filled) > 1:
        what = f"the workbook has {len(filled)} sheets that hold something: {', '.join(filled)}"
        raise UserError(what, str(path), "Say which one is meant: `sheet: NAME` in the definition.")
    return filled[0]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        fix = 'Install it with pip install "adaptershare-cli[excel]", or save the sheet as CSV.'
        raise UserError("Excel files are read with the package openpyxl, which is not there", str(path), fix) from error
    warnings.filterwarnings("ignore", category=UserWarning, module="openpyxl")  # of styles and the like
    try:
        _check_archive(path)
        with path.open("rb") as stream:  # of a path it would ask for one of its suffixes
            yield load_workbook(stream, read_only=True, data_only=True, keep_links=False)
    except UserError:
        raise
    except Exception as error:  # of a damaged workbook openpyxl says this and that
        what = f"the file cannot be read as an Excel workbook: {first_line(error)}"
        raise UserError(what, str(path), "Open it in Excel and save it again, or save the sheet as CSV.") from error


def _check_archive(path: Path) -> None:
    """Raise UserError for what is no workbook, and for one that unpacks to far too much."""
    with path.open("rb") as stream:
        head = stream.read(4)
    if head != _SIGNATURE:
        fix = "Save it as .xlsx, or write another `reader` in the definition."
        raise UserError("the file is no Excel workbook (.xlsx)", str(path), fix)
    with zipfile.ZipFile(path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    if _INSIDE not in sizes:
        fix = "Save it as .xlsx, or write another `reader` in the definition."
        raise UserError("the file is packed, but no Excel workbook (.xlsx)", str(path), fix)
    texts = max((size for name, size in sizes.items() if name.lower().endswith("sharedstrings.xml")), default=0)
    if sum(sizes.values()) > LARGEST or texts > _LARGEST_TEXTS:
        what = f"the workbook unpacks to {sum(sizes.values()) // 2**20} MiB, of which {texts // 2**20} MiB are texts"
        raise UserError(f"{what}: too much to be read", str(path), "Save its sheet as CSV.")


def _rows_of(sheet: Any) -> Iterator[SheetRow]:
    """The rows that hold anything."""
    sheet.reset_dimensions()  # programs write wrong ones
    for number, row in enumerate(sheet.iter_rows(), 1):
        if number > _LAST_ROW:
            return
        cells = [_shown(cell) for cell in row]
        while cells and (cells[-1] is None or cells[-1] == ""):
            cells.pop()
        if cells:
            yield number, cells


def _shown(cell: Any) -> Any:
    value = cell.value
    if value is None or value == "":
        return None
    if cell.data_type == "e":
        return CellError(str(value))
    if isinstance(value, str):
        return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value) if "_x" in value else value
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return value
    if isinstance(value, datetime.datetime):
        at_midnight = value.time() == datetime.time()
        return value.date().isoformat() if at_midnight else value.isoformat(sep=" ", timespec="seconds")
    return str(value)
