"""What `train-share --selection` trains on: the target and what `correlate --select` selected for it."""

from __future__ import annotations

from dataclasses import dataclass

from adaptershare_cli.errors import UserError
from adaptershare_cli.model.source import NAME_IT
from adaptershare_cli.runs.choose import matches
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.runs.rows import Limits
from adaptershare_cli.store.artefact import Artefact, verify
from adaptershare_cli.store.records import SelectionRecord, StudyRecord
from adaptershare_cli.studies.procedures import chosen_candidate
from adaptershare_cli.studies.replicates import find_prepared


@dataclass(frozen=True)
class Selected:
    """A selection: its tasks, the target first, their rows as they were selected, and which of these to keep."""

    artefact: Artefact
    tasks: tuple[str, ...]
    prepared: list[Artefact]
    limits: Limits


def find_selection(context: StageContext, spec: str, target: str | None) -> Selected:
    """The one selection that --selection and --target name.

    Raises UserError where none or several are, where nothing was selected, or for another encoder.
    """
    artefact = _named(context, spec, target)
    verify(artefact)
    record = SelectionRecord.of(artefact)
    if context.encoder.weights != record.encoder["weights"]:
        raise UserError(
            f"{artefact.path.name} was selected for another encoder ({record.encoder['name']})",
            where=f"--selection, --model {context.model}",
            fix=NAME_IT,
        )
    if not record.auxiliaries:
        raise UserError(
            f"{artefact.path.name} selected nothing: {record.target} does best alone",
            where="--selection",
            fix=f"Train it alone: adaptershare train-single --tasks {record.target}",
        )
    chosen = chosen_candidate(artefact.table("selection.parquet"), record.target, record.procedure)
    tasks = (record.target, *chosen.auxiliaries)
    prepared = find_prepared(context.workspace, {task: record.prepro[task] for task in tasks}, artefact.label)
    return Selected(artefact, tasks, list(prepared.values()), Limits(keep=chosen.rows or {}))


def _named(context: StageContext, spec: str, target: str | None) -> Artefact:
    """The one selection in the workspace that `spec` names (by procedure, too), for the target if there is one."""
    there = [a for a in context.workspace.artefacts("correlate") if StudyRecord.of(a).kind == "selection"]
    if not there:
        raise UserError(
            "There is no selection in the workspace yet",
            where="--selection",
            fix="Make one: adaptershare correlate --measure gradts --select trial --target TASK",
        )
    named = [a for a in there if matches(a, spec) or SelectionRecord.of(a).procedure == spec]
    if not named:
        raise UserError(f"No selection matches {spec!r}", where="--selection", fix=f"Selections: {_names(there[-8:])}.")
    chosen = [a for a in named if target in (None, SelectionRecord.of(a).target)]
    if not chosen:
        targets = ", ".join(dict.fromkeys(SelectionRecord.of(a).target for a in named))
        raise UserError(f"--selection {spec} has no target {target!r}", where="--target", fix=f"Targets: {targets}.")
    if len(chosen) > 1:
        raise UserError(
            f"--selection {spec} must name one selection",
            where=f"it names {_names(chosen)}",
            fix="Give one's name." if target else "Give one's name, or --target.",
        )
    return chosen[0]


def _names(artefacts: list[Artefact]) -> str:
    return ", ".join(artefact.path.name for artefact in artefacts)
