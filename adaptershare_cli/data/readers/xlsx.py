"""Sheets of Excel workbooks: one row of cells a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice

from adaptershare_cli.data.files import check_file
from adaptershare_cli.data.readers.rows import (
    FilesByRole,
    RowFault,
    UncheckedRow,
    UncheckedRows,
    columns_by_name,
    columns_by_number,
    fault_in,
    most_unpacked,
    rows_of_one_file,
)
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec
from adaptershare_cli.data.workbooks import CellError, cell_text, sheet_rows
from adaptershare_cli.errors import UserError

_HEAD = 100  # rows that show how wide a sheet without a header is
_EMPTY_ROWS = "empty rows"


def read(files: FilesByRole, split: SplitSpec, spec: SourceSpec) -> UncheckedRows:
    """The rows of a sheet below its header, each with its number in the sheet; empty ones between are counted."""
    file = files[""]
    check_file(file)
    sheet = (row for row in sheet_rows(file.path, split.key) if row[0] > spec.skip_rows)
    head = list(islice(sheet, 1 if spec.header else _HEAD))
    if not head:
        raise UserError("the sheet holds no rows", str(file.path), "Check `sheet` and `skip_rows` in the definition.")
    if spec.header:
        names = [(cell_text(cell) or "").strip() for cell in head.pop()[1]]
        columns = columns_by_name(names, spec, str(file.path))
        called = {role: names[index] for role, index in columns.items()}
    else:
        columns = columns_by_number(max(len(cells) for _, cells in head), spec, file)
        called = {role: str(index) for role, index in columns.items()}
    left_out: Counter[str] = Counter()

    def rows() -> Iterator[UncheckedRow | RowFault]:
        last = 0
        for position, (number, cells) in enumerate(chain(head, sheet)):
            left_out[_EMPTY_ROWS] += number - last - 1 if last else 0
            last = number
            found = [cells[index] if index < len(cells) else None for index in columns.values()]
            errors = [
                (role, cell.text)
                for role, cell in zip(columns, found, strict=True)
                if isinstance(cell, CellError) and cell.text not in spec.missing
            ]
            for role, shown in errors[:1]:
                yield fault_in(file, number, shown, "is a formula without a value", called[role])
            if not errors:
                yield UncheckedRow(number, position, [cell_text(cell, spec.decimal) for cell in found])

    found = replace(rows_of_one_file(called, file, rows()), left_out=left_out)
    return replace(found, most_characters=most_unpacked(file.path.stat().st_size))
