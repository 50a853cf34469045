"""Which task each update trains: exact shares, evenly spread, in a seeded order."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from adaptershare_cli.seeds import derive_seed
from adaptershare_cli.settings import TrainingSettings


def total_steps(sizes: Mapping[str, int], settings: TrainingSettings) -> int:
    """Updates of a run: --max-steps, or --num-train-epochs passes over all tasks' rows."""
    if settings.max_steps is not None:
        return settings.max_steps
    batches = sum(math.ceil(size / settings.per_device_train_batch_size) for size in sizes.values())
    return max(1, math.ceil(batches * settings.num_train_epochs))


def task_shares(sizes: Mapping[str, int], settings: TrainingSettings) -> dict[str, float]:
    """The share of updates of each task: rows^(1/T), with T = 1 (proportional), given, or infinite (uniform)."""
    exponent = {"proportional": 1.0, "uniform": 0.0, "temperature": 1 / settings.sampling_temperature}
    weights = {task: size ** exponent[settings.task_sampling] for task, size in sizes.items()}
    return {task: weight / sum(weights.values()) for task, weight in weights.items()}


def task_updates(sizes: Mapping[str, int], settings: TrainingSettings, steps: int) -> dict[str, int]:
    """The updates that each task's share asks for, rounded (`task_order` may give a task one more or less)."""
    return {task: round(share * steps) for task, share in task_shares(sizes, settings).items()}


def task_order(sizes: Mapping[str, int], settings: TrainingSettings, steps: int, seed: int) -> list[str]:
    """The task of each update.

    Each task gets its share of the updates exactly (largest remainders), at even distances with a random offset,
    so equal shares mean equal numbers of batches and no task waits long. Depends on the arguments alone.
    """
    shares = task_shares(sizes, settings)
    exact = {task: share * steps for task, share in shares.items()}
    counts = {task: int(value) for task, value in exact.items()}
    by_remainder = sorted(exact, key=lambda task: counts[task] - exact[task])
    for task in by_remainder[: steps - sum(counts.values())]:
        counts[task] += 1
    random = np.random.default_rng(derive_seed(seed, "task-order"))
    places = [
        ((number + random.random()) / count, index, task)
        for index, (task, count) in enumerate(counts.items())
        for number in range(count)
    ]
    return [task for _, _, task in sorted(places)]
