"""Names and paths that are safe everywhere, and what messages show. Nothing heavy is imported here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import PurePosixPath, PureWindowsPath

from adaptershare_cli.kinds.rows.texts import code_point, unprintable

LONGEST_NAME = 100  # a folder's name holds a task's name and a key; file systems take 255 bytes
_LONGEST_MESSAGE = 500
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# Never one word alone: `datasets` takes `pandas` and the like for its own readers of the current folder's files, and
# that one unpickles them.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_PORTS = {f"{port}{number}" for port in ("com", "lpt") for number in range(10)}
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$", *_PORTS}
_LIKE_SEPARATORS = set("\u2044\u2215\u2216\u29f5\u29f8\u29f9\ufe68\uff0f\uff3c\u2024\u2025\u2026\uff0e\ufe52")


def name_fault(name: str) -> str:
    """Why `name` cannot name a task or a split, which become folders and files; "" if it can."""
    if not _NAME.fullmatch(name):
        return "it takes letters, digits, `_`, `.` and `-`, and begins with a letter or digit"
    if len(name) > LONGEST_NAME:
        return f"it is longer than {LONGEST_NAME} characters"
    return _windows_fault(name)


def path_fault(path: str) -> str:
    """Why a definition's relative path could lead out of its folder, or is no path everywhere; "" if it is fine."""
    pure = PurePosixPath(path)
    windows = PureWindowsPath(path)
    if pure.is_absolute() or windows.drive or windows.root:
        return "it is not relative"
    if ".." in pure.parts or "\\" in path:
        return "it holds `..` or a backslash"
    if sign := next((sign for sign in path if sign in _LIKE_SEPARATORS or unprintable(sign)), ""):
        return f"it holds {code_point(sign)}, which looks like another sign or like none"
    return next(filter(None, map(_part_fault, pure.parts)), "")


def is_hub_id(path: str) -> bool:
    """Whether a text names a repository of the hub, and nothing that `datasets` would look for on this machine."""
    return bool(_HUB_ID.fullmatch(path)) and ".." not in path


def readable(text: str) -> str:
    """Text that UTF-8 can hold: bytes that were none come out as \\udcXX."""
    return text.encode("utf-8", "backslashreplace").decode()


def first_line(error: BaseException) -> str:
    """What a library's error says, on one line."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]


def shortened(message: str) -> str:
    """A message that a file's own words cannot make endless."""
    return message if len(message) <= _LONGEST_MESSAGE else message[:_LONGEST_MESSAGE] + "…"


def near_names(word: str, known: Iterable[str]) -> str:
    """A sentence that offers the known names most like `word`, with a space after it; "" if none is alike."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), list(by_lower), n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(f'`{by_lower[name]}`' for name in near)}? " if near else ""


def _part_fault(part: str) -> str:
    long = len(part.encode("utf-8", "replace")) > 255
    return "a part of it is longer than 255 bytes" if long else _windows_fault(part)


def _windows_fault(part: str) -> str:
    if part.split(".")[0].rstrip().lower() in _DEVICES:
        return f"`{part}` means a device on Windows"
    return "Windows drops a dot or space at its end" if part != part.rstrip(". ") else ""
