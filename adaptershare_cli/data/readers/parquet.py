"""Parquet files, and any Arrow batches, as unchecked rows."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from adaptershare_cli.data.files import DataFile, check_file
from adaptershare_cli.data.names import first_line
from adaptershare_cli.data.readers.rows import (
    FilesByRole,
    RowFault,
    UncheckedRow,
    UncheckedRows,
    columns_by_name,
    most_unpacked,
    rows_of_one_file,
)
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import TEXT_ROLES
from adaptershare_cli.parquet_files import open_parquet

_BATCH, _FEWEST, _BATCH_BYTES = 1000, 16, 2**29  # rows that are decoded at once, at least, and their bytes


def read(files: FilesByRole, split: SplitSpec, spec: SourceSpec) -> UncheckedRows:
    """The rows of a Parquet file; page checksums are verified where it has them."""
    file = files[""]
    check_file(file)
    with _parquet_errors(file):
        with open_parquet(file.path) as parquet:
            schema = parquet.schema_arrow
        most = most_unpacked(file.path.stat().st_size)
    found = columns_by_name(schema.names, spec, str(file.path))
    columns = {role: schema.names[index] for role, index in found.items()}
    rows = rows_of_batches(_batches(file, columns), schema, columns, file, spec.listed)
    return replace(rows, most_characters=most)


def read_table(file: DataFile) -> tuple[pa.Schema, Iterator[tuple[Any, ...]]]:
    """The schema of a Parquet file, and the values of all columns of each row."""
    check_file(file)
    with _parquet_errors(file), open_parquet(file.path) as parquet:
        schema = parquet.schema_arrow

    def rows() -> Iterator[tuple[Any, ...]]:
        for batch in _batches(file, {name: name for name in schema.names}):
            yield from zip(*map(_values, batch.columns), strict=True)

    return schema, rows()


def rows_of_batches(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    columns: Mapping[str, str],
    file: DataFile,
    listed: Container[str],
) -> UncheckedRows:
    """The `columns` (names by role) of Arrow batches as rows; UserError for one whose type no text or label has.

    The columns of `listed` roles may be lists of texts or labels.
    """
    for role, name in columns.items():
        of = schema.field(name).type
        item = of.value_type if role in listed and _is_list(of) else of
        kind = item.value_type if pa.types.is_dictionary(item) else item
        textual = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        is_text = role in TEXT_ROLES
        fits = textual or pa.types.is_null(kind) or (not is_text and (numeric or pa.types.is_decimal(kind)))
        if not fits:
            what = f"the column `{name}` has the type {of}, not {'text' if is_text else f'a {role}'}"
            raise UserError(what, str(file.path), f"Choose another column for {role}, or convert it.")

    def rows() -> Iterator[UncheckedRow | RowFault]:
        position = 0
        for batch in batches:
            for values in zip(*(_values(batch.column(name)) for name in columns.values()), strict=True):
                yield UncheckedRow(position + 1, position, list(values))
                position += 1

    return rows_of_one_file(columns, file, rows())


@contextmanager
def _parquet_errors(file: DataFile) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: names that are no UTF-8
        what = f"the file cannot be read as Parquet: {first_line(error)}"
        raise UserError(what, str(file.path), "Give a whole Parquet file.") from error


def _batches(file: DataFile, columns: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    """The file's batches of the named columns, of so few rows that they take little memory.

    One long text may stand in very many rows, each of which the file holds as a number. Where that is likely, texts
    stay dictionaries (which are slow to make of texts that differ); else a batch has fewer rows, the larger a row
    group is. Sizes are asked of row groups: to ask a damaged file for those of a column ends the process (pyarrow 26).
    """
    names = list(dict.fromkeys(columns.values()))
    with _parquet_errors(file):
        with open_parquet(file.path) as parquet:
            groups = [parquet.metadata.row_group(number) for number in range(parquet.metadata.num_row_groups)]
            texts = [name for name in names if pa.types.is_string(parquet.schema_arrow.field(name).type)]
        sizes = [(group.total_byte_size, group.num_rows) for group in groups]
        compressed = sum(size for size, _ in sizes) > 20 * file.path.stat().st_size
        repeated = compressed or any(size < max(16 * rows, 2**23) for size, rows in sizes)
        rows = min(_BATCH, max(_FEWEST, _BATCH_BYTES // max([1, *(size for size, _ in sizes)])))
        dictionaries = texts if repeated else None
        with open_parquet(file.path, read_dictionary=dictionaries) as parquet:
            for batch in parquet.iter_batches(batch_size=_BATCH if repeated else rows, columns=names):
                _check_indices(batch)
                yield batch


def _check_indices(batch: pa.RecordBatch) -> None:
    """Raise ArrowInvalid where a damaged file's indices lie outside their dictionary (Arrow does not look)."""
    for column in batch.columns:
        while _is_list(column.type):
            column = column.flatten()
        if pa.types.is_dictionary(column.type) and len(column) > column.null_count:
            bounds = pc.min_max(column.indices).as_py()
            if bounds["min"] < 0 or bounds["max"] >= len(column.dictionary):
                raise pa.ArrowInvalid("an index lies outside its dictionary")


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _values(array: pa.Array) -> list[Any]:
    """Python values; bytes that are no UTF-8 become lone surrogates."""
    if _is_list(array.type):
        items = iter(_values(array.flatten()))
        return [None if size is None else list(islice(items, size)) for size in pc.list_value_length(array).to_pylist()]
    if pa.types.is_dictionary(array.type):
        known = _values(array.dictionary)
        return [None if index is None else known[index] for index in array.indices.to_pylist()]
    try:
        return array.to_pylist()
    except UnicodeDecodeError:  # Arrow does not check that a Parquet file's texts are UTF-8
        encoded = array.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "surrogateescape") for value in encoded]
