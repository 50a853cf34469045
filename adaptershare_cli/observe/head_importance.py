"""How much each attention head matters to each row of a task, by the gradients of a tuned single-task model.

For layer l, head h, and the loss L of row x under its task's adapters and head:

    weight-grad   s[l, h](x) = mean over the block of head h of |dL(x)/dW_K| + |dL(x)/dW_V|
    head-gate     s[l, h](x) = |dL(x)/dg|, g = 1 a factor on the head's output at all tokens

The absolute value is taken of each row's own gradient. The block of head h in a weight (out, in) are its output rows
(`output`: heads live there), or columns of the same numbers (`input`: what the released code does, although these are
no heads). Each layer is then scaled to sum 1 (`per_layer`; specs section 1.3); the released code's min-max over the
whole matrix is left out, as no rank correlation can see it. The encoder is frozen and in eval mode: gradients go
through it, and none is kept.

Sources: GradTS (EMNLP 2021), specs sections 1.3, 1.8 and 1.10; head gates: Michel et al. 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from torch import nn

from adaptershare_cli.data.batches import Rows, ordered_batches
from adaptershare_cli.model.encoder import attention_sites
from adaptershare_cli.model.heads import MultiTaskModel

CHUNK_ROWS = 16  # each row's gradient on one weight at a time: 16 x 768 x 768 floats are 38 MB
Signal = Literal["weight-grad", "head-gate"]
Tensors = dict[nn.Module, torch.Tensor]


def row_importance(
    model: MultiTaskModel,
    task: str,
    rows: Rows,
    pad_token: int,
    signal: Signal = "weight-grad",
    head_axis: Literal["output", "input"] = "output",
    chunk_rows: int = CHUNK_ROWS,
) -> np.ndarray:
    """Head importances s (N, layers, heads) of a task's rows, unscaled, in the order of `rows`."""
    model.eval()
    config = model.encoder.config
    importances = np.zeros((len(rows), config.num_hidden_layers, config.num_attention_heads))
    take = _weight_gradients(model, head_axis) if signal == "weight-grad" else _gate_gradients(model)
    with take as (watched, importance), model.bank.active(task):
        for batch in ordered_batches(task, rows, chunk_rows, pad_token):
            gradients = torch.autograd.grad(model.losses(batch).sum(), watched())
            importances[batch.indices] = importance(gradients).double().cpu().numpy()
    return importances


def per_layer(importance: np.ndarray) -> np.ndarray:
    """Each layer of (..., layers, heads) scaled to sum 1; a layer without any gradient stays zero."""
    total = importance.sum(-1, keepdims=True)
    return np.divide(importance, total, out=np.zeros_like(importance), where=total > 0)


@contextmanager
def _weight_gradients(model: MultiTaskModel, head_axis: str) -> Iterator[tuple[Callable, Callable]]:
    """Watch the outputs of all key and value projections; importance (B, layers, heads) from their gradients.

    dL/dW of a row is the product of its output gradients and its inputs, summed over tokens.
    """
    parts = [part for site in attention_sites(model.encoder) for part in (site.key, site.value)]
    linears = list(dict.fromkeys(part.linear for part in parts))
    heads = model.encoder.config.num_attention_heads
    inputs_of: Tensors = {}
    outputs_of: Tensors = {}

    def keep(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        inputs_of[module], outputs_of[module] = inputs[0].detach(), _watched(output)
        return outputs_of[module]

    def importance(gradients: tuple[torch.Tensor, ...]) -> torch.Tensor:
        backward = dict(zip(linears, gradients, strict=True))
        blocks = [
            _blocks(backward[part.linear][..., part.rows], inputs_of[part.linear], heads, head_axis) for part in parts
        ]
        return torch.stack([key + value for key, value in zip(blocks[::2], blocks[1::2], strict=True)], dim=1)

    handles = [linear.register_forward_hook(keep) for linear in linears]
    try:
        yield lambda: [outputs_of[linear] for linear in linears], importance
    finally:
        for handle in handles:
            handle.remove()


def _blocks(back: torch.Tensor, inputs: torch.Tensor, heads: int, head_axis: str) -> torch.Tensor:
    """Mean |dW| of each head's block, (B, heads), from output gradients and inputs (B, S, width)."""
    gradient = (back.transpose(1, 2) @ inputs).abs()  # (B, out, in)
    size, out, width = gradient.shape
    if head_axis == "output":
        return gradient.view(size, heads, out // heads * width).mean(2)
    return gradient.view(size, out, heads, width // heads).mean((1, 3))


@contextmanager
def _gate_gradients(model: MultiTaskModel) -> Iterator[tuple[Callable, Callable]]:
    """Watch what the heads put out; a gate's gradient is the output times its gradient, summed."""
    outputs = [site.output for site in attention_sites(model.encoder)]
    heads = model.encoder.config.num_attention_heads
    outputs_of: Tensors = {}

    def keep(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        outputs_of[module] = _watched(inputs[0])
        return (outputs_of[module], *inputs[1:])

    def importance(gradients: tuple[torch.Tensor, ...]) -> torch.Tensor:
        gates = [
            (outputs_of[linear].detach() * back).unflatten(2, (heads, -1)).sum((1, 3))
            for linear, back in zip(outputs, gradients, strict=True)
        ]
        return torch.stack(gates, dim=1).abs()

    handles = [linear.register_forward_pre_hook(keep) for linear in outputs]
    try:
        yield lambda: [outputs_of[linear] for linear in outputs], importance
    finally:
        for handle in handles:
            handle.remove()


def _watched(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with a gradient: below the first adapter nothing has one yet."""
    return tensor if tensor.requires_grad else tensor.detach().requires_grad_()
