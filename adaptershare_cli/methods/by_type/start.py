"""The groups: tasks of one kind, those of single texts apart from those of pairs. One training for each task."""

from __future__ import annotations

from adaptershare_cli.methods.assembled.groups import TrainedGroups
from adaptershare_cli.methods.assembled.start import AssembledStart, assemble
from adaptershare_cli.methods.by_type.settings import ByTypeSettings
from adaptershare_cli.methods.start import Ask, Begin, Preparation


def begin(settings: ByTypeSettings, ask: Ask) -> Begin:
    """Each type's tasks trained as a group."""
    return lambda preparation, seed: _start(ask, preparation, seed)


def _start(ask: Ask, preparation: Preparation, seed: int) -> AssembledStart:
    types = preparation.types()
    members: dict[tuple[str, bool], list[str]] = {}
    for task in ask.tasks:
        members.setdefault(types[task], []).append(task)
    groups = TrainedGroups(preparation, ask.training, ask.tasks, seed)
    found = {tuple(tasks): groups.of(tasks) for tasks in members.values() if len(tasks) > 1}
    found |= {(tasks[0],): groups.of(tasks) for tasks in members.values() if len(tasks) == 1}
    return assemble(tuple(ask.tasks), found, [*found.values()])
