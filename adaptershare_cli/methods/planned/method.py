"""Training under a sharing plan: what all methods whose adapters are tied by a plan have in common."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from adaptershare_cli.data.batches import Batch
from adaptershare_cli.methods.base import MethodContext
from adaptershare_cli.methods.planned.settings import ObserveSettings
from adaptershare_cli.model.adapters.bank import AdapterBank
from adaptershare_cli.model.export import export_task
from adaptershare_cli.model.fusion import Fusion
from adaptershare_cli.model.heads import MultiTaskModel
from adaptershare_cli.observe.gradients import gram_matrices, row_index
from adaptershare_cli.observe.lookahead import look_ahead
from adaptershare_cli.seeds import derive_seed
from adaptershare_cli.sharing.interference import Interference, RowIndex, interference, task_products, unit_rows
from adaptershare_cli.sharing.plan import SharingPlan
from adaptershare_cli.statistics.missing import or_none
from adaptershare_cli.training.checkpoint import without_prefix
from adaptershare_cli.training.evaluation import attention_rows
from adaptershare_cli.training.optimizer import Optimizer, warmup_steps
from adaptershare_cli.training.protocol import Phase

CHECK_COST = 0.05  # checks take at most about this share of the training time
PENALTY = 0.01  # AdapterFusion's, on |V - I|^2 (specs of AdapterFusion, section 2.1)
ROW_COST = 1.5  # what a held-out row costs in a check, in rows of training (tests/benchmarks/check_cost.py)


@dataclass(frozen=True)
class Check:
    """What a check saw: the rows' inner products (N, N) and the tasks' relations, one a layer."""

    phase: str
    step: int
    index: RowIndex
    grams: list[np.ndarray]
    relations: list[Interference]


@dataclass
class Verdict:
    """What was made of a check: for a (layer, pair of task indices) the decision, and its p value if it has one."""

    decisions: dict[tuple[int, int, int], str] = field(default_factory=dict)
    p_values: dict[tuple[int, int, int], float] = field(default_factory=dict)


class Act:
    """What may change the plan while training runs; this one changes nothing."""

    def on_update(self, method: PlannedMethod, step: int, optimizer: Optimizer) -> None:
        """Called after every update."""

    def on_check(self, method: PlannedMethod, check: Check, optimizer: Optimizer) -> Verdict:
        """Called at every check."""
        return Verdict()

    def state(self) -> dict[str, torch.Tensor]:
        """What it must remember in a checkpoint."""
        return {}

    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """The inverse of `state`."""


def tied_model(context: MethodContext, plan: SharingPlan, fuse: bool = False) -> MultiTaskModel:
    """Adapters that are tied by `plan`, a head for each task, and with `fuse` AdapterFusion where a layer has split."""
    training, seed = context.training, context.seed
    bank = AdapterBank(context.encoder, plan, training, seed, context.weights.adapter, context.weights.config_fields)
    return MultiTaskModel(
        context.encoder, bank, list(context.data.infos.values()), training.pooling, training.head_dropout, seed,
        fusion=Fusion(bank, plan.tasks, seed, own_adapters=True) if fuse else None, initial_heads=context.weights.heads,
    )  # fmt: skip


class PlannedMethod:
    """One phase of joint training under a plan, observed at checks; `act` may change the plan."""

    def __init__(
        self, context: MethodContext, plan: SharingPlan, act: Act | None = None, model: MultiTaskModel | None = None
    ) -> None:
        """`model` is what trains under the plan: by default adapters that are tied by it."""
        assert isinstance(context.settings, ObserveSettings)
        self.context, self.settings, self.act = context, context.settings, act or Act()
        self.model = model or tied_model(context, plan)
        self.heldout = context.data.heldout
        if self.settings.shuffle_heldout_labels:
            self.heldout = {
                task: rows.with_shuffled_labels(derive_seed(context.seed, "heldout-labels", task))
                for task, rows in context.data.heldout.items()
            }
        self.uncertainty: dict[str, nn.Parameter] = {}
        if self.settings.loss_weighting == "uncertainty":
            device = self.model.device
            self.uncertainty = {task: nn.Parameter(torch.zeros((), device=device)) for task in plan.tasks}
        self.fusion = self.model.fusion
        self.lookahead_every: int | None = getattr(self.settings, "lookahead_every", None)
        extra = {"lookahead": self.lookahead_every, "attention": self.fusion}
        for name in ("sharing", "interference", *(name for name, wanted in extra.items() if wanted)):
            context.records.setdefault(name, [])
        self.record_plan("main", 0)

    @property
    def plan(self) -> SharingPlan:
        """The sharing plan as it stands."""
        return self.model.bank.plan

    def phases(self) -> Iterator[Phase]:
        """One phase over all tasks."""
        values = [] if self.fusion is None else [partial(self.fusion.parameters, task) for task in self.plan.tasks]
        yield Phase(
            "main", self.plan.tasks, self.context.updates.total,
            parameters=lambda: [*self.model.parameters(), *(p for some in values for p in some(values=False))],
            apart=lambda: list(self.uncertainty.values()),
            undecayed=lambda: [p for some in values for p in some(values=True)],
        )  # fmt: skip

    def train_mode(self) -> None:
        """Heads' dropout on; the encoder's only if asked for."""
        self.model.train(self.context.training.encoder_dropout)

    def eval_mode(self) -> None:
        """No dropout."""
        self.model.eval()

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean loss of a batch under its task's adapters: L, or exp(-v) L + v with the task's uncertainty v.

        Source of the weighting: Kendall et al. 2018, as in the original's `hwu_loss` (specs section 3). With fusion
        AdapterFusion's penalty on the task's value matrices is added.
        """
        loss = self.model.loss(batch)
        if self.uncertainty:
            v = self.uncertainty[batch.task]
            loss = torch.exp(-v) * loss + v
        if self.fusion is not None:
            loss = loss + PENALTY * self.fusion.penalty(batch.task)
        return loss

    def logits(self, batch: Batch) -> torch.Tensor:
        """Head outputs under the batch's task's adapters."""
        return self.model.logits(batch)

    def after_update(self, phase: Phase, step: int, optimizer: Optimizer) -> None:
        """Look ahead, let `act` do what it does at this update, check the gradients: where each is due."""
        before = self.plan
        if self.lookahead_every and step % self.lookahead_every == 0:
            self.look_ahead(phase.name, step, optimizer)
        self.act.on_update(self, step, optimizer)
        if self.check_due(step):
            self.check(phase.name, step, optimizer)
        if self.plan != before:
            self.record_plan(phase.name, step)
            self.context.plan_changed(step, before, self.plan)

    def check_due(self, step: int) -> bool:
        """Whether update `step` ends with a check (needs two tasks and `observe`)."""
        if not self.settings.observe or len(self.plan.tasks) < 2:
            return False
        if not any(len(rows) for rows in self.heldout.values()):  # tasks of fewer than five train rows have none
            return False
        first, every = self.check_steps()
        return step >= first and (step - first) % every == 0

    def check_steps(self) -> tuple[int, int]:
        """The update of the first check, and the updates between checks."""
        settings, training = self.settings, self.context.training
        rows = sum(len(heldout) for heldout in self.heldout.values())
        every = settings.check_every or math.ceil(ROW_COST * rows / training.per_device_train_batch_size / CHECK_COST)
        first = settings.first_check or max(1, warmup_steps(training, self.context.updates.total))
        return first, every

    def check_count(self) -> int:
        """How many checks the whole training has."""
        first, every = self.check_steps()
        return len(range(first, self.context.updates.total + 1, every))

    def check(self, phase: str, step: int, optimizer: Optimizer) -> None:
        """Take all tasks' held-out gradients, act on them, record every pair in every layer."""
        index = row_index(self.heldout)
        raw = gram_matrices(self.model, self.heldout, self.context.data.pad_token)
        grams = [unit_rows(gram) for gram in raw] if self.settings.row_gradients == "unit" else raw
        relations = [interference(gram, index) for gram in grams]
        before = self.plan
        verdict = self.act.on_check(self, Check(phase, step, index, grams, relations), optimizer)
        products = [task_products(gram, index) for gram in raw]
        rows = interference_rows(phase, step, before, relations, products, verdict)
        self.context.records["interference"].extend(rows)

    def look_ahead(self, phase: str, step: int, optimizer: Optimizer) -> None:
        """Try a step on every task and record what it would do to all; nothing is tried once the rate is zero."""
        if len(self.plan.tasks) < 2 or not optimizer.learning_rate:
            return
        self.context.records["lookahead"].extend(
            {"phase": phase, "step": step, "source": found.source, "target": found.target, "half": found.half,
             "loss_before": or_none(found.before), "loss_after": or_none(found.after)}
            for found in look_ahead(self.model, self.heldout, optimizer.trial_step, self.context.data.pad_token)
        )  # fmt: skip

    def split(self, layer: int, kept: Sequence[str], moved: Sequence[str], optimizer: Optimizer) -> None:
        """Part a group of `layer`; the copies train on with the moments of their sources."""
        optimizer.follow_split(self.model.bank.split(layer, kept, moved))
        if self.fusion is not None:
            optimizer.adopt(*self.fusion.follow_plan())

    def record_plan(self, phase: str, step: int) -> None:
        """Record the plan that holds from `step` on."""
        self.context.records["sharing"].extend(self.plan.rows(phase, step))

    def names(self) -> dict[nn.Parameter, str]:
        """A name for each trainable tensor of the model, and for the uncertainties."""
        return self.model.names() | {parameter: f"uncertainty/{task}" for task, parameter in self.uncertainty.items()}

    def serving(self, task: str) -> dict[str, nn.Parameter]:
        """The tensors that `task` needs beside the frozen encoder."""
        return self.model.serving(task)

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """The model's tensors, uncertainties, what `act` remembers, and the plan."""
        tensors = {name: p.detach() for p, name in self.names().items()}
        tensors |= {f"act/{name}": tensor for name, tensor in self.act.state().items()}
        return tensors, {"plan": self.plan.to_json()}

    def load_state(self, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
        """Take up a saved plan and tensors; adapter parameters are new objects afterwards."""
        self.model.load_state(SharingPlan.from_json(meta["plan"]), tensors)
        with torch.no_grad():
            for task, parameter in self.uncertainty.items():
                parameter.copy_(tensors[f"uncertainty/{task}"])
        self.act.load_state(without_prefix("act", tensors))

    def export(self, task: str, folder: Path) -> None:
        """Write the task's adapter and head into `folder`."""
        self.model.eval()
        export_task(self.model, task, folder, self.context.tokenizer_call)

    def finish(self, folder: Path) -> None:
        """Record what each task attends to, where layers are fused; nothing is kept beside the tasks' folders."""
        if self.fusion is not None:
            size = self.context.training.per_device_eval_batch_size
            for task, rows in self.context.data.select.items():
                found = attention_rows(self.model, task, rows, size, self.context.data.pad_token)
                self.context.records["attention"].extend(found)


def interference_rows(
    phase: str,
    step: int,
    plan: SharingPlan,
    relations: list[Interference],
    products: list[np.ndarray],
    verdict: Verdict,
) -> list[dict[str, Any]]:
    """Rows of `schemas.INTERFERENCE` for every pair in every layer; unknown values are null.

    Sizes (dot, norms, directed) are those of the gradients as they are, from `products` (T, T) of each layer, whatever
    the cosines in `relations` are taken of.
    """

    def directed(dot: np.ndarray, a: int, b: int) -> float | None:
        return or_none(dot[a, b] / dot[b, b]) if dot[b, b] > 0 else None

    tasks = plan.tasks
    return [
        {
            "phase": phase, "step": step, "layer": layer, "task_a": tasks[a], "task_b": tasks[b],
            "dot": or_none(dot[a, b]), "norm_a": or_none(norm[a]), "norm_b": or_none(norm[b]),
            "cosine": or_none(r.cosine[a, b]), "cosine_error": or_none(r.error[a, b]),
            "directed_ab": directed(dot, a, b), "directed_ba": directed(dot, b, a),
            "agreement_a": or_none(r.agreement[a]), "agreement_b": or_none(r.agreement[b]),
            "shared": plan.share(layer, tasks[a], tasks[b]),
            "decision": verdict.decisions.get((layer, a, b), "observe"),
            "p_value": or_none(verdict.p_values.get((layer, a, b), math.nan)),
        }
        for layer, (r, dot) in enumerate(zip(relations, products, strict=True))
        for norm in [np.sqrt(np.diagonal(dot).clip(min=0))]
        for a in range(len(tasks))
        for b in range(a + 1, len(tasks))
    ]  # fmt: skip
