"""The baseline for AdapterShare's choices: the splits of an earlier run, with other tasks in them.

In each layer the tasks' names are permuted at random (by the run's seed), once for the whole run, and the earlier
run's plans are followed under these names at the steps at which it changed them. So the numbers and sizes of groups,
the moments of splitting and the trained parameters are the same; only who shares with whom is drawn.
"""

from __future__ import annotations

import numpy as np

from adaptershare_cli.errors import UserError
from adaptershare_cli.methods.base import MethodContext
from adaptershare_cli.methods.planned.method import Act, PlannedMethod
from adaptershare_cli.seeds import derive_seed
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.training.optimizer import Optimizer

History = tuple[tuple[int, SharingPlan], ...]


def build(context: MethodContext) -> PlannedMethod:
    """Joint training under plans drawn after those of the run that --init-plan names."""
    last = context.start.last_change
    if last >= context.updates.total:
        raise UserError(
            f"The run that --init-plan names split at update {last}, this one has only {context.updates.total} updates",
            fix="Give it as many updates (--max-steps, --num-train-epochs).",
        )
    history = permuted(context.start.plans, context.seed)
    return PlannedMethod(context, history[0][1], Follow(history))


def permuted(history: History, seed: int) -> History:
    """The same plans with the tasks of each layer permuted, by one permutation a layer."""
    tasks = history[0][1].tasks
    names = []
    for layer in range(len(history[0][1].layers)):
        drawn = np.random.default_rng(derive_seed(seed, "random-plan", layer)).permutation(len(tasks))
        names.append({task: tasks[place] for task, place in zip(tasks, drawn, strict=True)})
    return tuple(
        (
            step,
            SharingPlan(
                tasks,
                tuple(
                    tuple(tuple(names[layer][task] for task in group) for group in groups)
                    for layer, groups in enumerate(plan.layers)
                ),
            ),
        )
        for step, plan in history
    )


class Follow(Act):
    """Splits groups at given steps until each plan of a history is reached."""

    def __init__(self, history: History) -> None:
        self.plans = dict(history)

    def on_update(self, method: PlannedMethod, step: int, optimizer: Optimizer) -> None:
        """Take up the plan that holds from this step on; it must refine the one before."""
        if step not in self.plans:
            return
        for layer, groups in enumerate(self.plans[step].layers):
            for group in groups:
                whole = method.plan.group(layer, group[0])
                if whole != group:
                    rest = tuple(task for task in whole if task not in group)
                    method.split(layer, rest, group, optimizer)
