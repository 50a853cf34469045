"""Every task's gradient on the adapters that it uses, from one mixed pass over held-out rows of all tasks.

For a linear layer y = W x + b, the gradient of row r's loss is dW_r = sum_s dy_rs x_rs^T and db_r = sum_s dy_rs
over its tokens s. Inputs x and output gradients dy come from hooks on the adapter modules, so one forward and one
backward pass over rows of many tasks give each row's gradient, whichever tensors the tasks share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from adaptershare_cli.data.batches import Rows, pad
from adaptershare_cli.model.heads import MultiTaskModel, row_losses

CHUNK_ROWS = 64
HALVES = 2


@dataclass(frozen=True)
class TaskGradients:
    """Mean-loss gradients of each task on the two disjoint halves of its held-out rows.

    `layers[l]` is (tasks, 2, P_l) in float64: P_l parameters of one adapter of layer l, all its sites flattened in
    the order of `AdapterBank.named_parameters`. `rows` is (tasks, 2), the number of rows in each half.
    """

    tasks: tuple[str, ...]
    layers: tuple[torch.Tensor, ...]
    rows: torch.Tensor


@dataclass
class _Slot:
    """One Linear of one task's adapter: where its gradient stands in the layer's flat vector."""

    layer: int
    weight: int
    bias: int
    inputs: torch.Tensor | None = None
    outputs: torch.Tensor | None = None


def task_gradients(
    model: MultiTaskModel, heldout: dict[str, Rows], pad_token: int, chunk_rows: int = CHUNK_ROWS
) -> TaskGradients:
    """Gradients of every task's mean held-out loss, in eval mode, without touching any `.grad`.

    Rows go through in chunks of `chunk_rows`, sorted by length over all tasks (least padding); within a chunk they
    are grouped by task. Even positions in a task's rows form its first half, odd ones its second.
    Source: AdapterShare (EMNLP 2022), G[l, t, s] of specs section 1; the one-pass form is ours.
    """
    tasks = tuple(heldout)
    slots, sizes = _slots(model, tasks)
    sums = [torch.zeros(len(tasks), HALVES, size, dtype=torch.float64) for size in sizes]
    model.eval()
    handles = [_capture(module, slot) for module, slot in slots]
    try:
        for chunk in _chunks(heldout, chunk_rows):
            _add_chunk(model, heldout, chunk, pad_token, [slot for _, slot in slots], sums)
    finally:
        for handle in handles:
            handle.remove()
    rows = torch.tensor([[(len(r) + 1) // 2, len(r) // 2] for r in heldout.values()])
    mean = tuple(total / rows.clamp(min=1).unsqueeze(-1) for total in sums)
    return TaskGradients(tasks, mean, rows)


def _slots(model: MultiTaskModel, tasks: Sequence[str]) -> tuple[list[tuple[nn.Module, _Slot]], list[int]]:
    """The Linear modules of all tasks' adapters with their places, and each layer's number of parameters."""
    slots: list[tuple[nn.Module, _Slot]] = []
    sizes: list[int] = []
    for task in tasks:
        offsets: dict[int, int] = {}
        for site in model.bank.sites[task]:
            for name, module in site.module.named_modules():
                own = dict(module.named_parameters(recurse=False))
                if not own:
                    continue
                if not isinstance(module, nn.Linear) or set(own) != {"weight", "bias"}:
                    raise NotImplementedError(f"per-row gradients of {type(module).__name__} ({name})")
                start = offsets.get(site.layer, 0)
                middle = start + own["weight"].numel()
                offsets[site.layer] = middle + own["bias"].numel()
                slots.append((module, _Slot(site.layer, start, middle)))
        sizes = [offsets[layer] for layer in sorted(offsets)]
    return slots, sizes


def _capture(module: nn.Module, slot: _Slot) -> torch.utils.hooks.RemovableHandle:
    def keep(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        slot.inputs, slot.outputs = inputs[0].detach(), output

    return module.register_forward_hook(keep)


def _chunks(heldout: dict[str, Rows], size: int) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Chunks of about equal length: per chunk the rows of each task that stand in it, in task order."""
    number = np.concatenate([np.full(len(rows), index) for index, rows in enumerate(heldout.values())])
    row = np.concatenate([np.arange(len(rows)) for rows in heldout.values()])
    order = np.argsort(-np.concatenate([rows.lengths for rows in heldout.values()]), kind="stable")
    for start in range(0, len(order), size):
        part = order[start : start + size]
        yield [(index, row[part[number[part] == index]]) for index in np.unique(number[part])]


def _add_chunk(
    model: MultiTaskModel,
    heldout: dict[str, Rows],
    chunk: list[tuple[int, np.ndarray]],
    pad_token: int,
    slots: list[_Slot],
    sums: list[torch.Tensor],
) -> None:
    """Add each row's gradient to its (task, half) in `sums`."""
    tasks = list(heldout)
    parts = [(heldout[tasks[index]], rows) for index, rows in chunk]
    counts = [len(rows) for _, rows in chunk]
    for slot in slots:
        slot.inputs = slot.outputs = None
    with model.bank.active_rows([tasks[index] for index, _ in chunk], counts):
        pooled = model.pooled(pad(parts, pad_token))
        loss = pooled.new_zeros(())
        for (index, rows), states in zip(chunk, pooled.split(counts), strict=True):
            task = tasks[index]
            labels = torch.from_numpy(heldout[task].labels[rows]).to(model.device)
            loss = loss + row_losses(model.infos[task], model.heads[task](states), labels).sum()
        used = [(slot, slot.outputs) for slot in slots if slot.outputs is not None]
        gradients = torch.autograd.grad(loss, [outputs for _, outputs in used])
    place = {index: torch.from_numpy(rows % HALVES) for index, rows in chunk}
    per_task = len(slots) // len(tasks)
    position = {id(slot): at // per_task for at, slot in enumerate(slots)}
    for (slot, _), gradient in zip(used, gradients, strict=True):
        index = position[id(slot)]
        half = place[index].to(gradient.device)
        target = sums[slot.layer][index]
        assert slot.inputs is not None
        for number in range(HALVES):
            mine = half == number
            given, back = slot.inputs[mine].flatten(0, 1), gradient[mine].flatten(0, 1)
            weight = (back.T @ given.to(back.dtype)).flatten().double().cpu()
            target[number, slot.weight : slot.weight + weight.numel()] += weight
            target[number, slot.bias : slot.bias + back.shape[1]] += back.sum(0).double().cpu()
