"""Each row's gradient on the tensors of a module, from what one pass over many rows shows at that module.

For a linear layer y = W x + b, the gradient of row r's loss is dW_r = sum_s dy_rs x_rs^T and db_r = sum_s dy_rs
over its tokens s; for a layer norm y = w * n(x) + b, dw_r = sum_s dy_rs * n(x_rs). Inputs x come from a hook on the
module, output gradients dy from the pass backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Seen:
    """What a hook keeps of a pass: what is needed later, and the outputs whose gradients are wanted."""

    kept: Any
    outputs: tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class RowGradient:
    """How the gradients of rows on the tensors of `holder` follow from one pass of the module `watched`.

    `see(inputs, output)` is called with the arguments and the output of its forward pass; `gradients(kept, back)`, with
    what it kept and the gradients of its outputs, gives the gradients (rows, *shape) on the holder's tensors, in the
    order of its parameters. Rows are those of one task.
    """

    holder: nn.Module
    watched: nn.Module
    see: Callable[[tuple[Any, ...], Any], Seen]
    gradients: Callable[[Any, Sequence[torch.Tensor]], Sequence[torch.Tensor]]

    @property
    def size(self) -> int:
        """Number of values that the holder's tensors have."""
        return sum(tensor.numel() for tensor in self.holder.parameters())

    @property
    def dtype(self) -> torch.dtype:
        """Of the holder's tensors."""
        return next(self.holder.parameters()).dtype


def affine_modules(module: nn.Module) -> list[RowGradient]:
    """All parts of `module` that have tensors, where they are linear layers and layer norms with weight and bias.

    Raises NotImplementedError where another part has tensors.
    """
    found = []
    for name, part in module.named_modules():
        own = [leaf for leaf, _ in part.named_parameters(recurse=False)]
        if not own:
            continue
        if not isinstance(part, nn.Linear | nn.LayerNorm) or own != ["weight", "bias"]:
            raise NotImplementedError(f"per-row gradients of {type(part).__name__} ({name})")
        found.append(_linear(part) if isinstance(part, nn.Linear) else _layer_norm(part))
    return found


def _input_and_output(inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> Seen:
    return Seen(inputs[0].detach(), (output,))


def _linear(module: nn.Linear) -> RowGradient:
    """Of inputs (B, S, in) and output gradients (B, S, out)."""

    def gradients(given: torch.Tensor, back: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return [back[0].transpose(1, 2) @ given.to(back[0].dtype), back[0].sum(1)]

    return RowGradient(module, module, _input_and_output, gradients)


def _layer_norm(module: nn.LayerNorm) -> RowGradient:
    """Of inputs and output gradients (B, S, H)."""

    def gradients(given: torch.Tensor, back: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        normalised = nn.functional.layer_norm(given.to(back[0].dtype), module.normalized_shape, eps=module.eps)
        return [(back[0] * normalised).sum(1), back[0].sum(1)]

    return RowGradient(module, module, _input_and_output, gradients)
