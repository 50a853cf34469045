"""Names and paths that are safe everywhere. Nothing heavy is imported here."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath

from adaptershare_cli.kinds.rows.texts import code_point, unprintable

LONGEST_NAME = 100  # a folder's name holds a task's name and a key; file systems take 255 bytes
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
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


def _part_fault(part: str) -> str:
    long = len(part.encode("utf-8", "replace")) > 255
    return "a part of it is longer than 255 bytes" if long else _windows_fault(part)


def _windows_fault(part: str) -> str:
    if part.split(".")[0].rstrip().lower() in _DEVICES:
        return f"`{part}` means a device on Windows"
    return "Windows drops a dot or space at its end" if part != part.rstrip(". ") else ""
