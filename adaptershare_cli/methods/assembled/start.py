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
    """What the method gets: the groups with the layers in which each shares, adapters, and rows of the run's tables.

    Of a group that shares in all layers the adapter of its first task is there, of others that of every task.
    """

    groups: Mapping[Group, str]
    adapters: Mapping[str, Mapping[str, torch.Tensor]]
    records: Records


@dataclass(frozen=True, kw_only=True)
class AssembledStart(Start):
    """The groups, each with the run whose adapter and heads its tasks take, and rows of the run's tables.

    `layers`: in which half of the layers a group shares, of those that do not in all.
    """

    of_groups: Mapping[Group, PastRun]
    records: Records
    layers: Mapping[Group, str]

    def read(self, encoder: PreTrainedModel, infos: Mapping[str, TaskInfo], training: TrainingSettings) -> Beginning:
        """The adapter of each group, and each task's head."""
        from adaptershare_cli.model.stored import read_adapter, read_head

        kind = adapter_kind(training.adapter_config)
        heads: dict[str, Mapping[str, torch.Tensor]] = {}
        adapters: dict[str, Mapping[str, torch.Tensor]] = {}
        for group, run in self.of_groups.items():
            folders = {task: run.folder / "tasks" / task for task in group}
            for task in group if group in self.layers else group[:1]:
                adapters[task] = read_adapter(folders[task], encoder, kind)
            heads |= {task: read_head(folder, infos[task], training.pooling) for task, folder in folders.items()}
        groups = {group: self.layers.get(group, "all") for group in self.of_groups}
        return Beginning(StartWeights(heads=heads), Parts(groups, adapters, self.records))


def assemble(
    tasks: Sequence[str],
    of_groups: Mapping[Group, PastRun],
    runs: Sequence[PastRun],
    records: Records | None = None,
    layers: Mapping[Group, str] | None = None,
) -> AssembledStart:
    """The start of a run that takes `of_groups` from what was trained.

    `layers` names the half of the layers in which a group shares, if not in all. `runs` are all trainings that were
    made for the run: their rows and seconds count as its own.
    """
    halves = {"layers": [layers.get(group, "all") for group in of_groups]} if layers else {}
    trained = _rows(runs)
    return AssembledStart(
        request={"origin": [run.content for run in runs], "groups": [list(group) for group in of_groups], **halves},
        runs=tuple(runs),
        info={"task_trainings": task_trainings(runs)},
        examples={task: trained.get(task, 0) for task in tasks},
        seconds=sum(run.training_seconds for run in runs),
        updates=dict.fromkeys(tasks, 0),
        of_groups=of_groups,
        records=records or {},
        layers=layers or {},
    )


def _rows(runs: Sequence[PastRun]) -> dict[str, int]:
    """Rows of each task that the trainings saw; where one went on from another, that one's count once."""
    of_runs = {run.label: run.record.examples for run in runs}
    found: dict[str, int] = {}
    for run in runs:
        before = of_runs.get(run.record.start["run"], {}) if run.record.start else {}
        for task in run.record.tasks:
            found[task] = found.get(task, 0) + run.record.examples[task] - before.get(task, 0)
    return found


def task_trainings(runs: Sequence[PastRun]) -> int:
    """How many tasks were trained in the runs: a group of three counts three."""
    return sum(len(run.record.tasks) for run in runs)
