"""What a method is built from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel

from adaptershare_cli.data.batches import Rows
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.settings import MethodSettings, TrainingSettings
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.training.protocol import Records


@dataclass
class MethodContext:
    """All that a method may use.

    `task_steps` are the updates that each task gets of `max_steps`, `sizes` its train rows; `select` are the rows for
    choices. `masks` are those of an earlier run, by task and tensor, and `mask_start` its digest of the weights that it
    pruned from, `mask_settings` its settings.
    `init_plan` is the last sharing plan of the run that --init-plan names, `plan_history` are all that it trained
    under, each with the step from which it held. `init_adapter` are the tensors that adapters start from,
    `init_heads` those of heads (`weight`, `bias`) by task, `sources` adapters that stay as they are, by name; tensors
    of adapters are named as by `AdapterBank.named_parameters`. `adapter_changes` are fields of the adapters' config
    in which those that are given differ from the library's.
    `plan_changed(step, before, after)` shows the user a new plan; `records` go into the artefact's tables.
    """

    encoder: PreTrainedModel
    infos: dict[str, TaskInfo]
    heldout: dict[str, Rows]
    training: TrainingSettings
    settings: MethodSettings
    max_steps: int
    seed: int
    pad_token: int
    task_steps: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    select: Mapping[str, Rows] = field(default_factory=dict)
    masks: Mapping[str, Mapping[str, torch.Tensor]] = field(default_factory=dict)
    mask_start: str = ""
    mask_settings: MethodSettings | None = None
    init_adapter: Mapping[str, torch.Tensor] | None = None
    adapter_changes: Mapping[str, Any] = field(default_factory=dict)
    init_heads: Mapping[str, Mapping[str, torch.Tensor]] = field(default_factory=dict)
    sources: Mapping[str, Mapping[str, torch.Tensor]] = field(default_factory=dict)
    init_plan: SharingPlan | None = None
    plan_history: tuple[tuple[int, SharingPlan], ...] = ()
    plan_changed: Callable[[int, SharingPlan, SharingPlan], None] = lambda step, before, after: None
    records: Records = field(default_factory=dict)
    encoder_parameters: int = field(init=False)  # of the encoder as it was loaded: no method has added to it yet

    def __post_init__(self) -> None:
        self.encoder_parameters = sum(parameter.numel() for parameter in self.encoder.parameters())
