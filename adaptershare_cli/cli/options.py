"""From settings dataclasses to command-line options and back, with `--config FILE.toml` between the two."""

from __future__ import annotations

import errno
import inspect
import shlex
import signal
import tomllib
import typing
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields, replace
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Optional, get_args, get_origin

import typer
from typer.core import TyperGroup

from adaptershare_cli.cli.console import Reporter
from adaptershare_cli.errors import AdapterShareError, Interrupted, RunError, UserError
from adaptershare_cli.settings import check_value, flag, joint_settings
from adaptershare_cli.signals import on_signals

_WORDS = "adaptershare.words"
ALTERNATIVES = (("seed", "seeds"), ("num_train_epochs", "max_steps"))  # one of each pair would have no effect
# What a full, read-only or failing disk says; any other OSError is a fault of the program.
DISK_ERRORS = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR,
    errno.EISDIR, errno.ENAMETOOLONG, errno.EFBIG, errno.ELOOP,
)  # fmt: skip


def with_options(*groups: type | tuple[str, list[type]]) -> Callable[[Callable], Callable]:
    """Give a command the options of settings classes; it receives those that were given as `given: dict`.

    A group is a settings class, or (panel title, classes) whose fields are joined. Values from --config fill in what
    the command line leaves out; an unknown key or a wrong value there is a UserError. The command also receives, as
    `invocation`, the shell command that repeats it (without --force).
    """

    def decorate(command: Callable) -> Callable:
        signature = inspect.signature(command, eval_str=True)
        parameters = [p for p in signature.parameters.values() if p.name not in ("given", "invocation")]
        own = {parameter.name: parameter for parameter in parameters}
        names: list[str] = []
        for group in groups:
            title, classes = group if isinstance(group, tuple) else (_title(group), [group])
            for name, item in joint_settings(classes).items():
                if name in own:  # the command has an option of its own for it
                    continue
                parameters.append(_parameter(name, item, _hints(classes)[name], title))
                names.append(name)

        def run(ctx: typer.Context, **values: Any) -> None:
            values = {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}
            try:
                with on_signals(_interrupt, signal.SIGTERM):
                    config = _config_values(values.get("config"), own, names, groups)
                    _choose_alternatives(ctx, {*own, *names}, config)
                    values |= {name: value for name, value in config.items() if _untouched(ctx, name)}
                    given = {name: value for name in names if (value := values.pop(name)) is not None}
                    command(**values, given=given, invocation=_invocation(ctx, values, leave_out="--force"))
            except Interrupted as error:
                _end(replace(error, fix=f"Run the same command again to go on: {_invocation(ctx, values)}"))
            except AdapterShareError as error:  # a program's own fault keeps its traceback
                _end(error)
            except KeyboardInterrupt:
                again = f"Run the same command again to go on: {_invocation(ctx, values)}"
                _end(Interrupted("Stopped; what was made is kept", fix=again))
            except OSError as error:
                if error.errno not in DISK_ERRORS:
                    raise
                _end(RunError(f"A file cannot be read or written: {error.strerror}", where=str(error.filename or "")))

        parameters.insert(0, inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))
        parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


class Program(TyperGroup):
    """The program's group of commands; it keeps the words of the command line for `_invocation`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the words, then go on as Typer does."""
        ctx.meta[_WORDS] = list(args)
        return super().parse_args(ctx, args)


def _invocation(ctx: typer.Context, values: Mapping[str, Any], leave_out: str = "") -> str:
    """The command line that was given, as it can be given again; a workspace from the environment is written out."""
    words = [word for word in ctx.meta.get(_WORDS, []) if word != leave_out]
    source = ctx.get_parameter_source("workspace")
    if source is not None and source.name == "ENVIRONMENT":
        words += ["--workspace", str(values["workspace"])]
    return f"{ctx.find_root().info_name} {shlex.join(words)}"


def _interrupt(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def _choose_alternatives(ctx: typer.Context, known: set[str], config: dict[str, Any]) -> None:
    """Refuse two options of which one would have no effect; one on the command line takes the place of config's."""
    for pair in ALTERNATIVES:
        if not known.issuperset(pair):
            continue
        called = [name for name in pair if not _untouched(ctx, name)]
        configured = [name for name in pair if name in config]
        if len(called) == 2 or (not called and len(configured) == 2):
            one, other = (flag(name) for name in pair)
            raise UserError(f"{one} and {other} exclude each other", fix="Give one of them.")
        for name in configured if called else ():
            del config[name]


def _config_values(
    path: Path | None,
    own: Mapping[str, inspect.Parameter],
    names: Iterable[str],
    groups: Iterable[type | tuple[str, list[type]]],
) -> dict[str, Any]:
    """All values of a config file by parameter, each checked, also where the command line will win."""
    if path is None:
        return {}
    config = _read_config(path, {*names, *own} - {"config"})
    return {
        name: _as_given(own[name], value, path) if name in own else _checked(name, value, groups, path)
        for name, value in config.items()
    }


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
    _refuse_controls(parameter.name, value, path)
    if not good:
        raise UserError(f"{_written(parameter.name)} must be {text}, got {value!r}", where=f"--config {path}")
    return Path(value) if wanted is Path else value


def _checked(name: str, value: Any, groups: Iterable[type | tuple[str, list[type]]], path: Path) -> Any:
    """A config value for a settings field, checked against the field's type."""
    classes = [cls for group in groups for cls in (group[1] if isinstance(group, tuple) else [group])]
    _refuse_controls(name, value, path)
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
    check_value(joint_settings(classes)[name], value)
    return value


def _refuse_controls(name: str, value: Any, path: Path) -> None:
    """Control characters (NUL among them) never belong into a name or path; TOML can hold them."""
    if isinstance(value, str) and any(unicodedata.category(sign) == "Cc" for sign in value):
        option = _written(name).replace("_", "-")
        raise UserError(f"{option} holds a control character: {value!r}", where=f"--config {path}")
