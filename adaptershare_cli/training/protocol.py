"""The protocol between a method and the one training loop. A checkpoint is (phase, step, state)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from transformers import PreTrainedModel

from adaptershare_cli.data.batches import Batch
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.training.optimizer import Optimizer

Records = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Phase:
    """A part of a method's training: `max_steps` updates of `parameters()` on batches of `tasks`.

    Beside them are trained `undecayed()` parameters, which do not decay, and those `apart()`, which neither decay nor
    count for the clipping. `learning_rate` is the phase's own, where it is not that of the training settings.
    `subnet(task)` are the entries of some parameters (boolean, of their shapes) that alone an update on a task moves.
    `begin` is called before the first update, but not where a checkpoint goes on, and `end` with the step that was
    kept: the best one on select rows if the settings ask for it, or the phase itself (`keep_best`), or else the last.
    A `settled` phase is the last to change anything that its tasks need; a method's last phase always is, and so its
    `end` changes no weights: what is exported has been scored by then.
    """

    name: str
    tasks: tuple[str, ...]
    max_steps: int
    parameters: Callable[[], list[nn.Parameter]]
    apart: Callable[[], list[nn.Parameter]] = list
    undecayed: Callable[[], list[nn.Parameter]] = list
    learning_rate: float | None = None
    subnet: Callable[[str], Mapping[nn.Parameter, torch.Tensor]] = lambda task: {}
    begin: Callable[[], None] = lambda: None
    end: Callable[[int], None] = lambda step: None
    keep_best: bool = False
    settled: bool = False


class Data(Protocol):
    """What the loop and the counting of costs need to know of the tasks' data."""

    @property
    def infos(self) -> Mapping[str, TaskInfo]:
        """The tasks, in order."""
        ...

    @property
    def pad_token(self) -> int:
        """The tokenizer's padding token."""
        ...


class Context(Protocol):
    """What the loop and the counting of costs need to know of a method's context."""

    encoder: PreTrainedModel
    seed: int
    records: Records
    encoder_parameters: int

    @property
    def data(self) -> Data:
        """The tasks."""
        ...


class Method(Protocol):
    """What the loop asks of a method. A checkpoint is (phase, step, state) and what the loop itself holds."""

    def phases(self) -> Iterator[Phase]:
        """The phases in order."""
        ...

    def train_mode(self) -> None:
        """Prepare for an update (dropout on where it belongs)."""
        ...

    def eval_mode(self) -> None:
        """Prepare for scoring."""
        ...

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean loss of a batch."""
        ...

    def logits(self, batch: Batch) -> torch.Tensor:
        """Head outputs (B, outputs)."""
        ...

    def after_update(self, phase: Phase, step: int, optimizer: Optimizer) -> None:
        """Called after update `step` (1-based) of a phase: observe, and act."""
        ...

    def names(self) -> Mapping[nn.Parameter, str]:
        """A name for each trainable tensor, for checkpoints."""
        ...

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Tensors and JSON-able values that bring the method back."""
        ...

    def load_state(self, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        ...

    def export(self, task: str, folder: Path) -> None:
        """Write the task's adapter and head into `folder`."""
        ...

    def serving(self, task: str) -> Mapping[str, torch.Tensor]:
        """What `task` needs beside the frozen encoder, by name (`head/…` for its head).

        Tasks that share a tensor hold the same object.
        """
        ...

    def finish(self, folder: Path) -> None:
        """Write into `folder` what is kept beside the tasks' folders, and complete the context's records."""
        ...

    @property
    def plan(self) -> SharingPlan | None:
        """The sharing plan as it stands; None for a method that trains under none."""
        ...

    @property
    def context(self) -> Context:
        """What the method was built from."""
        ...
