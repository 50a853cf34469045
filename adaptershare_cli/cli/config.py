"""`--config FILE.toml`: options from a file. Typer parses and checks them as those of the command line, which wins."""

from __future__ import annotations

import difflib
import inspect
import re
import tomllib
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional, get_args

import typer

from adaptershare_cli.cli.program import bounds_error
from adaptershare_cli.errors import UserError

# What TOML may give for an option of each type, and how an error calls it. An option of any other type is a choice.
TOML_TYPES: dict[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false (a bool)"),
    int: ((int,), "a whole number (an int)"),
    float: ((float, int), "a number (a float)"),
    Path: ((str,), "a path in quotes"),
    str: ((str, int, list), "text"),
}


def read_config(ctx: typer.Context, path: Optional[Path]) -> Path | None:  # noqa: UP045
    """Make the file's values the defaults of the command: the callback of --config, which precedes other options.

    Raises UserError, naming file and line, for a key that is no option of the command or stands there twice, and for a
    value that the option refuses, even if the command line has a better one.
    """
    if path is not None:
        text, content = _read(path)
        options = {_written(option): option for option in ctx.command.params if option.name != "config"}
        values: dict[str, Any] = {}
        for key, value in content.items():
            name = key.replace("_", "-")
            line = _line_of(key, text)
            where = f"--config {path}" + (f", line {line}" if line else "")
            if name not in options:
                near = difflib.get_close_matches(name, sorted(options), n=3)
                fix = f"Did you mean {', '.join(near)}?" if near else ""
                raise UserError(f"This command has no option {name!r}", where, fix)
            if options[name].name in values:
                raise UserError(f"The config file gives {key!r} twice, once with `_`", where)
            values[options[name].name] = _checked(ctx, options[name], name, value, where)
        ctx.default_map = values
    return path


def option_type(annotation: Any) -> Any:
    """The type of an option's values: that of the annotation, without what `Annotated` and `Optional` add."""
    hint = get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation
    return next(part for part in get_args(hint) if part is not type(None)) if type(None) in get_args(hint) else hint


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except FileNotFoundError as error:
        raise UserError("The config file does not exist", where=f"--config {path}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"The config file cannot be read: {error}", where=f"--config {path}") from error


def _written(option: Any) -> str:
    """An option's long name, which is not always its parameter's (`from` cannot be one)."""
    return next(written for written in option.opts if written.startswith("--")).removeprefix("--")


def _checked(ctx: typer.Context, option: Any, name: str, value: Any, where: str) -> Any:
    """The value as Typer takes it, after Typer has checked it; lists become comma-separated text."""
    signature = inspect.signature(ctx.command.callback)  # type: ignore[arg-type]
    types, expected = TOML_TYPES.get(
        option_type(signature.parameters[option.name].annotation), ((type(value),), "a choice")
    )
    if type(value) not in types:
        raise UserError(f"{name} must be {expected}, got {value!r}", where)
    if isinstance(value, list):
        value = ",".join(map(str, value))
    # Control characters (NUL among them) never belong into a name or path; TOML can hold them.
    if isinstance(value, str) and any(unicodedata.category(sign) == "Cc" for sign in value):
        raise UserError(f"{name} holds a control character: {value!r}", where)
    try:
        option.process_value(ctx, value)
    except typer.BadParameter as error:
        refused = bounds_error(error) or UserError(f"{name}: {error.message.removeprefix('Value error, ')}")
        raise replace(refused, where=where) from error
    except UserError as error:
        raise replace(error, where=where) from error
    return value


def _line_of(key: str, text: str) -> int | None:
    """The line on which a key of the file's top level stands: what precedes it is TOML by itself."""
    lines = text.split("\n")
    start = re.compile(rf"""\s*\[*\s*["']?{re.escape(key)}["']?\s*[\].=]""")
    for number, line in enumerate(lines, 1):
        if start.match(line):
            try:
                tomllib.loads("\n".join(lines[: number - 1]))
            except tomllib.TOMLDecodeError:  # inside a text or list of several lines
                continue
            return number
    return None
