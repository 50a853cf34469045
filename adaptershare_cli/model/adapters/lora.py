"""LoRA: two small matrices beside a frozen one, whose product is added to it: (W + s B A) x, with s = alpha / r.

Source: Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models"; the arithmetic is the library's. B begins
as zeros, so a fresh adapter changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from adaptershare_cli.model.adapters.base import AdapterKind, Site
from adaptershare_cli.settings import TrainingSettings, option

if TYPE_CHECKING:
    import torch
    from torch import nn

    from adaptershare_cli.model.row_gradients import RowGradient

Target = Literal["qv", "qkv", "all"]
_ATTENTION = ("q", "k", "v")  # as the library calls them, in one order
_TARGETS: Mapping[str, Mapping[str, Any]] = {
    "qv": {"attn_matrices": ["q", "v"], "intermediate_lora": False, "output_lora": False},
    "qkv": {"attn_matrices": ["q", "k", "v"], "intermediate_lora": False, "output_lora": False},
    "all": {"attn_matrices": ["q", "k", "v"], "intermediate_lora": True, "output_lora": True},
}


@dataclass(frozen=True)
class LoraSettings(TrainingSettings):
    """The training settings with LoRA's own. Their defaults are what the paper has for an encoder of BERT's size."""

    lora_r: int = option(8, "LoRA: the rank, which is the width between the two small matrices.", 1)
    lora_alpha: int = option(8, "LoRA: its product counts alpha / r times.", 1)
    lora_target: Target = option(
        "qv",
        "LoRA: beside which matrices: query and value (qv), key too (qkv), or these and both of feed-forward (all).",
    )


class LowRankKind(AdapterKind):
    """What the library calls LoRA, whatever it does with its tensors: adapters inside of frozen Linears."""

    architecture: ClassVar[str | None] = "lora"
    shaping: ClassVar[tuple[str, ...]] = (
        "selfattn_lora", "intermediate_lora", "output_lora", "attn_matrices", "leave_out", "r", "alpha", "dropout",
        "composition_mode", "use_gating", "use_dora", "vera_d", "vera_b", "dtype",
    )  # fmt: skip

    def complete_config(self, stored: dict[str, Any]) -> dict[str, Any]:
        """All fields; the matrices of attention come in one order, as theirs in the file means nothing."""
        found = super().complete_config(stored)
        return found | {"attn_matrices": [name for name in _ATTENTION if name in found["attn_matrices"]]}


class LoraKind(LowRankKind):
    """Adapters whose config in the library is a `LoRAConfig` that adds: no gate, no DoRA, no VeRA."""

    label: ClassVar[str] = "LoRA"
    settings: ClassVar[type[TrainingSettings]] = LoraSettings
    options: ClassVar[Mapping[str, str]] = {"lora_r": "r", "lora_alpha": "alpha"}

    def config_in_library(self, training: TrainingSettings, other_fields: Mapping[str, Any] | None = None) -> Any:
        """The library's config, with the matrices that --lora-target names."""
        assert isinstance(training, LoraSettings)
        return super().config_in_library(training, {**_TARGETS[training.lora_target], **(other_fields or {})})

    def options_of(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Rank and alpha, and the target that stands for the config's matrices."""
        complete = self.complete_config(dict(config))
        meant = [name for name, own in _TARGETS.items() if all(complete[field] == own[field] for field in own)]
        return super().options_of(config) | {"lora_target": meant[0] if meant else None}

    def row_gradients(self, site: Site) -> list[RowGradient]:
        """Of the two matrices beside each adapted one; several of attention stand in one site."""
        from adapters.methods.lora import LoRA

        return [_low_rank(module) for module in site.module.modules() if isinstance(module, LoRA)]

    def merged_into(self, encoder: Any, adapter: str) -> dict[str, torch.Tensor]:
        """Each adapted weight with its product added, computed in float64."""
        return {
            f"{path}.weight": (
                linear.weight.double() + lora.scaling * (lora.lora_B.double() @ lora.lora_A.double())
            ).to(linear.weight.dtype)
            for path, linear, lora in adapted(encoder, adapter)
        }  # fmt: skip

    def in_peft(self, encoder: Any, adapter: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """The same two matrices; the adapted modules are named whole, as the ends of names would meet others too."""
        found = list(adapted(encoder, adapter))
        config = {
            "peft_type": "LORA", "r": found[0][2].r, "lora_alpha": found[0][2].lora_alpha, "lora_dropout": 0.0,
            "target_modules": [path for path, _, _ in found], "bias": "none", "fan_in_fan_out": False,
        }  # fmt: skip
        return config, {
            f"{path}.{name}.weight": getattr(lora, name) for path, _, lora in found for name in ("lora_A", "lora_B")
        }


def adapted(encoder: Any, adapter: str) -> Iterator[tuple[str, Any, Any]]:
    """The Linears that an adapter adapts: their names in the encoder, themselves, and what it has there."""
    from adapters.methods.lora import LoRALayer

    for path, module in encoder.named_modules():
        if isinstance(module, LoRALayer) and adapter in module.loras:
            yield path, module, module.loras[adapter]


def _low_rank(module: nn.Module) -> RowGradient:
    """Of y = s (x A^T) B^T with inputs (B, S, in) and output gradients (B, S, out), A (r, in) and B (out, r).

    dA_r = s sum_s (dy_rs B)^T x_rs and dB_r = s sum_s dy_rs^T (x_rs A^T).
    """
    from adaptershare_cli.model.row_gradients import RowGradient, Seen

    lora: Any = module

    def see(inputs: tuple[Any, ...], output: Any) -> Seen:  # (states of an adapter before it, x) and (y, gate)
        return Seen(inputs[1].detach(), (output[0],))

    def gradients(given: torch.Tensor, back: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        given, scaled = given.to(back[0].dtype), back[0] * lora.scaling
        down, up = lora.lora_A.detach(), lora.lora_B.detach()
        return [(scaled @ up).transpose(1, 2) @ given, scaled.transpose(1, 2) @ (given @ down.T)]

    return RowGradient(module, module, see, gradients)


_FUSED = "LoRA cannot be fused: the library's fusion attends over the outputs of bottlenecks"
_PRUNED = "LoRA cannot be pruned: B begins as zeros, so the smallest weights are B's, and nothing is left without B"
_GENERATED = "LoRA cannot be generated: HyperFormer's generators write the matrices, biases and norms of bottlenecks"
KINDS = (
    LoraKind(
        "lora", "two small matrices whose product is added to a frozen one", "LoRAConfig",
        frozenset({"merged", "given to peft"}),
        refusals=(("fused", _FUSED), ("pruned", _PRUNED), ("generated", _GENERATED)),
    ),
)  # fmt: skip
