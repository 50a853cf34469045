"""What a put-together run is made of: groups of its tasks, and the run that trained each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.methods.base import StartWeights
from adaptershare_cli.methods.start import Beginning, PastRun, Start
from adaptershare_cli.model.adapters import adapter_kind
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.training.protocol import Records

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Group = tuple[str, ...]


@dataclass(frozen=True)
class Parts:
    """What the method gets: the groups, the adapter of each group by its first task, and rows of the run's tables."""

    groups: tuple[Group, ...]
    adapters: Mapping[str, Mapping[str, torch.Tensor]]
    records: Records


@dataclass(frozen=True, kw_only=True)
class AssembledStart(Start):
    """The groups, each with the run whose adapter and heads its tasks take, and rows of the run's tables."""

    of_groups: Mapping[Group, PastRun]
    records: Records

    def read(self, encoder: PreTrainedModel, infos: Mapping[str, TaskInfo], training: TrainingSettings) -> Beginning:
        """The adapter of each group, and each task's head."""
        from adaptershare_cli.model.stored import read_adapter, read_head

        kind = adapter_kind(training.adapter_config)
        heads: dict[str, Mapping[str, torch.Tensor]] = {}
        adapters: dict[str, Mapping[str, torch.Tensor]] = {}
        for group, run in self.of_groups.items():
            folders = {task: run.folder / "tasks" / task for task in group}
            adapters[group[0]] = read_adapter(folders[group[0]], encoder, kind)
            heads |= {task: read_head(folder, infos[task], training.pooling) for task, folder in folders.items()}
        return Beginning(StartWeights(heads=heads), Parts(tuple(self.of_groups), adapters, self.records))


def assemble(
    tasks: Sequence[str], of_groups: Mapping[Group, PastRun], runs: Sequence[PastRun], records: Records | None = None
) -> AssembledStart:
    """The start of a run that takes `of_groups` from what was trained; `runs` are all trainings that were made for it.

    Rows and seconds of all of them count as the run's own.
    """
    return AssembledStart(
        request={"origin": [run.content for run in runs], "groups": [list(group) for group in of_groups]},
        runs=tuple(runs),
        info={"task_trainings": task_trainings(runs)},
        examples={task: sum(run.record.examples.get(task, 0) for run in runs) for task in tasks},
        seconds=sum(run.training_seconds for run in runs),
        updates=dict.fromkeys(tasks, 0),
        of_groups=of_groups,
        records=records or {},
    )


def task_trainings(runs: Sequence[PastRun]) -> int:
    """How many tasks were trained in the runs: a group of three counts three."""
    return sum(len(run.record.tasks) for run in runs)
