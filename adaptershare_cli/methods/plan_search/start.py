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
Tried = tuple[int, str]  # a group's mask, and the layers in which it shares
Halves = Mapping[Tried, Mapping[str, tuple[float, float]]]  # each task's metric on either half of its select rows
IN_HALF = {"all": "", "lower": " (lower layers)", "upper": " (upper layers)"}


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
        # By the group's mask, and the layers in which it shares.
        self.tried: dict[Tried, PastRun] = {}
        self.scores: dict[Tried, dict[str, float]] = {}  # each task's main metric on select rows
        for number, run in enumerate(self.groups.alone()):
            self._keep((1 << number, "all"), run)
        self.alone = np.array([self.scores[1 << number, "all"][task] for number, task in enumerate(tasks)])
        self.scale = settings.search_value == "scaled"
        self.gains: dict[int, np.ndarray] = {}

    def run(self, budget: int) -> AssembledStart:
        """Search, and give the groups that were found."""
        random = None
        if self.settings.proposals == "random":
            random = np.random.default_rng(derive_seed(self.seed, "plan-search", *self.tasks))
        found = search(self._measure(), self._train, budget, self.scale, random)
        chosen = {mask: self._best_layers(mask) for mask in found.partition}
        runs = [*self.tried.values()]
        halves = dict(zip(self.tried, self.preparation.halves(runs, self.seed), strict=True))
        self._tell(chosen, halves, task_trainings(runs))
        of_groups = {self._group(mask): self.tried[mask, where] for mask, where in chosen.items()}
        layers = {self._group(mask): where for mask, where in chosen.items() if where != "all"}
        return assemble(self.tasks, of_groups, runs, self._records(found, chosen, halves), layers)

    def _best_layers(self, mask: int) -> str:
        """In which layers a group of the plan shares: with `--layers halves` where its tasks gain most."""
        if self.settings.layers == "all" or mask.bit_count() == 1:
            return "all"
        group, weights = self._group(mask), gain_weights(self.gains, len(self.tasks), self.scale)
        found = {"all": self.gains[mask]}
        halves = ("lower", "upper")
        for half, run in zip(halves, self.groups.of_all([(group, half) for half in halves]), strict=True):
            self._keep((mask, half), run)
            found[half] = self._gain((mask, half))
        return max(found, key=lambda where: float(np.nansum(found[where] * weights)))  # of equal ones all

    def _group(self, mask: int) -> Group:
        return tuple(self.tasks[number] for number in members_of(mask))

    def _measure(self) -> np.ndarray:
        """How much each source (row) may help each target (column)."""
        name, count = self.settings.search_measure, len(self.tasks)
        values = np.zeros((count, count))
        if name == "none" or self.settings.proposals == "random":
            return values
        alone = {task: self.tried[1 << number, "all"] for number, task in enumerate(self.tasks)}
        for (source, target), value in self.preparation.relate(name, alone, self.seed).items():
            values[self.tasks.index(source), self.tasks.index(target)] = value
        return values

    def _train(self, masks: Sequence[int]) -> Gains:
        """The gains in groups, on select rows."""
        runs = self.groups.of_all([(self._group(mask), "all") for mask in masks])
        for mask, run in zip(masks, runs, strict=True):
            self._keep((mask, "all"), run)
            self.gains[mask] = self._gain((mask, "all"))
        return {mask: self.gains[mask] for mask in masks}

    def _keep(self, tried: Tried, run: PastRun) -> None:
        """Remember a training, whose scores are read once."""
        self.tried[tried], self.scores[tried] = run, select_scores(run)

    def _gain(self, tried: Tried) -> np.ndarray:
        """What each task gains in a group over being alone (T,); NaN for tasks that are not in it."""
        return np.array([self.scores[tried].get(task, np.nan) for task in self.tasks]) - self.alone

    def _tell(self, chosen: Mapping[int, str], halves: Halves, spent: int) -> None:
        """Say what was chosen, what that is worth on the rows that chose it, and on rows that did not."""
        weights = gain_weights(self.gains, len(self.tasks), self.scale)
        apart = without_optimism([self._choice_by(halves, 0), self._choice_by(halves, 1)], weights)
        plain = sum(float(np.nansum(self._gain(tried))) for tried in chosen.items())
        words = [f"{' '.join(self._group(mask))}{IN_HALF[where]}" for mask, where in chosen.items()]
        unit, factor = ("of scaled gain", 1) if self.scale else ("points", 100)
        self.ask.say(
            f"plan-search seed {self.seed}: {' | '.join(words)} "
            f"({100 * plain / len(self.tasks):+.1f} points a task over each alone, on the select rows that chose it; "
            f"chosen on one half of them and valued on the other: {factor * apart / len(self.tasks):+.1f} {unit}; "
            f"{spent} task trainings)"
        )

    def _choice_by(self, halves: Halves, half: int) -> tuple[Gains, Gains]:
        """The gains in groups on one half of the select rows, and on the other; in the layers that suit the first."""
        weights = gain_weights(self.gains, len(self.tasks), self.scale)
        best: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for (mask, _), scores in halves.items():
            found = np.full((2, len(self.tasks)), np.nan)
            for number in members_of(mask):
                task = self.tasks[number]
                found[:, number] = np.subtract(scores[task], halves[1 << number, "all"][task])
            ours, theirs = found[half], found[1 - half]
            known = best.get(mask)
            if mask.bit_count() > 1 and (known is None or np.nansum((ours - known[0]) * weights) > 0):
                best[mask] = ours, theirs
        return {mask: pair[0] for mask, pair in best.items()}, {mask: pair[1] for mask, pair in best.items()}

    def _records(self, found: Found, chosen: Mapping[int, str], halves: Halves) -> Records:
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
        for (mask, where), run in self.tried.items():
            for number in members_of(mask):
                task = self.tasks[number]
                first, second = halves[mask, where][task]
                first_alone, second_alone = halves[1 << number, "all"][task]
                values.append(
                    {"group": list(self._group(mask)), "task": task, "alone": float(self.alone[number]),
                     "value": self.scores[mask, where][task], "first_alone": first_alone, "first_value": first,
                     "second_alone": second_alone, "second_value": second, "layers": where,
                     "chosen": chosen.get(mask) == where, "run": run.label}
                )  # fmt: skip
        return {"search": rounds, "groups": values}
