"""The trainings that a measured truth consists of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Training:
    """One training: `steps` updates on each of `tasks` (one, or several under one shared adapter a layer).

    `start` is the single-task training whose adapter it starts from, with a fresh head; without it the adapter is
    fresh. Runs of one seed have the same fresh weights and the same batches, so that differences are paired.
    """

    tasks: tuple[str, ...]
    seed: int
    steps: int
    start: Training | None = None

    @property
    def name(self) -> str:
        """The tasks in words."""
        return f"{self.start.tasks[0]} → {self.tasks[0]}" if self.start else " + ".join(self.tasks)


def trained_rows(trainings: Iterable[Training], batch: int) -> int:
    """Rows that the trainings learn from, each counted as often as it is seen."""
    return sum(len(training.tasks) * training.steps * batch for training in trainings)


def scored_rows(trainings: Iterable[Training], scored: Mapping[str, int]) -> int:
    """Rows that the trainings are scored on; `scored` are the rows of each task's scored splits."""
    return sum(scored[task] for training in trainings for task in training.tasks)
