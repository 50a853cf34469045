"""CSV and TSV files: lines become records of fields, with or without quotes."""

from __future__ import annotations

import csv
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, filterfalse, islice

from adaptershare_cli.data.files import (
    DataFile,
    Line,
    first_lines,
    read_lines,
    without_blank_lines_at_the_end,
    without_line_end,
)
from adaptershare_cli.data.readers.rows import (
    COMMENT_LINES,
    FilesByRole,
    RowFault,
    UncheckedRow,
    UncheckedRows,
    columns_by_name,
    columns_by_number,
    comment_prefix,
    fault_in,
    maybe_comment,
    rows_of_one_file,
    wrong_width,
)
from adaptershare_cli.data.source_spec import SourceSpec, SplitSpec
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.texts import LONGEST_ROW, TOO_LONG

_DELIMITERS = {"csv": ",", "tsv": "\t"}  # by reader
_DELIMITER_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_LONGEST_RECORD = 100_000  # lines
_BROKEN_QUOTES = 100  # rows of a file whose quotes may be wrong


# The line that a record begins on, its fields, and why it cannot be split ("" if it can): then one field shows it.
Record = tuple[int, list[str], str]


def read(files: FilesByRole, split: SplitSpec, spec: SourceSpec) -> UncheckedRows:
    """The rows of a CSV or TSV file; quoting `standard` is that of RFC 4180, `none` takes quotes as characters."""
    file, prefix = files[""], comment_prefix(spec)
    delimiter = spec.delimiter or _DELIMITERS[spec.reader]
    lines = islice(without_blank_lines_at_the_end(read_lines(file)), spec.skip_rows, None)
    split_up = _quoted_records if spec.quoting == "standard" else _plain_records
    left_out: Counter[str] = Counter()

    def is_comment(text: str | None) -> bool:
        found = bool(prefix and text and text.startswith(prefix))
        left_out[COMMENT_LINES] += found
        return found

    def records_of(lines: Iterator[Line]) -> Iterator[Record]:
        return split_up(lines, delimiter, file, is_comment)

    if spec.header:
        records = records_of(lines)
        header = _header(records, file, delimiter)
        columns = columns_by_name(header, spec, str(file.path))
        names = {role: header[index] for role, index in columns.items()}
        width = len(header)
    else:
        head = first_lines(lines)
        widths = Counter(len(fields) for _, fields, _ in records_of(iter(head)) if any(fields))
        left_out.clear()
        width = widths.most_common(1)[0][0] if widths else 0
        columns = columns_by_number(width, spec, file)
        names = {role: str(index) for role, index in columns.items()}
        records = records_of(chain(head, lines))

    def rows() -> Iterator[UncheckedRow | RowFault]:
        for position, (line, fields, fault) in enumerate(records):
            if not fault and len(fields) != width:
                fault = "is an empty line" if fields in ([], [""]) else wrong_width(len(fields), width)
                fault += maybe_comment(fields[0] if fields else "", spec)
            if fault:
                yield fault_in(file, line, delimiter.join(fields), fault)
            else:
                yield UncheckedRow(line, position, [fields[index] for index in columns.values()])

    return replace(rows_of_one_file(names, file, rows()), left_out=left_out)


def _header(records: Iterator[Record], file: DataFile, delimiter: str) -> list[str]:
    """The names of the columns, taken from the first record; UserError if it cannot be them."""
    _, header, fault = next(records, (1, [], ""))
    if not fault and not any(header):
        fault = "is empty"
    if fault:
        what = f"the first line, which names the columns, cannot be read: it {fault}"
        raise UserError(what, str(file.path), "Correct it, or write `header: false` and number the columns.")
    other = next((sign for sign in _DELIMITER_NAMES if sign in header[0]), "") if len(header) == 1 else ""
    if other:
        here, perhaps = _DELIMITER_NAMES.get(delimiter, repr(delimiter)), _DELIMITER_NAMES[other]
        written = "\\t" if other == "\t" else other
        fix = f'Write `delimiter: "{written}"` in the definition.'
        raise UserError(f"the first line is not split by {here}, but perhaps by {perhaps}", str(file.path), fix)
    return header


def _plain_records(
    lines: Iterator[Line], delimiter: str, file: DataFile, is_comment: Callable[[str | None], bool]
) -> Iterator[Record]:
    """One record a line, split at every delimiter."""
    for number, text in filterfalse(lambda line: is_comment(line[1]), lines):
        if text is None:
            yield number, [""], TOO_LONG
        else:
            yield number, without_line_end(text).split(delimiter), ""


class _RecordLines:
    """Lines for the csv module. Those of the record that it is reading are kept, so that they can be read again.

    Comments between records are passed over.
    """

    def __init__(self, lines: Iterator[Line], is_comment: Callable[[str | None], bool]) -> None:
        self.lines, self.is_comment = lines, is_comment
        self.record: list[Line] = []
        self.size = 0
        self.again: deque[Line] = deque()

    def __iter__(self) -> _RecordLines:
        return self

    def __next__(self) -> str:
        number, text = self.again.popleft() if self.again else next(self.lines)
        while not self.record and self.is_comment(text):
            number, text = self.again.popleft() if self.again else next(self.lines)
        self.record.append((number, text))
        self.size += len(text or "")
        if text is None or self.size > LONGEST_ROW or len(self.record) > _LONGEST_RECORD:
            raise csv.Error(TOO_LONG)
        return text

    def begin_record(self) -> None:
        """The next line is the first of a record."""
        self.record, self.size = [], 0

    def give_up_record(self) -> Line:
        """The first line of the record, which cannot be one; the lines after it will be read again."""
        first, *later = self.record
        self.again.extendleft(reversed(later))
        self.begin_record()
        return first


def _quoted_records(
    lines: Iterator[Line], delimiter: str, file: DataFile, is_comment: Callable[[str | None], bool]
) -> Iterator[Record]:
    """Records as in RFC 4180, whose quoted fields may hold delimiters and line ends.

    Where quotes are wrong, the line on which the record began is given as a faulty one, and reading goes on at the
    next line. Raises UserError where that happens too often.
    """
    source, broken = _RecordLines(lines, is_comment), 0
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    while True:
        source.begin_record()
        try:
            with fields_of_any_length():
                fields = next(reader, None)
        except csv.Error as error:
            number, text = source.give_up_record()
            fault = TOO_LONG if text is None else _csv_fault(error)
            yield number, [without_line_end(text or "")], fault
            reader = csv.reader(source, delimiter=delimiter, strict=True)
            broken += 1
            if broken > _BROKEN_QUOTES:
                what = f"the quotes are wrong in more than {_BROKEN_QUOTES} rows, the last one at line {number}"
                fix = "If quotes are mere characters, write `quoting: none` in the definition."
                raise UserError(what, str(file.path), fix) from error
        else:
            if fields is None:
                return
            yield source.record[0][0], fields, ""


def _csv_fault(error: csv.Error) -> str:
    for words, fault in _CSV_FAULTS.items():
        if words in str(error):
            return fault
    return f"cannot be split into fields: {error}"


_DOUBLED = 'double a quote inside a field (""), or set `quoting: none` if quotes are mere characters'
_WITHIN = f"{LONGEST_ROW // 2**20} MiB or {_LONGEST_RECORD} lines"
_CSV_FAULTS = {  # by words of the csv module's message
    TOO_LONG: f"has a quote that is not closed within {_WITHIN}: {_DOUBLED}",
    "unexpected end": f"has a quote that is never closed: {_DOUBLED}",
    "expected after": f"has more text after a closing quote: {_DOUBLED}",
    "new-line character": "holds a carriage return outside quotes",
}


@contextmanager
def fields_of_any_length() -> Iterator[None]:
    """Without the csv module's limit of 131072 characters a field, as `_RecordLines` has a limit of its own.

    The limit belongs to the whole process, so it is lifted for one record at a time: a reader that somebody leaves in
    the middle of a file must not put it back while another one reads.
    """
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)
