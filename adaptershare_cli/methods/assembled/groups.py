"""Groups of a run's tasks, each trained under one adapter a layer when it is first asked for, and found again later."""

from __future__ import annotations

from collections.abc import Sequence

from adaptershare_cli.methods.start import PastRun, Preparation
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.training.schedule import task_updates, total_steps


class TrainedGroups:
    """The trainings of groups of `tasks` with one seed.

    A task has as many updates in each group as the schedule of a run of all tasks gives it.
    """

    def __init__(self, preparation: Preparation, training: TrainingSettings, tasks: Sequence[str], seed: int) -> None:
        self.preparation, self.tasks, self.seed = preparation, tuple(tasks), seed
        sizes = preparation.train_sizes()
        counts = task_updates(sizes, training, total_steps(sizes, training))
        self.updates = {task: max(1, count) for task, count in counts.items()}
        self.runs: dict[tuple[str, ...], PastRun] = {}
        self.halves: dict[tuple[tuple[str, ...], str], PastRun] = {}

    def alone(self) -> list[PastRun]:
        """Each task alone, in order."""
        if any((task,) not in self.runs for task in self.tasks):
            runs = self.preparation.train_alone(self.updates, self.seed)
            self.runs |= {(task,): run for task, run in zip(self.tasks, runs, strict=True)}
        return [self.runs[(task,)] for task in self.tasks]

    def of(self, group: Sequence[str]) -> PastRun:
        """The training of a group; of one task it is that task alone."""
        key = tuple(task for task in self.tasks if task in group)
        if len(key) == 1:
            return self.alone()[self.tasks.index(key[0])]
        if key not in self.runs:
            self.runs[key] = self.preparation.train_group(key, self.updates, self.seed)
        return self.runs[key]

    def sharing_half(self, group: Sequence[str], layers: str) -> PastRun:
        """The training of a group that shares in the `lower` or `upper` half of the layers only."""
        key = tuple(task for task in self.tasks if task in group), layers
        if key not in self.halves:
            self.halves[key] = self.preparation.train_group(key[0], self.updates, self.seed, layers)
        return self.halves[key]


def select_scores(run: PastRun) -> dict[str, float]:
    """Each task's main metric on select rows at the end of a run; undefined (constant predictions) counts as 0."""
    return final_scores(run, "select")["select"]


def final_scores(run: PastRun, *splits: str) -> dict[str, dict[str, float]]:
    """By split each task's main metric at the end of a run; of all splits but the select rows unless some are named."""
    found: dict[str, dict[str, float]] = {}
    for row in run.table("metrics").to_pylist():
        wanted = row["split"] in splits if splits else row["split"] != "select"
        if wanted and row["final"] and row["main"]:
            found.setdefault(row["split"], {})[row["task"]] = row["value"] or 0.0
    return found
