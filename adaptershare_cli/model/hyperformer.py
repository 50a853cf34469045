"""The model whose adapters are written by generators: HyperFormer on a frozen encoder, through library adapters.

Each task has an ordinary library adapter as a *slot*. In training its tensors are replaced for one pass by those that
the generators write (so gradients reach generators and embeddings); for scoring, checks and export they are copied
into the slots once. A slot of bottleneck adapters is formula 1.2 of the original,

    y = s + LN_{gamma,beta}( U gelu_new(D s + b_D) + b_U )

with s the sub-layer's output, exactly so with `double_seq_bn`; the other library configs put the same adapter where
they put theirs (`seq_bn` reads the layer-normalised sum of s and the residual, `par_bn` the sub-layer's input).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from adaptershare_cli.kinds.base import TaskInfo
from adaptershare_cli.model.adapters import adapter_kind, require_use
from adaptershare_cli.model.adapters.bank import AdapterBank
from adaptershare_cli.model.adapters.base import Site
from adaptershare_cli.model.heads import MultiTaskModel
from adaptershare_cli.model.hypernetwork import AdapterSite, GeneratorSizes, fresh_embedding, make_hypernetwork
from adaptershare_cli.settings import TrainingSettings
from adaptershare_cli.sharing.plan import SharingPlan


def adapter_slots(encoder: PreTrainedModel, plan: SharingPlan, training: TrainingSettings, seed: int) -> AdapterBank:
    """A slot for each task. Raises UserError for adapters that cannot be generated."""
    kind = adapter_kind(training.adapter_config)
    require_use(kind, "generated")
    return AdapterBank(encoder, plan, training, seed, config_fields=kind.generated_fields)


class HyperFormerModel(MultiTaskModel):
    """A frozen encoder, generators that write the adapters of each task from its embedding, and a head for each.

    `norms` are layer norms of the encoder, by name, that all tasks train together.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        bank: AdapterBank,
        infos: Sequence[TaskInfo],
        pooling: str,
        head_dropout: float,
        seed: int,
        sizes: GeneratorSizes,
        norms: dict[str, nn.Parameter],
    ) -> None:
        super().__init__(encoder, bank, infos, pooling, head_dropout, seed)
        self.sizes, self.norms = sizes, norms
        self.network = make_hypernetwork([_shapes(site) for site in bank.sites[bank.tasks[0]]], sizes)
        self.network.initialise(seed)
        self.network.to(self.device)
        self.embeddings = {
            task: nn.Parameter(fresh_embedding(sizes.task_embedding_dim, task, seed).to(self.device))
            for task in bank.tasks
        }
        for norm in norms.values():
            norm.requires_grad_(True)
        self._places = {task: bank.names_in_encoder(task) for task in bank.tasks}
        self._stale = True  # whether the slots may differ from what the generators write

    def weights(self, task: str) -> dict[str, torch.Tensor]:
        """The adapter tensors of `task` as the generators write them now, unless its slot holds them already."""
        if not self._stale:
            return {}
        places = self._places[task]
        return {places[name]: tensor for name, tensor in self.network(self.embeddings[task]).items()}

    def train(self, encoder_dropout: bool) -> None:
        """Generate in every pass from here on; heads in training mode, the encoder too only with `encoder_dropout`."""
        self._stale = True
        super().train(encoder_dropout)

    @torch.no_grad()
    def eval(self) -> None:
        """No dropout; every task's adapters are written into its slot, once until the next `train`."""
        super().eval()
        if self._stale:
            for task, embedding in self.embeddings.items():
                self.bank.fill(task, self.network(embedding))
            self._stale = False

    def parameters(self) -> list[nn.Parameter]:
        """Every trainable tensor once: generators, task embeddings, layer norms, heads."""
        return list(self.names())

    def names(self) -> dict[nn.Parameter, str]:
        """`network/…`, `embedding/task`, `layer-norm/…` and `head/task/…`."""
        names = {parameter: f"network/{name}" for name, parameter in self.network.named_parameters()}
        names |= {embedding: f"embedding/{task}" for task, embedding in self.embeddings.items()}
        names |= {norm: f"layer-norm/{name}" for name, norm in self.norms.items()}
        return names | {p: name for task in self.heads for name, p in self.head_parameters(task).items()}

    def serving(self, task: str) -> dict[str, nn.Parameter]:
        """The task's adapter and head, and the layer norms; generators and embeddings are not needed any more."""
        return super().serving(task) | {f"layer-norm/{name}": norm for name, norm in self.norms.items()}

    @torch.no_grad()
    def load_state(self, plan: SharingPlan, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy saved tensors in place; the plan never changes."""
        for parameter, name in self.names().items():
            parameter.copy_(tensors[name])
        self._stale = True


def _shapes(site: Site) -> AdapterSite:
    shapes = tuple((name, tuple(parameter.shape)) for name, parameter in site.module.named_parameters())
    return AdapterSite(site.layer, site.location, shapes)
