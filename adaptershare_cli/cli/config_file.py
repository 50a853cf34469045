"""The file of --config as it stands there: shared keys, a section a command, and the line of each key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptershare_cli.errors import UserError

ALSO_OPTIONS = {"init"}  # commands with the name of an option, too: a table is the section, anything else the key


@dataclass(frozen=True)
class Entry:
    """A value and where it stands: the file, and the line as far as that is known."""

    value: Any
    where: str


Entries = dict[str, Entry]  # by option, written with hyphens


@dataclass(frozen=True)
class ConfigFile:
    """What the file says to every command, and to each one alone."""

    shared: Entries
    sections: dict[str, Entries]


def read_config_file(path: Path, commands: Container[str]) -> ConfigFile:
    """Read the file; a table with the name of one of the `commands` is its section.

    Raises UserError for a file that is no TOML in UTF-8 (a byte-order mark is passed over), for a key that stands there
    twice, once with `_`, and for a command's name that heads no section.
    """
    text, content = _parsed(path)

    def entries(table: Mapping[str, Any], section: str = "") -> Entries:
        found: Entries = {}
        for key, value in table.items():
            line = _line_of(key, text, section)
            entry = Entry(value, f"--config {path}" + (f", line {line}" if line else ""))
            name = key.replace("_", "-")
            if name in found:
                raise UserError(f"The config file gives {key!r} twice, once with `_`", entry.where)
            if not section and name in commands and name not in ALSO_OPTIONS and not isinstance(value, dict):
                fix = f"Write [{name}], and its options below."
                raise UserError(f"{name} is a command, so it heads a section", entry.where, fix)
            found[name] = entry
        return found

    top = entries(content)
    of_commands = {
        key.replace("_", "-"): key
        for key, value in content.items()
        if key.replace("_", "-") in commands and isinstance(value, dict)
    }
    return ConfigFile(
        shared={name: entry for name, entry in top.items() if name not in of_commands},
        sections={name: entries(content[key], key) for name, key in of_commands.items()},
    )


def _parsed(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        return text, tomllib.loads(text)
    except FileNotFoundError as error:
        raise UserError("The config file does not exist", where=f"--config {path}") from error
    except UnicodeDecodeError as error:
        what = "The config file cannot be read: it is not UTF-8"
        raise UserError(what, f"--config {path}", "Save it as UTF-8.") from error
    except (tomllib.TOMLDecodeError, OSError, RecursionError) as error:
        raise UserError(f"The config file cannot be read: {error}", where=f"--config {path}") from error


def _line_of(key: str, text: str, section: str) -> int | None:
    """The line on which a key of the top level or of a section begins: what precedes it is TOML by itself."""
    lines = text.split("\n")
    first = _line_of(section, text, "") if section else 1
    within = rf"""(["']?{re.escape(section)}["']?\s*\.\s*)?""" if section else ""
    start = re.compile(rf"""\s*\[*\s*{within}["']?{re.escape(key)}["']?\s*[\].=]""")
    for number, line in enumerate(lines[(first or 1) - 1 :], first or 1):
        if start.match(line):
            try:
                tomllib.loads("\n".join(lines[: number - 1]))
            except tomllib.TOMLDecodeError:  # inside a text or list of several lines
                continue
            return number
    return first if section else None
