"""The command line of a call as it can be given again: from any folder, and for an artefact in a moved workspace."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import typer

from adaptershare_cli.cli import paths
from adaptershare_cli.cli.config import is_argument, written


def invocation(
    ctx: typer.Context,
    parameters: Iterable[inspect.Parameter],
    chosen: Mapping[str, Any],
    workspace: Path | None = None,
    leave_out: str = "",
) -> str:
    """The command with the options that were `chosen`, by parameter, and paths from the root on.

    What --config says is left to its file, but for relative paths. The workspace is named if it is given.
    """
    kinds = {p.name: _kind(p.annotation) for p in parameters}
    words = [str(ctx.info_name)]
    for option in ctx.command.params:
        name = str(option.name)
        if name not in chosen or name in ("workspace", leave_out):
            continue
        value = paths.in_full(kinds[name], chosen[name])
        source = ctx.get_parameter_source(name)
        if source is None or source.name != "DEFAULT_MAP" or value != chosen[name]:
            words += _words(option, value)
    if workspace is not None:
        words += ["--workspace", str(workspace.absolute())]
    return f"{ctx.find_root().info_name} {shlex.join(words)}"


def _kind(annotation: Any) -> Any:
    """Which of the functions of `paths` an option's values go through, if any."""
    info = next(part for part in get_args(annotation) if hasattr(part, "param_decls"))
    return info.parser or info.callback


def _words(option: Any, value: Any) -> list[str]:
    if is_argument(option):
        return [str(value)]
    if isinstance(value, bool):
        return [f"--{written(option)}" if value else option.secondary_opts[0]]
    return [f"--{written(option)}", str(value)]
