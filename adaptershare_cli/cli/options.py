"""From settings dataclasses to command-line options and back."""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from adaptershare_cli.cli import arguments as a
from adaptershare_cli.cli import paths
from adaptershare_cli.cli.call import Call, Caller
from adaptershare_cli.cli.config import ALTERNATIVES, SHARED, option_type
from adaptershare_cli.cli.console import Terminal
from adaptershare_cli.cli.help import BASIC
from adaptershare_cli.cli.invocation import invocation
from adaptershare_cli.cli.program import AS_JSON, INVOCATION
from adaptershare_cli.errors import UserError
from adaptershare_cli.settings import flag, joint_settings
from adaptershare_cli.settings.fields import out_of_bounds

KEYWORD = inspect.Parameter.KEYWORD_ONLY
_PATHS = {"runs": paths.runs, "folder": paths.folder}


def _common(makes: bool) -> list[inspect.Parameter]:
    """The parameters of every command, or of those that make nothing."""
    making = [("force", a.Force, False), ("no_wait", a.NoWait, False)] if makes else []
    every = [("workspace", a.Workspace, Path("workspace")), *making, ("as_json", a.AsJson, False)]
    return [
        inspect.Parameter(name, KEYWORD, default=default, annotation=annotation)
        for name, annotation, default in [*every, ("config", a.Config, None)]
    ]


def with_options(*groups: type | tuple[str, list[type]], makes: bool = True) -> Callable[[Callable], Callable]:
    """Give a command the options of settings classes, and those that every command has; it receives them as a `Call`.

    A group is a settings class, or (panel title, classes) whose fields are joined. Only options that were set are
    options of the call: on the command line, in the environment or in the file of --config. The command returns the
    artefacts of its summary, or None if it has said everything itself. One that `makes` nothing has no --force.
    """

    def decorate(command: Callable) -> Callable:
        signature = inspect.signature(command, eval_str=True)
        own = {name: parameter for name, parameter in signature.parameters.items() if name != "call"}
        common = {parameter.name: parameter for parameter in _common(makes)}
        settings = {p.name: p for p in _parameters(groups) if p.name not in own}  # the command's own option wins
        parameters = [p.replace(kind=KEYWORD) for p in (*own.values(), *common.values(), *settings.values())]

        def run(ctx: typer.Context, **values: Any) -> None:
            displaced = _displaced(ctx)
            chosen = {name: value for name, value in values.items() if _is_set(ctx, name) and name not in displaced}
            value = {p.name: chosen.get(p.name, p.default) for p in parameters}
            ctx.meta[INVOCATION] = invocation(ctx, parameters, chosen, value["workspace"])
            ctx.meta[AS_JSON] = value["as_json"]
            caller: Caller | None = ctx.obj
            call = Call(
                command=str(ctx.info_name),
                invocation=invocation(ctx, parameters, chosen, leave_out="force"),
                options={name: value for name, value in chosen.items() if name in settings},
                workspace=value["workspace"],
                screen=Terminal(value["as_json"]) if caller is None else caller.screen,
                force=value.get("force", False),
                no_wait=value.get("no_wait", False),
                offered={
                    name: key
                    for name, key in ctx.meta.get(SHARED, {}).items()
                    if name in chosen and _source(ctx, name) == "DEFAULT_MAP"
                },
                given=frozenset(chosen),
            )
            artefacts = command(call, **{name: value[name] for name in own})
            if caller is not None:
                caller.artefacts = artefacts or []
            elif artefacts is not None:
                call.finish(artefacts)
                if call.screen.exit_code:
                    raise typer.Exit(call.screen.exit_code)

        context = inspect.Parameter("ctx", KEYWORD, annotation=typer.Context)
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__signature__ = inspect.Signature([context, *parameters])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in (context, *parameters)}
        return run

    return decorate


def _source(ctx: typer.Context, name: str) -> str:
    """Where an option's value is from: COMMANDLINE, ENVIRONMENT, DEFAULT_MAP (--config) or DEFAULT (it was not set)."""
    source = ctx.get_parameter_source(name)
    return "DEFAULT" if source is None else source.name


def _is_set(ctx: typer.Context, name: str) -> bool:
    return _source(ctx, name) != "DEFAULT"


def _displaced(ctx: typer.Context) -> set[str]:
    """Options of --config whose alternative the command line sets; two alternatives from one place are refused."""
    displaced = set()
    for pair in ALTERNATIVES:
        if all(_is_set(ctx, name) for name in pair):
            from_file = {name for name in pair if _source(ctx, name) == "DEFAULT_MAP"}
            if len(from_file) != 1:
                one, other = (flag(name) for name in pair)
                raise UserError(f"{one} and {other} exclude each other", fix="Give one of them.")
            displaced |= from_file
    return displaced


def _parameters(groups: Iterable[type | tuple[str, list[type]]]) -> list[inspect.Parameter]:
    """One parameter for each field of the groups' settings."""
    parameters = []
    for group in groups:
        title, classes = group if isinstance(group, tuple) else (group.__name__.removesuffix("Settings"), [group])
        hints: dict[str, Any] = {}
        for cls in classes:
            hints = typing.get_type_hints(cls) | hints
        parameters += [_parameter(name, item, hints[name], title) for name, item in joint_settings(classes).items()]
    return parameters


def _parameter(name: str, item: Field, hint: Any, panel: str) -> inspect.Parameter:
    """One option: None means that it was not set; the help shows the default."""
    kind = option_type(hint)
    default = None if item.default is MISSING else item.default
    low, high = item.metadata["min"], item.metadata["max"]

    def finite(value: Any) -> Any:
        if value is not None and not math.isfinite(value):  # of infinity, a lower bound says nothing
            raise out_of_bounds(flag(name), value, low, high)
        return value

    option = typer.Option(
        f"{flag(name)}/{flag(name, False)}" if kind is bool else flag(name),
        help=item.metadata["help"],
        rich_help_panel=panel,
        show_default=str(default).lower() if kind is bool else str(default) if default is not None else False,
        min=low,
        max=high,
        callback=finite if kind is float else _PATHS.get(item.metadata["names"]),
    )
    mark = BASIC if item.metadata["basic"] else ""
    return inspect.Parameter(name, KEYWORD, default=None, annotation=Annotated[Optional[kind], option, mark])  # noqa: UP045
