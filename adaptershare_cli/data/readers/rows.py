"""What readers give: the rows of one split with values that nobody has checked yet, and where each stands."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from adaptershare_cli.data.files import DataFile
from adaptershare_cli.data.names import near_names, readable
from adaptershare_cli.data.source_spec import SourceSpec
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.texts import LONGEST_EXCERPT

COMMENT_LINES = "comment lines"
NO_COMMENTS = "none"  # what a definition says where nothing is a comment
_COLUMNS_TOLD = 100  # names of columns that a message lists

# Characters that a packed file may unpack to: so many, or so many times its bytes, whichever is more.
_UNPACKED, _UNPACKED_TIMES = 2**30, 1000

FilesByRole = Mapping[str, DataFile]  # "" is the role of a split in one file


class UncheckedRow(NamedTuple):
    """One row as it stands in its file."""

    line: int  # 1-based line that it begins on; where a file has no lines, its 1-based number
    position: int  # 0-based number among all rows, those at fault included
    values: list[Any]  # one a role, in the order of UncheckedRows.columns
    files: Mapping[str, str] | None = None  # as UncheckedRows.files, where they lie in several files


@dataclass(frozen=True)
class RowFault:
    """Why one row cannot be used."""

    file: str
    row: int  # as UncheckedRow.line
    column: str  # "" where none can be named
    value: str
    reason: str

    def sentence(self, split: str = "") -> str:
        """The fault in words; `split` stands behind the file's name."""
        column = f", column {readable(self.column)}" if self.column else ""
        value = self.value if len(self.value) <= 60 else self.value[:60] + "…"
        return f"{self.file}{split}, row {self.row}{column}: {value!r} {self.reason}"


@dataclass(frozen=True)
class UncheckedRows:
    """The rows of one split in their order, or the fault of each that cannot be read.

    `columns` and `files` tell, by role, how its column and file are called in messages. `rows` is read from the files
    while it is asked for, once; it raises UserError where it finds the files' structure at fault. Once it is read,
    `left_out` tells how many lines (or whatever) are no part of a row, by what they are.
    """

    columns: dict[str, str]
    files: dict[str, str]
    rows: Iterator[UncheckedRow | RowFault]
    most_characters: float = math.inf  # that all texts together may have
    # Each word of a row stands on a line of its own, and no line between them is left out.
    word_per_line: bool = False
    left_out: Counter[str] = field(default_factory=Counter)


def rows_of_one_file(
    columns: Mapping[str, str], file: DataFile, rows: Iterator[UncheckedRow | RowFault]
) -> UncheckedRows:
    """Rows whose `columns` (names by role) all stand in one file."""
    return UncheckedRows(dict(columns), dict.fromkeys(columns, file.name), rows)


def most_unpacked(size: int) -> int:
    """Characters that all texts of a file of so many bytes may have, whose layout says repeated ones once."""
    return max(_UNPACKED, _UNPACKED_TIMES * size)


def fault_in(file: DataFile, line: int, value: str, reason: str, column: str = "") -> RowFault:
    """The fault of the row that begins at `line`, with the beginning of the value that shows it."""
    return RowFault(file.name, line, column, value[:LONGEST_EXCERPT], reason)


def columns_by_name(present: list[str], spec: SourceSpec, where: str) -> dict[str, int]:
    """The index of each role's column among those `present`; text_pair only if it was written down or is there.

    A `spec` without columns asks for all of them, each by its own name. Raises UserError, with the columns that are
    there, for one that is missing or there twice.
    """
    found: dict[str, int] = {}
    for role, column in spec.columns or zip(present, present, strict=True):
        name = str(column)
        if role == "text_pair" and spec.pair_if_present and name not in present:
            continue
        trimmed = [place for place, other in enumerate(present) if other.strip() == name]
        if name not in present and len(trimmed) == 1:  # programs write blanks around names
            found[role] = trimmed[0]
            continue
        if present.count(name) != 1:
            there = [readable(other[:LONGEST_EXCERPT]) for other in present[:_COLUMNS_TOLD]]
            more = f" and {len(present) - _COLUMNS_TOLD} more" if len(present) > _COLUMNS_TOLD else ""
            state = "there twice" if name in present else "missing"
            fix = near_names(name, there) if name not in present else "Rename one of them. "
            fix += f"Columns there: {', '.join(there)}{more}."
            raise UserError(f"the column `{name}` ({role}) is {state}", where, fix)
        found[role] = present.index(name)
    return found


def columns_by_number(width: int, spec: SourceSpec, file: DataFile) -> dict[str, int]:
    """The index of each role's column in a file without a header; UserError for one beyond its `width` columns.

    A width of 0 stands for a file that has no row to show it.
    """
    found = {role: int(column) for role, column in spec.columns}
    for role, index in found.items():
        if index >= width > 0:
            fix = f"Columns there: 0 to {width - 1} (there is no header)."
            raise UserError(f"the column {index} ({role}) is missing", str(file.path), fix)
    return found


def comment_prefix(spec: SourceSpec) -> str:
    """What a comment begins with; "" where there are none."""
    return "" if spec.comment == NO_COMMENTS else spec.comment


def maybe_comment(line: str, spec: SourceSpec) -> str:
    """What to add to the fault of a line that may be a comment."""
    if spec.comment or not line.startswith("#"):
        return ""
    return '; if it is a comment, write `comment: "#"` beside `reader`'


def wrong_width(count: int, expected: int) -> str:
    """What is wrong with a row of `count` fields."""
    return f"has {count} field{'' if count == 1 else 's'} where {expected} are expected"
