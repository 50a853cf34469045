"""Every held-out row's gradient on the adapter that its task uses, from one mixed pass over rows of all tasks.

For a linear layer y = W x + b, the gradient of row r's loss is dW_r = sum_s dy_rs x_rs^T and db_r = sum_s dy_rs
over its tokens s; for a layer norm y = w * n(x) + b, dw_r = sum_s dy_rs * n(x_rs). Inputs x and output gradients dy
come from hooks on the adapter modules, so one forward and one backward pass over rows of many tasks give each row's
gradient, whichever tensors the tasks share.

All that is asked of these gradients (dot products of tasks, of halves, of single rows, and how sure they are) can be
read from the rows' inner products, so that is what is kept: an (N, N) Gram matrix a layer. It is a sum over the
layer's modules with parameters, which is what bounds the memory: modules are taken in blocks, a pass a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from adaptershare_cli.data.batches import Rows, pad, wanted
from adaptershare_cli.data.encoding import SCORE_BINS
from adaptershare_cli.model.heads import MultiTaskModel, row_losses
from adaptershare_cli.sharing.interference import RowIndex

CHUNK_ROWS = 64
BLOCK_ROWS = 128
MEMORY_BYTES = 1 << 30  # row gradients held at a time; one module's are always held whole
Chunk = list[tuple[int, np.ndarray]]  # per task that stands in it (its number) the positions of its rows

Affine = nn.Linear | nn.LayerNorm  # what adapters are made of: a weight and a bias


@dataclass
class _Slot:
    """The same part of the adapters of all tasks: one module a task, and what its hook saw last."""

    layer: int
    modules: list[Affine]
    seen: list[tuple[torch.Tensor, torch.Tensor] | None]

    @property
    def size(self) -> int:
        """Parameters of one module."""
        return self.modules[0].weight.numel() + self.modules[0].bias.numel()


def row_index(heldout: Mapping[str, Rows]) -> RowIndex:
    """Task, half and stratum of every row, tasks in order; a task's halves have its labels in equal proportions.

    Sorted by label (ties by position), even places are the first half, odd ones the second. Strata are as prepro cuts
    held-out rows: the labels, `SCORE_BINS` equally filled bins of a regression's scores, or those of a tagging.
    """
    task = np.concatenate([np.full(len(rows), index) for index, rows in enumerate(heldout.values())])
    strata = [rows.strata() for rows in heldout.values()]
    place = [np.argsort(np.argsort(found, kind="stable")) for found in strata]
    stratum = [
        found if np.issubdtype(found.dtype, np.integer) else where * SCORE_BINS // len(found)
        for found, where in zip(strata, place, strict=True)
    ]
    return RowIndex(task, np.concatenate(place) % 2, len(heldout), np.concatenate(stratum))


def gram_matrices(
    model: MultiTaskModel,
    heldout: Mapping[str, Rows],
    pad_token: int,
    chunk_rows: int = CHUNK_ROWS,
    memory_bytes: int = MEMORY_BYTES,
) -> list[np.ndarray]:
    """Inner products of all rows' gradients, one (N, N) float64 matrix a layer; rows as in `row_index`.

    Rows of tasks in different groups of a layer have gradients on different tensors of one shape; their products are
    taken all the same (specs: "keep the row, marked").
    """
    count = sum(len(rows) for rows in heldout.values())
    grams = [np.zeros((count, count)) for _ in range(len(model.bank.plan.layers))]
    for layer, gradients in row_gradients(model, heldout, pad_token, chunk_rows, memory_bytes):
        grams[layer] += _products(gradients)
    return grams


def _products(rows: torch.Tensor) -> np.ndarray:
    """rows @ rows.T (N, N) in float64; what lies under the diagonal blocks is mirrored, not computed again."""
    count = len(rows)
    found = np.empty((count, count))
    for start in range(0, count, BLOCK_ROWS):
        end = min(start + BLOCK_ROWS, count)
        block = (rows[start:end] @ rows[start:].T).double().numpy()
        found[start:end, start:] = block
        found[end:, start:end] = block[:, end - start :].T
    return found


def row_gradients(
    model: MultiTaskModel,
    heldout: Mapping[str, Rows],
    pad_token: int,
    chunk_rows: int = CHUNK_ROWS,
    memory_bytes: int = MEMORY_BYTES,
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield (layer, (N, p)) for each module, of p parameters, in eval mode, touching no `.grad`.

    The modules of a layer come in the order of `AdapterBank.named_parameters`, each as weight (row by row) and bias.
    Rows go through in chunks of `chunk_rows`, sorted by length over all tasks (least padding); within a chunk they
    are grouped by task. Source: AdapterShare (EMNLP 2022), specs section 1; the one-pass form is ours.
    """
    model.eval()
    count = sum(len(rows) for rows in heldout.values())
    for block in _blocks(_slots(model, list(heldout)), count, memory_bytes):
        rows = [torch.empty(count, slot.size, dtype=slot.modules[0].weight.dtype) for slot in block]
        handles = [_capture(slot, task) for slot in block for task in range(len(heldout))]
        try:
            for chunk in chunks(heldout, chunk_rows, mixed=model.fusion is None):
                _run_chunk(model, heldout, chunk, pad_token, block, rows)
        finally:
            for handle in handles:
                handle.remove()
        for slot, gradients in zip(block, rows, strict=True):
            yield slot.layer, gradients


def _slots(model: MultiTaskModel, tasks: Sequence[str]) -> list[_Slot]:
    """The modules of the adapters, each with its counterpart in every task."""
    columns: list[list[tuple[int, Affine]]] = []
    for task in tasks:
        columns.append([])
        for site in model.bank.sites[task]:
            for name, module in site.module.named_modules():
                own = set(dict(module.named_parameters(recurse=False)))
                if not own:
                    continue
                if not isinstance(module, Affine) or own != {"weight", "bias"}:
                    raise NotImplementedError(f"per-row gradients of {type(module).__name__} ({name})")
                columns[-1].append((site.layer, module))
    return [
        _Slot(place[0][0], [module for _, module in place], [None] * len(tasks)) for place in zip(*columns, strict=True)
    ]


def _blocks(slots: list[_Slot], rows: int, memory_bytes: int) -> Iterator[list[_Slot]]:
    """Successive slots whose row gradients fit into the memory together; at least one."""
    block: list[_Slot] = []
    held = 0
    for slot in slots:
        size = rows * slot.size * slot.modules[0].weight.element_size()
        if block and held + size > memory_bytes:
            yield block
            block, held = [], 0
        block.append(slot)
        held += size
    yield block


def _capture(slot: _Slot, task: int) -> torch.utils.hooks.RemovableHandle:
    def keep(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        slot.seen[task] = (inputs[0].detach(), output)

    return slot.modules[task].register_forward_hook(keep)


def chunks(heldout: Mapping[str, Rows], size: int, mixed: bool = True) -> Iterator[Chunk]:
    """Chunks of about equal length: per chunk the rows of each task that stand in it, in task order.

    Without `mixed` a chunk holds rows of one task only: the library cannot fuse for a part of a batch.
    """
    number = row_index(heldout).task
    row = np.concatenate([np.arange(len(rows)) for rows in heldout.values()])
    order = np.argsort(-np.concatenate([rows.lengths for rows in heldout.values()]), kind="stable")
    pools = [order] if mixed else [order[number[order] == task] for task in range(len(heldout))]
    for part in (pool[start : start + size] for pool in pools for start in range(0, len(pool), size)):
        yield [(index, row[part[number[part] == index]]) for index in np.unique(number[part])]


def active_chunk(model: MultiTaskModel, heldout: Mapping[str, Rows], chunk: Chunk) -> AbstractContextManager:
    """Context in which a chunk's rows run, each with its task's adapters (keep backward inside)."""
    tasks = list(heldout)
    return model.active_rows([tasks[index] for index, _ in chunk], [len(rows) for _, rows in chunk])


def chunk_losses(
    model: MultiTaskModel, heldout: Mapping[str, Rows], chunk: Chunk, pad_token: int
) -> Iterator[torch.Tensor]:
    """The losses of the chunk's rows, one tensor (rows,) a task, inside `active_chunk`."""
    tasks, counts = list(heldout), [len(rows) for _, rows in chunk]
    inputs = pad([(heldout[tasks[index]], rows) for index, rows in chunk], pad_token)
    parts = zip(model.encode(inputs).split(counts), inputs["attention_mask"].split(counts), strict=True)
    for (index, rows), (hidden, mask) in zip(chunk, parts, strict=True):
        task = tasks[index]
        labels, words = wanted(heldout[task], rows)
        logits = model.read(task, hidden, mask, words)
        yield row_losses(model.infos[task], logits, labels.to(model.device), words)


def _run_chunk(
    model: MultiTaskModel,
    heldout: Mapping[str, Rows],
    chunk: Chunk,
    pad_token: int,
    block: list[_Slot],
    gradients: list[torch.Tensor],
) -> None:
    """Write the gradients of the chunk's rows on the block's modules into their lines of `gradients`."""
    with active_chunk(model, heldout, chunk):
        loss = torch.zeros((), device=model.device)
        for losses in chunk_losses(model, heldout, chunk, pad_token):
            loss = loss + losses.sum()
        used = [(slot, index, slot.seen[index]) for slot in block for index, _ in chunk]
        outputs = [seen[1] for _, _, seen in used if seen is not None]
        backward = iter(torch.autograd.grad(loss, outputs))
    starts = np.cumsum([0, *(len(rows) for rows in heldout.values())])
    lines = {index: torch.from_numpy(starts[index] + rows) for index, rows in chunk}
    place = {id(slot): number for number, slot in enumerate(block)}
    for slot, index, seen in used:
        assert seen is not None
        given, back = seen[0], next(backward)
        weight = _weight_gradients(slot.modules[index], given.to(back.dtype), back)
        target, size = gradients[place[id(slot)]], weight[0].numel()
        target[lines[index], :size] = weight.flatten(1).cpu()
        target[lines[index], size:] = back.sum(1).cpu()
        slot.seen[index] = None


def _weight_gradients(module: Affine, given: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
    """Each row's gradient on the weight, from the module's inputs (B, S, in) and output gradients (B, S, out)."""
    if isinstance(module, nn.LayerNorm):
        return (back * nn.functional.layer_norm(given, module.normalized_shape, eps=module.eps)).sum(1)
    return back.transpose(1, 2) @ given
