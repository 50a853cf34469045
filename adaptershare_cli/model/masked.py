"""One network for all tasks, of which each task sees a subnet: a mask a task over the matrices of adapters or encoder.

A pass of task t runs with theta * M_t in place of the masked matrices theta, so a gradient outside of M_t is zero.
What is no matrix (biases of adapters) is dense and shared, heads are each task's own, all else stays frozen. Masked
are the down and up projections of one adapter stack, or the attention and feed-forward matrices of the encoder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.model.adapters import require_use
from adaptershare_cli.model.adapters.bank import AdapterBank, no_adapter
from adaptershare_cli.model.encoder import layer_matrices
from adaptershare_cli.model.heads import MultiTaskModel
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.sharing.masks import Bottleneck, Masks, patterns
from adaptershare_cli.sharing.plan import SharingPlan

MASK_BITS = 32  # bits of a mask that are stored in the place of one parameter


@dataclass(frozen=True)
class Base:
    """The matrices that are masked: by name, with their layers; `places[task]` are their names in the encoder."""

    matrices: dict[str, nn.Parameter]
    layers: dict[str, int]
    places: dict[str, dict[str, str]]
    bottlenecks: tuple[Bottleneck, ...] = ()


def encoder_base(encoder: PreTrainedModel, tasks: Sequence[str]) -> Base:
    """The encoder's own matrices, trained from here on. To be called before adapters are added."""
    found = layer_matrices(encoder)
    matrices = {name: matrix.weight for name, matrix in found.items()}
    for matrix in matrices.values():
        matrix.requires_grad_(True)
    own = {name: name for name in matrices}
    return Base(matrices, {name: matrix.layer for name, matrix in found.items()}, dict.fromkeys(tasks, own))


def adapter_base(bank: AdapterBank) -> Base:
    """The matrices of the adapters of a bank whose tasks share all of them."""
    require_use(bank.kind, "pruned")
    first = bank.tasks[0]
    matrices = {name: tensor for name, tensor in bank.named_parameters(first) if tensor.dim() == 2}
    return Base(
        matrices,
        {name: int(name.partition(".")[0]) for name in matrices},
        {task: {own: place for own, place in bank.names_in_encoder(task).items() if own in matrices}
         for task in bank.tasks},
        tuple(
            Bottleneck(f"{site.layer}.{site.location}.{down}", f"{site.layer}.{site.location}.{up}")
            for site in bank.sites[first]
            for down, up in bank.kind.units(site)
        ),
    )  # fmt: skip


def make_masked(
    encoder: PreTrainedModel, infos: Mapping[str, TaskInfo], pruned: str, training: TrainingSettings, seed: int
) -> MaskedModel:
    """The model whose `pruned` part (`adapters` or `encoder`) is masked, with masks that keep everything."""
    tasks, layers = tuple(infos), encoder.config.num_hidden_layers
    of_encoder = encoder_base(encoder, tasks) if pruned == "encoder" else None
    plan = SharingPlan((), ((),) * layers) if of_encoder else SharingPlan.shared(tasks, layers)
    bank = AdapterBank(encoder, plan, training, seed)
    base = of_encoder or adapter_base(bank)
    return MaskedModel(encoder, bank, list(infos.values()), training.pooling, training.head_dropout, seed, base)


class MaskedModel(MultiTaskModel):
    """A model whose pass of a task runs with the base matrices times the task's masks (`masks`, by task)."""

    def __init__(
        self,
        encoder: PreTrainedModel,
        bank: AdapterBank,
        infos: Sequence[TaskInfo],
        pooling: str,
        head_dropout: float,
        seed: int,
        base: Base,
    ) -> None:
        super().__init__(encoder, bank, infos, pooling, head_dropout, seed)
        self.base = base
        self.masks: dict[str, Masks] = {task: self.all_ones() for task in self.infos}
        self._stored: dict[tuple[str, ...], torch.Tensor] | None = None  # sizes by the tasks that use the weights

    def all_ones(self) -> Masks:
        """Masks that keep everything."""
        return {name: torch.ones_like(tensor, dtype=torch.bool) for name, tensor in self.base.matrices.items()}

    @property
    def weights_in_base(self) -> int:
        """Number of weights that are masked."""
        return sum(tensor.numel() for tensor in self.base.matrices.values())

    def active(self, task: str) -> AbstractContextManager:
        """Context of a forward pass of `task`."""
        return self.bank.active(task) if self.bank.tasks else no_adapter()

    def subnet(self, task: str) -> dict[str, torch.Tensor]:
        """The base matrices with zeros where the task's masks are."""
        masks = self.masks[task]
        return {
            name: torch.where(masks[name], tensor, torch.zeros((), device=tensor.device))
            for name, tensor in self.base.matrices.items()
        }

    def weights(self, task: str) -> dict[str, torch.Tensor]:
        """The task's subnet, by its names in the encoder."""
        return {self.base.places[task][name]: tensor for name, tensor in self.subnet(task).items()}

    def parameters(self) -> list[nn.Parameter]:
        """Every trainable tensor once: encoder matrices or adapters, then heads."""
        return [*self._encoder_matrices().values(), *super().parameters()]

    def names(self) -> dict[nn.Parameter, str]:
        """`encoder/…` or `adapter/…`, and `head/task/…`."""
        return {tensor: f"encoder/{name}" for name, tensor in self._encoder_matrices().items()} | super().names()

    def _encoder_matrices(self) -> dict[str, nn.Parameter]:
        return {} if self.bank.tasks else self.base.matrices

    @torch.no_grad()
    def load_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy saved tensors, named as by `names`, in place."""
        for parameter, name in self.names().items():
            parameter.copy_(tensors[name])

    def keep(self, masks: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """Take up masks of some tasks."""
        for task, own in masks.items():
            self.masks[task] = {name: own[name].to(self.device) for name in self.base.matrices}
        self._stored = None

    @contextmanager
    @torch.no_grad()
    def only_subnet(self, task: str) -> Iterator[dict[str, nn.Parameter]]:
        """Context in which the base matrices themselves hold the task's subnet; afterwards they are what they were."""
        before = {name: tensor.detach().clone() for name, tensor in self.base.matrices.items()}
        for name, tensor in self.subnet(task).items():
            self.base.matrices[name].copy_(tensor)
        try:
            yield self.base.matrices
        finally:
            for name, tensor in before.items():
                self.base.matrices[name].copy_(tensor)

    def serving(self, task: str) -> dict[str, torch.Tensor]:  # type: ignore[override]
        """What `task` needs beside the frozen encoder, stored compactly: its weights alone, its mask, what is dense.

        The weights that the very same tasks use are one tensor, so that all tasks together need the union; a mask has
        one bit a weight, `MASK_BITS` in the place of a parameter. These tensors have sizes only, no values.
        """
        if self._stored is None:
            self._stored = {g: torch.empty(count, device="meta") for g, count in patterns(self.masks).items()}
        found = {f"subnet/{'/'.join(group)}": size for group, size in self._stored.items() if task in group}
        found[f"mask/{task}"] = torch.empty(math.ceil(self.weights_in_base / MASK_BITS), device="meta")
        matrices = set(self.base.matrices.values())
        dense = self.bank.named_parameters(task) if self.bank.tasks else ()
        found |= {f"adapter/{name}": tensor for name, tensor in dense if tensor not in matrices}
        return found | self.head_parameters(task)
