"""Look-ahead: what one update on a task would do to every task's held-out loss.

At a moment of a joint training, for each task s, one update of the adapters that s uses is tried with the gradient of
half of its held-out rows: what it adds to the update that the optimizer would make now, with its learning rate,
clipping and scale of each parameter. The momentum of the updates before is left out: it is the gradients of all tasks,
and with it every s would do nearly the same to t. Every task's loss is taken on the other half of its rows before and
after; then all is put back. With the halves turned round, each row gives a step once and a loss once for each source.
Heads stay as they are.

Source: task affinity of TAG (Fifty et al. 2021, "Efficiently Identifying Task Groupings for Multi-Task Learning",
section 3), on held-out rows instead of the training batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from adaptershare_cli.data.batches import Rows
from adaptershare_cli.model.heads import MultiTaskModel
from adaptershare_cli.observe.gradients import CHUNK_ROWS, active_chunk, chunk_losses, chunks, mixes_tasks, row_index

TrialStep = Callable[[Mapping[nn.Parameter, torch.Tensor]], AbstractContextManager[None]]


@dataclass(frozen=True)
class Lookahead:
    """Mean loss of `target` on one half of its held-out rows before and after a step on `source`'s half `half`."""

    source: str
    target: str
    half: int
    before: float
    after: float


def look_ahead(
    model: MultiTaskModel,
    heldout: Mapping[str, Rows],
    trial_step: TrialStep,
    pad_token: int,
    chunk_rows: int = CHUNK_ROWS,
) -> list[Lookahead]:
    """Try a step on each half of each task and take all losses on the other halves, in eval mode.

    `trial_step(gradients)` is `Optimizer.trial_step`. A loss over no rows is nan; a task whose half is empty gives no
    step. With T tasks and N rows this costs (T + 1) N forward passes for losses, and N forward and backward for steps.
    """
    model.eval()
    index = row_index(heldout)
    halves: list[dict[str, Rows]] = []
    for half in range(2):
        halves.append({})
        for number, (task, rows) in enumerate(heldout.items()):
            halves[half][task] = rows.take(np.flatnonzero(index.half[index.rows(number)] == half))
    found = []
    for half in range(2):
        other = halves[1 - half]
        before = mean_losses(model, other, pad_token, chunk_rows)
        for source, rows in halves[half].items():
            if not len(rows):
                continue
            with trial_step(_gradient(model, source, rows, pad_token, chunk_rows)):
                after = mean_losses(model, other, pad_token, chunk_rows)
            found += [Lookahead(source, target, half, before[target], after[target]) for target in heldout]
    return found


@torch.no_grad()
def mean_losses(model: MultiTaskModel, rows: dict[str, Rows], pad_token: int, chunk_rows: int) -> dict[str, float]:
    """Each task's mean loss over its rows, from mixed passes over chunks of all tasks' rows; nan without rows."""
    tasks = list(rows)
    totals = dict.fromkeys(tasks, 0.0)
    for chunk in chunks(rows, chunk_rows, mixes_tasks(model)):
        with active_chunk(model, rows, chunk):
            for (number, _), losses in zip(chunk, chunk_losses(model, rows, chunk, pad_token), strict=True):
                totals[tasks[number]] += losses.double().sum().item()
    return {task: total / len(rows[task]) if len(rows[task]) else float("nan") for task, total in totals.items()}


def _gradient(
    model: MultiTaskModel, task: str, rows: Rows, pad_token: int, chunk_rows: int
) -> dict[nn.Parameter, torch.Tensor]:
    """The gradient of the task's mean loss on the adapters that it uses."""
    tensors = list(dict.fromkeys(tensor for _, tensor in model.bank.named_parameters(task)))
    total = [torch.zeros_like(tensor) for tensor in tensors]
    own = {task: rows}
    for chunk in chunks(own, chunk_rows):
        with active_chunk(model, own, chunk):
            (losses,) = chunk_losses(model, own, chunk, pad_token)
            for place, gradient in enumerate(torch.autograd.grad(losses.sum() / len(rows), tensors)):
                total[place] += gradient
    return dict(zip(tensors, total, strict=True))
