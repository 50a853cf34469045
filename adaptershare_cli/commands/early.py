"""What a stage looks at before it, or a stage before it, makes anything: the folders and machines that were named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adaptershare_cli.commands.download import check_source
from adaptershare_cli.data.definition import TaskDefinition
from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.runs.cautions import balance_cautions
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.runs.runtime import resolve_runtime
from adaptershare_cli.settings import TrainingSettings, flag
from adaptershare_cli.store.artefact import Artefact


def check_early(context: StageContext, definitions: Sequence[TaskDefinition]) -> None:
    """Raise UserError where a task's files, the encoder's folder, or the device that was asked for are not there."""
    for definition in definitions:
        check_source(context, definition)
    check_weights(context, {definition.name: definition.kind for definition in definitions})
    _ = context.encoder
    if context.runtime.device == "cuda":
        resolve_runtime(context.runtime)


def check_weights(context: StageContext, kinds: Mapping[str, str]) -> None:
    """Say which of the tasks (with their kinds) have no labels to weigh; raise UserError where none of them has."""
    if context.training.class_weights == TrainingSettings.class_weights:
        return
    scores = [task for task, kind in kinds.items() if not KINDS[kind].weighs_labels]
    option = flag("class_weights", context.training.class_weights)
    if kinds and len(scores) == len(kinds):
        raise UserError(f"{option} has no effect: there are no labels to weigh", ", ".join(scores), fix="Leave it out.")
    if scores:
        context.reporter.taken(f"no class weights for {', '.join(scores)}", "only labels can be weighed")


def tell_balance(context: StageContext, prepared: Sequence[Artefact]) -> None:
    """Say of which tasks nearly all train rows have one label."""
    weighed = context.training.class_weights != TrainingSettings.class_weights
    for line in balance_cautions(prepared, weighed):
        context.reporter.line(line)
