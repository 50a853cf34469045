"""Readers: the files of one split become columns of raw values, with the line that each value stands on.

A reader is one function `(files, split, spec) -> RawRows` and one line in `READERS` (and its keys in
`definition.READER_KEYS`). Readers know how files are laid out; whether a value will do (labels, ranges, empty
texts) is checked afterwards, alike for all of them.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adaptershare_cli.data.definition import ROLES, SourceSpec, SplitSpec, near_names
from adaptershare_cli.errors import UserError


@dataclass(frozen=True)
class Place:
    """A file: its path, and its name as the definition writes it (the same on every machine)."""

    name: str
    path: Path


@dataclass(frozen=True)
class Fault:
    """Why one row cannot be used."""

    file: str
    row: int  # 1-based line of a text file, or row
    column: str
    value: str
    reason: str


@dataclass
class RawRows:
    """The rows of one split, a list a role, all lists equally long; rows that have faults are left out.

    `names` and `files` tell how a role's column and file are called in messages.
    """

    values: dict[str, list[Any]]
    lines: list[int]  # 1-based line of the row's first character, or the row's number
    positions: list[int]  # 0-based number among the rows, faulty ones counted
    names: dict[str, str]
    files: dict[str, str]
    faults: list[Fault] = field(default_factory=list)


Files = Mapping[str, Place]  # by role; "" for a split in one file


def read_rows(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """Read one split with the reader that `spec` names; UserError if the files' structure is at fault."""
    rows = READERS[spec.reader](files, split, spec)
    if not rows.lines and not rows.faults:
        raise UserError("the file holds no rows", _paths(files), "Give a file with at least one row.")
    return rows


def read_delimited(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """CSV or TSV; quoting `standard` as in RFC 4180 (a quoted field may hold line ends), `none` splits and no more."""
    place = files[""]
    delimiter = "\t" if spec.reader == "tsv" else ","
    text = _decode(place)
    records = list(_quoted(text, delimiter, place) if spec.quoting == "standard" else _plain(text, delimiter))
    while records and records[-1][1] in ([], [""]):
        records.pop()
    if not records:
        raise UserError("the file is empty", str(place.path), "Give a file with rows.")
    if spec.header:
        header = records.pop(0)[1]
        wanted = wanted_columns(header, spec, str(place.path))
        width = len(header)
    else:
        header = []
        width = Counter(len(fields) for _, fields in records).most_common(1)[0][0]
        wanted = _numbered_columns(width, spec, place)
    rows = _empty_rows({role: header[index] if header else str(index) for role, index in wanted.items()}, place)
    indices = [(rows.values[role], index) for role, index in wanted.items()]
    for position, (line, fields) in enumerate(records):
        if len(fields) != width:
            reason = f"{len(fields)} fields where {width} are expected" if any(fields) else "the line is empty"
            rows.faults.append(Fault(place.name, line, "", delimiter.join(fields), reason))
            continue
        rows.lines.append(line)
        rows.positions.append(position)
        for values, index in indices:
            values.append(fields[index])
    return rows


def read_jsonl(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """One JSON object a line."""
    place = files[""]
    objects: list[tuple[int, int, dict[str, Any]]] = []
    faults: list[Fault] = []
    lines = _lines(_decode(place))
    while lines and not lines[-1].strip():
        lines.pop()
    for position, line in enumerate(lines):
        try:
            value = json.loads(line)
            reason = "" if isinstance(value, dict) else "the line is not a JSON object ({...})"
        except (ValueError, RecursionError) as error:
            reason = f"the line is not JSON: {error}" if line.strip() else "the line is empty"
        if reason:
            faults.append(Fault(place.name, position + 1, "", line, reason))
        else:
            objects.append((position + 1, position, value))
    present = list(dict.fromkeys(key for _, _, value in objects for key in value))
    if not present:
        wrong = f" (line {faults[0].row}: {faults[0].reason})" if faults else ""
        fix = "The reader `jsonl` takes one JSON object a line."
        raise UserError(f"the file holds no rows{wrong}", str(place.path), fix)
    names = {role: present[index] for role, index in wanted_columns(present, spec, str(place.path)).items()}
    rows = _empty_rows(names, place)
    rows.faults = faults
    for line_number, position, value in objects:
        absent = [name for name in names.values() if name not in value]
        if absent:
            shown = json.dumps(value, ensure_ascii=True)
            rows.faults.append(Fault(place.name, line_number, absent[0], shown, f"the key `{absent[0]}` is missing"))
            continue
        rows.lines.append(line_number)
        rows.positions.append(position)
        for role, name in names.items():
            rows.values[role].append(value[name])
    rows.faults.sort(key=lambda fault: fault.row)
    return rows


def read_parquet(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """A Parquet file; page checksums are verified where it has them."""
    place = files[""]
    _check_file(place)
    try:
        with pq.ParquetFile(place.path, page_checksum_verification=True) as file:
            names = file.schema_arrow.names
            wanted = wanted_columns(names, spec, str(place.path))
            table = file.read(columns=list(dict.fromkeys(names[index] for index in wanted.values())))
    except (pa.ArrowException, OSError) as error:
        fix = "Give a whole Parquet file."
        raise UserError(f"the file cannot be read as Parquet: {error}", str(place.path), fix) from error
    return rows_of_table(table, {role: names[index] for role, index in wanted.items()}, place)


def rows_of_table(table: pa.Table, names: Mapping[str, str], place: Place) -> RawRows:
    """The named columns of an Arrow table as raw rows; UserError for a column of a type that no text or label has."""
    rows = _empty_rows(names, place)
    for role, name in names.items():
        column = table.column(name)
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        textual = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        fits = textual or pa.types.is_null(kind) or (role == "label" and (numeric or pa.types.is_decimal(kind)))
        if not fits:
            what = f"the column `{name}` has the type {column.type}, not {'text' if role != 'label' else 'a label'}"
            raise UserError(what, str(place.path), f"Choose another column for {role}, or convert it.")
        rows.values[role] = _values(column)
    rows.lines = list(range(1, table.num_rows + 1))
    rows.positions = list(range(table.num_rows))
    return rows


def read_parallel(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """One file a role; line i of each makes row i."""
    values = {}
    for role, place in files.items():
        values[role] = _lines(_decode(place))
        if values[role] and not values[role][-1]:  # what follows the last line end
            values[role].pop()
    counts = {files[role].name: len(lines) for role, lines in values.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name}: {count}" for name, count in counts.items())
        fix = "Line i of each file is one row; give files with equally many lines."
        raise UserError(f"the files of the split `{split.name}` differ in lines ({told})", _paths(files), fix)
    total = next(iter(counts.values()))
    names = {role: Path(place.name).name for role, place in files.items()}
    roles = {role: place.name for role, place in files.items()}
    return RawRows(values, list(range(1, total + 1)), list(range(total)), names, roles)


def read_clinc(files: Files, split: SplitSpec, spec: SourceSpec) -> RawRows:
    """One JSON object whose keys hold lists of [text, intent]; the split's key chooses the list."""
    place = files[""]
    try:
        content = json.loads(_decode(place))
    except (ValueError, RecursionError) as error:
        raise UserError(f"the file is not JSON: {error}", str(place.path), "Give the whole JSON file.") from error
    if not isinstance(content, dict) or not isinstance(content.get(split.key), list):
        keys = [key for key, value in content.items() if isinstance(value, list)] if isinstance(content, dict) else []
        fix = near_names(split.key, keys) + f"Lists there: {', '.join(keys) or 'none'}."
        raise UserError(f"the file has no list under the key `{split.key}`", str(place.path), fix)
    rows = _empty_rows({"text": "text", "label": "intent"}, place)
    for position, item in enumerate(content[split.key]):
        if not isinstance(item, list) or len(item) != 2:
            shown = json.dumps(item, ensure_ascii=True)
            rows.faults.append(Fault(place.name, position + 1, "", shown, "the row is not a pair [text, intent]"))
            continue
        rows.values["text"].append(item[0])
        rows.values["label"].append(item[1])
        rows.lines.append(position + 1)
        rows.positions.append(position)
    return rows


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
            shown = [_shown(column) for column in present]
            state = "there twice" if name in present else "missing"
            fix = near_names(name, shown) + f"Columns there: {', '.join(shown)}."
            raise UserError(f"the column `{name}` ({role}) is {state}", where, fix)
        wanted[role] = present.index(name)
    return wanted


def _numbered_columns(width: int, spec: SourceSpec, place: Place) -> dict[str, int]:
    wanted = {role: getattr(spec, role) for role in ROLES if getattr(spec, role) is not None}
    for role, index in wanted.items():
        if index >= width:
            fix = f"Columns there: 0 to {width - 1} (header is false)."
            raise UserError(f"the column {index} ({role}) is missing", str(place.path), fix)
    return wanted


def _empty_rows(names: Mapping[str, str], place: Place) -> RawRows:
    return RawRows({role: [] for role in names}, [], [], dict(names), dict.fromkeys(names, place.name))


def _check_file(place: Place) -> None:
    if place.path.is_dir():
        raise UserError("a folder stands where a file is expected", str(place.path), "Give a file there.")
    if not place.path.exists():
        raise UserError("there is no such file", str(place.path), "Check the definition's path and --from.")
    if place.path.stat().st_size == 0:
        raise UserError("the file is empty", str(place.path), "Give a file with rows.")


def _decode(place: Place) -> str:
    """The file's text without a byte-order mark; bytes that are no UTF-8 become lone surrogates, found later by row."""
    _check_file(place)
    try:
        data = place.path.read_bytes()
    except OSError as error:
        raise UserError(f"the file cannot be read: {error.strerror}", str(place.path), "Check its rights.") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError("the file is UTF-16, not UTF-8", str(place.path), "Save it as UTF-8.")
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def _lines(text: str) -> list[str]:
    """Lines end at \\n or \\r\\n only: str.splitlines would also cut at U+2028, form feeds and others."""
    return [line.removesuffix("\r") for line in text.split("\n")]


def _plain(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(_lines(text), start=1):
        yield number, line.split(delimiter)


def _quoted(text: str, delimiter: str, place: Place) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, strict=True)
    first = 1
    with _long_fields():
        try:
            for fields in reader:
                yield first, fields
                first = reader.line_num + 1
        except csv.Error as error:
            unclosed = "unexpected end" in str(error)
            what = "a quote is never closed" if unclosed else f"the quotes are wrong: {error}"
            fix = 'Close it, double a quote inside a field (""), or set `quoting: none` if quotes are mere characters.'
            raise UserError(f"{what}, in the row that begins at line {first}", str(place.path), fix) from error


@contextmanager
def _long_fields() -> Iterator[None]:
    """Without the csv module's limit of 131072 characters, which an unclosed quote would run into first."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _values(column: pa.ChunkedArray) -> list[Any]:
    try:
        return column.to_pylist()
    except UnicodeDecodeError:  # Arrow does not check that a Parquet file's texts are UTF-8
        raw = column.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "surrogateescape") for value in raw]


def _shown(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _paths(files: Files) -> str:
    return ", ".join(str(place.path) for place in files.values())
