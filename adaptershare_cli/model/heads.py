"""Task heads and the model that a run trains: frozen encoder, tied adapters, one head a task."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from adaptershare_cli.data.batches import Batch, TaskInfo
from adaptershare_cli.model.adapters import AdapterBank
from adaptershare_cli.model.encoder import pool
from adaptershare_cli.seeds import derive_seed


class Head(nn.Module):
    """Dropout and one linear layer on the pooled encoder output (B, H) -> (B, outputs)."""

    def __init__(self, info: TaskInfo, hidden_size: int, dropout: float, seed: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden_size, info.outputs)
        generator = torch.Generator().manual_seed(derive_seed(seed, "head", info.name))
        nn.init.normal_(self.linear.weight, std=0.02, generator=generator)
        nn.init.zeros_(self.linear.bias)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Logits (classification) or one scaled score (regression)."""
        return self.linear(self.dropout(pooled))


def row_losses(info: TaskInfo, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Loss of each row, (B,): cross-entropy, or squared error on the score scaled to [-1, 1]."""
    if info.kind == "classification":
        return nn.functional.cross_entropy(logits, labels.long(), reduction="none")
    return (logits.squeeze(-1) - info.scaled(labels).to(logits.dtype)) ** 2


class MultiTaskModel:
    """A frozen encoder with an adapter bank and a head for each task."""

    def __init__(
        self,
        encoder: PreTrainedModel,
        bank: AdapterBank,
        infos: Sequence[TaskInfo],
        pooling: str,
        head_dropout: float,
        seed: int,
    ) -> None:
        self.encoder, self.bank, self.pooling = encoder, bank, pooling
        self.infos = {info.name: info for info in infos}
        self.device = next(encoder.parameters()).device
        # A tokenizer may give segments to an encoder that knows none.
        self.segments = hasattr(encoder.embeddings, "token_type_embeddings")
        hidden_size = encoder.config.hidden_size
        self.heads = {i.name: Head(i, hidden_size, head_dropout, seed).to(self.device) for i in infos}

    def pooled(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Encode and pool (B, H) under the adapters that are active in the caller's context."""
        inputs = {n: tensor.to(self.device) for n, tensor in inputs.items() if self.segments or n != "token_type_ids"}
        hidden = self.encoder(**inputs).last_hidden_state
        return pool(hidden, inputs["attention_mask"], self.pooling)

    def logits(self, batch: Batch) -> torch.Tensor:
        """Logits (B, outputs) of a batch of one task."""
        with self.bank.active(batch.task):
            return self.heads[batch.task](self.pooled(batch.inputs))

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean loss of a batch of one task."""
        labels = batch.labels.to(self.device)
        return row_losses(self.infos[batch.task], self.logits(batch), labels).mean()

    def train(self, encoder_dropout: bool) -> None:
        """Heads in training mode; the frozen encoder too only with `encoder_dropout`."""
        self.encoder.train(encoder_dropout)
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

    def head_state(self) -> dict[str, torch.Tensor]:
        """The heads' tensors as `task/parameter`, detached (not copied)."""
        return {f"{t}/{n}": p.detach() for t, head in self.heads.items() for n, p in head.named_parameters()}

    @torch.no_grad()
    def load_head_state(self, state: dict[str, torch.Tensor]) -> None:
        """Copy saved head tensors in place."""
        for task, head in self.heads.items():
            for name, parameter in head.named_parameters():
                parameter.copy_(state[f"{task}/{name}"])
