"""Texts and labels as people see them. Nothing heavy is imported here."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

LONGEST_ROW = 16 * 2**20  # bytes of a line, characters of a row or of one value
TOO_LONG = f"is longer than {LONGEST_ROW // 2**20} MiB"
NO_UTF8 = "is not valid UTF-8"
LONGEST_LABEL = 200
LONGEST_EXCERPT = 200  # characters of a value that a message or table shows
_TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSEEN = {"Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Mc", "Me"}
# Letters and symbols that are blank though Unicode does not class them so.
_BLANK = set("\u115f\u1160\u3164\uffa0\u2800")
_TYPES = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
_BLANKS = re.compile(r"[ \t\r\n]+")


def told(names: Sequence[str], most: int = 8) -> str:
    """The first names of some, as a message lists them, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def text_fault(value: Any) -> str:
    """Why a value cannot be a text; "" if it can."""
    if not isinstance(value, str):
        return "is missing" if value is None else f"is not text but {_TYPES.get(type(value), type(value).__name__)}"
    if len(value) > LONGEST_ROW:
        return TOO_LONG
    if "\0" in value:
        return "holds a NUL byte"
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return NO_UTF8
    if is_visible(value):
        return ""
    return "holds no visible character" if value.strip() else "is empty"


def label_fault(label: str) -> str:
    """Why a text cannot name a label; "" if it can."""
    if not is_visible(label):
        return "holds no visible character"
    if sign := next(filter(unprintable, label), ""):
        return f"holds the control character {code_point(sign)}"
    return f"is longer than {LONGEST_LABEL} characters" if len(label) > LONGEST_LABEL else ""


def is_visible(text: str) -> bool:
    """Whether a text holds a character that can be seen: no white space, control, zero-width or combining one."""
    if (first := text[:1]).isascii() and first.isalnum():
        return True
    return any(sign.isalnum() or unicodedata.category(sign) not in _UNSEEN for sign in text if sign not in _BLANK)


def unprintable(sign: str) -> bool:
    """Control characters, surrogates, line separators, and signs that turn or hide what stands around them."""
    return unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") or sign in _TURNING


def code_point(sign: str) -> str:
    """A character as Unicode numbers it, such as U+200B."""
    return f"U+{ord(sign):04X}"


def folded(text: str) -> str:
    """The text as people compare it: Unicode NFKC, case folded, white space folded."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def split_words(text: str) -> list[str]:
    """The words of a text in which blanks, tabs or line ends part them (other white space belongs to words)."""
    return [word for word in _BLANKS.split(text) if word]


def excerpt(value: Any) -> str:
    """The beginning of a value, for people."""
    try:
        return "" if value is None else str(value)[:LONGEST_EXCERPT]
    except RecursionError:
        return "(too deeply nested to be shown)"
