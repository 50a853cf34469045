"""Names and paths that are safe everywhere, and texts as people see them. Nothing heavy is imported here."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

LONGEST_NAME = 100  # a folder's name holds a task's name and a key; file systems take 255 bytes
LONGEST_LABEL = 200
LONGEST_EXCERPT = 200  # characters of a value that a message or table shows
_LONGEST_MESSAGE = 500
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# Never one word alone: `datasets` takes `pandas` and the like for its own readers of the current folder's files, and
# that one unpickles them.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_PORTS = {f"{port}{number}" for port in ("com", "lpt") for number in range(10)}
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$", *_PORTS}
_LIKE_SEPARATORS = set("\u2044\u2215\u2216\u29f5\u29f8\u29f9\ufe68\uff0f\uff3c\u2024\u2025\u2026\uff0e\ufe52")
_TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSEEN = {"Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Mc", "Me"}
# Letters and symbols that are blank though Unicode does not class them so.
_BLANK = set("\u115f\u1160\u3164\uffa0\u2800")


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
    if sign := next((sign for sign in path if sign in _LIKE_SEPARATORS or _unprintable(sign)), ""):
        return f"it holds {_code(sign)}, which looks like another sign or like none"
    return next(filter(None, map(_part_fault, pure.parts)), "")


def is_hub_id(path: str) -> bool:
    """Whether a text names a repository of the hub, and nothing that `datasets` would look for on this machine."""
    return bool(_HUB_ID.fullmatch(path)) and ".." not in path


def label_fault(label: str) -> str:
    """Why a text cannot name a label; "" if it can."""
    if not is_visible(label):
        return "holds no visible character"
    if sign := next(filter(_unprintable, label), ""):
        return f"holds the control character {_code(sign)}"
    return f"is longer than {LONGEST_LABEL} characters" if len(label) > LONGEST_LABEL else ""


def is_visible(text: str) -> bool:
    """Whether a text holds a character that can be seen: no white space, control, zero-width or combining one."""
    return any(sign.isalnum() or unicodedata.category(sign) not in _UNSEEN for sign in text if sign not in _BLANK)


def folded(text: str) -> str:
    """The text as people compare it: Unicode NFKC, case folded, white space folded."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def excerpt(value: Any) -> str:
    """The beginning of a value, for people."""
    try:
        return "" if value is None else str(value)[:LONGEST_EXCERPT]
    except RecursionError:
        return "(too deeply nested to be shown)"


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


def _unprintable(sign: str) -> bool:
    """Control characters, surrogates, line separators, and signs that turn or hide what stands around them."""
    return unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") or sign in _TURNING


def _code(sign: str) -> str:
    return f"U+{ord(sign):04X}"
