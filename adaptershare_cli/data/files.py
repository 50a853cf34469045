"""Files as readers see them: checked to be ordinary ones, and text line by line, so that no file fills the memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.rows.texts import LONGEST_ROW

_BLANK_LINES = 10_000  # empty lines at a file's end that are overlooked
_BOM = b"\xef\xbb\xbf"
# What a file begins with that is no UTF-8 text.
_SIGNATURES = {
    b"\xff\xfe": ("UTF-16, not UTF-8", "Save it as UTF-8."),
    b"\xfe\xff": ("UTF-16, not UTF-8", "Save it as UTF-8."),
    b"\x00\x00\xfe\xff": ("UTF-32, not UTF-8", "Save it as UTF-8."),
    b"\x1f\x8b": ("compressed (gzip)", "Unpack it first."),
    b"BZh91AY&SY": ("compressed (bzip2)", "Unpack it first."),
    b"\xfd7zXZ\x00": ("compressed (xz)", "Unpack it first."),
    b"\x28\xb5\x2f\xfd": ("compressed (zstd)", "Unpack it first."),
    b"PK\x03\x04": ("a zip archive or an Excel file", "Unpack it, or save it as CSV."),
    b"\xd0\xcf\x11\xe0\xa1\xb1": ("an Excel file", "Save it as CSV."),
    b"PAR1\x15": ("a Parquet file", "Write `reader: parquet` in the definition."),
    b"ARROW1\x00": ("an Arrow file", "Save it as Parquet."),
}


@dataclass(frozen=True)
class Place:
    """A file: its path, and its name as the definition writes it (the same on every machine)."""

    name: str
    path: Path


Line = tuple[int, str | None]  # 1-based number; the line with its end, None if it is longer than LONGEST_ROW


def is_folder(path: Path) -> bool:
    """Whether a path that a user wrote is a folder; one that no system takes (too long, with NUL) is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def check_file(place: Place) -> None:
    """Raise UserError unless there is a file with something in it; pipes and devices are none."""
    path = place.path
    if path.is_dir():
        raise UserError("a folder stands where a file is expected", str(path), "Give a file there.")
    if not path.exists():
        raise UserError("there is no such file", str(path), "Check the definition's path and --from.")
    if not path.is_file():
        raise UserError("a pipe or device stands where a file is expected", str(path), "Give a file there.")
    if path.stat().st_size == 0:
        raise UserError("the file is empty", str(path), "Give a file with rows.")


def read_lines(place: Place) -> Iterator[Line]:
    """The lines of a UTF-8 file, without a byte-order mark; bytes that are no UTF-8 become lone surrogates.

    Lines end at \\n or \\r\\n only (str.splitlines would also cut at U+2028, form feeds and others). Raises UserError
    for a file that is none, or that begins as no text does.
    """
    check_file(place)
    with _opened(place) as file:
        number = 0
        while raw := file.readline(LONGEST_ROW + 2):  # the line's end does not count
            number += 1
            if number == 1:
                _check_beginning(raw, place)
                _check_ends(raw, place)
                raw = raw.removeprefix(_BOM)
            if len(raw) > LONGEST_ROW and len(raw.rstrip(b"\r\n")) > LONGEST_ROW:
                while raw and not raw.endswith(b"\n"):
                    raw = file.readline(LONGEST_ROW)
                yield number, None
            elif raw:  # a file of a byte-order mark alone has no line
                yield number, raw.decode("utf-8", "surrogateescape")


def read_whole(place: Place, most: int) -> str:
    """The text of a file of at most `most` bytes, decoded as `read_lines` does; UserError for a larger one."""
    check_file(place)
    with _opened(place) as file:
        data = file.read(most + 1)
    _check_beginning(data[:64], place)
    if len(data) > most:
        what = f"the file is larger than {most // 2**20} MiB, and its reader must hold all of it at once"
        raise UserError(what, str(place.path), "Save its rows as JSONL, and write `reader: jsonl`.")
    return data.removeprefix(_BOM).decode("utf-8", "surrogateescape")


def bare(line: str) -> str:
    """A line without its end."""
    return line.removesuffix("\n").removesuffix("\r")


def without_last_blanks(lines: Iterable[Line]) -> Iterator[Line]:
    """The lines up to the last one that holds something; empty ones between others stay."""
    waiting: deque[Line] = deque()
    for number, line in lines:
        waiting.append((number, line))
        if line is None or line.strip(" \r\n") or len(waiting) > _BLANK_LINES:
            yield from waiting
            waiting.clear()


def _opened(place: Place) -> BufferedReader:
    try:
        return place.path.open("rb")
    except OSError as error:
        raise UserError(f"the file cannot be read: {error.strerror}", str(place.path), "Check its rights.") from error


def _check_beginning(line: bytes, place: Place) -> None:
    for signature, (what, fix) in _SIGNATURES.items():
        if line.startswith(signature):
            raise UserError(f"the file is {what}", str(place.path), fix)
    even, odd = line[0:16:2], line[1:16:2]
    if len(odd) > 1 and any(even) != any(odd):  # every second byte is NUL
        raise UserError("the file looks like UTF-16, not UTF-8", str(place.path), "Save it as UTF-8.")


def _check_ends(line: bytes, place: Place) -> None:
    if not line.endswith(b"\n") and b"\r" in line.rstrip(b"\r"):
        what = "the lines of the file end with a carriage return alone"
        raise UserError(what, str(place.path), "Save it with the line ends \\n or \\r\\n.")
