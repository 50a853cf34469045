"""The search itself: each task alone, then the groups that are proposed, each trained once and found again later.

A search asks for trainings in an order that depends on their scores alone, and a training that is there is not made
again: so a search that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adaptershare_cli.errors import UserError
from adaptershare_cli.methods.assembled.groups import TrainedGroups, select_scores
from adaptershare_cli.methods.assembled.start import AssembledStart, Group, assemble, task_trainings
from adaptershare_cli.methods.plan_search.settings import PlanSearchSettings
from adaptershare_cli.methods.start import Ask, Begin, PastRun, Preparation
from adaptershare_cli.seeds import derive_seed
from adaptershare_cli.statistics.partitions import members_of
from adaptershare_cli.statistics.plan_search import Found, Gains, gain_weights, search, without_optimism
from adaptershare_cli.training.protocol import Records

TIMES = 3  # the default budget, in trainings of each task alone
Halves = Mapping[int, Mapping[str, tuple[float, float]]]  # by a group's mask: each task's metric on either half


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
        self.groups = TrainedGroups(preparation, ask.training, tasks, seed)
        self.runs: dict[int, PastRun] = {1 << number: run for number, run in enumerate(self.groups.alone())}
        self.scores = {mask: select_scores(run) for mask, run in self.runs.items()}
        self.alone = np.array([self.scores[1 << number][task] for number, task in enumerate(tasks)])
        self.scale = settings.search_value == "scaled"

    def run(self, budget: int) -> AssembledStart:
        """Search, and give the groups that were found."""
        random = None
        if self.settings.proposals == "random":
            random = np.random.default_rng(derive_seed(self.seed, "plan-search", *self.tasks))
        found = search(self._measure(), self._train, budget, self.scale, random)
        found_groups = {self._group(mask): self.runs[mask] for mask in found.partition}
        halves = dict(zip(self.runs, self.preparation.halves([*self.runs.values()], self.seed), strict=True))
        runs = [*self.runs.values()]
        self._tell(found, halves, task_trainings(runs))
        return assemble(self.tasks, found_groups, runs, self._records(found, halves))

    def _group(self, mask: int) -> Group:
        return tuple(self.tasks[number] for number in members_of(mask))

    def _measure(self) -> np.ndarray:
        """How much each source (row) may help each target (column)."""
        name, count = self.settings.search_measure, len(self.tasks)
        values = np.zeros((count, count))
        if name == "none" or self.settings.proposals == "random":
            return values
        alone = {task: self.runs[1 << number] for number, task in enumerate(self.tasks)}
        for (source, target), value in self.preparation.relate(name, alone, self.seed).items():
            values[self.tasks.index(source), self.tasks.index(target)] = value
        return values

    def _train(self, masks: Sequence[int]) -> Gains:
        """The gains in groups, on select rows."""
        gains = {}
        for mask in masks:
            run = self.runs[mask] = self.groups.of(self._group(mask))
            scores = self.scores[mask] = select_scores(run)
            gains[mask] = np.array([scores.get(task, np.nan) for task in self.tasks]) - self.alone
        return gains

    def _tell(self, found: Found, halves: Halves, spent: int) -> None:
        """Say what was chosen, what that is worth on the rows that chose it, and on rows that did not."""
        weights = gain_weights(found.gains, len(self.tasks), self.scale)
        apart = without_optimism(self._half_gains(halves, 0), self._half_gains(halves, 1), weights)
        plain = sum(np.nansum(found.gains[mask]) for mask in found.partition if mask in found.gains)
        unit = "of scaled gain" if self.scale else "points"
        factor = (1 if self.scale else 100) / len(self.tasks)
        self.ask.say(
            f"plan-search seed {self.seed}: {' | '.join(' '.join(self._group(mask)) for mask in found.partition)} "
            f"({100 * plain / len(self.tasks):+.1f} points a task over each alone, on the select rows that chose it; "
            f"chosen on one half of them and valued on the other: {factor * apart:+.1f} {unit}; {spent} task trainings)"
        )

    def _half_gains(self, halves: Halves, half: int) -> Gains:
        """The gains in groups on one half of the select rows."""
        found = {}
        for mask, scores in halves.items():
            if mask.bit_count() > 1:
                found[mask] = np.full(len(self.tasks), np.nan)
                for number in members_of(mask):
                    task = self.tasks[number]
                    found[mask][number] = scores[task][half] - halves[1 << number][task][half]
        return found

    def _records(self, found: Found, halves: Halves) -> Records:
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
                (first, second), (first_alone, second_alone) = halves[mask][task], halves[1 << number][task]
                values.append(
                    {"group": list(self._group(mask)), "task": task, "alone": float(self.alone[number]),
                     "value": self.scores[mask][task], "first_alone": first_alone, "first_value": first,
                     "second_alone": second_alone, "second_value": second,
                     "chosen": mask in found.partition, "run": run.label}
                )  # fmt: skip
        return {"search": rounds, "groups": values}
