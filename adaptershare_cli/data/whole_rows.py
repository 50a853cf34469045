"""Files of rows of any columns, which are kept as they are: what a user has predictions added to.

The readers of tasks' files read them; nothing is asked of a row here but that it can be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from adaptershare_cli.data.files import (
    DataFile,
    check_file,
    read_lines,
    without_blank_lines_at_the_end,
    without_line_end,
)
from adaptershare_cli.data.names import shortened
from adaptershare_cli.data.readers import READERS
from adaptershare_cli.data.readers.delimited import read as read_delimited
from adaptershare_cli.data.readers.jsonl import read_objects
from adaptershare_cli.data.readers.parquet import read_table
from adaptershare_cli.data.readers.rows import NO_COMMENTS, RowFault, fault_in
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.texts import TOO_LONG

Format = Literal["csv", "tsv", "jsonl", "parquet", "text"]
SUFFIXES: dict[str, Format] = {
    ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".txt": "text",
}  # fmt: skip
TEXT = "text"  # the column of a file of texts


class WholeRow(NamedTuple):
    """One row as it stands in its file, by column."""

    line: int  # 1-based line that it begins on; of a Parquet file its number
    values: dict[str, Any]


@dataclass(frozen=True)
class WholeRows:
    """A file's rows in their order, or the fault of each that cannot be read.

    `columns` are those that are there (of JSONL: in the first lines), `schema` their types where the file has types.
    """

    columns: tuple[str, ...]
    rows: Iterator[WholeRow | RowFault]
    schema: pa.Schema | None = None


def format_of(name: str, option: str) -> Format:
    """The format that a file's suffix tells. Raises UserError for another, which `option` would name."""
    suffix = f".{name.rpartition('.')[2].lower()}"
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise UserError(f"The name {name} does not tell the file's format", where=known, fix=f"Say it with {option}.")
    return SUFFIXES[suffix]


def read_whole(file: DataFile, form: Format) -> WholeRows:
    """The rows of a file. Raises UserError where it holds none, or its structure is at fault."""
    check_file(file)
    if form == "parquet" and file.stream is not None:
        raise UserError("Parquet cannot be read from a pipe", str(file.path), "Give a file, or CSV, TSV or JSONL.")
    with _without_definition():
        found = {"jsonl": _objects, "parquet": _table, "text": _lines}.get(form, _records)(file, form)
    rows = _read(found.rows)
    first = next(rows, None)
    if first is None:
        raise UserError("there are no rows", str(file.path), "Give a file with at least one row.")
    return WholeRows(found.columns, chain([first], rows), found.schema)


def _read(rows: Iterator[WholeRow | RowFault]) -> Iterator[WholeRow | RowFault]:
    with _without_definition():
        yield from rows


@contextmanager
def _without_definition() -> Iterator[None]:
    """Readers advise to change a task's definition; here there is none."""
    try:
        yield
    except UserError as error:
        if any(word in error.fix for word in ("definition", "`header:", "`reader", "The reader")):
            fix = "Is it of the format that its name, or --format, says? A CSV file has a first line of names."
            raise UserError(error.what, error.where, fix) from error
        raise


def _records(file: DataFile, form: str) -> WholeRows:
    spec = SourceSpec(
        "files", (), columns=(), pair_if_present=False, reader=form, quoting=READERS[form].quoting, comment=NO_COMMENTS
    )
    found = read_delimited({"": file}, SplitSpec("", ()), spec)
    rows = (
        row if isinstance(row, RowFault) else WholeRow(row.line, dict(zip(found.columns, row.values, strict=True)))
        for row in found.rows
    )
    return WholeRows(tuple(found.columns), rows)


def _objects(file: DataFile, form: str) -> WholeRows:
    present, objects = read_objects(file)
    rows = (item if isinstance(item, RowFault) else WholeRow(item[0], item[2]) for item in objects)
    return WholeRows(tuple(present), rows)


def _table(file: DataFile, form: str) -> WholeRows:
    schema, values = read_table(file)
    if twice := [name for name in schema.names if schema.names.count(name) > 1]:
        raise UserError(shortened(f"the column `{twice[0]}` is there twice"), str(file.path), "Rename one of them.")
    rows = (WholeRow(number, dict(zip(schema.names, row, strict=True))) for number, row in enumerate(values, 1))
    return WholeRows(tuple(schema.names), rows, schema)


def _lines(file: DataFile, form: str) -> WholeRows:
    def rows() -> Iterator[WholeRow | RowFault]:
        for number, text in without_blank_lines_at_the_end(read_lines(file)):
            if text is None:
                yield fault_in(file, number, "", TOO_LONG)
            else:
                yield WholeRow(number, {TEXT: without_line_end(text)})

    return WholeRows((TEXT,), rows())
