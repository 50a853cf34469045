"""Data files: checked to be ordinary ones, and read line by line, so that none fills the memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from adaptershare_cli.data.unpacking import open_text
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.texts import LONGEST_ROW

_BLANK_LINES = 10_000  # at a file's end that are left out
_FIRST_LINES = 1000
_BOM = b"\xef\xbb\xbf"
# The first bytes of files that are no UTF-8 text: what each is, and what to do about it.
_SIGNATURES = {
    b"\xff\xfe": ("UTF-16, not UTF-8", "Write `encoding: utf-16` in the definition."),
    b"\xfe\xff": ("UTF-16, not UTF-8", "Write `encoding: utf-16` in the definition."),
    b"\x00\x00\xfe\xff": ("UTF-32, not UTF-8", "Write `encoding: utf-32` in the definition."),
    b"\x28\xb5\x2f\xfd": ("compressed (zstd)", "Unpack it first."),
    b"PAR1\x15": ("a Parquet file", "Write `reader: parquet` in the definition."),
    b"ARROW1\x00": ("an Arrow file", "Save it as Parquet."),
}


@dataclass(frozen=True)
class DataFile:
    """A file: its path, its name as the definition writes it (the same on every machine), and its encoding.

    The encoding is UTF-8 where none is said. Packed files are read as what is in them. One with a `stream` is read from
    that, once; its path is only told in messages.
    """

    name: str
    path: Path
    stream: BinaryIO | None = None
    encoding: str = ""


# The number of a line, counted from 1, and its text with its end; None if it is longer than LONGEST_ROW.
Line = tuple[int, str | None]


_OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # old office files, and new ones with a password
_PROTECTED = "EncryptedPackage".encode("utf-16-le")
_LOOKED_AT = 16 * 2**20  # bytes in which the sign of a password is looked for


def is_folder(path: Path) -> bool:
    """Whether a path that a user wrote is a folder; not so if no system takes it (too long, with NUL)."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def check_file(file: DataFile) -> None:
    """Raise UserError unless an ordinary file (no folder, pipe or device) with something in it stands there."""
    if file.stream is not None:
        return
    path = file.path
    if path.is_dir():
        raise UserError("a folder stands where a file is expected", str(path), "Give a file there.")
    if not path.exists():
        raise UserError("there is no such file", str(path), "Check the definition's path and --from.")
    if not path.is_file():
        raise UserError("a pipe or device stands where a file is expected", str(path), "Give a file there.")
    if path.stat().st_size == 0:
        raise UserError("the file is empty", str(path), "Give a file with rows.")
    _check_no_old_office(path)


def _check_no_old_office(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            if stream.read(len(_OLD_OFFICE)) != _OLD_OFFICE:
                return
            protected = _PROTECTED in stream.read(_LOOKED_AT)
    except OSError as error:
        raise UserError(f"the file cannot be read: {error.strerror}", str(path), "Check its rights.") from error
    if protected:
        raise UserError("the file is protected by a password", str(path), "Save it in Excel without one.")
    raise UserError("the file is an old Excel file (.xls)", str(path), "Save it as .xlsx or as CSV.")


def read_lines(file: DataFile) -> Iterator[Line]:
    """The lines of a text file, without a byte-order mark; bytes that are no UTF-8 become lone surrogates.

    Lines end at \\n or \\r\\n only (str.splitlines would also cut at U+2028, form feeds and others). Raises UserError
    if there is no such file, or if it begins as no text does.
    """
    check_file(file)
    with open_text(file.path, file.encoding, file.stream) as stream:
        number = 0
        while data := stream.readline(LONGEST_ROW + 2):  # the line's end does not count
            number += 1
            if number == 1:
                _check_beginning(data, file)
                _check_line_end(data, file)
                data = data.removeprefix(_BOM)
            if len(data) > LONGEST_ROW and len(data.rstrip(b"\r\n")) > LONGEST_ROW:
                while data and not data.endswith(b"\n"):
                    data = stream.readline(LONGEST_ROW)
                yield number, None
            elif data:  # a file of a byte-order mark alone has no line
                yield number, data.decode("utf-8", "surrogateescape")


def first_lines(lines: Iterator[Line]) -> list[Line]:
    """The first lines, taken from `lines`: at most 1000, and fewer where they are long."""
    first: list[Line] = []
    size = 0
    while len(first) < _FIRST_LINES and size < LONGEST_ROW and (line := next(lines, None)):
        first.append(line)
        size += len(line[1] or "")
    return first


def read_whole(file: DataFile, largest: int) -> str:
    """The text of a file of at most `largest` bytes, decoded as `read_lines` does; UserError for a larger one."""
    check_file(file)
    with open_text(file.path, file.encoding, file.stream) as stream:
        data = stream.read(largest + 1)
    _check_beginning(data[:64], file)
    if len(data) > largest:
        what = f"the file is larger than {largest // 2**20} MiB, and its reader must hold all of it at once"
        raise UserError(what, str(file.path), "Save its rows as JSONL, and write `reader: jsonl`.")
    return data.removeprefix(_BOM).decode("utf-8", "surrogateescape")


def without_line_end(line: str) -> str:
    """A line without its end."""
    return line.removesuffix("\n").removesuffix("\r")


def without_blank_lines_at_the_end(lines: Iterable[Line]) -> Iterator[Line]:
    """The lines up to the last one that holds something; empty ones between others stay."""
    waiting: deque[Line] = deque()
    for number, text in lines:
        holds = text is None or bool(text.strip(" \r\n"))
        if holds and not waiting:
            yield number, text
            continue
        waiting.append((number, text))
        if holds or len(waiting) > _BLANK_LINES:
            yield from waiting
            waiting.clear()


def _check_beginning(line: bytes, file: DataFile) -> None:
    for signature, (what, fix) in _SIGNATURES.items():
        if line.startswith(signature):
            raise UserError(f"the file is {what}", str(file.path), fix)
    even, odd = line[0:16:2], line[1:16:2]
    if len(odd) > 1 and any(even) != any(odd):  # every second byte is NUL
        fix = "Write `encoding: utf-16-le` (or utf-16-be) in the definition."
        raise UserError("the file looks like UTF-16, not UTF-8", str(file.path), fix)


def _check_line_end(line: bytes, file: DataFile) -> None:
    if not line.endswith(b"\n") and b"\r" in line.rstrip(b"\r"):
        what = "the lines of the file end with a carriage return alone"
        raise UserError(what, str(file.path), "Save it with the line ends \\n or \\r\\n.")
