"""The search itself: each task alone, then the groups that are proposed, each trained once and found again later.

A search asks for trainings in an order that depends on their scores alone, and a training that is there is not made
again: so a search that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adaptershare_cli.errors import UserError
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.methods.base import StartWeights
from adaptershare_cli.methods.plan_search.settings import PlanSearchSettings
from adaptershare_cli.methods.start import Ask, Begin, Beginning, PastRun, Preparation, Start
from adaptershare_cli.model.adapters import adapter_kind
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.statistics.partitions import members_of
from adaptershare_cli.statistics.plan_search import Found, Gains, search
from adaptershare_cli.training.protocol import Records
from adaptershare_cli.training.schedule import task_updates, total_steps

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

TIMES = 3  # the default budget, in trainings of each task alone
Groups = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class FoundGroups:
    """What the method gets: the groups, the adapter of each group's first task, and the search in tables."""

    groups: Groups
    adapters: Mapping[str, Mapping[str, torch.Tensor]]
    records: Records


@dataclass(frozen=True, kw_only=True)
class SearchedStart(Start):
    """The chosen groups with the run that trained each, and the search as rows of the run's tables."""

    of_groups: Mapping[tuple[str, ...], PastRun]
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
        return Beginning(StartWeights(heads=heads), FoundGroups(tuple(self.of_groups), adapters, self.records))


def begin(settings: PlanSearchSettings, ask: Ask) -> Begin:
    """How a seed's groups are found. Raises UserError for a budget that is too small, before anything is made."""
    tasks = tuple(ask.tasks)
    budget = settings.budget or TIMES * len(tasks)
    if budget < len(tasks) + 2:
        raise UserError(
            f"--budget {budget} leaves nothing to try: each of the {len(tasks)} tasks alone is one training, and the "
            "smallest group is two more",
            fix=f"Give --budget {len(tasks) + 2} or more (by default {TIMES * len(tasks)}).",
        )
    return lambda preparation, seed: _Search(settings, ask, preparation, seed, tasks).run(budget)


class _Search:
    """The search of one seed."""

    def __init__(
        self, settings: PlanSearchSettings, ask: Ask, preparation: Preparation, seed: int, tasks: tuple[str, ...]
    ) -> None:
        self.settings, self.ask, self.preparation, self.seed, self.tasks = settings, ask, preparation, seed, tasks
        sizes = preparation.train_sizes()
        counts = task_updates(sizes, ask.training, total_steps(sizes, ask.training))
        self.updates = {task: max(1, count) for task, count in counts.items()}
        alone = preparation.train_alone(self.updates, seed)
        self.runs: dict[int, PastRun] = {1 << number: run for number, run in enumerate(alone)}
        self.scores = {mask: select_scores(run) for mask, run in self.runs.items()}
        self.alone = np.array([self.scores[1 << number][task] for number, task in enumerate(tasks)])

    def run(self, budget: int) -> SearchedStart:
        """Search, and give the groups that were found."""
        found = search(self._measure(), self._train, budget, self.settings.search_value == "scaled")
        groups = {self._group(mask): self.runs[mask] for mask in found.partition}
        runs = tuple(self.runs.values())
        spent = sum(len(run.record.tasks) for run in runs)
        self.ask.say(
            f"plan-search seed {self.seed}: {' | '.join(' '.join(group) for group in groups)} "
            f"({100 * found.value / len(self.tasks):+.1f} points a task over each alone, on select rows; {spent} task "
            "trainings)"
        )
        return SearchedStart(
            request={"origin": [run.content for run in runs], "groups": [list(group) for group in groups]},
            runs=runs,
            info={"task_trainings": spent},
            examples={task: sum(run.record.examples.get(task, 0) for run in runs) for task in self.tasks},
            seconds=sum(run.training_seconds for run in runs),
            updates=dict.fromkeys(self.tasks, 0),
            of_groups=groups,
            records=self._records(found),
        )

    def _group(self, mask: int) -> tuple[str, ...]:
        return tuple(self.tasks[number] for number in members_of(mask))

    def _measure(self) -> np.ndarray:
        """How much each source (row) may help each target (column)."""
        name, count = self.settings.search_measure, len(self.tasks)
        values = np.zeros((count, count))
        if name == "none":
            return values
        alone = {task: self.runs[1 << number] for number, task in enumerate(self.tasks)}
        for (source, target), value in self.preparation.relate(name, alone, self.seed).items():
            values[self.tasks.index(source), self.tasks.index(target)] = value
        return values

    def _train(self, masks: Sequence[int]) -> Gains:
        """The gains in groups, on select rows."""
        gains = {}
        for mask in masks:
            group = self._group(mask)
            run = self.runs[mask] = self.preparation.train_group(group, self.updates, self.seed)
            scores = self.scores[mask] = select_scores(run)
            gains[mask] = np.array([scores.get(task, np.nan) for task in self.tasks]) - self.alone
        return gains

    def _records(self, found: Found) -> Records:
        """Rows of `schemas.SEARCH` and `schemas.GROUPS`."""
        rounds: list[dict[str, Any]] = [
            {
                "round": number,
                "plan": [list(self._group(mask)) for mask in step.partition],
                "predicted": step.predicted / len(self.tasks),
                "trained": [list(self._group(mask)) for mask in step.trained],
                "spent": step.spent,
            }
            for number, step in enumerate(found.rounds, 1)
        ]
        values = []
        for mask, run in self.runs.items():
            for number in members_of(mask):
                task = self.tasks[number]
                values.append(
                    {"group": list(self._group(mask)), "task": task, "alone": float(self.alone[number]),
                     "value": self.scores[mask][task], "chosen": mask in found.partition, "run": run.label}
                )  # fmt: skip
        return {"search": rounds, "groups": values}


def select_scores(run: PastRun) -> dict[str, float]:
    """Each task's main metric on select rows at the end of a run; undefined (constant predictions) counts as 0."""
    rows = run.table("metrics").to_pylist()
    return {
        row["task"]: row["value"] or 0.0 for row in rows if row["final"] and row["main"] and row["split"] == "select"
    }
