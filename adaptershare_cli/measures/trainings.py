"""The trainings that a measured truth, or the selection of auxiliaries, consists of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

EVALUATIONS = 5  # about as many times the target of a trial is scored on select rows


@dataclass(frozen=True)
class Training:
    """One training: `steps` updates on each of `tasks` (one, or several under one shared adapter a layer).

    `start` is the single-task training whose adapter it starts from, with a fresh head; without it the adapter is
    fresh. Runs of one seed have the same fresh weights and the same batches, so that differences are paired.
    A trial is for a `target`: that task alone is scored, on select rows all along. `rows` are (task, the train rows to
    keep of it).
    """

    tasks: tuple[str, ...]
    seed: int
    steps: int
    start: Training | None = None
    target: str | None = None
    rows: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def name(self) -> str:
        """The tasks in words."""
        return f"{self.start.tasks[0]} → {self.tasks[0]}" if self.start else " + ".join(self.tasks)

    @property
    def every(self) -> int:
        """Updates between two scores of a trial's target: as many updates on the target, whatever the other tasks."""
        return len(self.tasks) * max(1, round(self.steps / EVALUATIONS))


def trained_rows(trainings: Iterable[Training], batch: int) -> int:
    """Rows that the trainings learn from, each counted as often as it is seen."""
    return sum(len(training.tasks) * training.steps * batch for training in trainings)


def scored_rows(trainings: Iterable[Training], scored: Mapping[str, int], select: Mapping[str, int]) -> int:
    """Rows that the trainings are scored on; `scored` are those of each task's scored splits, `select` of its other."""
    found = 0
    for training in trainings:
        if training.target is None:
            found += sum(scored[task] for task in training.tasks)
        else:
            times = math.ceil(len(training.tasks) * training.steps / training.every) + 1  # the end counts twice
            found += scored[training.target] + times * select[training.target]
    return found
