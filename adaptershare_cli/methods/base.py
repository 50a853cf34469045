"""What a method is built from: values that belong together, each documented where it is defined."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adaptershare_cli.data.batches import Rows
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.methods.settings import MethodSettings
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.sharing.plan import SharingPlan

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from adaptershare_cli.training.protocol import Records


@dataclass(frozen=True)
class TaskData:
    """What a method may know of its tasks' data, by task; the train rows reach it in batches.

    `heldout` are the rows for checks, `select` those for choices, `sizes` the numbers of train rows.
    """

    infos: Mapping[str, TaskInfo]
    heldout: Mapping[str, Rows]
    pad_token: int
    select: Mapping[str, Rows] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, in order."""
        return tuple(self.infos)


@dataclass(frozen=True)
class Updates:
    """How many updates a run has in all, and how many of them each task gets."""

    total: int
    of_task: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StartWeights:
    """Where adapters and heads start from; what is not there starts at random.

    `adapter` are the tensors of one adapter, for all tasks (named as by `AdapterBank.named_parameters`),
    `config_fields` the fields of its config that differ from the library's; `heads` are tensors (`weight`, `bias`) by
    task.
    """

    adapter: Mapping[str, torch.Tensor] | None = None
    config_fields: Mapping[str, Any] = field(default_factory=dict)
    heads: Mapping[str, Mapping[str, torch.Tensor]] = field(default_factory=dict)


@dataclass
class MethodContext:
    """All that a method may use.

    `start` is what the method's own `start` module read of what the run builds on (None: nothing), `tokenizer_call`
    what exported folders say of the tokenizer (`model.inputs`). `plan_changed(step, before, after)` shows the user a
    new plan; `records` go into the run's tables.
    """

    encoder: PreTrainedModel
    data: TaskData
    training: TrainingSettings
    settings: MethodSettings
    updates: Updates
    seed: int
    weights: StartWeights = field(default_factory=StartWeights)
    start: Any = None
    tokenizer_call: Mapping[str, Any] = field(default_factory=dict)
    plan_changed: Callable[[int, SharingPlan, SharingPlan], None] = lambda step, before, after: None
    records: Records = field(default_factory=dict)
    encoder_parameters: int = field(init=False)  # of the encoder as it was loaded: no method has added to it yet

    def __post_init__(self) -> None:
        self.encoder_parameters = sum(parameter.numel() for parameter in self.encoder.parameters())
