"""How a task's outputs would change if its adapters changed a little: their gradients, one output at a time.

    outputs(w + u) ≈ z + G u,     z (A, K) the head's outputs for A answers, G (A, K, P) their gradients on the adapters

P is large, so G is kept after a random projection R (P, d) with entries ±1/√d: for gradients g and h, the expectation
of (g R)·(h R) is g·h, and its error about |g| |h| / √d (Johnson & Lindenstrauss 1984; with signs: Achlioptas 2003).
The projection depends on its seed and on an entry's place in the adapters alone, so tasks that share them share it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from adaptershare_cli.data.batches import Rows, ordered_batches
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.model.heads import MultiTaskModel
from adaptershare_cli.observe.gradients import CHUNK_ROWS, Part, adapter_parts, watch
from adaptershare_cli.seeds import derive_seed


class Projection:
    """The random projection of gradients to `size` numbers; its signs are drawn when they are first needed."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed = size, seed
        self._signs: dict[int, torch.Tensor] = {}

    def __call__(self, part: int, gradients: torch.Tensor) -> torch.Tensor:
        """What gradients (B, p) on the part of that number come to: (B, size)."""
        if part not in self._signs:
            generator = np.random.default_rng(derive_seed(self.seed, "projection", part))
            drawn = generator.integers(0, 2, (gradients.shape[1], self.size), dtype=np.int8)
            self._signs[part] = torch.from_numpy(2 * drawn - 1).to(gradients.device)
        return gradients @ self._signs[part].to(gradients.dtype) / self.size**0.5


@dataclass(frozen=True)
class OutputGradients:
    """A task's outputs (A, K) and their projected gradients (A, K, d), answers in the order of `rows.answers`, float32.

    `forward` and `backward` count the rows that passed through the encoder for them.
    """

    outputs: np.ndarray
    gradients: np.ndarray
    forward: int
    backward: int


def output_gradients(
    model: MultiTaskModel, task: str, rows: Rows, pad_token: int, projection: Projection
) -> OutputGradients:
    """Of the task's head, on the adapters that it uses, in eval mode; touches no `.grad`.

    A batch takes one forward pass, and a backward pass for each output of each of a row's answers: as many as the row
    with most of them has.
    """
    model.eval()
    answers, info = rows.answers, model.infos[task]
    outputs = np.zeros((len(answers), KINDS[info.kind].outputs(info)), dtype=np.float32)
    gradients = np.zeros((*outputs.shape, projection.size), dtype=np.float32)
    parts, backward = adapter_parts(model, [task]), 0
    handles = [watch(part, 0) for part in parts]
    try:
        for batch in ordered_batches(task, rows, CHUNK_ROWS, pad_token):
            counts, where = answers.per_row[batch.indices], answers.of_rows(batch.indices)
            row = np.repeat(np.arange(len(batch)), counts)
            turn = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)  # which of its row's answers
            with model.active(task):
                hidden = model.encode(batch.inputs)
                logits = model.read(task, hidden, batch.inputs["attention_mask"], batch.targets)
                outputs[where] = logits.detach().float().cpu().numpy()
                for asked in (np.flatnonzero(turn == number) for number in range(counts.max())):
                    for output in range(outputs.shape[1]):
                        found = _row_gradients(logits[asked, output].sum(), parts, projection)
                        gradients[where[asked], output] = found[row[asked]].float().cpu().numpy()
                        backward += len(batch)
    finally:
        for handle in handles:
            handle.remove()
    return OutputGradients(outputs, gradients, len(rows), backward)


def _row_gradients(total: torch.Tensor, parts: Sequence[Part], projection: Projection) -> torch.Tensor:
    """The projected gradient (B, d) of each row of the last pass, whose sum over the rows is that of `total`."""
    seen = [part.seen[0] for part in parts]
    assert None not in seen
    back = iter(torch.autograd.grad(total, [o for kept in seen if kept for o in kept.outputs], retain_graph=True))
    found = torch.zeros(())
    for number, (part, kept) in enumerate(zip(parts, seen, strict=True)):
        assert kept is not None
        tensors = part.tasks[0].gradients(kept.kept, [next(back) for _ in kept.outputs])
        found = found + projection(number, torch.cat([tensor.flatten(1) for tensor in tensors], dim=1))
    return found
