"""Lines of CSV and TSV files become records of fields, with the line that each begins on."""

from __future__ import annotations

import csv
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from adaptershare_cli.data.files import Line, Place, bare
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.texts import LONGEST_ROW, TOO_LONG

_LINES = 100_000  # of a record
_BROKEN_QUOTES = 100  # rows of a file whose quotes may be wrong

# The line that a record begins on, its fields, and why it is none (the fields then show what is there).
Record = tuple[int, list[str], str]


def plain_records(lines: Iterator[Line], delimiter: str, place: Place) -> Iterator[Record]:
    """A record a line, split at the delimiter and no more."""
    for number, line in lines:
        yield (number, [""], TOO_LONG) if line is None else (number, bare(line).split(delimiter), "")


class _Feed:
    """Lines for the csv module; those of the running record, but for its first, can be given again."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self.lines = lines
        self.record: list[Line] = []
        self.size = 0
        self.again: deque[Line] = deque()

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        number, line = self.again.popleft() if self.again else next(self.lines)
        self.record.append((number, line))
        self.size += len(line or "")
        if line is None or self.size > LONGEST_ROW or len(self.record) > _LINES:
            raise csv.Error(TOO_LONG)
        return line

    def begin(self) -> None:
        """The next line begins a record."""
        self.record, self.size = [], 0

    def give_up(self) -> Line:
        """The running record is none: its first line, after which reading goes on."""
        first, *later = self.record
        self.again.extendleft(reversed(later))
        self.begin()
        return first


def quoted_records(lines: Iterator[Line], delimiter: str, place: Place) -> Iterator[Record]:
    """Records as in RFC 4180, whose quoted fields may hold delimiters and line ends.

    Where quotes are wrong, the line on which the record began is given as a faulty one, and reading goes on at the
    next line. Raises UserError where that happens too often.
    """
    feed, broken = _Feed(lines), 0
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    with _long_fields():
        while True:
            feed.begin()
            try:
                fields = next(reader, None)
            except csv.Error as error:
                number, line = feed.give_up()
                yield number, [bare(line or "")], TOO_LONG if line is None else _csv_reason(error)
                reader = csv.reader(feed, delimiter=delimiter, strict=True)
                broken += 1
                if broken > _BROKEN_QUOTES:
                    what = f"the quotes are wrong in more than {_BROKEN_QUOTES} rows, the last one at line {number}"
                    fix = "If quotes are mere characters, write `quoting: none` in the definition."
                    raise UserError(what, str(place.path), fix) from error
            else:
                if fields is None:
                    return
                yield feed.record[0][0], fields, ""


def _csv_reason(error: csv.Error) -> str:
    for sign, reason in _CSV_REASONS.items():
        if sign in str(error):
            return reason
    return f"cannot be split into fields: {error}"


_DOUBLED = 'double a quote inside a field (""), or set `quoting: none` if quotes are mere characters'
_CSV_REASONS = {
    TOO_LONG: f"has a quote that is not closed within {LONGEST_ROW // 2**20} MiB or {_LINES} lines: {_DOUBLED}",
    "unexpected end": f"has a quote that is never closed: {_DOUBLED}",
    "expected after": f"has more text after a closing quote: {_DOUBLED}",
    "new-line character": "holds a carriage return outside quotes",
}


@contextmanager
def _long_fields() -> Iterator[None]:
    """Without the csv module's limit of 131072 characters, as `_Feed` has one of its own."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)
