"""Task heads and the model that a run trains: frozen encoder, tied adapters, one head a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import nn
from transformers import PreTrainedModel

from adaptershare_cli.data.batches import Batch
from adaptershare_cli.kinds import KINDS
from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.kinds.rows.answers import Targets
from adaptershare_cli.model.adapters.bank import AdapterBank
from adaptershare_cli.model.encoder import pool
from adaptershare_cli.model.fusion import Fusion
from adaptershare_cli.model.inputs import run_encoder
from adaptershare_cli.seeds import derive_seed
from adaptershare_cli.sharing.plan import SharingPlan


class Head(nn.Module):
    """Dropout and one linear layer on what each of A answers reads of the encoder's hidden states (`Kind.states`)."""

    def __init__(self, info: TaskInfo, hidden_size: int, dropout: float, seed: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        kind = KINDS[info.kind]
        self.linear = nn.Linear(hidden_size * kind.states, kind.outputs(info))
        generator = torch.Generator().manual_seed(derive_seed(seed, "head", info.name))
        nn.init.normal_(self.linear.weight, std=0.02, generator=generator)
        nn.init.zeros_(self.linear.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """The outputs (A, outputs) for A answers."""
        return self.linear(self.dropout(states))


class MultiTaskModel:
    """A frozen encoder with an adapter bank, perhaps fusion modules over it, and a head for each task.

    Heads start from `initial_heads` (tensors `weight` and `bias` by task), or else at random.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        bank: AdapterBank,
        infos: Sequence[TaskInfo],
        pooling: str,
        head_dropout: float,
        seed: int,
        fusion: Fusion | None = None,
        initial_heads: Mapping[str, Mapping[str, torch.Tensor]] | None = None,
    ) -> None:
        self.encoder, self.bank, self.pooling, self.fusion = encoder, bank, pooling, fusion
        self.infos = {info.name: info for info in infos}
        self.device = next(encoder.parameters()).device
        hidden_size = encoder.config.hidden_size
        self.heads = {i.name: Head(i, hidden_size, head_dropout, seed).to(self.device) for i in infos}
        for task, tensors in (initial_heads or {}).items():
            self.heads[task].linear.load_state_dict(tensors)

    def active(self, task: str) -> AbstractContextManager:
        """Context of a forward pass of `task`."""
        return self.bank.active(task) if self.fusion is None else self.fusion.active(task)

    def active_rows(self, tasks: Sequence[str], counts: Sequence[int]) -> AbstractContextManager:
        """Context of a pass over counts[0] rows of tasks[0], then counts[1] of tasks[1] …; with fusion of one task."""
        if self.fusion is None:
            return self.bank.active_rows(tasks, counts)
        (task,) = tasks
        return self.fusion.active(task)

    def encode(
        self, inputs: dict[str, torch.Tensor], weights: Mapping[str, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """The encoder's last hidden states (B, S, H) under the adapters that are active in the caller's context.

        `weights`, by their names in the encoder, stand in for its own tensors in this pass.
        """
        return run_encoder(self.encoder, inputs, weights).last_hidden_state

    def encode_layer(self, inputs: dict[str, torch.Tensor], layer: int) -> torch.Tensor:
        """The hidden states (B, S, H) after that many layers (0: the embeddings), adapters as in `encode`."""
        return run_encoder(self.encoder, inputs, output_hidden_states=True).hidden_states[layer]

    def answer_states(self, hidden: torch.Tensor, attention_mask: torch.Tensor, targets: Targets) -> torch.Tensor:
        """What a head reads (A, H) of hidden states (B, S, H) for each answer: pooled states, or its tokens' states."""
        if targets.rows is None or targets.tokens is None:
            return pool(hidden, attention_mask.to(self.device), self.pooling)
        rows, tokens = targets.rows.to(self.device), targets.tokens.to(self.device)
        if tokens.dim() > 1:
            rows = rows[:, None]
        return hidden[rows, tokens].flatten(1)

    def read(self, task: str, hidden: torch.Tensor, attention_mask: torch.Tensor, targets: Targets) -> torch.Tensor:
        """The outputs (A, outputs) of the task's head for the answers to hidden states (B, S, H)."""
        return self.heads[task](self.answer_states(hidden, attention_mask, targets))

    def weights(self, task: str) -> dict[str, torch.Tensor]:
        """What stands in for the encoder's own tensors in a pass of `task`: nothing, its adapters hold what is used."""
        return {}

    def logits(self, batch: Batch) -> torch.Tensor:
        """The head's outputs (A, outputs) for the answers of a batch of one task."""
        with self.active(batch.task):
            hidden = self.encode(batch.inputs, self.weights(batch.task))
            return self.read(batch.task, hidden, batch.inputs["attention_mask"], batch.targets)

    def losses(self, batch: Batch) -> torch.Tensor:
        """The loss of each row (B,) of a batch of one task."""
        return self.row_losses(batch.task, self.logits(batch), batch.targets)

    def row_losses(self, task: str, logits: torch.Tensor, targets: Targets) -> torch.Tensor:
        """The loss of each row (B,) of one task, from its head's outputs, times the row's weight where it has one."""
        info, targets = self.infos[task], targets.to(self.device)
        losses = KINDS[info.kind].row_losses(info, logits, targets)
        return losses if targets.weights is None else losses * targets.weights

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean loss of the rows of a batch of one task."""
        return self.losses(batch).mean()

    def train(self, encoder_dropout: bool) -> None:
        """Heads and fusion modules in training mode; the frozen encoder too only with `encoder_dropout`."""
        self.encoder.train(encoder_dropout)
        if self.fusion is not None:
            self.fusion.train()
        for head in self.heads.values():
            head.train()

    def eval(self) -> None:
        """No dropout anywhere."""
        self.encoder.eval()
        for head in self.heads.values():
            head.eval()

    def parameters(self) -> list[nn.Parameter]:
        """Every trainable tensor once: adapters, then heads, in task order."""
        return [*self.bank.parameters(), *(t for head in self.heads.values() for t in head.parameters())]

    def names(self) -> dict[nn.Parameter, str]:
        """A name for every tensor that may be trained: each group's adapter once, fusion modules, heads.

        `adapter/layer.group.…`, `fusion/task/…`, `head/task/…`; frozen adapters are left out.
        """
        names = {
            parameter: f"adapter/{layer}.{number}.{name}"
            for layer, groups in enumerate(self.bank.plan.layers)
            for number, group in enumerate(groups)
            for name, parameter in self.bank.named_parameters(group[0], layer)
            if parameter.requires_grad
        }
        if self.fusion is not None:
            names |= {parameter: name for name, parameter in self.fusion.tensors().items()}
        return names | {p: name for task in self.heads for name, p in self.head_parameters(task).items()}

    def head_parameters(self, task: str) -> dict[str, nn.Parameter]:
        """The tensors of the task's head as `head/task/parameter`."""
        return {f"head/{task}/{name}": parameter for name, parameter in self.heads[task].named_parameters()}

    def serving(self, task: str) -> dict[str, nn.Parameter]:
        """What `task` needs beside the frozen encoder, by name; tasks that share hold one object.

        `adapter/…`, with fusion those of every group that the task attends over and `fusion/…`, and `head/…`.
        """
        if self.fusion is None:
            found = {f"adapter/{name}": parameter for name, parameter in self.bank.named_parameters(task)}
        else:
            found = self.fusion.serving(task)
        return found | self.head_parameters(task)

    def load_state(self, plan: SharingPlan, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take up a plan and the tensors that `names` names; adapter parameters are new objects afterwards."""
        adapters = {n.removeprefix("adapter/"): t for n, t in tensors.items() if n.startswith("adapter/")}
        self.bank.load_state(plan, adapters)
        if self.fusion is not None:
            self.fusion.follow_plan()
            self.fusion.load_state(tensors)
        self.load_heads(tensors)

    @torch.no_grad()
    def load_heads(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy saved head tensors in place."""
        for task in self.heads:
            for name, parameter in self.head_parameters(task).items():
                parameter.copy_(tensors[name])
