"""What readers give: the rows of one split as raw values, each with the place where it stands."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adaptershare_cli.data.blocks import near_names
from adaptershare_cli.data.definition import SourceSpec
from adaptershare_cli.data.files import Place
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import ROLES
from adaptershare_cli.kinds.rows.texts import SHOWN

_COLUMNS = 100  # names of columns that a message tells


@dataclass(frozen=True)
class Fault:
    """Why one row cannot be used."""

    file: str
    row: int  # 1-based line of a text file, or row
    column: str
    value: str
    reason: str


# The 1-based line (or row) it begins on, its 0-based number (faulty ones counted), and a value a role.
Row = tuple[int, int, list[Any]]


@dataclass(frozen=True)
class RawRows:
    """The rows of one split in their order, each with a value for each role or with its fault.

    `names` and `files` tell, by role, how its column and file are called in messages. `rows` is read from the files
    while it is asked for, once; it raises UserError where it finds the files' structure at fault. With `word_lines`
    each word of a row stands on a line of its own.
    """

    names: dict[str, str]
    files: dict[str, str]
    rows: Iterator[Row | Fault]
    most: float = math.inf  # characters that its texts may have in all
    word_lines: bool = False


Files = Mapping[str, Place]  # by role; "" for a split in one file


def in_one_file(names: Mapping[str, str], place: Place, rows: Iterator[Row | Fault]) -> RawRows:
    """Raw rows whose columns `names` (by role) are all of one file."""
    return RawRows(dict(names), dict.fromkeys(names, place.name), rows)


def fault_of(place: Place, line: int, value: str, reason: str, column: str = "") -> Fault:
    """A fault of a row that begins at `line`, whose value is cut to `SHOWN` characters."""
    return Fault(place.name, line, column, value[:SHOWN], reason)


def wanted_columns(present: list[str], spec: SourceSpec, where: str) -> dict[str, int]:
    """The index of each role's column by name; text_pair only if it was written down or is there.

    Raises UserError, with the columns that are there, for one that is missing or there twice.
    """
    wanted: dict[str, int] = {}
    for role in ROLES:
        name = getattr(spec, role)
        if name is None or (role == "text_pair" and spec.pair_if_present and name not in present):
            continue
        if present.count(name) != 1:
            there = [readable(column[:SHOWN]) for column in present[:_COLUMNS]]
            more = f" and {len(present) - _COLUMNS} more" if len(present) > _COLUMNS else ""
            state = "there twice" if name in present else "missing"
            fix = near_names(name, there) if name not in present else "Rename one of them. "
            fix += f"Columns there: {', '.join(there)}{more}."
            raise UserError(f"the column `{name}` ({role}) is {state}", where, fix)
        wanted[role] = present.index(name)
    return wanted


def readable(text: str) -> str:
    """Text that UTF-8 can hold: bytes that were none come out as \\udcXX."""
    return text.encode("utf-8", "backslashreplace").decode()


def first_line(error: BaseException) -> str:
    """What a library's error says, on one line."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
