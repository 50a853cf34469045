"""The trainings, one a task, and the groups whose adapters are merged."""

from __future__ import annotations

from adaptershare_cli.methods.assembled.groups import TrainedGroups
from adaptershare_cli.methods.assembled.start import AssembledStart, Group, assemble
from adaptershare_cli.methods.merge.settings import MergeSettings
from adaptershare_cli.methods.start import Ask, Begin, PastRun, Preparation


def begin(settings: MergeSettings, ask: Ask) -> Begin:
    """Each task alone, then the merging."""
    return lambda preparation, seed: _start(settings, ask, preparation, seed)


def _start(settings: MergeSettings, ask: Ask, preparation: Preparation, seed: int) -> AssembledStart:
    alone = TrainedGroups(preparation, ask.training, ask.tasks, seed).alone()
    merged = preparation.merge(alone, settings.merge, settings.merge_groups == "found", seed)
    rows = merged.table("merges").to_pylist()
    of_groups: dict[Group, PastRun] = {}
    for row in rows:
        if row["chosen"]:
            group = tuple(row["group"])
            of_groups[group] = merged if len(group) > 1 else alone[list(ask.tasks).index(group[0])]
    return assemble(tuple(ask.tasks), of_groups, alone, {"merges": rows})
