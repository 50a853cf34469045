"""A checkpoint as values: what the loop needs to go on exactly where it was; stages decide how it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Checkpoint:
    """State after update `step` of `phase`, the run's update `done`.

    `tensors` holds the method's weights (`method/…`), the optimizer's moments (`optimizer/…`) and, if a best step is
    kept, its weights (`best/…`); `meta` the plan, the optimizer's order and schedule, each task's position in its
    data, the best step, and the steps that earlier phases kept (JSON-able); `records` the rows of every table so far.
    Random draws need no state: each comes from a generator derived from (seed, purpose, step or epoch).
    """

    phase: str
    step: int
    tensors: dict[str, torch.Tensor]
    meta: dict[str, Any]
    records: dict[str, list[dict[str, Any]]]
    done: int


def with_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Put `prefix/` before every name."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors whose name begins with `prefix/`, without it."""
    return {k.removeprefix(f"{prefix}/"): t for k, t in tensors.items() if k.startswith(f"{prefix}/")}
