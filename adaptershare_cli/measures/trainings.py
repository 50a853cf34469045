"""The trainings that a measured truth, or the selection of auxiliaries, consists of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

EVALUATIONS = 5  # the target of a trial is scored on select rows about this many times


@dataclass(frozen=True)
class Training:
    """One training: `steps` updates on each of `tasks` (one, or several under one shared adapter a layer).

    `start` is the single-task training whose adapter it starts from, with a fresh head; without it the adapter is
    fresh, too. Runs of one seed have the same fresh weights and the same batches, so that differences are paired. A
    trial is for a `target`: that task alone is scored, on select rows while it trains. `rows` are pairs of a task and
    those of its train rows that are kept; all rows of tasks that are not named are.
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
        """Updates between two scores of a trial's target: always the same number of updates on the target itself."""
        return len(self.tasks) * max(1, round(self.steps / EVALUATIONS))


def trained_rows(trainings: Iterable[Training], batch: int) -> int:
    """Rows that the trainings learn from, each counted as often as it is seen."""
    return sum(len(training.tasks) * training.steps * batch for training in trainings)


def scored_rows(trainings: Iterable[Training], scored: Mapping[str, int], select: Mapping[str, int]) -> int:
    """Rows that the trainings are scored on, each counted as often as it is.

    `scored` are the numbers of rows in each task's scored splits, `select` those of its select rows.
    """
    rows = 0
    for training in trainings:
        if training.target is None:
            rows += sum(scored[task] for task in training.tasks)
        else:
            times = math.ceil(len(training.tasks) * training.steps / training.every) + 1  # the end counts twice
            rows += scored[training.target] + times * select[training.target]
    return rows
