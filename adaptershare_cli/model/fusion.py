"""AdapterFusion: the library's fusion modules over the adapters of a bank, one set of them for each target task.

Source: AdapterFusion (EACL 2021), section 3; the arithmetic is the library's `BertFusion` with its config `dynamic`.
With x what the adapters n of a site get as input, r the residual beside them and u_n their up-projections:

    s = softmax_n((Q x + b_q) . (K u_n + b_k)),      output = sum_n s_n V u_n + r

Q and K start from N(0, 0.02^2), V from the identity (1e-6 off the diagonal). In training, the scores pass a dropout of
the encoder's attention probability, and K and V are applied once, not once an adapter (`_Quick`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from adapters import AdapterSetup
from adapters.composition import AdapterCompositionBlock, Fuse, Stack
from adapters.methods.bottleneck import BottleneckLayer
from adapters.methods.modeling import BertFusion
from torch import nn

from adaptershare_cli.model.adapters import require_use
from adaptershare_cli.model.adapters.bank import AdapterBank, module_name
from adaptershare_cli.seeds import derive_seed

VALUE = "value.weight"  # the matrix that starts as the identity, is drawn towards it, and never decays


class _Quick(BertFusion):
    """The library's module with config `dynamic`, in training with the same products in an order that costs less.

    (Q x + b_q) . K u_n = (K^T (Q x + b_q)) . u_n, and sum_n s_n V u_n = V sum_n s_n u_n: for N adapters 3 products
    with a (d, d) matrix instead of 2 N + 1, and likewise backwards. Out of training it is the library's own pass, so
    that scores are bit for bit those of an exported module.
    """

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        residual: torch.Tensor,
        output_attentions: bool = False,
    ) -> Any:
        """(rows, tokens, d) of the query and residual, (rows, tokens, N, d) of the rest, to (rows, tokens, d)."""
        if not self.training:
            return super().forward(query, key, value, residual, output_attentions)
        asked = self.query(query)
        towards = asked @ self.key.weight
        scores = (key @ towards.unsqueeze(-1)).squeeze(-1) + (asked @ self.key.bias).unsqueeze(-1)
        weights = self.dropout(scores).softmax(-1)
        return self.value((weights.unsqueeze(2) @ value).squeeze(2)) + residual


class Fusion:
    """The fusion modules of `targets` over the adapters of `bank`; a group's adapter is attended to once.

    Without `own_adapters`, every layer is fused, and the targets may be other tasks than the bank's. With it, the
    targets are the bank's tasks, only layers that have split are fused, and a pass of a task gives gradients to no
    other group's adapters (AdapterShare's differentiation with fusion, specs section 3). Raises UserError for adapters
    that the library's fusion does not compute with rightly.
    """

    def __init__(self, bank: AdapterBank, targets: Sequence[str], seed: int, own_adapters: bool = False) -> None:
        require_use(bank.kind, "fused")
        self.bank, self.targets, self.seed, self.own_adapters = bank, tuple(targets), seed, own_adapters
        # The library saves every module whose name begins with that of the wanted one; none of these begins another.
        self.names = {target: f"fusion({module_name(target)})" for target in targets}
        for name in self.names.values():
            bank.encoder.adapters_config.add_fusion([*map(module_name, bank.tasks)], "dynamic", fusion_name=name)
        parts = [part for part in bank.encoder.modules() if isinstance(part, BottleneckLayer)]
        self.parts: list[Any] = sorted(
            (part for part in parts if module_name(bank.tasks[0]) in part.adapters),
            key=lambda part: (part.layer_idx, part.location_key),
        )
        self.setups: dict[str, dict[int, AdapterCompositionBlock]] = {}
        for part in self.parts:
            part.get_active_setup = self._setup_of(part)
        self.follow_plan()

    def _setup_of(self, part: Any) -> Callable[[], AdapterCompositionBlock | None]:
        """What the library asks a site for: which adapters run, here a matter of target and layer."""
        by_library = type(part).get_active_setup

        def get_active_setup() -> AdapterCompositionBlock | None:
            setup = by_library(part)
            return self.setups[setup.name][part.layer_idx] if isinstance(setup, Fuse) else setup

        return get_active_setup

    def follow_plan(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Fuse the layers that are to be fused under the bank's plan, and no others.

        Returns the new parameters: value matrices V second, all others first.
        """
        fused = [len(groups) > 1 or not self.own_adapters for groups in self.bank.plan.layers]
        new: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
        for target, name in self.names.items():
            for part in self.parts:
                if fused[part.layer_idx] and name not in part.adapter_fusion_layer:
                    for parameter_name, parameter in self._add(part, target).named_parameters():
                        new[parameter_name == VALUE].append(parameter)
                elif not fused[part.layer_idx]:
                    part.delete_fusion_layer(name)
            self.setups[name] = {
                layer: Fuse(*map(module_name, self.attended(target, layer)), name=name)
                if fused[layer]
                else Stack(module_name(target))
                for layer in range(len(fused))
            }
        return new

    def _add(self, part: Any, target: str) -> nn.Module:
        torch.manual_seed(derive_seed(self.seed, "fusion", target, part.layer_idx, part.location_key))
        part.add_fusion_layer(self.names[target])
        module = part.adapter_fusion_layer[self.names[target]]
        module.__class__ = _Quick  # the library made it, with its own draws
        return module.to(next(self.bank.encoder.parameters()).device)

    def attended(self, target: str, layer: int) -> list[str]:
        """A task for each group of `layer`, whose adapter is that of the group, in the order of the attention.

        The first task of the bank stands in the last group, as the library looks at the last adapter for all.
        """
        groups = reversed(self.bank.plan.layers[layer])
        return [target if self.own_adapters and target in group else group[0] for group in groups]

    def sources(self) -> list[str]:
        """The tasks that stand for a group in some layer, in the order of the attention."""
        first = {group[0] for groups in self.bank.plan.layers for group in groups}
        return [task for task in reversed(self.bank.tasks) if task in first]

    @contextmanager
    def active(self, target: str) -> Iterator[None]:
        """Context in which the encoder runs for `target`; only the forward pass must stand inside."""
        others = self._other_adapters(target) if self.own_adapters else []
        for tensor in others:
            tensor.requires_grad_(False)
        try:
            with AdapterSetup(Fuse(*map(module_name, self.bank.tasks), name=self.names[target])):
                yield
        finally:
            for tensor in others:
                tensor.requires_grad_(True)

    def _other_adapters(self, target: str) -> list[nn.Parameter]:
        return [
            tensor
            for layer, groups in enumerate(self.bank.plan.layers)
            for group in groups
            if target not in group
            for _, tensor in self.bank.named_parameters(group[0], layer)
        ]

    def _modules(self, target: str) -> Iterator[tuple[str, nn.Module]]:
        for part in self.parts:
            if self.names[target] in part.adapter_fusion_layer:
                yield f"{part.layer_idx}.{part.location_key}", part.adapter_fusion_layer[self.names[target]]

    def named_parameters(self, target: str) -> Iterator[tuple[str, nn.Parameter]]:
        """The target's fusion tensors as `layer.location.parameter`, in a fixed order."""
        for place, module in self._modules(target):
            for name, parameter in module.named_parameters():
                yield f"{place}.{name}", parameter

    def tensors(self) -> dict[str, nn.Parameter]:
        """All targets' fusion tensors as `fusion/target/layer.location.parameter`."""
        return {f"fusion/{target}/{name}": p for target in self.targets for name, p in self.named_parameters(target)}

    def size(self, layer: int) -> int:
        """Parameters of the fusion modules of all targets in `layer`: for each site 3 d^2 + 2 d, d the hidden size."""
        hidden = self.bank.encoder.config.hidden_size
        sites = sum(part.layer_idx == layer for part in self.parts)
        return len(self.targets) * sites * (3 * hidden**2 + 2 * hidden)

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy the tensors that `tensors()` names in place."""
        for name, parameter in self.tensors().items():
            parameter.copy_(tensors[name])

    def parameters(self, target: str, values: bool) -> list[nn.Parameter]:
        """The target's value matrices V, or (without `values`) all its other tensors."""
        return [tensor for name, tensor in self.named_parameters(target) if name.endswith(VALUE) == values]

    def serving(self, target: str) -> dict[str, nn.Parameter]:
        """What `target` needs: the adapters of every group that it attends over, and its fusion modules."""
        adapters = {
            f"adapter/{layer}.{number}.{name}": tensor
            for layer, groups in enumerate(self.bank.plan.layers)
            for number, group in enumerate(groups)
            if target in group or len(groups) > 1 or not self.own_adapters
            for name, tensor in self.bank.named_parameters(group[0], layer)
        }
        return adapters | {f"fusion/{target}/{name}": tensor for name, tensor in self.named_parameters(target)}

    def penalty(self, target: str) -> torch.Tensor:
        """Sum over the target's sites of the squared Frobenius norm of V - I."""
        total = torch.zeros((), device=next(self.bank.encoder.parameters()).device)
        for value in self.parameters(target, values=True):
            total = total + (value - torch.eye(len(value), dtype=value.dtype, device=value.device)).square().sum()
        return total

    def train(self) -> None:
        """Dropout on in the fusion modules, whatever the encoder around them does."""
        for target in self.targets:
            for _, module in self._modules(target):
                module.train()

    @contextmanager
    def at_every_site(self, target: str) -> Iterator[str]:
        """Context in which every site has a fusion module of `target`, for saving; gives their name.

        Where a layer has one adapter and no fusion, it is one that hands this adapter's output on bit by bit: with one
        adapter the attention is 1, and V is exactly the identity.
        """
        name, added = self.names[target], []
        for part in self.parts:
            if name not in part.adapter_fusion_layer:
                module = self._add(part, target)
                with torch.no_grad():
                    for parameter_name, parameter in module.named_parameters():
                        parameter.zero_()
                        if parameter_name == VALUE:
                            parameter.fill_diagonal_(1.0)
                added.append(part)
        try:
            yield name
        finally:
            for part in added:
                part.delete_fusion_layer(name)
