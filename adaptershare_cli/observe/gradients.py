"""Every held-out row's gradient on the adapter that its task uses, from one mixed pass over rows of all tasks.

Inputs and output gradients of the adapters' modules come from hooks, and a row's gradient follows from its own part of
them (`model.row_gradients`; each kind of adapter says how). So one forward and one backward pass over rows of many
tasks give each row's gradient, whichever tensors the tasks share.

All that is asked of these gradients (dot products of tasks, of halves, of single rows, and how sure they are) can be
read from the rows' inner products, so that is what is kept: an (N, N) Gram matrix a layer. It is a sum over the
layer's modules with parameters, which is what bounds the memory: modules are taken in portions, a pass a portion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from adaptershare_cli.data.batches import Rows, pad
from adaptershare_cli.kinds.rows.answers import SCORE_BINS
from adaptershare_cli.model.heads import MultiTaskModel
from adaptershare_cli.model.row_gradients import RowGradient, Seen
from adaptershare_cli.sharing.interference import RowIndex

CHUNK_ROWS = 64
TILE_ROWS = 128
MEMORY_BYTES = 1 << 30  # row gradients held at a time; one module's are always held whole
Chunk = list[tuple[int, np.ndarray]]  # per task that stands in it (its number) the positions of its rows


@dataclass
class Part:
    """The same part of the adapters of all tasks: how rows' gradients follow for each task, and what was seen last."""

    layer: int
    tasks: list[RowGradient]
    seen: list[Seen | None]

    @property
    def size(self) -> int:
        """Number of values of one task's part."""
        return self.tasks[0].size


def row_index(heldout: Mapping[str, Rows]) -> RowIndex:
    """Task, half, stratum and cluster of every row, tasks in order.

    Strata are as prepro cuts held-out rows: the labels, `SCORE_BINS` equally filled bins of scores, or what else sorts
    the rows of a kind. A cluster are the rows of one text and one label (copies, or the parts of a long sentence): they
    are of one stratum and one half. A task's halves have its strata in proportions as equal as clusters allow: largest
    first (ties by score, then by position), each goes to the half that has fewer rows of its stratum, or of all.
    """
    task = np.repeat(np.arange(len(heldout)), [len(rows) for rows in heldout.values()])
    parts = [_drawn(rows) for rows in heldout.values()]
    half, stratum, cluster = (np.concatenate(column) for column in zip(*parts, strict=True))
    return RowIndex(task, half, len(heldout), stratum, cluster)


def _drawn(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half, stratum and cluster (n,) of the rows of one task; clusters are numbered from 0, by label, then position."""
    values = rows.answers.strata
    place = np.argsort(np.argsort(values, kind="stable"))
    texts, labels = rows.same_texts(), np.unique(values, return_inverse=True)[1]
    first = np.full(len(rows), len(rows))
    _, number = np.unique(np.stack([texts, labels]), axis=1, return_inverse=True)
    np.minimum.at(first, number, place)  # a cluster stands where the first of its rows stands
    _, at, cluster, sizes = np.unique(first[number], return_index=True, return_inverse=True, return_counts=True)
    if np.issubdtype(values.dtype, np.integer):
        stratum = values[at]
    else:
        stratum = (np.cumsum(sizes) - sizes) * SCORE_BINS // len(rows)
    half = np.zeros(len(sizes), np.int64)
    counts = {number: np.zeros(2) for number in (None, *stratum.tolist())}  # rows of each half; None: of all strata
    for one in np.lexsort((-sizes, stratum)):
        own = counts[stratum[one]]
        half[one] = min((0, 1), key=lambda side: (own[side], counts[None][side]))
        own[half[one]] += sizes[one]
        counts[None][half[one]] += sizes[one]
    return half[cluster], stratum[cluster], cluster


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
    for start in range(0, count, TILE_ROWS):
        end = min(start + TILE_ROWS, count)
        tile = (rows[start:end] @ rows[start:].T).double().numpy()
        found[start:end, start:] = tile
        found[end:, start:end] = tile[:, end - start :].T
    return found


def row_gradients(
    model: MultiTaskModel,
    heldout: Mapping[str, Rows],
    pad_token: int,
    chunk_rows: int = CHUNK_ROWS,
    memory_bytes: int = MEMORY_BYTES,
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield (layer, (N, p)) for each module with parameters, p of them, in eval mode, touching no `.grad`.

    The tensors come in the order of `AdapterBank.named_parameters` within each layer, each flattened row by row. Rows
    go through in chunks of `chunk_rows`, sorted by length over all tasks (least padding); within a chunk they
    are grouped by task. Source: AdapterShare (EMNLP 2022), specs section 1; the one-pass form is ours.
    """
    model.eval()
    count = sum(len(rows) for rows in heldout.values())
    for portion in _portions(adapter_parts(model, list(heldout)), count, memory_bytes):
        rows = [torch.empty(count, part.size, dtype=part.tasks[0].dtype) for part in portion]
        handles = [watch(part, task) for part in portion for task in range(len(heldout))]
        try:
            for chunk in chunks(heldout, chunk_rows, mixes_tasks(model)):
                _run_chunk(model, heldout, chunk, pad_token, portion, rows)
        finally:
            for handle in handles:
                handle.remove()
        for part, gradients in zip(portion, rows, strict=True):
            yield part.layer, gradients


def mixes_tasks(model: MultiTaskModel) -> bool:
    """Whether the library computes rightly with rows of several tasks in one batch: with fusion it does not."""
    return model.fusion is None and model.bank.kind.mixes_tasks(model.encoder)


def adapter_parts(model: MultiTaskModel, tasks: Sequence[str]) -> list[Part]:
    """The parts of the adapters, each with its counterpart in every task."""
    columns = [
        [(site.layer, part) for site in model.bank.sites[task] for part in model.bank.kind.row_gradients(site)]
        for task in tasks
    ]
    return [
        Part(column[0][0], [part for _, part in column], [None] * len(tasks)) for column in zip(*columns, strict=True)
    ]


def _portions(parts: list[Part], rows: int, memory_bytes: int) -> Iterator[list[Part]]:
    """Successive parts whose row gradients fit into the memory together; at least one."""
    portion: list[Part] = []
    held = 0
    for part in parts:
        size = rows * part.size * part.tasks[0].dtype.itemsize
        if portion and held + size > memory_bytes:
            yield portion
            portion, held = [], 0
        portion.append(part)
        held += size
    yield portion


def watch(part: Part, task: int) -> torch.utils.hooks.RemovableHandle:
    """Let the part keep what it sees of the passes of a task, by its number, until the handle is removed."""

    def keep(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        part.seen[task] = part.tasks[task].see(inputs, output)

    return part.tasks[task].watched.register_forward_hook(keep)


def chunks(heldout: Mapping[str, Rows], size: int, mixed: bool = True) -> Iterator[Chunk]:
    """Chunks of about equal length: per chunk the rows of each task that stand in it, in task order.

    Without `mixed` a chunk holds rows of one task only: the library cannot fuse for a part of a batch.
    """
    number = np.repeat(np.arange(len(heldout)), [len(rows) for rows in heldout.values()])
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
        targets = heldout[task].answers.targets(rows)
        yield model.row_losses(task, model.read(task, hidden, mask, targets), targets)


def _run_chunk(
    model: MultiTaskModel,
    heldout: Mapping[str, Rows],
    chunk: Chunk,
    pad_token: int,
    portion: list[Part],
    gradients: list[torch.Tensor],
) -> None:
    """Write the gradients of the chunk's rows on the portion's parts into their lines of `gradients`."""
    with active_chunk(model, heldout, chunk):
        loss = torch.zeros((), device=model.device)
        for losses in chunk_losses(model, heldout, chunk, pad_token):
            loss = loss + losses.sum()
        used = [(place, index, part.seen[index]) for place, part in enumerate(portion) for index, _ in chunk]
        outputs = [output for _, _, seen in used if seen is not None for output in seen.outputs]
        backward = iter(torch.autograd.grad(loss, outputs))
    starts = np.cumsum([0, *(len(rows) for rows in heldout.values())])
    lines = {index: torch.from_numpy(starts[index] + rows) for index, rows in chunk}
    for place, index, seen in used:
        assert seen is not None
        back = [next(backward) for _ in seen.outputs]
        column = 0
        for tensor in portion[place].tasks[index].gradients(seen.kept, back):
            flat = tensor.flatten(1)
            gradients[place][lines[index], column : column + flat.shape[1]] = flat.cpu()
            column += flat.shape[1]
        portion[place].seen[index] = None
