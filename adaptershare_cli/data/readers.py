"""Readers: the files of one split become rows of raw values, with the line that each row begins on.

A reader is one function `(files, split, spec) -> RawRows` and one line in `READERS` (and its keys in
`definition.READER_KEYS`). Readers know how files are laid out; whether a value will do (labels, ranges, empty
texts) is checked afterwards, alike for all of them. Rows are read while they are asked for, so a file's size is
bounded by the disk alone.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from adaptershare_cli.data.blocks import near_names
from adaptershare_cli.data.definition import ROLES, SourceSpec, SplitSpec
from adaptershare_cli.data.delimited import Record, plain_records, quoted_records
from adaptershare_cli.data.files import (
    LONGEST_ROW,
    TOO_LONG,
    Line,
    Place,
    bare,
    check_file,
    read_lines,
    read_whole,
    without_last_blanks,
)
from adaptershare_cli.errors import UserError

SHOWN = 200  # characters of a value that are kept
_HEAD_ROWS = 1000  # rows that are looked at first where the file does not name its columns
_WHOLE_FILE = 64 * 2**20  # bytes of a file that must be held at once
_BATCH, _FEWEST, _BATCH_BYTES = 1000, 16, 2**29  # of a Parquet file: rows that are decoded at once, and their bytes
_UNPACKED, _UNPACKED_TIMES = 2**30, 1000  # characters, and times its bytes, that a Parquet file may unpack to


@dataclass(frozen=True)
class Fault:
    """Why one row cannot be used."""

    file: str
    row: int  # 1-based line of a text file, or row
    column: str
    value: str
    reason: str


Row = tuple[
    int, int, list[Any]
]  # 1-based line (or row) it begins on; 0-based number, faulty ones counted; a value a role


@dataclass(frozen=True)
class RawRows:
    """The rows of one split in their order, each with a value for each role or with its fault.

    `names` and `files` tell, by role, how its column and file are called in messages. `rows` is read from the files
    while it is asked for, once; it raises UserError where it finds the files' structure at fault.
    """

    names: dict[str, str]
    files: dict[str, str]
    rows: Iterator[Row | Fault]
    most: float = math.inf  # characters that its texts may have in all


Files = Mapping[str, Place]  # by role; "" for a split in one file


def read_rows(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """Read one split with the reader that `spec` names; UserError if the files' structure is at fault."""
    raw = READERS[spec.reader](files, split, spec)
    first = next(raw.rows, None)
    if first is None:
        raise UserError("the file holds no rows", _paths(files), "Give a file with at least one row.")
    return replace(raw, rows=chain([first], raw.rows))


def read_delimited(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """CSV or TSV; quoting `standard` as in RFC 4180 (a quoted field may hold line ends), `none` splits and no more."""
    place = files[""]
    delimiter = "\t" if spec.reader == "tsv" else ","
    lines = without_last_blanks(read_lines(place))
    split_up = quoted_records if spec.quoting == "standard" else plain_records
    if spec.header:
        records = split_up(lines, delimiter, place)
        header = _header(records, place)
        wanted = wanted_columns(header, spec, str(place.path))
        names = {role: header[index] for role, index in wanted.items()}
        width = len(header)
    else:
        head = _head(lines)
        widths = Counter(len(fields) for _, fields, _ in split_up(iter(head), delimiter, place) if any(fields))
        width = widths.most_common(1)[0][0] if widths else 0
        wanted = _numbered_columns(width, spec, place)
        names = {role: str(index) for role, index in wanted.items()}
        records = split_up(chain(head, lines), delimiter, place)

    def rows() -> Iterator[Row | Fault]:
        for position, (line, fields, reason) in enumerate(records):
            if not reason and len(fields) != width:
                reason = f"has {_fields(len(fields))} where {width} are expected" if any(fields) else "is an empty line"
            if reason:
                yield _fault(place, line, delimiter.join(fields), reason)
            else:
                yield line, position, [fields[index] for index in wanted.values()]

    return _in_one_file(names, place, rows())


def read_jsonl(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """One JSON object a line."""
    place = files[""]
    lines = without_last_blanks(read_lines(place))
    head = _head(lines)
    looked_at = list(map(_object, head))
    present = list(dict.fromkeys(key for value, reason in looked_at if not reason for key in value))
    if not present:
        wrong = f" (line {head[0][0]} {looked_at[0][1] or 'has no key'})" if head else ""
        fix = "The reader `jsonl` takes one JSON object a line."
        raise UserError(f"the file holds no rows{wrong}", str(place.path), fix)
    names = {role: present[index] for role, index in wanted_columns(present, spec, str(place.path)).items()}
    if spec.pair_if_present:  # a key that comes late, or not in every line
        names = {role: names.get(role, spec.text_pair) for role in ROLES}
    needed = [name for role, name in names.items() if role != "text_pair" or not spec.pair_if_present]

    def rows() -> Iterator[Row | Fault]:
        for position, line in enumerate(chain(head, lines)):
            value, reason = _object(line)
            absent = next((name for name in needed if name not in value), "") if not reason else ""
            if absent or reason:
                shown = bare(line[1] or "")
                yield _fault(place, line[0], shown, reason or f"has no key `{absent}`", absent)
            else:
                yield line[0], position, [value.get(name) for name in names.values()]

    return _in_one_file(names, place, rows())


def read_parquet(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """A Parquet file; page checksums are verified where it has them."""
    place = files[""]
    check_file(place)
    with _parquet_errors(place):
        schema = pq.read_schema(place.path)
        most = max(_UNPACKED, _UNPACKED_TIMES * place.path.stat().st_size)
    names = {role: schema.names[index] for role, index in wanted_columns(schema.names, spec, str(place.path)).items()}
    return replace(rows_of_batches(_batches(place, names), schema, names, place), most=most)


def rows_of_batches(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, names: Mapping[str, str], place: Place
) -> RawRows:
    """The named columns of Arrow batches as raw rows; UserError for a column of a type that no text or label has."""
    for role, name in names.items():
        of = schema.field(name).type
        kind = of.value_type if pa.types.is_dictionary(of) else of
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

    return _in_one_file(names, place, rows())


def read_parallel(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """One file a role; line i of each makes row i."""

    def rows() -> Iterator[Row | Fault]:
        counts = dict.fromkeys(files, 0)
        for position, lines in enumerate(zip_longest(*map(read_lines, files.values()))):
            for role, line in zip(files, lines, strict=True):
                counts[role] += line is not None
            texts = [line[1] for line in lines if line is not None]
            if None in texts:
                role = list(files)[texts.index(None)]
                yield _fault(files[role], position + 1, "", TOO_LONG)
            elif len(texts) == len(files):
                yield position + 1, position, [bare(text) for text in texts if text is not None]
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{files[role].name}: {count}" for role, count in counts.items())
            fix = "Line i of each file is one row; give files with equally many lines."
            raise UserError(f"the files of the split `{split.name}` differ in lines ({told})", _paths(files), fix)

    names = {role: Path(place.name).name for role, place in files.items()}
    return RawRows(names, {role: place.name for role, place in files.items()}, rows())


def read_clinc(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """One JSON object whose keys hold lists of [text, intent]; the split's key chooses the list.

    Its rows are counted in that list, as JSON may put all of them on one line.
    """
    place = files[""]
    try:
        content = _JSON.decode(read_whole(place, _WHOLE_FILE))
    except (ValueError, RecursionError) as error:
        fix = "Give the whole JSON file."
        raise UserError(f"the file {_json_reason(error, lines=True)}", str(place.path), fix) from error
    if not isinstance(content, dict) or not isinstance(content.get(split.key), list):
        keys = [key for key, value in content.items() if isinstance(value, list)] if isinstance(content, dict) else []
        fix = near_names(split.key, keys) + f"Lists there: {', '.join(keys) or 'none'}."
        raise UserError(f"the file has no list under the key `{split.key}`", str(place.path), fix)

    def rows() -> Iterator[Row | Fault]:
        for position, item in enumerate(content[split.key]):
            if isinstance(item, list) and len(item) == 2:
                yield position + 1, position, item
            else:
                shown = json.dumps(item, ensure_ascii=True)
                yield _fault(place, position + 1, shown, "is not a pair [text, intent]")

    return _in_one_file({"text": "text", "label": "intent"}, place, rows())


READERS: dict[str, Callable[[Files, SplitSpec, SourceSpec], RawRows]] = {
    "tsv": read_delimited,
    "csv": read_delimited,
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "lines": read_parallel,
    "clinc": read_clinc,
}


def wanted_columns(present: list[str], spec: SourceSpec, where: str) -> dict[str, int]:
    """The index of each role's column by name; text_pair only if it was written down or is there.

    Raises UserError, with the columns that are there, for one that is missing or there twice.
    """
    wanted: dict[str, int] = {}
    for role in ROLES:
        name = getattr(spec, role)
        if role == "text_pair" and spec.pair_if_present and name not in present:
            continue
        if present.count(name) != 1:
            shown = [_readable(column) for column in present]
            state = "there twice" if name in present else "missing"
            fix = near_names(name, shown) if name not in present else "Rename one of them. "
            raise UserError(
                f"the column `{name}` ({role}) is {state}", where, f"{fix}Columns there: {', '.join(shown)}."
            )
        wanted[role] = present.index(name)
    return wanted


def _numbered_columns(width: int, spec: SourceSpec, place: Place) -> dict[str, int]:
    wanted = {role: getattr(spec, role) for role in ROLES if getattr(spec, role) is not None}
    for role, index in wanted.items():
        if index >= width > 0:
            fix = f"Columns there: 0 to {width - 1} (header is false)."
            raise UserError(f"the column {index} ({role}) is missing", str(place.path), fix)
    return wanted


def _in_one_file(names: Mapping[str, str], place: Place, rows: Iterator[Row | Fault]) -> RawRows:
    return RawRows(dict(names), dict.fromkeys(names, place.name), rows)


def _fault(place: Place, line: int, value: str, reason: str, column: str = "") -> Fault:
    return Fault(place.name, line, column, value[:SHOWN], reason)


def _fields(count: int) -> str:
    return "1 field" if count == 1 else f"{count} fields"


def _head(lines: Iterator[Line]) -> list[Line]:
    """The first lines, taken from `lines`; fewer where they are long."""
    head: list[Line] = []
    size = 0
    while len(head) < _HEAD_ROWS and size < LONGEST_ROW and (line := next(lines, None)):
        head.append(line)
        size += len(line[1] or "")
    return head


def _header(records: Iterator[Record], place: Place) -> list[str]:
    line, header, reason = next(records, (1, [], "is empty"))
    if not reason and not any(header):
        reason = "is empty"
    if reason:
        what = f"the first line, which names the columns, cannot be read: it {reason}"
        raise UserError(what, str(place.path), "Correct it, or write `header: false` and number the columns.")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        key = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key `{key[:SHOWN]}` stands there twice")
    return value


_JSON = json.JSONDecoder(object_pairs_hook=_unique)


def _object(line: Line) -> tuple[Any, str]:
    """The JSON object of a line, or why it is none."""
    text = line[1]
    if text is None:
        return None, TOO_LONG
    try:
        value = _JSON.decode(text)
    except (ValueError, RecursionError) as error:
        return None, _json_reason(error) if text.strip() else "is an empty line"
    return value, "" if isinstance(value, dict) else "is not a JSON object ({...})"


def _json_reason(error: Exception, lines: bool = False) -> str:
    if isinstance(error, json.JSONDecodeError):
        place = f"line {error.lineno}, character {error.colno}" if lines else f"character {error.colno}"
        return f"is not JSON: {error.msg.removesuffix(' at')} at {place}"
    return f"is not JSON that can be read: {'too deeply nested' if isinstance(error, RecursionError) else error}"


@contextmanager
def _parquet_errors(place: Place) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: names that are no UTF-8
        what = f"the file cannot be read as Parquet: {str(error).splitlines()[0]}"
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
        if pa.types.is_dictionary(column.type) and len(column) > column.null_count:
            bounds = pc.min_max(column.indices).as_py()
            if bounds["min"] < 0 or bounds["max"] >= len(column.dictionary):
                raise pa.ArrowInvalid("an index lies outside its dictionary")


def _values(array: pa.Array) -> list[Any]:
    if pa.types.is_dictionary(array.type):
        known = _values(array.dictionary)
        return [None if index is None else known[index] for index in array.indices.to_pylist()]
    try:
        return array.to_pylist()
    except UnicodeDecodeError:  # Arrow does not check that a Parquet file's texts are UTF-8
        raw = array.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "surrogateescape") for value in raw]


def _readable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _paths(files: Files) -> str:
    return ", ".join(str(place.path) for place in files.values())
