"""Training under a sharing plan: what private, shared and adaptershare have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adaptershare_cli.data.batches import Batch
from adaptershare_cli.methods.base import MethodContext, Phase
from adaptershare_cli.model.adapters import AdapterBank
from adaptershare_cli.model.export import export_task
from adaptershare_cli.model.heads import MultiTaskModel
from adaptershare_cli.sharing.gradients import task_gradients
from adaptershare_cli.sharing.interference import Interference, interference
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.training.optimizer import Optimizer, warmup_steps

CHECK_COST = 0.05  # checks process at most about this share of the rows that training processes

# What acts on the relations of all layers at a check: (method, relations by layer, step, optimizer) -> the decision
# for each (layer, pair of task indices), to be recorded.
Act = Callable[["PlannedMethod", list[Interference], int, Optimizer], dict[tuple[int, int, int], str]]


class PlannedMethod:
    """One phase of joint training under a plan, observed at checks; `act` may change the plan there."""

    def __init__(self, context: MethodContext, plan: SharingPlan, act: Act | None = None) -> None:
        self.context, self.act = context, act
        training = context.training
        bank = AdapterBank(context.encoder, plan, training.adapter_config, training.reduction_factor, context.seed)
        self.model = MultiTaskModel(
            context.encoder, bank, list(context.infos.values()), training.pooling, training.head_dropout, context.seed
        )
        for name in ("sharing", "interference"):
            context.records.setdefault(name, [])
        self.record_plan("main", 0)

    @property
    def plan(self) -> SharingPlan:
        """The sharing plan as it stands."""
        return self.model.bank.plan

    def phases(self) -> Iterator[Phase]:
        """One phase over all tasks."""
        yield Phase("main", self.plan.tasks, self.context.max_steps, self.model.parameters)

    def train_mode(self) -> None:
        """Heads' dropout on; the encoder's only if asked for."""
        self.model.train(self.context.training.encoder_dropout)

    def eval_mode(self) -> None:
        """No dropout."""
        self.model.eval()

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean loss of a batch under its task's adapters."""
        return self.model.loss(batch)

    def logits(self, batch: Batch) -> torch.Tensor:
        """Head outputs under the batch's task's adapters."""
        return self.model.logits(batch)

    def after_update(self, phase: Phase, step: int, optimizer: Optimizer) -> None:
        """Check the gradients where one is due."""
        if self.check_due(step):
            self.check(phase.name, step, optimizer)

    def check_due(self, step: int) -> bool:
        """Whether update `step` ends with a check (needs two tasks and `observe`)."""
        settings, training = self.context.settings, self.context.training
        if not settings.observe or len(self.plan.tasks) < 2:
            return False
        rows = sum(len(heldout) for heldout in self.context.heldout.values())
        if not rows:  # tasks of fewer than five train rows have none
            return False
        every = settings.check_every or math.ceil(rows / training.per_device_train_batch_size / CHECK_COST)
        first = settings.first_check or max(1, warmup_steps(training, self.context.max_steps))
        return step >= first and (step - first) % every == 0

    def check(self, phase: str, step: int, optimizer: Optimizer) -> None:
        """Take all tasks' held-out gradients, act on them, record every pair in every layer."""
        gradients = task_gradients(self.model, self.context.heldout, self.context.pad_token)
        relations = [interference(layer) for layer in gradients.layers]
        before = self.plan
        decisions = self.act(self, relations, step, optimizer) if self.act else {}
        self.context.records["interference"].extend(interference_rows(phase, step, before, relations, decisions))
        if self.plan != before:
            self.record_plan(phase, step)

    def record_plan(self, phase: str, step: int) -> None:
        """Record the plan that holds from `step` on."""
        self.context.records["sharing"].extend(self.plan.rows(phase, step))

    def names(self) -> dict[nn.Parameter, str]:
        """`adapter/…` and `head/…` names; each tensor of a group is named once."""
        bank = self.model.bank
        names: dict[nn.Parameter, str] = {}
        for layer, groups in enumerate(self.plan.layers):
            for number, group in enumerate(groups):
                for name, parameter in bank.named_parameters(group[0], layer):
                    names[parameter] = f"adapter/{layer}.{number}.{name}"
        for task, head in self.model.heads.items():
            for name, parameter in head.named_parameters():
                names[parameter] = f"head/{task}/{name}"
        return names

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Adapter and head tensors, and the plan."""
        return {name: p.detach() for p, name in self.names().items()}, {"plan": self.plan.to_json()}

    def load_state(self, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
        """Take up a saved plan and tensors; adapter parameters are new objects afterwards."""

        def part(prefix: str) -> dict[str, torch.Tensor]:
            return {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}

        self.model.bank.load_state(SharingPlan.from_json(meta["plan"]), part("adapter/"))
        self.model.load_head_state(part("head/"))

    def export(self, task: str, folder: Path) -> None:
        """Write the task's adapter and head into `folder`."""
        export_task(self.model, task, folder)


def interference_rows(
    phase: str,
    step: int,
    plan: SharingPlan,
    relations: list[Interference],
    decisions: Mapping[tuple[int, int, int], str],
) -> list[dict[str, Any]]:
    """Rows of `schemas.INTERFERENCE` for every pair in every layer; unknown values are null."""

    def known(value: float) -> float | None:
        return float(value) if math.isfinite(value) else None

    tasks = plan.tasks
    return [
        {
            "phase": phase, "step": step, "layer": layer, "task_a": tasks[a], "task_b": tasks[b],
            "dot": known(r.dot[a, b]), "norm_a": known(r.norm[a]), "norm_b": known(r.norm[b]),
            "cosine": known(r.cosine[a, b]), "agreement_a": known(r.agreement[a]),
            "agreement_b": known(r.agreement[b]), "shared": plan.share(layer, tasks[a], tasks[b]),
            "decision": decisions.get((layer, a, b), "observe"),
        }
        for layer, r in enumerate(relations)
        for a in range(len(tasks))
        for b in range(a + 1, len(tasks))
    ]  # fmt: skip
