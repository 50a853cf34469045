"""From settings dataclasses to command-line options and back, with `--config FILE.toml` between the two."""

from __future__ import annotations

import errno
import inspect
import tomllib
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Optional, get_args, get_origin

import typer

from adaptershare_cli.console import Reporter
from adaptershare_cli.errors import AdapterShareError, Interrupted, RunError, UserError
from adaptershare_cli.settings import joint_settings

# What a full, read-only or failing disk says; any other OSError is a fault of the program.
_DISK_ERRORS = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR,
    errno.EISDIR, errno.ENAMETOOLONG,
)  # fmt: skip


def with_options(*groups: type | tuple[str, list[type]]) -> Callable[[Callable], Callable]:
    """Give a command the options of settings classes; it receives those that were given as `given: dict`.

    A group is a settings class, or (panel title, classes) whose fields are joined. Values from --config fill in what
    the command line leaves out; an unknown key there is a UserError.
    """

    def decorate(command: Callable) -> Callable:
        parameters = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "given"]
        own = {parameter.name: parameter for parameter in parameters}
        names: list[str] = []
        for group in groups:
            title, classes = group if isinstance(group, tuple) else (_title(group), [group])
            for name, item in joint_settings(classes).items():
                parameters.append(_parameter(name, item, _hints(classes)[name], title))
                names.append(name)

        def run(ctx: typer.Context, **values: Any) -> None:
            values = {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}
            try:
                config = _read_config(values["config"], {*names, *own} - {"config"}) if values.get("config") else {}
                for name in own:
                    if name in config and _untouched(ctx, name):
                        values[name] = _as_given(own[name], config[name], values["config"])
                given = {name: values.pop(name) for name in names}
                for name in names:
                    if given[name] is None and name in config:
                        given[name] = _checked(name, config[name], groups, values["config"])
                command(**values, given={name: value for name, value in given.items() if value is not None})
            except AdapterShareError as error:  # a program's own fault keeps its traceback
                _end(error)
            except KeyboardInterrupt:
                _end(Interrupted("Stopped", fix="Run the same command again to go on: what was made is kept."))
            except OSError as error:
                if error.errno not in _DISK_ERRORS:
                    raise
                _end(RunError(f"A file cannot be read or written: {error.strerror}", where=str(error.filename or "")))

        parameters.insert(0, inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))
        parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _end(error: AdapterShareError) -> NoReturn:
    Reporter().error(error)
    raise typer.Exit(error.exit_code) from error


def settings_from(cls: type, given: Mapping[str, Any]) -> Any:
    """An instance of a settings class from the options that were given; others are left for other classes."""
    return cls(**{item.name: given[item.name] for item in fields(cls) if item.name in given})


def _title(cls: type) -> str:
    return cls.__name__.removesuffix("Settings")


def _hints(classes: Iterable[type]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for cls in classes:
        for name, hint in typing.get_type_hints(cls).items():
            found.setdefault(name, hint)
    return found


def _parameter(name: str, item: Field, hint: Any, panel: str) -> inspect.Parameter:
    """One option: no value means `not given`, the default is shown in the help."""
    kind = next((part for part in get_args(hint) if part is not type(None)), hint) if _optional(hint) else hint
    default = None if item.default is MISSING else item.default
    flag = "--" + name.replace("_", "-")
    declared = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
    settings: dict[str, Any] = {"help": item.metadata["help"], "rich_help_panel": panel}
    settings["show_default"] = str(default).lower() if kind is bool else str(default) if default is not None else False
    if get_origin(kind) is Literal:
        kind = choice(name, get_args(kind))
    annotation: Any = Annotated[Optional[kind], typer.Option(declared, **settings)]  # noqa: UP045
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def choice(name: str, values: Iterable[str]) -> Any:
    """An enumeration for an option that takes one of `values`; Typer lists them in help texts and errors."""
    return StrEnum(name, {value: value for value in values})


def _optional(hint: Any) -> bool:
    return type(None) in get_args(hint)


def _read_config(path: Path, known: set[str]) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError("The config file does not exist", where=f"--config {path}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"The config file cannot be read: {error}", where=f"--config {path}") from error
    config = {key.replace("-", "_"): value for key, value in values.items()}
    if len(config) < len(values):
        key = next(key for key in values if "-" in key and key.replace("-", "_") in values)
        raise UserError(f"The config file gives {key!r} twice, once with `_`", where=f"--config {path}")
    names = {_written(name): name for name in known}
    for key in config:
        if key not in names:
            import difflib

            near = difflib.get_close_matches(key, sorted(names), n=3)
            hint = f"Did you mean {', '.join(n.replace('_', '-') for n in near)}?" if near else ""
            raise UserError(f"This command has no option {key.replace('_', '-')!r}", where=f"--config {path}", fix=hint)
    return {names[key]: value for key, value in config.items()}


def _written(name: str) -> str:
    """The option as users write it, where the parameter has another name (`from` cannot be one)."""
    return {"from_folder": "from", "run_spec": "run", "as_json": "json"}.get(name, name)


def _untouched(ctx: typer.Context, name: str) -> bool:
    """Whether command line and environment left this option out."""
    source = ctx.get_parameter_source(name)
    return source is None or source.name.startswith("DEFAULT")


def _as_given(parameter: inspect.Parameter, value: Any, path: Path) -> Any:
    """A config value for one of the command's own options; lists become comma-separated text."""
    wanted = get_args(parameter.annotation)[0]
    wanted = get_args(wanted)[0] if _optional(wanted) else wanted
    text = {bool: "true or false", int: "a whole number, not negative", Path: "a path in quotes"}.get(wanted, "text")
    if wanted is str and isinstance(value, list):
        value = ",".join(map(str, value))
    elif wanted is str and type(value) is int:  # seeds = 3
        value = str(value)
    kinds = {bool: bool, int: int}
    good = type(value) is kinds.get(wanted, str) and not (isinstance(value, int) and value < 0)
    if issubclass(wanted, Enum):
        text = f"one of {', '.join(wanted)}"
        good = good and value in list(wanted)
    if not good:
        raise UserError(f"{_written(parameter.name)} must be {text}, got {value!r}", where=f"--config {path}")
    return Path(value) if wanted is Path else value


def _checked(name: str, value: Any, groups: Iterable[type | tuple[str, list[type]]], path: Path) -> Any:
    """A config value for a settings field, checked against the field's type."""
    classes = [cls for group in groups for cls in (group[1] if isinstance(group, tuple) else [group])]
    hint = _hints(classes)[name]
    kinds = [part for part in get_args(hint) if part is not type(None)] if _optional(hint) else [hint]
    kind, written = kinds[0], name.replace("_", "-")
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            choices = ", ".join(get_args(kind))
            raise UserError(f"{written} must be one of {choices}, got {value!r}", where=f"--config {path}")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**300:
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"{written} must be of type {kind.__name__}, got {value!r}", where=f"--config {path}")
    return value
