"""Rows of a user's with columns added, written as they come: CSV, TSV, JSONL or Parquet, on a stream of bytes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import pyarrow as pa

from adaptershare_cli.data.whole_rows import Format, WholeRow
from adaptershare_cli.errors import UserError
from adaptershare_cli.parquet_files import parquet_writer

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetWriter

LONGEST_SHOWN = 60
_FIX = "Write JSONL instead, which takes any value."


class RowWriter(Protocol):
    """Writes rows in their order."""

    def write(self, rows: Sequence[WholeRow]) -> None:
        """Some more rows, with all columns. Raises UserError for a value that the format cannot hold."""

    def close(self) -> None:
        """No row comes any more; the stream stays open."""


def row_writer(
    form: Format,
    stream: BinaryIO,
    columns: Sequence[str],
    added: Mapping[str, pa.DataType],
    schema: pa.Schema | None = None,
) -> RowWriter:
    """A writer of rows of these `columns`, whose types `schema` knows where it is given, and of those that are `added`.

    Bytes of texts that were no UTF-8 are written as they were read.
    """
    if form == "parquet":
        return _Parquet(stream, columns, added, schema)
    if form == "jsonl":
        return _Jsonl(stream)
    return _Delimited(stream, form, [*columns, *added])


class _Jsonl:
    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream

    def write(self, rows: Sequence[WholeRow]) -> None:
        for row in rows:
            text = json.dumps(row.values, ensure_ascii=False, default=str)
            self.stream.write(text.encode("utf-8", "surrogateescape") + b"\n")

    def close(self) -> None:
        """Nothing is left."""


class _Delimited:
    """CSV with the quotes of RFC 4180; TSV without any, as it is read."""

    def __init__(self, stream: BinaryIO, form: Format, columns: Sequence[str]) -> None:
        self.stream, self.form, self.columns = stream, form, columns
        self.buffer = io.StringIO()
        self.quoting = csv.writer(self.buffer, lineterminator="\n")
        self._line(self.columns, "the names of the columns")
        self._flush()

    def write(self, rows: Sequence[WholeRow]) -> None:
        known = set(self.columns)
        for row in rows:
            if late := next((name for name in row.values if name not in known), None):
                what = f"row {row.line} has the key `{late[:LONGEST_SHOWN]}`, which the first rows do not have"
                raise UserError(what, f"{self.form.upper()} has the same columns in all rows", _FIX)
            self._line([_as_text(row.values.get(name)) for name in self.columns], f"row {row.line}")
        self._flush()

    def _line(self, values: Sequence[str], where: str) -> None:
        if self.form == "csv":
            self.quoting.writerow(values)
            return
        odd = next((value for value in values if any(sign in value for sign in "\t\n\r")), None)
        if odd is not None:
            raise UserError(f"{where}: {odd[:LONGEST_SHOWN]!r} cannot be written as TSV: it has no quotes", fix=_FIX)
        self.buffer.write("\t".join(values) + "\n")

    def _flush(self) -> None:
        self.stream.write(self.buffer.getvalue().encode("utf-8", "surrogateescape"))
        self.buffer.seek(0)
        self.buffer.truncate()

    def close(self) -> None:
        """Nothing is left."""


def _as_text(value: Any) -> str:
    """A value in a text: words of a sentence parted by blanks, other lists and objects as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) and item and " " not in item for item in value):
        return " ".join(value)
    if isinstance(value, list) and all(isinstance(item, float) for item in value):
        return " ".join(map(repr, value))
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict | bool) else str(value)


class _Parquet:
    def __init__(
        self, stream: BinaryIO, columns: Sequence[str], added: Mapping[str, pa.DataType], schema: pa.Schema | None
    ) -> None:
        self.stream, self.columns, self.added, self.own = stream, columns, added, schema
        self.file: ParquetWriter | None = None
        self.schema: pa.Schema | None = None
        if schema is not None:
            self._begin(schema)

    def _begin(self, own: pa.Schema) -> ParquetWriter:
        """The types of the added columns are known, of the others what `own` says; where that is nothing, text."""
        fields = [pa.field(f.name, pa.string()) if pa.types.is_null(f.type) else f for f in own]
        self.schema = pa.schema([*fields, *(pa.field(name, of) for name, of in self.added.items())])
        self.file = parquet_writer(self.stream, self.schema)
        return self.file

    def write(self, rows: Sequence[WholeRow]) -> None:
        try:
            file = self.file
            if file is None:  # of rows without types those of the first rows hold
                known = [{name: row.values.get(name) for name in self.columns} for row in rows]
                file = self._begin(pa.Table.from_pylist(known).select(self.columns).schema)
            file.write_table(pa.Table.from_pylist([row.values for row in rows], self.schema))
        except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
            what = f"rows {rows[0].line} to {rows[-1].line} hold values that Parquet cannot: {error}"
            raise UserError(what.splitlines()[0], fix=_FIX) from error

    def close(self) -> None:
        """Write the footer."""
        file = self.file or self._begin(pa.schema([(name, pa.string()) for name in self.columns]))
        file.close()
