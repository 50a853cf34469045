"""What `train-share --selection` trains on: the target and what `correlate --select` selected for it."""

from __future__ import annotations

from dataclasses import dataclass

from adaptershare_cli.errors import UserError
from adaptershare_cli.runs.choose import matches
from adaptershare_cli.runs.context import StageContext
from adaptershare_cli.runs.rows import Limits
from adaptershare_cli.store.artefact import verify
from adaptershare_cli.store.workspace import Artefact
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
    info = artefact.info
    if context.encoder.weights != info["encoder"]["weights"]:
        raise UserError(
            f"{artefact.path.name} was selected for another encoder ({info['encoder']['name']})",
            where=f"--selection, --model {context.model}",
            fix="Name that encoder with --model.",
        )
    if not info["auxiliaries"]:
        raise UserError(
            f"{artefact.path.name} selected nothing: {info['target']} does best alone",
            where="--selection",
            fix=f"Train it alone: adaptershare train-single --tasks {info['target']}",
        )
    chosen = chosen_candidate(artefact.table("selection.parquet"), info["target"], info["procedure"])
    tasks = (info["target"], *chosen.auxiliaries)
    prepared = find_prepared(context.workspace, {task: info["prepro"][task] for task in tasks}, artefact.label)
    return Selected(artefact, tasks, list(prepared.values()), Limits(keep=chosen.rows or {}))


def _named(context: StageContext, spec: str, target: str | None) -> Artefact:
    there = [a for a in context.workspace.artefacts("correlate") if a.info.get("kind") == "selection"]
    if not there:
        raise UserError(
            "There is no selection in the workspace yet",
            where="--selection",
            fix="Make one: adaptershare correlate --measure gradts --select trial --target TASK",
        )
    named = [a for a in there if matches(a, spec) or a.info["procedure"] == spec]
    if not named:
        names = ", ".join(artefact.path.name for artefact in there[-8:])
        raise UserError(f"No selection matches {spec!r}", where="--selection", fix=f"Selections: {names}.")
    found = [a for a in named if target in (None, a.info["target"])]
    if not found:
        targets = ", ".join(dict.fromkeys(artefact.info["target"] for artefact in named))
        raise UserError(f"--selection {spec} has no target {target!r}", where="--target", fix=f"Targets: {targets}.")
    if len(found) > 1:
        names = ", ".join(artefact.path.name for artefact in found)
        raise UserError(
            f"--selection {spec} must name one selection",
            where=f"it names {names}",
            fix="Give one's name." if target else "Give one's name, or --target.",
        )
    return found[0]
