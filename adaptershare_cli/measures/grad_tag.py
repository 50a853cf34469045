"""The measure `grad-tag`: what training the target along with the source would do, if outputs were linear.

A run in which all tasks share one adapter is the start. Around it each task's outputs are taken as linear in the
adapter (`observe.output_gradients`), and for a set S of tasks the training on S becomes one small convex problem
(`training.linear_refit`), on train rows of every task in S. With f_t(S) minus the mean loss of t's held-out rows then,

    value[s, t] = mean over the sets S that hold s and t of f_t(S), less f_t({t})

Sets are all pairs and some random larger ones. How strongly changes are held back is one number for all sets, that with
which the tasks alone do best. Gradients are divided by their typical length, so that it means the same for every
encoder. Source: Li et al. 2024, "Scalable Multitask Learning Using Gradient-based Estimation of Task Affinity"; unlike
its released code, this keeps the outputs at the start, changes biases too, and fits rows of every task of a set.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adaptershare_cli.measures.base import Cost, Measurement, Scope, sample_rows
from adaptershare_cli.measures.needs import JointModels, SharedModels
from adaptershare_cli.measures.settings import SeededMeasureSettings
from adaptershare_cli.measures.spec import measure
from adaptershare_cli.seeds import derive_seed
from adaptershare_cli.settings import option

if TYPE_CHECKING:
    from adaptershare_cli.data.batches import Rows
    from adaptershare_cli.kinds.base import TaskInfo
    from adaptershare_cli.observe.output_gradients import OutputGradients
    from adaptershare_cli.training.linear_refit import Linearised

PENALTIES = (0.01, 0.1, 1.0, 10.0)


@dataclass(frozen=True)
class GradTagSettings(SeededMeasureSettings):
    """Linearised estimation of task affinity."""

    samples: int = option(200, "Of grad-tag: at most so many train rows a task, drawn at random.", 1)
    projected_size: int = option(256, "Of grad-tag: numbers that a gradient is projected to at random.", 1)
    task_sets: int = option(50, "Of grad-tag: at most so many random sets of tasks, beside all pairs.", 0)
    set_size: int = option(3, "Of grad-tag: tasks in each of these sets.", 3)


@measure(
    "grad-tag",
    "linearised estimate of what training along with the source does to the target's held-out loss, from a shared run",
    code_version=1,
    settings=GradTagSettings,
    needs=JointModels(),
    range=(-math.inf, math.inf),
    unit="the target's loss",
    directed=True,
)
def grad_tag(models: SharedModels, scope: Scope, settings: GradTagSettings) -> Measurement:
    """Values of all pairs, a seed at a time."""
    from adaptershare_cli.statistics.summary import value_table

    values: list[dict[str, Any]] = []
    cost = Cost()
    for seed in models.seeds:
        fitted, heldout, passed = _linearised(models, scope, settings, seed)
        sets = task_sets(scope.tasks, settings.set_size, settings.task_sets, seed)
        scope.progress(f"refits of {len(sets)} sets of tasks, seed {seed}")
        found = affinities(fitted, heldout, sets)
        values += [{"seed": seed, "source": s, "target": t, "value": value} for (s, t), value in found.items()]
        cost += passed
    return Measurement(value_table(values), cost)


def task_sets(tasks: Iterable[str], size: int, count: int, seed: int) -> list[tuple[str, ...]]:
    """All pairs, and at most `count` different sets of `size` tasks; the tasks' order makes no difference."""
    import numpy as np

    names = sorted(tasks)
    if math.comb(len(names), size) <= count:
        larger = set(itertools.combinations(names, size))
    else:
        generator, larger = np.random.default_rng(derive_seed(seed, "task-sets")), set()
        while len(larger) < count:
            drawn = generator.choice(len(names), size, replace=False)
            larger.add(tuple(names[place] for place in sorted(drawn)))
    return [*itertools.combinations(names, 2), *sorted(larger)]


def affinities(
    fitted: Mapping[str, Linearised], heldout: Mapping[str, Linearised], sets: Sequence[tuple[str, ...]]
) -> dict[tuple[str, str], float]:
    """For each (source, target) the mean of what refits of the sets that hold both lower the target's held-out loss by,
    against a refit of the target alone."""
    import numpy as np

    from adaptershare_cli.training.linear_refit import refit

    def losses(tasks: tuple[str, ...], penalty: float) -> dict[str, float]:
        change, biases = refit([fitted[task] for task in tasks], penalty)
        return {task: float(heldout[task].loss(change, bias)) for task, bias in zip(tasks, biases, strict=True)}

    names = sorted(fitted)
    by_penalty = {p: {task: losses((task,), p)[task] for task in names} for p in PENALTIES}
    penalty = min(by_penalty, key=lambda p: sum(by_penalty[p].values()))
    gains: dict[tuple[str, str], list[float]] = {pair: [] for pair in itertools.permutations(names, 2)}
    for tasks in sets:
        after = losses(tasks, penalty)
        for source, target in itertools.permutations(tasks, 2):
            gains[source, target].append(by_penalty[penalty][target] - after[target])
    return {pair: float(np.mean(found)) for pair, found in gains.items()}


def _linearised(
    models: SharedModels, scope: Scope, settings: GradTagSettings, seed: int
) -> tuple[dict[str, Linearised], dict[str, Linearised], Cost]:
    """Each task's train rows, and its held-out rows, around the run of that seed; and what that cost."""
    import numpy as np

    from adaptershare_cli.observe.output_gradients import Projection, output_gradients

    model, projection = models.model(seed), Projection(settings.projected_size, derive_seed(seed, "grad-tag"))
    parts = {
        task: (sample_rows(models.rows[task], task, settings.samples), models.heldout[task]) for task in scope.tasks
    }
    found: dict[str, list[OutputGradients]] = {}
    for task, both in parts.items():
        scope.progress(f"gradients of the outputs for {sum(map(len, both))} rows of {task}, seed {seed}")
        found[task] = [output_gradients(model, task, rows, models.pad_token, projection) for rows in both]
    squares = [np.square(found[task][0].gradients, dtype=np.float64).sum(axis=2).mean() for task in sorted(found)]
    length = math.sqrt(np.mean(squares)) or 1.0
    fitted, heldout = (
        {task: _scaled(model.infos[task], parts[task][at], found[task][at], length) for task in found} for at in (0, 1)
    )
    passed = [part for both in found.values() for part in both]
    return fitted, heldout, Cost(sum(part.forward for part in passed), sum(part.backward for part in passed))


def _scaled(info: TaskInfo, rows: Rows, found: OutputGradients, length: float) -> Linearised:
    import numpy as np
    import torch

    from adaptershare_cli.training.linear_refit import Linearised

    outputs, gradients = (torch.from_numpy(part).double() for part in (found.outputs, found.gradients))
    return Linearised(info, rows.answers.targets(np.arange(len(rows))), outputs, gradients / length)
