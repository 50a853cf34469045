"""Parquet files, and Arrow tables in general, as raw rows."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from adaptershare_cli.data.definition import SourceSpec, SplitSpec
from adaptershare_cli.data.files import Place, check_file
from adaptershare_cli.data.raw import Fault, Files, RawRows, Row, first_line, in_one_file, wanted_columns
from adaptershare_cli.errors import UserError

_BATCH, _FEWEST, _BATCH_BYTES = 1000, 16, 2**29  # of a Parquet file: rows that are decoded at once, and their bytes
_UNPACKED, _UNPACKED_TIMES = 2**30, 1000  # characters, and times its bytes, that a Parquet file may unpack to


def read_parquet(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """A Parquet file; page checksums are verified where it has them."""
    place = files[""]
    check_file(place)
    with _parquet_errors(place):
        schema = pq.read_schema(place.path)
        most = max(_UNPACKED, _UNPACKED_TIMES * place.path.stat().st_size)
    names = {role: schema.names[index] for role, index in wanted_columns(schema.names, spec, str(place.path)).items()}
    return replace(rows_of_batches(_batches(place, names), schema, names, place, spec.listed), most=most)


def rows_of_batches(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, names: Mapping[str, str], place: Place, listed: Container[str]
) -> RawRows:
    """The named columns of Arrow batches as raw rows; UserError for a column of a type that no text or label has.

    The columns of `listed` roles may be lists of texts or labels.
    """
    for role, name in names.items():
        of = schema.field(name).type
        item = of.value_type if role in listed and _is_list(of) else of
        kind = item.value_type if pa.types.is_dictionary(item) else item
        textual = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        fits = textual or pa.types.is_null(kind) or (role == "label" and (numeric or pa.types.is_decimal(kind)))
        if not fits:
            what = f"the column `{name}` has the type {of}, not {'text' if role != 'label' else 'a label'}"
            raise UserError(what, str(place.path), f"Choose another column for {role}, or convert it.")

    def rows() -> Iterator[Row | Fault]:
        position = 0
        for batch in batches:
            for values in zip(*(_values(batch.column(name)) for name in names.values()), strict=True):
                yield position + 1, position, list(values)
                position += 1

    return in_one_file(names, place, rows())


@contextmanager
def _parquet_errors(place: Place) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: names that are no UTF-8
        what = f"the file cannot be read as Parquet: {first_line(error)}"
        raise UserError(what, str(place.path), "Give a whole Parquet file.") from error


def _batches(place: Place, names: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    """The file's batches of the named columns, of so few rows that they take little memory.

    One long text may stand in very many rows, of which a file holds a number each. Where that is likely, texts stay
    dictionaries (which Arrow makes slowly of texts that differ); else a batch has fewer rows, the larger a row group
    is. Sizes are asked of row groups, as asking a damaged file for those of a column ends the process (pyarrow 26).
    """
    columns = list(dict.fromkeys(names.values()))
    with _parquet_errors(place):
        with pq.ParquetFile(place.path) as file:
            groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
            texts = [name for name in columns if pa.types.is_string(file.schema_arrow.field(name).type)]
        sizes = [(group.total_byte_size, group.num_rows) for group in groups]
        squeezed = sum(size for size, _ in sizes) > 20 * place.path.stat().st_size
        packed = squeezed or any(size < max(16 * rows, 2**23) for size, rows in sizes)
        rows = min(_BATCH, max(_FEWEST, _BATCH_BYTES // max([1, *(size for size, _ in sizes)])))
        with pq.ParquetFile(
            place.path, page_checksum_verification=True, read_dictionary=texts if packed else None
        ) as file:
            for batch in file.iter_batches(batch_size=_BATCH if packed else rows, columns=columns):
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
    if _is_list(array.type):
        items = iter(_values(array.flatten()))
        return [None if size is None else list(islice(items, size)) for size in pc.list_value_length(array).to_pylist()]
    if pa.types.is_dictionary(array.type):
        known = _values(array.dictionary)
        return [None if index is None else known[index] for index in array.indices.to_pylist()]
    try:
        return array.to_pylist()
    except UnicodeDecodeError:  # Arrow does not check that a Parquet file's texts are UTF-8
        raw = array.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "surrogateescape") for value in raw]
