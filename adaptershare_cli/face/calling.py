"""A command called with keywords: parsed, checked and run as if it stood on the command line; errors are exceptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.exceptions import TyperException

from adaptershare_cli.cli.app import app
from adaptershare_cli.cli.call import Caller
from adaptershare_cli.cli.config import options_of
from adaptershare_cli.cli.console import Terminal
from adaptershare_cli.cli.program import bounds_error
from adaptershare_cli.errors import UserError
from adaptershare_cli.settings import flag

if TYPE_CHECKING:
    from adaptershare_cli.store.artefact import Artefact

PROGRAM = "adaptershare"
# Of all commands: what a program has no use for, and what an object says itself.
NOT_OPTIONS = ("json", "workspace", "help", "help-all")


@cache
def _program() -> Any:
    return typer.main.get_command(app)


def run_command(name: str, workspace: Path, screen: Terminal, keywords: Mapping[str, Any]) -> list[Artefact]:
    """Run a command with the options that the keywords are (`_` for `-`, `from_` for `--from`); what it made or kept.

    Lists become comma-separated, None is an option that was not given. Raises what the command raises, and UserError
    for an option that there is not, or a value that it does not take.
    """
    program, caller = _program(), Caller(screen)
    words = [*_words(program.commands[name], keywords), f"--workspace={workspace}"]
    try:
        root = typer.Context(program, info_name=PROGRAM)
        with program.commands[name].make_context(name, words, parent=root, obj=caller) as context:
            program.commands[name].invoke(context)
    except typer.BadParameter as error:
        raise bounds_error(error) or UserError(_message(error)) from error
    except TyperException as error:
        raise UserError(_message(error)) from error
    return caller.artefacts


def _message(error: TyperException) -> str:
    return error.format_message()  # type: ignore[no-any-return]


def _words(command: Any, keywords: Mapping[str, Any]) -> list[str]:
    """The keywords as words of the command line; one that is no option becomes a word that Typer refuses."""
    options, words = options_of(command), []
    for keyword, value in keywords.items():
        name = keyword.rstrip("_").replace("_", "-")
        if name in NOT_OPTIONS:
            raise UserError(f"{flag(name)} is no option from Python", fix="Leave it out.")
        option = options.get(name)
        if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a number of numpy's
            value = value.item()
        if value is None and (option is not None or name == "config"):
            continue
        if isinstance(value, bool) and (option is None or option.is_flag):
            if value or option is None:
                words.append(f"--{name}")
            elif option.secondary_opts:
                words.append(option.secondary_opts[0])
            continue
        words.append(f"--{name}={_text(keyword, value)}")
    return words


def _text(keyword: str, value: Any) -> str:
    """A value as it is written on the command line. Raises UserError for one that cannot be."""
    if isinstance(value, str | Path | int | float):
        return str(value)
    if isinstance(value, Sequence):
        return ",".join(_text(keyword, item) for item in value)
    raise UserError(f"{keyword} takes no {type(value).__name__}", fix="Give text, a number, a path, or a list of them.")
