"""How many updates each part of Sparse Sharing takes: the warm-up, the trainings between rounds, joint training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from adaptershare_cli.errors import UserError
from adaptershare_cli.methods.sparse_sharing.settings import (
    PUBLISHED_SEARCH,
    PUBLISHED_TRAINING,
    SparseSharingSettings,
)
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.training.schedule import task_updates, total_steps

PRUNING = "prune-"  # how the names of the phases begin in which a task is trained alone


@dataclass(frozen=True)
class SparseUpdates:
    """Updates of the warm-up and of joint training over all tasks, and of each training of a task alone.

    `total` are those of each task in the whole run.
    """

    warmup: int
    alone: dict[str, int]
    joint: int
    total: dict[str, int]


def sparse_updates(
    settings: SparseSharingSettings,
    training: TrainingSettings,
    sizes: Mapping[str, int],
    searched: SparseSharingSettings | None = None,
) -> SparseUpdates:
    """The updates for tasks with `sizes` train rows.

    Joint training has what any method has (--max-steps, --num-train-epochs); warm-up and rounds come on top, by default
    neither with more updates than joint training (but one for each training at least). With
    `search_share` s they take s of each task's updates instead, in the proportion that they would have had, and joint
    training the rest. Where masks are taken from a run, `searched` are its settings: what the search took there is not
    made again, but leaves as much for warm-up and joint training as it did.
    Raises UserError where that leaves a part without an update.
    """
    searched = searched or settings
    joint = total_steps(sizes, training)
    each = {task: max(1, count) for task, count in task_updates(sizes, training, joint).items()}
    batches = {task: math.ceil(size / training.per_device_train_batch_size) for task, size in sizes.items()}
    if settings.multitask_warmup_epochs is None:
        warmup = min(sum(batches.values()), joint)
    else:
        warmup = math.ceil(settings.multitask_warmup_epochs * sum(batches.values()))
    alone = {task: max(1, count // max(1, searched.trainings)) for task, count in each.items()}
    if searched.round_epochs is not None:
        alone = {task: max(1, math.ceil(searched.round_epochs * count)) for task, count in batches.items()}
    together = each
    if settings.search_share is not None:
        part = settings.search_share * joint / (warmup + searched.trainings * sum(alone.values()))
        warmup = math.ceil(part * warmup)
        warmed = task_updates(sizes, training, warmup)
        alone = {task: int(part * count) for task, count in alone.items()}
        together = {task: count - warmed[task] - searched.trainings * alone[task] for task, count in each.items()}
        joint = sum(together.values())
        _check(searched, alone, together)
    warmed = task_updates(sizes, training, warmup)
    total = {task: warmed[task] + settings.trainings * alone[task] + together[task] for task in sizes}
    return SparseUpdates(warmup, alone, joint, total)


def search_size(settings: SparseSharingSettings, training: TrainingSettings, sizes: Mapping[str, int]) -> str:
    """What the search takes, what the original's would take, and how to ask for that."""
    own = sparse_updates(settings, training, sizes)
    search = own.warmup + settings.trainings * sum(own.alone.values())
    paper = replace(settings, **PUBLISHED_SEARCH, mask_round=None, search_share=None)
    published = sparse_updates(paper, replace(training, **PUBLISHED_TRAINING, max_steps=None), sizes)
    rounds = paper.trainings * sum(published.alone.values())
    return (
        f"searching subnets takes {search:,} updates, and joint training {own.joint:,}; a search as large as the "
        f"paper's (--preset sparse-sharing-paper) would take {rounds:,}"
    )


def _check(settings: SparseSharingSettings, alone: Mapping[str, int], together: Mapping[str, int]) -> None:
    for task in together:
        if together[task] < 1 or (settings.trainings and alone[task] < 1):
            part = "joint training" if together[task] < 1 else f"each of {settings.trainings} trainings alone"
            raise UserError(
                f"Nothing is left of task {task}'s updates for {part}",
                where=f"--search-share {settings.search_share:g}",
                fix="Give the run more updates (--max-steps, --num-train-epochs), another share, or fewer --rounds.",
            )
