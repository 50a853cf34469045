"""`--config FILE.toml`: options from a file. Typer parses and checks them as those of the command line, which wins.

Keys at the top level are shared by all commands; those of a section named by a command (`[train-share]`) are its own,
and win. A shared key is an offer: a command without such an option passes it over, and so does one whose method or
measures have no use for it (`ctx.meta[SHARED]`: parameter to key). What a command's own section says is meant for it,
so it is refused where the command line would be.
"""

from __future__ import annotations

import difflib
import inspect
import unicodedata
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional, get_args

import typer

from adaptershare_cli.cli.config_file import ConfigFile, Entry, read_config_file
from adaptershare_cli.cli.program import bounds_error
from adaptershare_cli.errors import UserError

SHARED = "adaptershare.shared"
ALTERNATIVES = (("seed", "seeds"), ("num_train_epochs", "max_steps"))  # one of each pair would have no effect

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

    Raises UserError, naming file and line, for a section that is no command's, for a key that no command knows, or not
    that of its section, or that stands there twice, and for a value that the option refuses, even if the command line
    has a better one.
    """
    if path is not None:
        commands = {name: options_of(command) for name, command in ctx.find_root().command.commands.items()}  # type: ignore[attr-defined]
        file = read_config_file(path, commands)
        _check_names(file, {name: list(options) for name, options in commands.items()}, str(ctx.info_name))
        options = commands[str(ctx.info_name)]
        own = {options[name].name: name for name in file.sections.get(str(ctx.info_name), {})}
        displaced = {one for pair in ALTERNATIVES if own.keys() & {*pair} for one in pair} | own.keys()
        shared = {options[name].name: name for name in file.shared if name in options}
        shared = {parameter: name for parameter, name in shared.items() if parameter not in displaced}
        entries = {**file.shared, **file.sections.get(str(ctx.info_name), {})}
        ctx.default_map = {
            parameter: _checked(ctx, options[name], name, entries[name]) for parameter, name in (shared | own).items()
        }
        ctx.meta[SHARED] = shared
    return path


def option_type(annotation: Any) -> Any:
    """The type of an option's values: that of the annotation, without what `Annotated` and `Optional` add."""
    hint = get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation
    return next(part for part in get_args(hint) if part is not type(None)) if type(None) in get_args(hint) else hint


def options_of(command: Any) -> dict[str, Any]:
    """A command's options by their long names, but for --config itself; what has no name (RUN) is no option."""
    options = (param for param in command.params if not is_argument(param))
    return {written(option): option for option in options if option.name != "config"}


def is_argument(param: Any) -> bool:
    """Whether a parameter of a command is given by its place, without a name."""
    return param.param_type_name == "argument"


def written(option: Any) -> str:
    """An option's long name, which is not always its parameter's (`from` cannot be one)."""
    return next(name for name in option.opts if name.startswith("--")).removeprefix("--")


def _check_names(file: ConfigFile, commands: dict[str, Collection[str]], command: str) -> None:
    """Raise UserError for a key of the top level that no command knows, and for one that its section's does not."""
    known = {name for options in commands.values() for name in options}
    for name, entry in file.shared.items():
        if name not in known:
            raise _unknown(f"There is no option {name!r}", entry, name, [*commands[command], *sorted(known), *commands])
    for section, entries in file.sections.items():
        for name, entry in entries.items():
            if name not in commands[section]:
                raise _unknown(f"{section} has no option {name!r}", entry, name, commands[section])


def _unknown(what: str, entry: Entry, name: str, known: Collection[str]) -> UserError:
    near = difflib.get_close_matches(name, list(dict.fromkeys(known)), n=3)
    return UserError(what, entry.where, f"Did you mean {', '.join(near)}?" if near else "")


def _checked(ctx: typer.Context, option: Any, name: str, entry: Entry) -> Any:
    """The value as Typer takes it, after Typer has checked it; lists become comma-separated text."""
    signature = inspect.signature(ctx.command.callback)  # type: ignore[arg-type]
    value = entry.value
    types, expected = TOML_TYPES.get(
        option_type(signature.parameters[option.name].annotation), ((type(value),), "a choice")
    )
    if type(value) not in types:
        raise UserError(f"{name} must be {expected}, got {value!r}", entry.where)
    if isinstance(value, list):
        value = ",".join(map(str, value))
    # Control characters (NUL among them) never belong into a name or path; TOML can hold them.
    if isinstance(value, str) and any(unicodedata.category(sign) == "Cc" for sign in value):
        raise UserError(f"{name} holds a control character: {value!r}", entry.where)
    try:
        option.process_value(ctx, value)
    except typer.BadParameter as error:
        refused = bounds_error(error) or UserError(f"{name}: {error.message.removeprefix('Value error, ')}")
        raise replace(refused, where=entry.where) from error
    except UserError as error:
        raise replace(error, where=entry.where) from error
    return value
