"""What a stage looks at before it, or a stage before it, makes anything: the folders and machines that were named."""

from __future__ import annotations

from collections.abc import Sequence

from adaptershare_cli.commands.download import check_source
from adaptershare_cli.data.definition import TaskDefinition
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.runs.runtime import resolve_runtime


def check_early(context: StageContext, definitions: Sequence[TaskDefinition]) -> None:
    """Raise UserError where a task's files, the encoder's folder, or the device that was asked for are not there."""
    for definition in definitions:
        check_source(context, definition)
    _ = context.encoder
    if context.runtime.device == "cuda":
        resolve_runtime(context.runtime)
