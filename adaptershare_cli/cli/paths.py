"""Paths that users write: `~` is their home wherever a path is taken, and a command can be repeated from anywhere.

Shells expand `~` at the beginning of a word only, so `--from=~/data`, lists and files arrive with it. Nothing else in a
path has a meaning: no variable, no address of a remote place, no escape.

An option that takes paths has one of the functions `path`, `folder`, `folders` and `runs` as parser or callback.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adaptershare_cli.errors import UserError


def path(text: str | Path) -> Path:
    """One path. Raises UserError for an empty one (it comes of a variable that is not set)."""
    if not str(text):
        raise UserError("A path is empty", fix="Write the path out; the current folder is a dot.")
    return Path(_expanded(str(text)))


def folder(text: str | None) -> str | None:
    """A folder, or a name of something else that begins with no `~`: an encoder of the hub."""
    return None if text is None else _expanded(text)


def folders(texts: str | None) -> str | None:
    """Folders, comma-separated."""
    return None if texts is None else ",".join(_expanded(text.strip()) for text in texts.split(","))


def runs(texts: str | None) -> str | None:
    """Runs of the workspace, comma-separated, some perhaps by path."""
    return folders(texts)


ONE: dict[str, Any] = {"parser": path, "metavar": "<path>"}  # of an option that takes one path


def in_full(kind: Any, value: Any) -> Any:
    """A value of one of these kinds so that it means the same wherever, and with the workspace moved, it is given."""
    if kind is path:
        return value.absolute()
    if kind is folder:
        return str(Path(value).absolute()) if Path(value).is_dir() else value
    if kind is folders:
        return ",".join(str(Path(text).absolute()) for text in value.split(",") if text)
    if kind is runs:
        return ",".join(_name_of(text) for text in value.split(","))
    return value


def _name_of(run: str) -> str:
    return Path(run).resolve().name if "/" in run and Path(run).is_dir() else run


def _expanded(text: str) -> str:
    if not text.startswith("~"):
        return text
    try:
        return str(Path(text).expanduser())
    except RuntimeError as error:
        first = text.partition("/")[0]
        raise UserError(
            f"The home folder that {first} stands for is not known",
            where=text,
            fix=f"Write the folder out; one that is itself called so is ./{first}.",
        ) from error
