"""What an unknown file is: its layout, encoding and delimiter, the names of its columns, and its first rows."""

from __future__ import annotations

import csv
import io
import itertools
import json
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adaptershare_cli.data.files import DataFile, check_file, read_whole
from adaptershare_cli.data.names import first_line
from adaptershare_cli.data.readers.delimited import fields_of_any_length
from adaptershare_cli.data.readers.json_list import LARGEST, records_of
from adaptershare_cli.data.unpacking import likely_encoding, open_text
from adaptershare_cli.data.word_lines import word_lines
from adaptershare_cli.data.workbooks import cell_text, is_workbook, sheet_rows
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.values import read_number
from adaptershare_cli.parquet_files import open_parquet

SAMPLE_ROWS = 2000
_SAMPLE_BYTES = 4 * 2**20
_MOST_TITLE_ROWS = 30
_DEEPEST = 5  # keys within keys that are looked into
_DELIMITERS = ",;\t|"
_UTF16 = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True)
class Sniffed:
    """A file as far as its first rows show it.

    `reader`, `encoding` and `delimiter` as a definition writes them ("" where its default fits). Columns
    have the names of the first row where that is a `header`, else numbers from 0; `rows` are their values, None where
    a row lacks one. `notes` are what is not certain, `told` what is, and is worth a word. `skip_rows` stand above the
    header (or the first row). Of a workbook it is the `sheet` of that name, "" for the only one. Values of a file with
    a word a line are lists, and `comment` is what lines begin with that are no words.
    """

    path: Path
    reader: str
    columns: tuple[str, ...]
    rows: list[list[Any]]
    encoding: str = ""
    delimiter: str = ""
    header: bool = True
    notes: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    skip_rows: int = 0
    sheet: str = ""
    comment: str = ""

    @property
    def quoting(self) -> str:
        """What a definition says of quotes: fields of a file with tabs that hold tabs or line ends stood in some."""
        cells = (value for row in self.rows for value in row if isinstance(value, str))
        return "standard" if self.reader == "tsv" and any("\n" in cell or "\t" in cell for cell in cells) else ""

    def without(self, column: str) -> Sniffed:
        """The same without a column."""
        at = self.columns.index(column)
        rows = [[*row[:at], *row[at + 1 :]] for row in self.rows]
        return replace(self, columns=(*self.columns[:at], *self.columns[at + 1 :]), rows=rows)

    def values(self, column: str) -> list[Any]:
        """The values of a column."""
        number = self.columns.index(column)
        return [row[number] for row in self.rows]


def sniff(path: Path, sheet: str = "") -> Sniffed:
    """Look at a file's first rows. Raises UserError for one that is no table of rows."""
    check_file(DataFile(str(path), path))
    with path.open("rb") as stream:
        head = stream.read(8)
    if head.startswith(b"PAR1"):
        return _parquet(path)
    if is_workbook(path):
        return _workbook(path, sheet)
    if sheet:
        raise UserError("the file is no Excel workbook, so it has no sheets", str(path), "Leave --sheet out.")
    encoding, notes = _encoding(path, head)
    with open_text(path, encoding) as stream:
        data = stream.read(_SAMPLE_BYTES)
    text = data.decode("utf-8-sig", "replace")
    if len(data) == _SAMPLE_BYTES:
        text = text[: text.rfind("\n") + 1]  # whole lines
    if not text.strip():
        raise UserError("the file holds no text", str(path), "Give a file with rows.")
    if "\r" in text.strip() and "\n" not in text:
        what = "the lines of the file end with a carriage return alone"
        raise UserError(what, str(path), "Save it with the line ends \\n or \\r\\n.")
    start = text.lstrip()
    if start.startswith("[") or (start.startswith("{") and not _is_object(start.splitlines()[0])):
        return _json(path, encoding, notes)
    if start.startswith("{"):
        return _jsonl(path, text, encoding, notes)
    if found := word_lines(text, SAMPLE_ROWS):
        return Sniffed(path, found.reader, found.columns, found.rows, encoding, notes=notes, comment=found.comment)
    return _delimited(path, text, encoding, notes)


def _encoding(path: Path, head: bytes) -> tuple[str, tuple[str, ...]]:
    """The encoding, "" for UTF-8, and a note where it is guessed."""
    for signature, name in _UTF16.items():
        if head.startswith(signature):
            return name, ()
    with open_text(path) as stream:
        data = stream.read(_SAMPLE_BYTES)
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if error.end == len(data) and error.reason == "unexpected end of data":  # the sample ends within a character
            return "", ()
        found = likely_encoding(path)
        return found, ((f"its encoding looks like {found}",) if found else ())
    return "", ()


def _parquet(path: Path) -> Sniffed:
    import pyarrow as pa

    try:
        with open_parquet(path) as file:
            batch = next(file.iter_batches(SAMPLE_ROWS), None)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"the Parquet file cannot be read: {first_line(error)}", str(path)) from error
    if batch is None or not batch.num_rows:
        raise UserError("the file holds no rows", str(path), "Give a file with at least one row.")
    rows = [list(row.values()) for row in batch.to_pylist()]
    return Sniffed(path, "parquet", tuple(batch.schema.names), rows)


def _workbook(path: Path, sheet: str) -> Sniffed:
    found = list(itertools.islice(sheet_rows(path, sheet), SAMPLE_ROWS))
    if not found:
        raise UserError("the sheet holds no rows", str(path), "Name another one with --sheet.")
    width = max(len(cells) for _, cells in found)
    rows = [[cell_text(cell) or "" for cell in cells] + [""] * (width - len(cells)) for _, cells in found]
    title = _title_rows(rows)
    skip = found[title][0] - 1
    return _of_table(Sniffed(path, "xlsx", (), rows[title:], told=_told(skip), skip_rows=skip, sheet=sheet))


def _of_table(found: Sniffed) -> Sniffed:
    """A table of texts with the names of its columns: its first row, or numbers where that is a row like the others.

    Columns without a name, or with that of another, are left out.
    """
    first, *others = found.rows
    if not others:
        raise UserError("the file holds one row only", str(found.path), "Give a header, and rows of texts and labels.")
    if not is_header(first, others):
        note = "its first line looks like a row, not like names of columns"
        numbers = tuple(map(str, range(len(first))))
        return replace(found, columns=numbers, header=False, notes=(*found.notes, note))
    names = [cell.strip() for cell in first]
    known = [at for at, name in enumerate(names) if name and names.count(name) == 1]
    told = (*found.told, *(f"`{name}` names several columns, none of which is taken" for name in _repeated(names)))
    rows = [[row[at] for at in known] for row in others]
    return replace(found, columns=tuple(names[at] for at in known), rows=rows, told=told)


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if name and count > 1]


def _title_rows(rows: Sequence[list[str]]) -> int:
    """How many rows above the table hold a title or the like: they have another width, or few filled cells."""
    if not rows:
        return 0
    width = Counter(map(len, rows)).most_common(1)[0][0]
    filled = [sum(bool(cell.strip()) for cell in row) for row in rows]
    typical = statistics.median(filled)
    fits = (
        number
        for number, (row, count) in enumerate(zip(rows[:_MOST_TITLE_ROWS], filled, strict=False))
        if len(row) == width and 2 * count > typical
    )
    return next(fits, 0)


def _told(skip: int) -> tuple[str, ...]:
    lines = "the first line is" if skip == 1 else f"the first {skip} lines are"
    return (f"{lines} no part of the table and left out (skip_rows)",) if skip else ()


def _is_object(line: str) -> bool:
    """Whether a line is an object of plain values: a row of JSON Lines, and no file that holds a list of them."""
    try:
        value = json.loads(line)
    except ValueError:
        return False
    listed = [one for one in value.values() if isinstance(one, list)] if isinstance(value, dict) else []
    return isinstance(value, dict) and not (len(listed) == 1 and listed[0] and isinstance(listed[0][0], dict))


def _json(path: Path, encoding: str, notes: tuple[str, ...]) -> Sniffed:
    """A list of objects, whole: what is nested in them is not looked into."""
    file = DataFile(str(path), path, encoding=encoding)
    try:
        content = json.loads(read_whole(file, LARGEST))
    except ValueError as error:
        what = f"the file is neither JSON nor JSON Lines ({first_line(error)})"
        raise UserError(what, str(path), "Give the whole file, or one object a line.") from error
    rows = [value for value in records_of(content, "", str(path)) if isinstance(value, dict)]
    if not rows:
        raise UserError("the file holds no objects", str(path), "Give a list of objects.")
    return _of_objects(path, "json", rows[:SAMPLE_ROWS], encoding, notes)


def _of_objects(path: Path, reader: str, objects: list[Any], encoding: str, notes: tuple[str, ...]) -> Sniffed:
    """Keys within keys are columns of their own, such as `review.body`."""
    objects = [dict(_flat(value)) for value in objects]
    columns = tuple(dict.fromkeys(key for value in objects for key in value))
    rows = [[value.get(name) for name in columns] for value in objects]
    return Sniffed(path, reader, columns, rows, encoding, notes=notes)


def _flat(value: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict) and inner and before.count(".") < _DEEPEST:
            yield from _flat(inner, f"{before}{key}.")
        else:
            yield before + key, inner


def _jsonl(path: Path, text: str, encoding: str, notes: tuple[str, ...]) -> Sniffed:
    objects = []
    for number, line in enumerate(itertools.islice(text.splitlines(), SAMPLE_ROWS), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            what = f"line {number} is no JSON object ({first_line(error)})"
            raise UserError(what, str(path), "Save it as JSON Lines: one object a line.") from error
        if not isinstance(value, dict):
            raise UserError(f"line {number} is no JSON object", str(path), "Save it as JSON Lines: one object a line.")
        objects.append(value)
    return _of_objects(path, "jsonl", objects, encoding, notes)


def _delimited(path: Path, text: str, encoding: str, notes: tuple[str, ...]) -> Sniffed:
    tables = {delimiter: _table(text, delimiter) for delimiter in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda delimiter: _regularity([row for _, row in tables[delimiter]]))
    rows = [row for _, row in tables[best]]
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    if width < 2:
        raise UserError(
            "no delimiter parts the file's lines into columns alike (tried , ; tab |)",
            str(path),
            "Give a table with a column of texts and one of labels.",
        )
    title = _title_rows(rows)
    skip = tables[best][title][0] - 1
    body = [row for row in rows[title:] if len(row) == width]
    reader = "tsv" if best == "\t" else "csv"
    delimiter = best if best not in ",\t" else ""
    found = Sniffed(path, reader, (), body, encoding, delimiter, notes=notes, told=_told(skip), skip_rows=skip)
    return _of_table(found)


def _table(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """The first rows as a delimiter parts them, with the lines that they begin on; as far as the quotes are right."""
    rows: list[tuple[int, list[str]]] = []
    reader, begin = csv.reader(io.StringIO(text), delimiter=delimiter), 1
    try:
        with fields_of_any_length():
            for row in itertools.islice(reader, SAMPLE_ROWS):
                if row:
                    rows.append((begin, row))
                begin = reader.line_num + 1
    except csv.Error:
        pass  # what was read shows enough
    return rows


def _regularity(rows: list[list[str]]) -> tuple[float, int]:
    """How regularly a delimiter parts rows: the share of the commonest number of fields (0 for one), and the number."""
    widths = Counter(len(row) for row in rows)
    if not widths:
        return 0.0, 0
    width, count = widths.most_common(1)[0]
    return (count / len(rows) if width > 1 else 0.0), width


def is_header(first: list[str], others: Iterable[list[str]]) -> bool:
    """Whether a first row names the columns: words, mostly different, and none a value of its own column.

    Some columns may have no name, as the numbers of rows have none that programs write.
    """
    cells = [cell.strip() for cell in first]
    named = [cell for cell in cells if cell]
    if 2 * len(named) < len(cells) or 2 * len(set(named)) <= len(named):
        return False
    if any(len(cell) > 60 or number(cell) is not None for cell in named):
        return False
    below = [{row[at].strip() for row in others if len(row) > at} for at in range(len(cells))]
    return all(not cell or cell not in values for cell, values in zip(cells, below, strict=True))


def number(value: Any, decimal: str = "") -> float | None:
    """The number that a value is to a reader of scores (`read_number`), None if it is none."""
    found, reason = read_number(value, None, decimal)
    return None if reason else found
