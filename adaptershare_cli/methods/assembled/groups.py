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
        self.runs: dict[tuple[tuple[str, ...], str], PastRun] = {}  # by tasks, and the layers in which they share

    def alone(self) -> list[PastRun]:
        """Each task alone, in order."""
        keys = [((task,), "all") for task in self.tasks]
        if not self.runs.keys() >= {*keys}:
            self.runs |= zip(keys, self.preparation.train_alone(self.updates, self.seed), strict=True)
        return [self.runs[key] for key in keys]

    def of(self, group: Sequence[str], layers: str = "all") -> PastRun:
        """The training of a group that shares in these layers (`SharedSettings`); of one task it is that task alone."""
        return self.of_all([(group, layers)])[0]

    def of_all(self, groups: Sequence[tuple[Sequence[str], str]]) -> list[PastRun]:
        """The training of each group, with the layers in which it shares. What is missing may be trained at once."""
        keys = [(tuple(task for task in self.tasks if task in group), layers) for group, layers in groups]
        if any(len(tasks) == 1 for tasks, _ in keys):
            self.alone()
        keys = [(tasks, layers if len(tasks) > 1 else "all") for tasks, layers in keys]
        missing = [key for key in dict.fromkeys(keys) if key not in self.runs]
        if missing:
            self.runs |= zip(missing, self.preparation.train_groups(missing, self.updates, self.seed), strict=True)
        return [self.runs[key] for key in keys]


def select_scores(run: PastRun) -> dict[str, float]:
    """Each task's main metric on select rows at the end of a run; undefined (constant predictions) counts as 0."""
    return {
        row["task"]: row["value"] or 0.0
        for row in run.table("metrics").to_pylist()
        if row["final"] and row["main"] and row["split"] == "select"
    }
