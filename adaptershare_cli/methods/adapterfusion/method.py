"""AdapterFusion (EACL 2021), stage two: each target task learns to attend over adapters that stay as they are.

Stage one, the adapters, comes from elsewhere (`start`). One phase a target trains, on the target's own
rows, its fusion modules (formulas in `model.fusion`) and its head, by the loss

    L + fusion_regularization * sum over sites |V - I|^2.

The penalty's gradient belongs to the same update as that of L, and is clipped with it (the library adds it to the next
update, and to none after the last). V does not decay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adaptershare_cli.data.batches import Batch
from adaptershare_cli.methods.adapterfusion.settings import AdapterFusionSettings
from adaptershare_cli.methods.base import MethodContext
from adaptershare_cli.model.adapters.bank import AdapterBank
from adaptershare_cli.model.export import export_task
from adaptershare_cli.model.fusion import Fusion
from adaptershare_cli.model.heads import MultiTaskModel
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.training.evaluation import attention_rows
from adaptershare_cli.training.optimizer import Optimizer
from adaptershare_cli.training.protocol import Phase


def build(context: MethodContext) -> AdapterFusion:
    """Stage two over the context's sources."""
    return AdapterFusion(context)


class AdapterFusion:
    """Fusion modules and a head for each task, over frozen adapters; equal ones are attended to once a layer."""

    plan = None  # who shares what was decided in stage one

    def __init__(self, context: MethodContext) -> None:
        assert isinstance(context.settings, AdapterFusionSettings)
        self.context, self.settings = context, context.settings
        training, seed, targets = context.training, context.seed, context.data.tasks
        plan = SharingPlan.private(tuple(context.start), context.encoder.config.num_hidden_layers)
        bank = AdapterBank(context.encoder, plan, training, seed, config_fields=context.weights.config_fields)
        for name, tensors in context.start.items():
            bank.fill(name, tensors)
        bank.tie_equal()
        for tensor in bank.parameters():
            tensor.requires_grad_(False)
        self.fusion = Fusion(bank, targets, seed)
        self.model = MultiTaskModel(
            context.encoder, bank, list(context.data.infos.values()), training.pooling, training.head_dropout, seed,
            fusion=self.fusion, initial_heads=context.weights.heads,
        )  # fmt: skip
        self.begun: list[str] = []  # targets that have been trained; the others are as they were built
        context.records.setdefault("attention", [])

    def phases(self) -> Iterator[Phase]:
        """One a target."""
        for target in self.fusion.targets:
            yield Phase(
                f"fusion-{target}", (target,), self.context.updates.of_task[target],
                parameters=partial(self._trained, target),
                undecayed=partial(self.fusion.parameters, target, values=True),
                learning_rate=self.settings.fusion_learning_rate,
                settled=True,
            )  # fmt: skip

    def _trained(self, target: str) -> list[nn.Parameter]:
        return [*self.fusion.parameters(target, values=False), *self.model.heads[target].parameters()]

    def train_mode(self) -> None:
        """Dropout on in heads and fusion modules; in the encoder only if asked for."""
        self.model.train(self.context.training.encoder_dropout)

    def eval_mode(self) -> None:
        """No dropout."""
        self.model.eval()

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean loss of a batch, and the penalty on its task's value matrices."""
        if batch.task not in self.begun:
            self.begun.append(batch.task)
        return self.model.loss(batch) + self.settings.fusion_regularization * self.fusion.penalty(batch.task)

    def logits(self, batch: Batch) -> torch.Tensor:
        """Head outputs of a batch under its task's fusion."""
        return self.model.logits(batch)

    def after_update(self, phase: Phase, step: int, optimizer: Optimizer) -> None:
        """Nothing is observed: the adapters do not move, and each phase has one task."""

    def names(self) -> dict[nn.Parameter, str]:
        """`fusion/…` and `head/…` names: the adapters are frozen."""
        return self.model.names()

    def _named(self, target: str) -> dict[str, nn.Parameter]:
        found = self.model.serving(target)
        return {name: parameter for name, parameter in found.items() if not name.startswith("adapter/")}

    def serving(self, task: str) -> dict[str, nn.Parameter]:
        """All adapters that the task attends over, its fusion modules and its head."""
        return self.model.serving(task)

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Fusion modules and heads of the targets that have been trained, those in training included."""
        tensors = {name: p.detach() for target in self.begun for name, p in self._named(target).items()}
        return tensors, {"begun": list(self.begun)}

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
        """Copy the tensors of the targets that had been trained."""
        self.begun = list(meta["begun"])
        for target in self.begun:
            for name, parameter in self._named(target).items():
                parameter.copy_(tensors[name])

    def export(self, task: str, folder: Path) -> None:
        """Write all adapters that the task attends over, its fusion modules and its head into `folder`."""
        export_task(self.model, task, folder, self.context.tokenizer_call)

    def finish(self, folder: Path) -> None:
        """Record what each target attends to on its select rows."""
        size = self.context.training.per_device_eval_batch_size
        for task, rows in self.context.data.select.items():
            found = attention_rows(self.model, task, rows, size, self.context.data.pad_token)
            self.context.records["attention"].extend(found)
