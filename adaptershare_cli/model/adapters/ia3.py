"""(IA)^3: one factor for each output feature of a frozen matrix: l * (W x + b).

Source: Liu et al. 2022, "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning"; the
arithmetic is the library's, which scales key, value and what goes into feed-forward's activation (the paper: what comes
out of it). The factors begin as ones, so a fresh adapter changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from adaptershare_cli.model.adapters.base import Site
from adaptershare_cli.model.adapters.lora import LowRankKind, adapted

if TYPE_CHECKING:
    import torch
    from torch import nn

    from adaptershare_cli.model.row_gradients import RowGradient


class IA3Kind(LowRankKind):
    """Adapters whose config in the library is a `LoRAConfig` that scales, with all fields as `IA3Config` has them."""

    label: ClassVar[str] = "(IA)^3"

    def row_gradients(self, site: Site) -> list[RowGradient]:
        """Of the factors of each adapted matrix; several of attention stand in one site."""
        from adapters.methods.lora import IA3

        return [_factors(module) for module in site.module.modules() if isinstance(module, IA3)]

    def merged_into(self, encoder: Any, adapter: str) -> dict[str, torch.Tensor]:
        """Each adapted weight and bias times the factors."""
        found = {}
        for path, linear, ia3 in adapted(encoder, adapter):
            factors = ia3.lora_B * ia3.scaling
            found[f"{path}.weight"] = linear.weight * factors
            if linear.bias is not None:
                found[f"{path}.bias"] = linear.bias * factors.squeeze(1)
        return found

    def in_peft(self, encoder: Any, adapter: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """The same factors, all of them of outputs: what peft calls feed-forward modules it scales at their inputs."""
        found = list(adapted(encoder, adapter))
        config = {
            "peft_type": "IA3", "target_modules": [path for path, _, _ in found], "feedforward_modules": [],
            "fan_in_fan_out": False,
        }  # fmt: skip
        return config, {f"{path}.ia3_l": ia3.lora_B * ia3.scaling for path, _, ia3 in found}


def _factors(module: nn.Module) -> RowGradient:
    """Of y = s l, given out once for each row as (B, 1, out), with l (out, 1): dl_r = s dy_r^T."""
    from adaptershare_cli.model.row_gradients import RowGradient, Seen

    ia3: Any = module

    def see(inputs: tuple[Any, ...], output: Any) -> Seen:  # (states of an adapter before it, x) and (y, gate)
        return Seen(None, (output[0],))

    def gradients(kept: None, back: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return [(back[0] * ia3.scaling).transpose(1, 2)]

    return RowGradient(module, module, see, gradients)


_FUSED = "(IA)^3 cannot be fused: the library's fusion attends over the outputs of bottlenecks"
_PRUNED = "(IA)^3 cannot be pruned: a factor of zero would cut its feature off, not leave it alone"
_GENERATED = "(IA)^3 cannot be generated: HyperFormer's generators write the matrices, biases and norms of bottlenecks"
KINDS = (
    IA3Kind(
        "ia3", "a factor for each feature of key, value and feed-forward", "IA3Config",
        frozenset({"merged", "given to peft"}),
        (("fused", _FUSED), ("pruned", _PRUNED), ("generated", _GENERATED)),
    ),
)  # fmt: skip
