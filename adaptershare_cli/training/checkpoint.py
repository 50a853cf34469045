"""A checkpoint as values: what the loop needs to go on exactly where it was; stages decide how it is stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Checkpoint:
    """State after update `step` of `phase`, the run's update `updates`.

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

    @property
    def updates(self) -> int:
        """Updates of all phases so far, skipped ones included: the order of a run's checkpoints."""
        return len(self.records["steps"])


class CheckpointTimer:
    """When a checkpoint is due: every `steps` updates, or by default as often as costs less than 1 % of the time.

    By default the next one is due 100 times as long after the last as that one took to save, and not before
    `LEAST_SECONDS`; at a phase's end that minimum is not asked for. Where the updates of the run end one is always due:
    what fails after them, in scoring or publishing, costs no training. Checkpoints change no result, so this may depend
    on the clock.
    """

    COST = 0.01
    LEAST_SECONDS = 60.0
    FIRST_GUESS = 0.1  # seconds that saving takes, before the first time

    def __init__(self, steps: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.steps, self.clock = steps, clock
        self.seconds, self.last = self.FIRST_GUESS, clock()

    def due(self, step: int, phase_ends: bool, run_ends: bool = False) -> bool:
        """Whether update `step` of a run ends with a checkpoint."""
        if run_ends:
            return True
        if self.steps is not None:
            return phase_ends or step % self.steps == 0
        least = 0.0 if phase_ends else self.LEAST_SECONDS
        return self.clock() - self.last >= max(least, self.seconds / self.COST)

    def save(self, save: Callable[[], None]) -> None:
        """Save, and see how long that takes."""
        started = self.clock()
        save()
        self.last = self.clock()
        self.seconds = self.last - started


def with_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Put `prefix/` before every name."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors whose name begins with `prefix/`, without it."""
    return {k.removeprefix(f"{prefix}/"): t for k, t in tensors.items() if k.startswith(f"{prefix}/")}
